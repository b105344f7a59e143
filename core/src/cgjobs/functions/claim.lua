-- claim: give a worker up to n jobs of each of its queues, under a lease. For workers.
-- ARGV  worker, token, resent (0 or 1), lease in ms, largest data in bytes, then (queue, n) for each queue;
--       of a queue with limits, instead of n [n, most running, starts, window in ms], 0 for no limit
-- Gives {jobs, left, set aside, dropped, later}: each job {queue, id, data, number_of_retries, retries_left, recoveries,
--       created_at, priority, timeout_ms, backoff, then (name, value) for what few jobs have: checkpoint, dependencies
--       (their ids as JSON, id and end of each)}; left: (queue, waiting jobs) for each queue that still has some;
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
                      'dependency_ids', 'checkpoint'}

local function claimed_reply(queue, id, f)
  local reply = {queue, id, f[2], f[3] or '0', f[4] or '0', f[5] or '0', f[6] or '', f[7] or NORMAL, f[8] or '',
                 f[9] or ''}
  local function add(name, value) reply[#reply + 1] = name; reply[#reply + 1] = value end
  if f[15] then add('dependencies', {f[15], safe('HGETALL', dependencies_key(id))}) end
  if f[16] then add('checkpoint', f[16]) end
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

-- Claim popped jobs. When a command is refused midway, what was claimed has its lease, and the rest goes back.
local function claim_from(queue, ids, worker, token, expiry, jobs, sec, usec, largest, limits)
  local members, leases, taken = {}, {}, 0
  local started = iso(sec, usec)
  local done, reason = pcall(function()
    for at, id in ipairs(ids) do
      local fields = waiting_fields(queue, id, largest)
      if fields and not expired(queue, id, fields, sec, usec) then
        if fields[12] == 'started' then release(queue, fields[11], id) end
        redis.call('HSET', job_key(id), 'status', 'started', 'started_at', started, 'worker_name', worker, 'token',
                   token)
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
      note_starts(starts_key(queue), #members / 2, limits[4], microseconds(sec, usec))
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
    local state = safe('HMGET', queue_key(queue), 'paused', 'levels', 'until')
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
      if n > 0 and room > 0 then
        local before = #jobs
        local ids = take(queue, math.min(n, room), state[2])
        claim_from(queue, ids, worker, token, expiry, jobs, sec, usec, largest, limits)
        room = room - (#jobs - before)
      end
      local waiting = waiting_in(queue, state[2])
      if waiting > 0 and room > 0 then
        left[#left + 1] = queue; left[#left + 1] = waiting
        wake(queue)
      elseif waiting > 0 and wait then
        later[#later + 1] = queue; later[#later + 1] = wait
      end
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
