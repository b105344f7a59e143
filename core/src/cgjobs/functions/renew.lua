-- renew: keep the leases of running jobs and the worker's own entry alive. For workers.
-- ARGV  worker, lease in ms, seconds until a silent worker's entry goes, its state (idle or busy),
--       then (queue, id, token) for each running job
-- Gives {1 if the worker's entry exists else 0, (id, token) for each job that is no longer this worker's, the epoch or ''}.
define('renew', {'allow-oom'}, function(_, args)
  local sec, usec = now()
  local expiry = seconds(sec, usec, tonumber(args[2]))
  local lost = {}
  for i = 5, #args, 3 do
    local queue, id, token = args[i], args[i + 1], args[i + 2]
    local f = job_fields(id, 'token', 'status')
    if f and f[1] == token and f[2] == 'started' then
      safe('ZADD', LEASES, expiry, queue .. ':' .. id .. ':' .. token)
    else
      lost[#lost + 1] = id; lost[#lost + 1] = token
    end
  end
  local key = worker_key(args[1])
  local known = redis.call('TYPE', key).ok == 'hash' and 1 or 0
  if known == 1 then
    redis.call('HSET', key, 'last_heartbeat', iso(sec, usec), 'state', args[4])
    redis.call('EXPIRE', key, args[3])
  end
  return {known, lost, safe('GET', EPOCH) or ''}
end)
