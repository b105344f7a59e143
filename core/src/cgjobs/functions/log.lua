-- log: what the handlers of running jobs logged, appended to the lines kept with each job. For workers.
-- ARGV  how many lines a job keeps, then (id, token, lines of this attempt sent before these, lines as a JSON array
--       of strings) for each job
-- Gives the number of jobs whose lines were kept; those of attempts that are no longer running are dropped.
-- The job's field `logged` has the attempt's token and its lines so far: sent again, no line is kept twice.
define('log', {'allow-oom'}, function(_, args)
  local kept = 0
  for i = 2, #args, 4 do
    local id, token = args[i], args[i + 1]
    local f = job_fields(id, 'token', 'logged')
    if f and f[1] == token then
      local of, known = string.match(f[2] or '', '^([^:]*):(%d+)$')
      local before, lines = tonumber(args[i + 2]), cjson.decode(args[i + 3])
      local skip = of == token and math.max(0, whole(known) - before) or 0
      if skip < #lines then
        local key = log_key(id)
        redis.call('HSET', job_key(id), 'logged', token .. ':' .. (before + #lines))
        for at = skip + 1, #lines do safe('RPUSH', key, lines[at]) end
        redis.call('LTRIM', key, -tonumber(args[1]), -1)
      end
      kept = kept + 1
    end
  end
  return kept
end)
