-- settle: how claimed jobs ended, many in one call, and claim the next ones. For workers.
-- ARGV  worker, nonce (also the token of what is claimed), resent (0 or 1), lease in ms, largest data in bytes,
--       outcomes as a JSON array, each [kind, queue, id, token, subtype, run time in us, delay in ms,
--       error (one line), blob]: one argument for all, since each argument has its price on the way
--       kinds: completed (blob: the result as base64 of JSON, or ''), retry and failed (blob: the traceback as
--       base64 of zlib), crashed (a retry that counts as a recovery), unknown (failed, and nobody knows what it did),
--       cancelled, snooze, hold (a tenth part: its group), return (to the front, nothing counted),
--       limited (to the front; a tenth part, queue or key, says what waits for the delay)
--       then (queue, n) for each queue to claim from
-- Gives {ids whose outcome was refused, jobs, left, set aside, dropped, later}. An outcome counts only with the token of
-- the running attempt: that of a worker whose lease ended is refused and counted as stale.
-- Sent again with the same nonce it changes nothing more and refuses the same.
local DEFAULT_RESULT_TTL = 500 -- RQ's, which a job enqueued by RQ's own client means by saying nothing

local function observe(tally, queue, subtype, kind, us)
  if kind == 'cancelled' then return end -- counted where it is done
  local label = queue .. '|' .. subtype
  local function add(field, by) tally[field] = (tally[field] or 0) + by end
  add(kind .. '|' .. label, 1)
  if kind == 'snoozed' or kind == 'held' or kind == 'limited' or kind == 'returned' then return end
  add('seconds_count|' .. label, 1)
  add('seconds_us|' .. label, us)
  for i = 1, #BUCKETS do
    if us <= BUCKETS[i] then add('seconds_' .. i .. '|' .. label, 1); break end
  end
end

local function keep_result(id, worker, blob, ttl)
  local key = results_key(id)
  safe('XADD', key, 'MAXLEN', RESULTS_KEPT, '*', 'type', '1', 'worker_name', worker, 'return_value', blob)
  redis.call('EXPIRE', key, ttl > 0 and ttl or DEFAULT_RESULT_TTL)
end

local function complete(queue, id, worker, blob, ttl, most, checkpoint, logged, sec, usec)
  local key = job_key(id)
  if ttl == 0 then
    forget(id)
  else
    redis.call('HSET', key, 'status', 'finished', 'ended_at', iso(sec, usec), 'token', '')
    redis.call('EXPIRE', key, ttl)
    redis.call('EXPIRE', results_key(id), ttl)
    safe('ZADD', completed_key(queue), seconds(sec, usec, ttl * 1000), id)
    if checkpoint then redis.call('HDEL', key, 'checkpoint') end
    if logged then redis.call('EXPIRE', log_key(id), ttl) end
  end
  if blob ~= '' then keep_result(id, worker, blob, ttl) end
  if ttl > 0 then keep_at_most(queue, 'finished', most) end
end

local function postpone(queue, id, sec, usec, delay_ms)
  local due = seconds(sec, usec, delay_ms)
  redis.call('HSET', job_key(id), 'status', 'scheduled', 'token', '', 'run_at', due)
  safe('ZADD', delayed_key(queue), due, id)
end

local DONE = {completed = 'completed', retry = 'retried', crashed = 'retried', failed = 'failed', quarantine = 'failed',
              unknown = 'failed', snooze = 'snoozed', hold = 'held', limited = 'limited', ['return'] = 'returned',
              cancelled = 'cancelled'}

local function settle_jobs(outcomes, worker, sec, usec)
  local refused, events, tally = {}, {}, {}
  local finished = {} -- queue -> members that leave its running set
  local leases, completed, keys = {}, {}, {}
  for _, outcome in ipairs(outcomes) do
    local kind, queue, id, token, subtype, us, delay_ms, message, blob, group = unpack(outcome)
    local key = job_key(id)
    local f = job_fields(id, 'token', 'status', 'result_ttl', 'failure_ttl', 'number_of_retries', 'retries_left',
                         'priority', 'unique', 'unique_until', 'cancel', 'dependents', 'dependency_id', 'result_max',
                         'failure_max', 'checkpoint', 'logged', 'limit_key')
    if not f or f[1] ~= token or f[2] ~= 'started' then
      refused[#refused + 1] = id
      tally['stale|' .. queue .. '|' .. subtype] = (tally['stale|' .. queue .. '|' .. subtype] or 0) + 1
    else
      local attempt = whole(f[5]) + 1
      if kind == 'completed' then
        local ttl = ttl_of(f[3], DEFAULT_RESULT_TTL)
        complete(queue, id, worker, blob, ttl, whole(f[13]), f[15], f[16], sec, usec)
        ended(id, 'completed', f[11], f[12], ttl, blob)
        completed[queue] = (completed[queue] or 0) + 1
        if f[9] == 'done' then release(queue, f[8], id) end
      elseif kind ~= 'quarantine' and (f[10] or kind == 'cancelled') then
        kind = 'cancelled' -- whatever else its handler made of it
        local ttl = ttl_of(f[4], DEFAULT_FAILURE_TTL)
        end_cancelled(queue, id, f[8], sec, usec, ttl)
        ended(id, 'cancelled', f[11], f[12], ttl)
      elseif kind == 'retry' or kind == 'crashed' then
        if kind == 'crashed' then
          redis.call('HSET', key, 'recoveries', whole(redis.call('HGET', key, 'recoveries')) + 1)
        end
        keep_error(id, worker, attempt, message, blob)
        redis.call('HSET', key, 'number_of_retries', attempt, 'retries_left',
                   math.max(0, whole(f[6]) - 1))
        postpone(queue, id, sec, usec, delay_ms)
      elseif kind == 'failed' or kind == 'quarantine' or kind == 'unknown' then
        if kind == 'quarantine' then quarantine(queue, id, message) end
        keep_error(id, worker, attempt, message, blob)
        local ttl = ttl_of(f[4], DEFAULT_FAILURE_TTL)
        if kind == 'unknown' then
          fail_unknown(queue, id, subtype, sec, usec, ttl, whole(f[14]))
        else
          fail(queue, id, sec, usec, ttl, whole(f[14]))
        end
        ended(id, 'failed', f[11], f[12], ttl)
        release(queue, f[8], id) -- whatever it was held for: a failed job must not keep the next one away
      elseif kind == 'snooze' then
        postpone(queue, id, sec, usec, delay_ms)
      elseif kind == 'limited' and group ~= 'queue' then
        if f[17] then hold_key(queue, f[17], id, delay_ms, message, microseconds(sec, usec))
        else postpone(queue, id, sec, usec, delay_ms) end
      elseif kind == 'hold' then
        hold(queue, group, id, message)
      else
        redis.call('HSET', key, 'status', 'queued', 'token', '')
        push(queue, level_of(f[7]), id, true)
        if kind == 'limited' then hold_queue(queue, delay_ms, sec, usec) else wake(queue) end
      end
      if f[17] then keys[#keys + 1] = {queue, f[17], id .. ':' .. token} end
      if not finished[queue] then finished[queue] = {} end
      table.insert(finished[queue], id .. ':' .. token)
      leases[#leases + 1] = queue .. ':' .. id .. ':' .. token
      events[#events + 1] = {DONE[kind], queue, id, kind == 'hold' and group or subtype}
      observe(tally, queue, subtype, DONE[kind], us)
    end
  end
  for queue, members in pairs(finished) do safe('ZREM', active_key(queue), unpack(members)) end
  if #leases > 0 then safe('ZREM', LEASES, unpack(leases)) end
  for _, ended in ipairs(keys) do key_freed(ended[1], ended[2], ended[3], microseconds(sec, usec)) end
  for queue, n in pairs(completed) do increment(queue_key(queue), 'completed', n) end
  for field, by in pairs(tally) do count(field, by) end
  publish(events)
  return refused
end

define('settle', {'allow-oom'}, function(_, args)
  local sec, usec = now()
  local worker, nonce, resent = args[1], args[2], args[3]
  local refused
  if first_time(nonce, resent, sec) then
    refused = remembered(nonce, sec, settle_jobs, cjson.decode(args[6]), worker, sec, usec)
    if #refused > 0 then keep_answer(nonce, refused) end
    resent = '0'
  else
    refused = kept_answer(nonce) or {}
  end
  local claimed = claim_jobs(worker, nonce, resent, tonumber(args[4]), tonumber(args[5]), args, 7)
  return {refused, claimed[1], claimed[2], set_aside, dropped, claimed[3]}
end)
