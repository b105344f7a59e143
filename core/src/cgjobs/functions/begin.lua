-- begin: say that a job which may not run twice begins now. From then on it is never run again by itself: when its
-- lease ends, reap fails it instead. For workers.
-- ARGV  id, token
-- Gives 1, or 0 when the job is not this attempt's any more: it must not begin then.
-- Sent again it gives the same answer.
define('begin', {'allow-oom'}, function(_, args)
  local f = job_fields(args[1], 'token', 'status')
  if not f or f[1] ~= args[2] or f[2] ~= 'started' then return 0 end
  redis.call('HSET', job_key(args[1]), 'begun', args[2])
  return 1
end)
