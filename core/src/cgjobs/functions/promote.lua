-- promote: make due delayed jobs ready, let go of finished ones whose time is over, and tell dependents of the ends
-- that earlier calls left. For workers.
-- ARGV  at most how many jobs, then the queues
-- Gives {number made ready, ms until the next call is due or -1, (queue, which pause) for each queue that is paused,
--       set aside, (queue, group) for each group of held jobs that a worker may be able to run,
--       dropped: (queue, id, reason) for each job that failed since its dependency did}.
local LONGEST_WAIT_MS = 86400000 -- somebody may have written a score of any size

local TRIMMED_BY_PROMOTE = 200
local SWEPT = 1000 -- of one registry: more in one call would keep the others waiting

local function sweep(key, sec)
  local over = safe('ZRANGEBYSCORE', key, 0, sec, 'LIMIT', 0, SWEPT)
  if over[1] then redis.call('ZREM', key, unpack(over)) end
end

-- Go on where a settle or fail has left more jobs than are to be kept.
local function trim_rest(queue, status, most)
  if most and trim(queue, status, math.max(1, whole(most)), TRIMMED_BY_PROMOTE) == 0 then
    redis.call('HDEL', queue_key(queue), KEPT[status][2])
  end
end

define('promote', {'allow-oom'}, function(_, args)
  local sec, usec = now()
  local budget, promoted, next_due = tonumber(args[1]), 0, -1
  local time, enqueued, paused, held = seconds(sec, usec, 0), iso(sec, usec), {}, {}
  for i = 2, #args do
    local queue = args[i]
    local key = delayed_key(queue)
    local ready = false
    if budget > promoted then
      for _, id in ipairs(safe('ZRANGEBYSCORE', key, '-inf', time, 'LIMIT', 0, budget - promoted)) do
        redis.call('ZREM', key, id)
        local f = job_fields(id, 'status', 'priority')
        if f and f[1] == 'scheduled' then
          redis.call('HSET', job_key(id), 'status', 'queued', 'enqueued_at', enqueued)
          push(queue, level_of(f[2]), id, false)
          ready = true
          promoted = promoted + 1
        else
          quarantine(queue, id, f and f[1] and 'listed as delayed, but its status is ' .. string.sub(f[1], 1, 40)
                     or 'no job has this id')
        end
      end
    end
    if ready then wake(queue) end
    local first = safe('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then
      local wait = math.max(0, math.ceil((tonumber(first[2]) - sec) * 1000 - usec / 1000))
      wait = math.min(wait, LONGEST_WAIT_MS)
      if next_due < 0 or wait < next_due then next_due = wait end
    end
    local state = safe('HMGET', queue_key(queue), 'paused', KEPT.finished[2], KEPT.failed[2])
    if state[1] then paused[#paused + 1] = queue; paused[#paused + 1] = state[1] end
    for _, group in ipairs(groups_for_workers(queue, sec)) do
      held[#held + 1] = queue; held[#held + 1] = group
    end
    sweep(completed_key(queue), sec)
    sweep(failed_key(queue), sec)
    sweep(cancelled_key(queue), sec)
    trim_rest(queue, 'finished', state[2])
    trim_rest(queue, 'failed', state[3])
  end
  go_on_telling()
  if safe('LLEN', ENDINGS) > 0 then next_due = 0 end
  return {promoted, next_due, paused, set_aside, held, dropped}
end)
