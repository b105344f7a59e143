-- progress: the last report of running jobs, in RQ's meta field. For workers.
-- ARGV  (id, token, meta as JSON) for each job
-- Gives the number of reports kept; those of attempts that are no longer running are dropped.
define('progress', {'allow-oom'}, function(_, args)
  local kept = 0
  for i = 1, #args, 3 do
    local f = job_fields(args[i], 'token')
    if f and f[1] == args[i + 1] then
      redis.call('HSET', job_key(args[i]), 'meta', args[i + 2])
      kept = kept + 1
    end
  end
  return kept
end)
