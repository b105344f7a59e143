-- remove: take a job out, wherever it is, unless it runs. For operators.
-- ARGV  id
-- Gives the state it was removed from (RQ's name), 'missing', or '!' and the state that forbids it.
local function unlist(queue, id, level)
  safe('LREM', waiting_key(queue, level), 0, id)
  for _, key in ipairs({delayed_key(queue), completed_key(queue), failed_key(queue), deferred_key(queue),
                        cancelled_key(queue)}) do
    safe('ZREM', key, id)
  end
end

define('remove', {'allow-oom'}, function(_, args)
  local id = args[1]
  local f = job_fields(id, 'status', 'origin', 'priority')
  if not f or not (f[1] or f[2]) then
    return redis.call('DEL', job_key(id)) == 1 and 'garbage' or 'missing'
  end
  local status, queue = f[1] or 'garbage', f[2] or ''
  if status == 'started' then return '!started' end
  unlist(queue, id, level_of(f[3]))
  redis.call('DEL', job_key(id), results_key(id))
  publish({{'removed', queue, id, ''}})
  return status
end)
