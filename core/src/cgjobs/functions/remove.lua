-- remove: take a job out, wherever it is, unless it runs. For operators.
-- ARGV  id
-- Gives the state it was removed from (RQ's name, or held), 'missing', or '!' and the state that forbids it.
local PLACES = {scheduled = delayed_key, finished = completed_key, failed = failed_key, deferred = deferred_key,
                canceled = cancelled_key}

-- Take a job out of the place that its state says, or out of all of them when its state says nothing.
local function unlist(queue, id, level, status, held)
  if held then unhold(queue, held, id) end
  local known = PLACES[status]
  if known then return safe('ZREM', known(queue), id) end
  safe('LREM', waiting_key(queue, level), 0, id)
  if status ~= 'queued' then
    for _, place in pairs(PLACES) do safe('ZREM', place(queue), id) end
  end
end

define('remove', {'allow-oom'}, function(_, args)
  local id = args[1]
  local f = job_fields(id, 'status', 'origin', 'priority', 'unique', 'held', 'dependents', 'dependency_id')
  if not f or not (f[1] or f[2]) then
    return redis.call('DEL', job_key(id)) == 1 and 'garbage' or 'missing'
  end
  local status, queue = f[1] or 'garbage', f[2] or ''
  if status == 'started' then return '!started' end
  unlist(queue, id, level_of(f[3]), status, f[5])
  release(queue, f[4], id)
  forget(id)
  ended(id, 'removed', f[6], f[7], 0)
  publish({{'removed', queue, id, ''}})
  return status == 'deferred' and f[5] and 'held' or status
end)
