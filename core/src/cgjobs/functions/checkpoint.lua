-- checkpoint: the last value from which the next attempt of a running job goes on. For workers.
-- ARGV  (id, token, value as JSON, or '' for none) for each job
-- Gives the number kept; those of attempts that are no longer running are dropped.
define('checkpoint', {'allow-oom'}, function(_, args)
  local kept = 0
  for i = 1, #args, 3 do
    local f = job_fields(args[i], 'token')
    if f and f[1] == args[i + 1] then
      if args[i + 2] == '' then
        redis.call('HDEL', job_key(args[i]), 'checkpoint')
      else
        redis.call('HSET', job_key(args[i]), 'checkpoint', args[i + 2])
      end
      kept = kept + 1
    end
  end
  return kept
end)
