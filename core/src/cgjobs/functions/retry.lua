-- retry: give ended jobs all their attempts again and make them ready, or deferred while jobs that they depend on are
-- under way. For operators.
-- ARGV  nonce, resent (0 or 1), the states that are meant, attempts each has then ('' for as many as before), then ids
-- Gives for each the state it was in (RQ's name), 'missing', '!' and the state that forbids it, '~' and the state that
-- is not meant, or '=', its state and the id of the job that has its unique key now.
define('retry', {}, function(_, args)
  return move_each(args, 5, function(id, events)
    local f = job_fields(id, 'status', 'origin', 'priority', 'unique', 'unique_until', 'held', 'dependency_id',
                         'created_at', 'number_of_retries', 'retries_left')
    if not f or not f[1] or not f[2] then return 'missing' end
    local status, queue, level = f[1], f[2], level_of(f[3])
    local other = moved_since(args[3], status)
    if other then return other end
    if status ~= 'failed' and status ~= 'finished' and status ~= 'canceled' and status ~= 'stopped' then
      return '!' .. (status == 'deferred' and f[6] and 'held' or status)
    end
    local holder = f[4] and take_unique(queue, id, {unique = f[4], unique_until = f[5]})
    if holder and holder ~= id then return '=' .. status .. ' ' .. holder end
    local sec, usec = now()
    unlist(queue, id, level, status)
    local key = job_key(id)
    local waits = f[7] and wait_again(id, f[8]) > 0
    local left = tonumber(args[4]) and tonumber(args[4]) - 1 or whole(f[9]) + whole(f[10])
    redis.call('HSET', key, 'status', waits and 'deferred' or 'queued', 'enqueued_at', iso(sec, usec), 'retries_left',
               left, 'number_of_retries', 0, 'recoveries', 0, 'token', '')
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
    events[#events + 1] = {'requeued', queue, id, ''}
    return status
  end)
end)
