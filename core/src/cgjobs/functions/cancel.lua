-- cancel: end jobs on purpose. A job that waits ends at once. One that runs is marked, and its worker is told within
-- a second; unless it completes before, it ends as cancelled. For operators.
-- ARGV  nonce, resent (0 or 1), the states that are meant, then ids
-- Gives for each the state it was in (RQ's name, or held), 'missing', '!' and the state that forbids it, or '~' and the
-- state that is not meant.
define('cancel', {'allow-oom'}, function(_, args)
  return move_each(args, 4, function(id, events)
    local f = job_fields(id, 'status', 'origin', 'priority', 'failure_ttl', 'unique', 'worker_name', 'token', 'held',
                         'dependents', 'dependency_id')
    if not f or not f[1] or not f[2] then return 'missing' end
    local status, queue = f[1], f[2]
    local state = status == 'deferred' and f[8] and 'held' or status
    local other = moved_since(args[3], state)
    if other then return other end
    if status == 'started' then
      redis.call('HSET', job_key(id), 'cancel', '1')
      local key = cancels_key(f[6] or '')
      safe('SADD', key, id .. ':' .. (f[7] or ''))
      redis.call('EXPIRE', key, 3600)
    elseif status == 'queued' or status == 'scheduled' or status == 'deferred' then
      local sec, usec = now()
      unlist(queue, id, level_of(f[3]), status, f[8])
      local ttl = ttl_of(f[4], DEFAULT_FAILURE_TTL)
      end_cancelled(queue, id, f[5], sec, usec, ttl)
      ended(id, 'cancelled', f[9], f[10], ttl)
      events[#events + 1] = {'cancelled', queue, id, ''}
    else
      return '!' .. status
    end
    return state
  end)
end)

-- cancels: what a worker shall cancel. Told again until the worker says that it has heard. For workers.
-- ARGV  worker, then (id, token) for each job that it was told of before
-- Gives (id, token) for each running job.
define('cancels', {'allow-oom'}, function(_, args)
  local key, asked = cancels_key(args[1]), {}
  for i = 2, #args, 2 do safe('SREM', key, args[i] .. ':' .. args[i + 1]) end
  for _, member in ipairs(safe('SMEMBERS', key)) do
    local id, token = string.match(member, '^([^:]*):([^:]*)$')
    if id then asked[#asked + 1] = id; asked[#asked + 1] = token end
  end
  return asked
end)
