-- Limits over the whole fleet: how many jobs of a queue may start now, and when the next one may.
-- Starts are remembered in a list for the length of the window, in microseconds by the server's clock: in no window
-- of that length are there more, wherever it begins. Running jobs are those of RQ's wip registry.
local FULL_LOOK_SECONDS = 1 -- how often the server's memory is looked at

local function microseconds(sec, usec)
  return sec * 1e6 + usec
end

-- Of a wish for so many starts, how many may be; when these are fewer, also the ms until there may be another one.
local function window_room(key, most, window_ms, wanted, now_us)
  local kept, window = safe('LLEN', key), window_ms * 1000
  local over = kept - most + wanted
  if over <= 0 then return wanted end
  local gone = 0
  for _, text in ipairs(redis.call('LRANGE', key, 0, over - 1)) do
    local at = tonumber(text)
    -- What is no time, or lies ahead since the clock was set back, counts no more.
    if at and at > now_us - window and at <= now_us then break end
    gone = gone + 1
  end
  if gone > 0 then redis.call('LPOP', key, gone) end
  kept = kept - gone
  local room = math.min(wanted, math.max(0, most - kept))
  if room == wanted then return room end
  local first = tonumber(redis.call('LINDEX', key, math.max(0, kept - most)) or '') or now_us
  return room, math.min(window_ms, math.max(1, math.ceil((first + window - now_us) / 1000)))
end

local function note_starts(key, n, window_ms, now_us)
  local at, times = string.format('%.0f', now_us), {}
  for i = 1, n do times[i] = at end
  safe('RPUSH', key, unpack(times))
  redis.call('PEXPIRE', key, window_ms)
end

-- How many jobs of a queue may start (one more than wanted says that others may ask too) and, when that ends at
-- less, the ms until there may be more, or nil when that is not known: then a job has to end first.
local function queue_room(queue, wanted, limits, held_until, sec, usec)
  local now_us = microseconds(sec, usec)
  local held_ms = tonumber(held_until or '')
  if held_ms and held_ms * 1000 > now_us then return 0, math.ceil(held_ms - now_us / 1000) end
  local room, wait = wanted + 1, nil
  if not limits then return room end
  if limits[2] > 0 then room = math.min(room, math.max(0, limits[2] - safe('ZCARD', active_key(queue)))) end
  if limits[3] > 0 and room > 0 then
    room, wait = window_room(starts_key(queue), limits[3], limits[4], room, now_us)
  end
  return room, wait
end

-- Jobs with a limit key. What of a key may not start now is held in the group key:<key>, and the key stands in the
-- queue's set of due keys, scored by when it is worth a look: at once when a job of it ends. A claim looks at as many
-- keys as it has places, so that neither many keys nor many jobs of one make it long.
local KEY_GROUP, LOOK_AGAIN_SECONDS = 'key:', 30
local MOST_HELD = 80 -- jobs that one claim holds: the broker serves nobody else meanwhile, for some 10 ms
local TAKEN_AT_ONCE = 40 -- where jobs may have to be held: so many more than MOST_HELD they can become

-- How many jobs of a key run. Members whose run has ended without anybody saying so (their hash was removed) go.
local function running_of_key(queue, k, most, token)
  local key = running_key(queue .. ':' .. k)
  local running = safe('SCARD', key)
  if running < most then return running end
  for _, member in ipairs(redis.call('SMEMBERS', key)) do
    local of = string.match(member, ':([^:]*)$')
    if of ~= token and not safe('ZSCORE', active_key(queue), member) then
      redis.call('SREM', key, member)
      running = running - 1
    end
  end
  return running
end

-- How many jobs of a key may start, and the ms until there may be more when that is known.
local function key_room(queue, k, limits, wanted, token, now_us)
  local left = redis.call('PTTL', limited_key(queue .. ':' .. k))
  if left > 0 then return 0, left end
  if not limits then return wanted end
  local room = wanted
  if limits[5] > 0 then room = math.min(room, math.max(0, limits[5] - running_of_key(queue, k, limits[5], token))) end
  if limits[6] > 0 and room > 0 then
    return window_room(starts_key(queue .. ':' .. k), limits[6], limits[7], room, now_us)
  end
  return room
end

local function key_started(queue, k, limits, member, now_us)
  if not limits then return end
  local key = queue .. ':' .. k
  if limits[5] > 0 then safe('SADD', running_key(key), member) end
  if limits[6] > 0 then note_starts(starts_key(key), 1, limits[7], now_us) end
end

local function has_held(queue, k)
  return redis.call('EXISTS', held_key(queue .. ':' .. KEY_GROUP .. k)) == 1
end

-- Have a key looked at after so many ms.
local function look_at_key(queue, k, ms, now_us)
  safe('ZADD', due_key(queue), 'LT', string.format('%.0f', math.floor(now_us / 1000) + ms), k)
  safe('HSET', queue_key(queue), 'keys', '1')
end

-- A job of a key has ended: the next one may start, or at least somebody has to look.
local function key_freed(queue, k, member, now_us)
  redis.pcall('SREM', running_key(queue .. ':' .. k), member)
  if has_held(queue, k) then
    look_at_key(queue, k, 0, now_us)
    wake(queue)
  end
end

-- The held job of a key that is next, taken out to be claimed; nil when there is none.
local function next_of_key(queue, k)
  local group = KEY_GROUP .. k
  local id = safe('LPOP', held_key(queue .. ':' .. group))
  if id then
    safe('ZREM', deferred_key(queue), id)
    local f = job_fields(id, 'status', 'held')
    if f and f[1] == 'deferred' and f[2] == group then
      redis.call('HSET', job_key(id), 'status', 'queued')
      redis.call('HDEL', job_key(id), 'held', 'held_reason')
    end -- else the claim finds that it is no waiting job, and says so
  end
  forget_empty(queue, group)
  return id
end

-- Keep the jobs of a key from starting for so long, and the one that was told so in front of them.
local function hold_key(queue, k, id, ms, reason, now_us)
  local name, group = queue .. ':' .. k, KEY_GROUP .. k
  if redis.call('PTTL', limited_key(name)) < ms then redis.call('SET', limited_key(name), '1', 'PX', math.max(1, ms)) end
  hold(queue, group, id, reason)
  local list = held_key(queue .. ':' .. group)
  redis.call('LMOVE', list, list, 'RIGHT', 'LEFT')
  look_at_key(queue, k, math.max(1, ms), now_us)
end

-- Keep a queue from starting anything for so long; one that is held for longer stays so.
local function hold_queue(queue, ms, sec, usec)
  local ends = math.ceil(microseconds(sec, usec) / 1000) + ms
  local before = tonumber(safe('HGET', queue_key(queue), 'until') or '') or 0
  if ends > before then redis.call('HSET', queue_key(queue), 'until', string.format('%.0f', ends)) end
end

-- Whether the server has used more than this share of its maxmemory; looked at once a second at most. A server that
-- throws data away when it is full never refuses an enqueue by this: `doctor` complains of it instead.
local looked_at, used_memory, max_memory = -1, 0, 0
local function too_full(share, sec)
  if sec - looked_at >= FULL_LOOK_SECONDS or sec < looked_at then
    looked_at, used_memory, max_memory = sec, 0, 0
    local info = redis.pcall('INFO', 'memory')
    if type(info) == 'string' and string.find(info, 'maxmemory_policy:noeviction', 1, true) then
      max_memory = tonumber(string.match(info, '\nmaxmemory:(%d+)') or '') or 0
      used_memory = (tonumber(string.match(info, '\nused_memory:(%d+)') or '') or 0)
                    - (tonumber(string.match(info, 'mem_not_counted_for_evict:(%d+)') or '') or 0)
    end
  end
  return max_memory > 0 and used_memory > share * max_memory
end
