-- retry: give an ended job all its attempts again and make it ready, or deferred while jobs that it depends on are
-- under way. For operators.
-- ARGV  id, attempts it has then
-- Gives the state it was in (RQ's name), 'missing', '!' and the state that forbids it,
-- or '=', its state and the id of the job that has its unique key now.
define('retry', {}, function(_, args)
  local id = args[1]
  local f = job_fields(id, 'status', 'origin', 'priority', 'unique', 'unique_until', 'held', 'dependency_id',
                       'created_at')
  if not f or not f[1] or not f[2] then return 'missing' end
  local status, queue, level = f[1], f[2], level_of(f[3])
  if status ~= 'failed' and status ~= 'finished' and status ~= 'canceled' and status ~= 'stopped' then
    return '!' .. (status == 'deferred' and f[6] and 'held' or status)
  end
  local holder = f[4] and take_unique(queue, id, {unique = f[4], unique_until = f[5]})
  if holder and holder ~= id then return '=' .. status .. ' ' .. holder end
  local sec, usec = now()
  unlist(queue, id, level, status)
  local key = job_key(id)
  local waits = f[7] and wait_again(id, f[8]) > 0
  redis.call('HSET', key, 'status', waits and 'deferred' or 'queued', 'enqueued_at', iso(sec, usec), 'retries_left', tonumber(args[2]) - 1,
             'number_of_retries', 0, 'recoveries', 0, 'token', '')
  redis.call('HDEL', key, 'ended_at', 'meta', 'expires_at', 'cancel', 'outcome', 'begun')
  redis.call('PERSIST', key)
  -- A completed job's result must not be taken for that of the new run, which may have none.
  redis.call(status == 'finished' and 'DEL' or 'PERSIST', results_key(id))
  redis.call('PERSIST', log_key(id))
  if waits then
    safe('ZADD', deferred_key(queue), sec, id)
  else
    push(queue, level, id, false)
    wake(queue)
  end
  publish({{'requeued', queue, id, ''}})
  return status
end)
