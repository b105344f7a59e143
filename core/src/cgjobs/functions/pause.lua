-- pause, resume: hold a queue, let it go on, also one that a handler's rate limit holds. For operators. Kept over restarts of anything.
-- ARGV  queue
-- Gives 1 when that changed something, else 0. Nothing of the queue starts once pause has answered.
define('pause', {'allow-oom'}, function(_, args)
  safe('SADD', 'rq:queues', waiting_key(args[1], NORMAL))
  local changed = safe('HSETNX', queue_key(args[1]), 'paused', '1')
  if changed == 1 then publish({{'paused', args[1], '', ''}}) end
  return changed
end)

define('resume', {'allow-oom'}, function(_, args)
  local changed = math.min(1, safe('HDEL', queue_key(args[1]), 'paused', 'until'))
  if changed == 1 then
    publish({{'resumed', args[1], '', ''}})
    wake(args[1])
  end
  return changed
end)
