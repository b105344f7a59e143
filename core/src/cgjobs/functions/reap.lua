-- reap: take jobs back whose lease ended. For workers; any number may do it.
-- ARGV  how many crashes make a job poison, at most how many leases to look at
-- Gives {(queue, id, 'recovered', 'poison', 'unknown' or 'cancelled') for each job, set aside, dropped}. Recoveries are
-- counted apart from attempts; dropped are (queue, id, reason) of each job that failed since its dependency did.
-- When the clock was set back, what a lease has left would be longer by that: give each what it had left. Those given
-- since lie well before those given earlier, when the step was a long one; after a short one they end a little early.
local function follow_clock(sec, usec)
  local time, before = sec + usec / 1e6, tonumber(safe('GET', CLOCK) or '')
  local back = before and before - time or 0
  if back > 1 and back < 1e9 then
    local old = string.format('%.6f', time + back / 2)
    local found = safe('ZRANGEBYSCORE', LEASES, old, '+inf', 'WITHSCORES')
    for i = 1, #found, 2 do safe('ZADD', LEASES, string.format('%.6f', tonumber(found[i + 1]) - back), found[i]) end
  end
  redis.call('SET', CLOCK, string.format('%.6f', time))
end

define('reap', {'allow-oom'}, function(_, args)
  local sec, usec = now()
  follow_clock(sec, usec)
  local most = tonumber(args[1])
  local done, events = {}, {}
  for _, member in ipairs(safe('ZRANGEBYSCORE', LEASES, '-inf', seconds(sec, usec, 0), 'LIMIT', 0, args[2])) do
    redis.call('ZREM', LEASES, member)
    local queue, id, token = string.match(member, '^([^:]*):([^:]*):([^:]*)$')
    if not queue then
      quarantine('', member, 'no lease of a job')
    else
      safe('ZREM', active_key(queue), id .. ':' .. token)
      local f = job_fields(id, 'token', 'status', 'recoveries', 'priority', 'failure_ttl', 'worker_name',
                           'number_of_retries', 'description', 'unique', 'cancel', 'dependents', 'dependency_id',
                           'failure_max', 'begun', 'limit_key')
      -- With a token that has no lease it would run for ever: somebody wrote it.
      local is_running = f and f[2] == 'started'
      if is_running and (f[1] == token or not safe('ZSCORE', LEASES, queue .. ':' .. id .. ':' .. (f[1] or ''))) then
        local recoveries = whole(f[3]) + 1
        local subtype = string.match(f[8] or '', '^[%w_.-]+') or ''
        local fate, ttl = 'recovered', ttl_of(f[5], DEFAULT_FAILURE_TTL)
        redis.call('HSET', job_key(id), 'recoveries', recoveries)
        if f[10] then
          fate = 'cancelled'
          end_cancelled(queue, id, f[9], sec, usec, ttl)
          ended(id, 'cancelled', f[11], f[12], ttl)
          events[#events + 1] = {'cancelled', queue, id, subtype}
        elseif f[14] and f[14] == f[1] then -- it may not run twice, and it has begun
          fate = 'unknown'
          keep_error(id, f[6] or '', whole(f[7]) + 1, 'Outcome unknown: its worker died while it ran', '')
          fail_unknown(queue, id, subtype, sec, usec, ttl, whole(f[13]))
          ended(id, 'failed', f[11], f[12], ttl)
          release(queue, f[9], id)
          count('failed|' .. queue .. '|' .. subtype, 1)
          events[#events + 1] = {'failed', queue, id, subtype}
        elseif recoveries >= most then
          fate = 'poison'
          keep_error(id, f[6] or '', whole(f[7]) + 1,
                     'Poison: its worker died ' .. recoveries .. ' times while it ran', '')
          fail(queue, id, sec, usec, ttl, whole(f[13]))
          release(queue, f[9], id)
          ended(id, 'failed', f[11], f[12], ttl)
          count('failed|' .. queue .. '|' .. subtype, 1)
          events[#events + 1] = {'failed', queue, id, subtype}
        else
          redis.call('HSET', job_key(id), 'status', 'queued', 'token', '')
          push(queue, level_of(f[4]), id, true)
          events[#events + 1] = {'recovered', queue, id, subtype}
        end
        if f[15] then key_freed(queue, f[15], id .. ':' .. token, microseconds(sec, usec)) end
        wake(queue) -- for the job, and for its place where only so many may run
        count('recovered|' .. queue, 1)
        done[#done + 1] = queue; done[#done + 1] = id; done[#done + 1] = fate
      end
    end
  end
  publish(events)
  return {done, set_aside, dropped}
end)
