-- fire: enqueue jobs of one slot of a schedule, once however many schedulers ask. For schedulers.
-- ARGV  schedule, slot in ms since the epoch, note (why there are no jobs, or ''), at which of the slot's jobs these
--       begin, 1 when these are its last ones else 0, then the jobs as in enqueue
-- A slot of many jobs is fired in parts. Whoever sends a part that is the next one adds it; all schedulers are told
-- where to go on, so that another one can finish what one that died has begun.
-- Gives {1, n} when this call completed the slot, {2, n} when n of its jobs are there and more are to come, {0, 0} when
-- it, or a later one, was fired before, and {3, ms} when the slot still lies ahead by the server's clock: the clock of
-- a scheduler's host may be wrong. A refusal as enqueue gives it when these jobs may not be added now.
define('fire', {}, function(_, args)
  local key, slot, first = schedule_key(args[1]), tonumber(args[2]), tonumber(args[4])
  local f = safe('HMGET', key, 'slot', 'part', 'parted')
  if (tonumber(f[1] or '') or -1) >= slot then return {0, 0} end
  local sec, usec = now()
  local early = slot - sec * 1000 - usec / 1000
  if early > 0 then return {3, math.ceil(early)} end
  local there = f[2] == args[2] and whole(f[3]) or 0
  if first ~= there then return {2, there} end
  local limits = producer_limits(args, 6)
  local refused = #args > 5 and refusal(args, 6, limits, sec)
  if refused then return refused end
  add_jobs(args, 6, further_fields(args, 6), sec, usec)
  local added = there + (#args - 5) / JOB_ARGS
  if args[5] ~= '1' then
    redis.call('HSET', key, 'part', args[2], 'parted', added)
    return {2, added}
  end
  redis.call('HSET', key, 'slot', args[2], 'fired_at', iso(sec, usec), 'note', args[3], 'jobs', added)
  if there > 0 then redis.call('HDEL', key, 'part', 'parted') end
  increment(key, 'fires', 1)
  return {1, added}
end)
