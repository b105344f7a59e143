-- retry: give an ended job all its attempts again and make it ready. For operators.
-- ARGV  id, attempts it has then
-- Gives the state it was in (RQ's name), 'missing', or '!' and the state that forbids it.
define('retry', {}, function(_, args)
  local id = args[1]
  local f = job_fields(id, 'status', 'origin', 'priority')
  if not f or not f[1] or not f[2] then return 'missing' end
  local status, queue, level = f[1], f[2], level_of(f[3])
  if status ~= 'failed' and status ~= 'finished' and status ~= 'canceled' and status ~= 'stopped' then
    return '!' .. status
  end
  local sec, usec = now()
  unlist(queue, id, level, status)
  local key = job_key(id)
  redis.call('HSET', key, 'status', 'queued', 'enqueued_at', iso(sec, usec), 'retries_left', tonumber(args[2]) - 1,
             'number_of_retries', 0, 'recoveries', 0, 'token', '')
  redis.call('HDEL', key, 'ended_at', 'meta')
  redis.call('PERSIST', key)
  redis.call('PERSIST', results_key(id))
  push(queue, level, id, false)
  wake(queue)
  publish({{'requeued', queue, id, ''}})
  return status
end)
