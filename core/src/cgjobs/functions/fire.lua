-- fire: enqueue the jobs of one slot of a schedule, once however many schedulers ask. For schedulers.
-- ARGV  schedule, slot in ms since the epoch, note (why there are no jobs, or ''), then the jobs as in enqueue
-- Gives 1 when this call fired the slot, 0 when it, or a later one, was fired before, and minus the ms to wait
-- when the slot still lies ahead by the server's clock: the clock of a scheduler's host may be wrong. A refusal as
-- enqueue gives it when the jobs may not be added: the slot is not fired then.
define('fire', {}, function(_, args)
  local key, slot = schedule_key(args[1]), tonumber(args[2])
  local last = tonumber(safe('HGET', key, 'slot') or '-1') or -1
  if last >= slot then return 0 end
  local sec, usec = now()
  local early = slot - sec * 1000 - usec / 1000
  if early > 0 then return -math.ceil(early) end
  local limits = producer_limits(args, 4)
  local refused = #args > 3 and refusal(args, 4, limits, sec)
  if refused then return refused end
  add_jobs(args, 4, further_fields(args, 4), sec, usec)
  redis.call('HSET', key, 'slot', args[2], 'fired_at', iso(sec, usec), 'note', args[3], 'jobs',
             (#args - 3) / JOB_ARGS)
  increment(key, 'fires', 1)
  return 1
end)
