-- stats: the numbers of queues, all at one moment. For everybody; changes nothing.
-- ARGV  queues
-- Gives for each {waiting (held ones included), active, completed ever, failed, delayed, paused (0 or 1), since
-- when the job that waits longest has been ready, in RQ's time format, or '', held, deferred, ms since the epoch until
-- which a rate limit holds the queue, or a time that is over}.
local function size(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  return type(reply) == 'number' and reply or 0
end

define('stats', {'no-writes', 'allow-oom'}, function(_, args)
  local replies = {}
  for i = 1, #args do
    local queue = args[i]
    local waiting, oldest = 0, ''
    for _, level in ipairs(LEVELS) do
      local key = waiting_key(queue, level)
      waiting = waiting + size('LLEN', key)
      local first = redis.pcall('LINDEX', key, 0) -- each level in its own order: a low job may wait longest
      local ready = type(first) == 'string' and job_fields(first, 'enqueued_at')
      if ready and ready[1] and (oldest == '' or ready[1] < oldest) then oldest = ready[1] end
    end
    local facts = redis.pcall('HMGET', queue_key(queue), 'paused', 'completed', 'until')
    if facts.err then facts = {} end
    local paused, completed = facts[1] and 1 or 0, tonumber(facts[2] or '0') or 0
    local held = size('ZCOUNT', deferred_key(queue), HELD_FROM, HELD_TO)
    replies[i] = {waiting + held, size('ZCARD', active_key(queue)), completed, size('ZCARD', failed_key(queue)),
                  size('ZCARD', delayed_key(queue)), paused, oldest, held,
                  size('ZCARD', deferred_key(queue)) - held,
                  tonumber(facts[3] or '') or 0}
  end
  return replies
end)
