-- pause, resume: hold a queue, let it go on, also one that a handler's rate limit holds. For operators. Kept over restarts of anything.
-- ARGV  queue
-- Gives 1 when that changed something, else 0. No claim gives a job of the queue once pause has answered; a worker
-- whose claim was answered just before may still be about to start it: `unheard` tells when that is over.
define('pause', {'allow-oom'}, function(_, args)
  safe('SADD', 'rq:queues', waiting_key(args[1], NORMAL))
  local sec, usec = now()
  local changed = safe('HSETNX', queue_key(args[1]), 'paused', seconds(sec, usec, 0)) -- tells one pause from the next
  if changed == 1 then publish({{'paused', args[1], '', ''}}) end
  return changed
end)

define('resume', {'allow-oom'}, function(_, args)
  local changed = math.min(1, safe('HDEL', queue_key(args[1]), 'paused', 'until'))
  redis.call('DEL', heard_key(args[1]))
  if changed == 1 then
    publish({{'resumed', args[1], '', ''}})
    wake(args[1])
  end
  return changed
end)

-- heard: a worker knows that queues are paused, and has begun all that it had claimed of them before. For workers.
-- ARGV  worker, then (queue, which pause) for each
define('heard', {'allow-oom'}, function(_, args)
  for i = 2, #args, 2 do
    if safe('HGET', queue_key(args[i]), 'paused') == args[i + 1] then
      safe('HSET', heard_key(args[i]), args[1], args[i + 1])
    end
  end
end)

-- unheard: whether something of a paused queue may still start. For operators; changes nothing.
-- ARGV  queue
-- Gives the workers that have claimed jobs of it and have not said that they know of the pause. A worker whose
-- lease is over is none of them: it does not begin a job that it may have lost.
define('unheard', {'no-writes', 'allow-oom'}, function(_, args)
  local queue, names, asked, seen = args[1], {}, {}, {}
  local pause = redis.pcall('HGET', queue_key(queue), 'paused')
  local members = redis.pcall('ZRANGE', active_key(queue), 0, -1)
  if type(pause) ~= 'string' or members.err then return names end
  local sec, usec = now()
  local time = sec + usec / 1e6
  for _, member in ipairs(members) do
    local id, token = string.match(member, '^([^:]*):([^:]*)$')
    if id and not asked[token] then
      local ends = redis.pcall('ZSCORE', LEASES, queue .. ':' .. member)
      local f = type(ends) == 'string' and tonumber(ends) > time and job_fields(id, 'worker_name', 'token')
      if f and f[1] and f[2] == token then
        asked[token] = true -- one claim, one worker
        if not seen[f[1]] and redis.pcall('HGET', heard_key(queue), f[1]) ~= pause then
          seen[f[1]] = true
          names[#names + 1] = f[1]
        end
      end
    end
  end
  return names
end)
