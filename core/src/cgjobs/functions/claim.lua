-- claim: give a worker up to n jobs of each of its queues, under a lease. For workers.
-- ARGV  worker, token, resent (0 or 1), lease in ms, largest data in bytes, then (queue, n) for each queue;
--       of a queue with limits, instead of n [n, most running, starts, window in ms, the same three for one
--       limit key], 0 for no limit
-- Gives {jobs, left, set aside, dropped, later}: each job {queue, id, data, number_of_retries, retries_left, recoveries,
--       created_at, priority, timeout_ms, backoff, then (name, value) for what few jobs have: checkpoint, dependencies
--       (their ids as JSON, id and end of each), enqueued_at where it is not created_at, started_at of the run before};
--       left: (queue, waiting jobs) for each queue that still has some;
--       set aside: (queue, entry, reason) for each entry that was no job;
--       dropped: (queue, id, reason) for each job that had expired, or failed since its dependency did;
--       later: (queue, ms until it is worth asking again) for each queue whose jobs wait for a rate.
-- Skips paused queues. Sent again with the same token it gives the jobs that the lost reply had.

-- Pop up to n ids, level by level when the queue has levels.
local function take(queue, n, levels)
  if not levels then return safe('LPOP', waiting_key(queue, NORMAL), n) or {} end
  local ids, sizes, total = {}, {}, 0
  for i, level in ipairs(LEVELS) do
    sizes[i] = safe('LLEN', waiting_key(queue, level))
    total = total + sizes[i]
  end
  local last = increment(queue_key(queue), 'picks', math.min(n, total))
  local pick = last - math.min(n, total)
  while #ids < n and total > 0 do
    local at = PICKS[pick % #PICKS + 1]
    if sizes[at] == 0 then
      at = 1
      while sizes[at] == 0 do at = at + 1 end
    end
    ids[#ids + 1] = redis.call('LPOP', waiting_key(queue, LEVELS[at]))
    sizes[at], total, pick = sizes[at] - 1, total - 1, pick + 1
  end
  return ids
end

local CLAIM_FIELDS = {'status', 'data', 'number_of_retries', 'retries_left', 'recoveries', 'created_at', 'priority',
                      'timeout_ms', 'backoff', 'token', 'unique', 'unique_until', 'expires_at', 'dependents',
                      'dependency_ids', 'checkpoint', 'limit_key', 'enqueued_at', 'started_at'}

local function claimed_reply(queue, id, f)
  local reply = {queue, id, f[2], f[3] or '0', f[4] or '0', f[5] or '0', f[6] or '', f[7] or NORMAL, f[8] or '',
                 f[9] or ''}
  local function add(name, value) reply[#reply + 1] = name; reply[#reply + 1] = value end
  if f[15] then add('dependencies', {f[15], safe('HGETALL', dependencies_key(id))}) end
  if f[16] then add('checkpoint', f[16]) end
  if f[18] and f[18] ~= f[6] then add('enqueued_at', f[18]) end
  if f[19] then add('started_at', f[19]) end
  return reply
end

-- Whether a job that has not started yet came too late; if so it fails, visibly.
local function expired(queue, id, fields, sec, usec)
  local by = tonumber(fields[13] or '')
  if not by or by > sec + usec / 1e6 or whole(fields[3]) > 0 or whole(fields[5]) > 0 then return false end
  local reason = 'Expired: it had to start before ' .. iso(math.floor(by), 0)
  keep_error(id, '', '1', reason, '')
  local keep = job_fields(id, 'failure_ttl', 'failure_max')
  local ttl = ttl_of(keep[1], DEFAULT_FAILURE_TTL)
  fail(queue, id, sec, usec, ttl, whole(keep[2]))
  release(queue, fields[11], id)
  ended(id, 'failed', fields[14], fields[15], ttl)
  count('expired|' .. queue, 1)
  publish({{'failed', queue, id, ''}})
  for _, part in ipairs({queue, id, reason}) do dropped[#dropped + 1] = part end
  return true
end

-- The fields of a waiting job, or nil after putting what stands there into quarantine.
local function waiting_fields(queue, id, largest)
  if #id > 128 or not string.match(id, '^[%w_-]+$') then
    quarantine(queue, id, 'no id of a job')
    return nil
  end
  local size = redis.pcall('HSTRLEN', job_key(id), 'data')
  if type(size) ~= 'number' or size == 0 then
    quarantine(queue, id, 'no job has this id')
    return nil
  end
  if size > largest then
    local sec, usec = now()
    keep_error(id, '', '1', 'its data has ' .. size .. ' bytes, more than ' .. largest, '')
    local f = job_fields(id, 'dependents', 'dependency_id')
    fail(queue, id, sec, usec, DEFAULT_FAILURE_TTL, 0)
    ended(id, 'failed', f[1], f[2], DEFAULT_FAILURE_TTL)
    count('failed|' .. queue .. '|', 1)
    publish({{'failed', queue, id, ''}})
    quarantine(queue, id, 'data larger than the limit')
    return nil
  end
  local fields = job_fields(id, unpack(CLAIM_FIELDS))
  if fields[1] ~= 'queued' then
    quarantine(queue, id, 'listed as waiting, but its status is ' .. string.sub(tostring(fields[1]), 1, 40))
    return nil
  end
  return fields
end

-- Whose turn it is when a job with a limit key was popped: its own, that of the one of its key that is held longest,
-- or nobody's. Who has to wait is held, and `held` counts it.
local function turn_of_key(queue, id, fields, limits, token, now_us, held, largest)
  local k = fields[17]
  held.keys[k] = true
  local room = key_room(queue, k, limits, 1, token, now_us)
  local waits = has_held(queue, k)
  if room > 0 and not waits then return id, fields end
  hold(queue, KEY_GROUP .. k, id, 'others of its limit key are first')
  held.count = held.count + 1
  if room == 0 then return nil end
  local first = next_of_key(queue, k)
  return first, waiting_fields(queue, first, largest)
end

-- Claim popped jobs. When a command is refused midway, what was claimed has its lease, and the rest goes back.
local function claim_from(queue, ids, worker, token, expiry, jobs, sec, usec, largest, limits, held)
  local now_us = microseconds(sec, usec)
  local members, leases, taken = {}, {}, 0
  local started = iso(sec, usec)
  local done, reason = pcall(function()
    for at, id in ipairs(ids) do
      local fields = waiting_fields(queue, id, largest)
      local k = fields and fields[17]
      if k and not held.turn[id] then
        id, fields = turn_of_key(queue, id, fields, limits, token, now_us, held, largest)
        ids[at] = id or ids[at] -- it goes back if a command is refused
      end
      if fields and not expired(queue, id, fields, sec, usec) then
        if fields[12] == 'started' then release(queue, fields[11], id) end
        redis.call('HSET', job_key(id), 'status', 'started', 'started_at', started, 'worker_name', worker, 'token',
                   token)
        if k then key_started(queue, k, limits, id .. ':' .. token, now_us) end
        jobs[#jobs + 1] = claimed_reply(queue, id, fields)
        members[#members + 1] = FAR_FUTURE; members[#members + 1] = id .. ':' .. token
        leases[#leases + 1] = expiry; leases[#leases + 1] = queue .. ':' .. id .. ':' .. token
      end
      taken = at
    end
  end)
  if #members > 0 then
    safe('ZADD', active_key(queue), unpack(members))
    safe('ZADD', LEASES, unpack(leases))
    if limits and limits[3] > 0 then
      note_starts(starts_key(queue), #members / 2, limits[4], now_us)
    end
  end
  if done then return end
  for at = #ids, taken + 1, -1 do
    local f = job_fields(ids[at], 'priority')
    push(queue, level_of(f and f[1]), ids[at], true)
  end
  reraise(reason)
end

local function waiting_in(queue, levels)
  local waiting = 0
  for _, level in ipairs(levels and LEVELS or {NORMAL}) do
    waiting = waiting + safe('LLEN', waiting_key(queue, level))
  end
  return waiting
end

-- Take the held jobs whose keys are due and may start, at most n.
local function due_jobs(queue, n, limits, token, now_us, held)
  local ids = {}
  for _, k in ipairs(safe('ZRANGEBYSCORE', due_key(queue), '-inf', string.format('%.0f', now_us / 1000), 'LIMIT', 0, n)) do
    if #ids < n then
      redis.call('ZREM', due_key(queue), k)
      held.keys[k] = true
      for _ = 1, key_room(queue, k, limits, n - #ids, token, now_us) do
        local id = next_of_key(queue, k)
        if not id then break end
        ids[#ids + 1], held.turn[id] = id, true
      end
    end
  end
  return ids
end

-- Say when the keys that this claim has touched are worth another look; gives the ms until the first of all is due.
local function look_again(queue, limits, token, now_us, held)
  for k in pairs(held.keys) do
    if has_held(queue, k) then
      local room, wait = key_room(queue, k, limits, 1, token, now_us)
      look_at_key(queue, k, room > 0 and 0 or wait or LOOK_AGAIN_SECONDS * 1000, now_us)
    end
  end
  local first = safe('ZRANGE', due_key(queue), 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, math.ceil(tonumber(first[2]) - now_us / 1000))
end

local function claim_jobs(worker, token, resent, lease_ms, largest, args, at)
  local sec, usec = now()
  local jobs, left, later = {}, {}, {}
  local expiry = seconds(sec, usec, lease_ms)
  for i = at, #args, 2 do
    local queue, n, limits = args[i], tonumber(args[i + 1]), nil
    if not n then
      limits = cjson.decode(args[i + 1])
      n = limits[1]
    end
    local state = safe('HMGET', queue_key(queue), 'paused', 'levels', 'until', 'keys')
    if resent == '1' then
      for _, member in ipairs(safe('ZRANGE', active_key(queue), 0, -1)) do
        local id, of = string.match(member, '^(.-):(.*)$')
        if of == token then
          local fields = job_fields(id, unpack(CLAIM_FIELDS))
          if fields and fields[10] == token then
            safe('ZADD', LEASES, expiry, queue .. ':' .. id .. ':' .. token) -- it begins now
            jobs[#jobs + 1] = claimed_reply(queue, id, fields)
            n = n - 1
          end
        end
      end
    end
    readied[queue] = nil
    -- Of a queue with limits none may be wanted: a job of it has ended, and others have to be woken.
    if (n > 0 or limits) and not state[1] then
      local room, wait = n + 1, nil
      if limits or state[3] then room, wait = queue_room(queue, n, limits, state[3], sec, usec) end
      local held, now_us = {count = 0, keys = {}, turn = {}}, microseconds(sec, usec)
      if n > 0 and room > 0 then
        local before, places = #jobs, math.min(n, room)
        local ids = state[4] and due_jobs(queue, math.min(places, MOST_HELD), limits, token, now_us, held) or {}
        if #ids > 0 then claim_from(queue, ids, worker, token, expiry, jobs, sec, usec, largest, limits, held) end
        local looked, wanted = #ids, 0
        repeat -- one job for each place, and another one for each that was held
          wanted = places - (#jobs - before)
          if limits or state[4] then wanted = math.min(wanted, TAKEN_AT_ONCE) end
          ids = take(queue, wanted, state[2])
          claim_from(queue, ids, worker, token, expiry, jobs, sec, usec, largest, limits, held)
          looked = looked + #ids
        until #ids < wanted or looked >= places + held.count or held.count >= MOST_HELD or #jobs - before >= places
        room = room - (#jobs - before)
      end
      local due
      if state[4] or next(held.keys) then due = look_again(queue, limits, token, now_us, held) end
      local waiting = waiting_in(queue, state[2])
      if room > 0 and (waiting > 0 or due == 0) then
        left[#left + 1] = queue; left[#left + 1] = waiting
        wake(queue)
      elseif room == 0 and wait and (waiting > 0 or due) then
        later[#later + 1] = queue; later[#later + 1] = wait
      end
      if due and due > 0 and room > 0 then later[#later + 1] = queue; later[#later + 1] = due end
    end
  end
  for queue in pairs(readied) do -- who settled hears at once what that made ready
    local state = safe('HMGET', queue_key(queue), 'paused', 'levels')
    local waiting = state[1] and 0 or waiting_in(queue, state[2])
    if waiting > 0 then left[#left + 1] = queue; left[#left + 1] = waiting end
  end
  return {jobs, left, later}
end

define('claim', {'allow-oom'}, function(_, args)
  local claimed = claim_jobs(args[1], args[2], args[3], tonumber(args[4]), tonumber(args[5]), args, 6)
  return {claimed[1], claimed[2], set_aside, dropped, claimed[3]}
end)
