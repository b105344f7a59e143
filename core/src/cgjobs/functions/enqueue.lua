-- enqueue: add jobs, ready or delayed. For clients, workers and schedulers.
-- ARGV  nonce, resent (0 or 1), then 12 for each job:
--       queue, id, own id (0 or 1), level, due ('' ready, '+ms' from now, 'ms' since the epoch), data,
--       description, timeout in seconds, retries left, result_ttl, failure_ttl,
--       further fields (JSON object of strings, or ''); of these, unique is a key that one job of the queue
--       has, until it has started or is done (unique_until), or for so many ms; with debounce (in ms: how long the
--       waiting job may be put off in all) a job that waits under the key takes over the payload instead;
--       dependency_ids, a JSON array, are jobs that it waits for, those that this call adds before it included; batch is a deferred job that waits
--       for it, enqueued before with the number of such jobs (outstanding)
--       Behind the jobs, when there are limits of the producer's, a JSON object: most (queue -> how many jobs may wait in it)
--       and share (of maxmemory; more than that is kept for the workers)
-- Gives for each job: 1 added, 0 its id was taken by another job, or the id of the job that has its unique key
-- (and with debounce its payload now).
-- Gives instead {-1, number of the job, id}, and adds nothing, when a job depends on an id that no job has.
-- Gives instead {'full', queue, jobs in it, how many may be} or {'memory', bytes used, maxmemory}, and adds nothing,
-- when that is refused.
-- Sent again with the same nonce it adds nothing and gives the same answer.
local JOB_ARGS = 12

-- Take a unique key for a job. Gives nil, or the id of the job that has it.
local function take_unique(queue, id, extra)
  local key, ms = unique_key(queue .. ':' .. extra.unique), tonumber(extra.unique_until)
  local holder = safe('GET', key)
  -- A key for some time is held without its job; the others only as long as that job exists.
  if holder and (redis.call('PTTL', key) > 0 or redis.call('EXISTS', job_key(holder)) == 1) then return holder end
  if ms then redis.call('SET', key, id, 'PX', ms) else redis.call('SET', key, id) end
end

-- Fields of a job that are there only when somebody said so.
local OPTIONAL = {'timeout_ms', 'backoff', 'expires_at', 'tags', 'result_max', 'failure_max'}

-- Let the job that waits under a key take over a later one's payload and options, and wait anew until `due_ms`, but
-- never past its own bound. False when it is no debounced job, or has started: then it is left alone.
local function take_over(queue, id, args, i, extra, due_ms)
  local f = job_fields(id, 'status', 'started_at', 'debounce_by', 'debounced')
  local bound = f and tonumber(f[3] or '')
  if not bound or bound ~= bound or f[2] or (f[1] ~= 'queued' and f[1] ~= 'scheduled') then return false end
  local key = job_key(id)
  local fields = {'data', args[i + 5], 'description', args[i + 6], 'timeout', args[i + 7], 'retries_left', args[i + 8],
                  'result_ttl', args[i + 9], 'failure_ttl', args[i + 10], 'debounced', whole(f[4]) + 1}
  for name, value in pairs(extra) do
    -- One that is ready may be counted under its limit key already.
    if name ~= 'debounce' and (name ~= 'limit_key' or f[1] == 'scheduled') then
      fields[#fields + 1] = name; fields[#fields + 1] = value
    end
  end
  redis.call('HDEL', key, unpack(OPTIONAL))
  redis.call('HSET', key, unpack(fields))
  if f[1] == 'scheduled' then -- one that is ready has waited long enough
    local due = string.format('%.6f', math.min(due_ms / 1000, bound))
    redis.call('HSET', key, 'run_at', due)
    safe('ZADD', delayed_key(queue), due, id)
    if args[i + 3] == NORMAL then redis.call('HDEL', key, 'priority')
    else redis.call('HSET', key, 'priority', args[i + 3]) end
  end
  return true
end

-- Whether a debounced job has started, so that its key is for the next one: a retry by hand took it again.
local function has_started(id)
  local f = job_fields(id, 'started_at', 'debounce_by')
  return f and f[1] and f[2]
end

local MEMORY_SHARE = 0.8

-- The producer's limits, behind the jobs, if there are any.
local function producer_limits(args, at)
  if (#args - at + 1) % JOB_ARGS == 0 then return {} end
  return cjson.decode(table.remove(args))
end

local function length(queue)
  local total = safe('ZCARD', delayed_key(queue)) + safe('ZCARD', deferred_key(queue))
  for _, level in ipairs(LEVELS) do total = total + safe('LLEN', waiting_key(queue, level)) end
  return total
end

-- Whether a job would add nothing, since its id or its unique key is taken.
local function is_taken(args, i)
  if redis.call('EXISTS', job_key(args[i + 1])) == 1 then return true end
  local extra = args[i + 11] ~= '' and cjson.decode(args[i + 11]) or {}
  local key = extra.unique and unique_key(args[i] .. ':' .. extra.unique)
  local holder = key and safe('GET', key)
  return holder and (redis.call('PTTL', key) > 0 or redis.call('EXISTS', job_key(holder)) == 1)
end

-- Why these jobs are not added, or nil.
local function refusal(args, at, limits, sec)
  if too_full(limits.share or MEMORY_SHARE, sec) then return {'memory', used_memory, max_memory} end
  for queue, most in pairs(limits.most or {}) do
    local more, present = 0, length(queue)
    for i = at, #args, JOB_ARGS do
      if args[i] == queue and not is_taken(args, i) then more = more + 1 end
    end
    if more > 0 and present + more > most then
      count('refused|' .. queue, more)
      return {'full', queue, present, most}
    end
  end
end

-- Where a job of this call was not added, since another one has its unique key, that one is waited for.
local function adopt_holders(extra, instead)
  if extra.outstanding or not next(instead) then return end
  local ids = cjson.decode(extra.dependency_ids)
  for i, id in ipairs(ids) do ids[i] = instead[id] or id end
  extra.dependency_id, extra.dependency_ids = ids[1], cjson.encode(ids)
end

-- The further fields of each job to add, or nil and what a job depends on that does not exist.
local function further_fields(args, at)
  local extras, adding = {}, {}
  for i = at, #args, JOB_ARGS do
    local extra = args[i + 11] ~= '' and cjson.decode(args[i + 11]) or {}
    if extra.dependency_ids or extra.batch then
      local unknown = unknown_dependency(extra, adding)
      if unknown then return nil, {-1, (i - at) / JOB_ARGS, unknown} end
    end
    extras[i], adding[args[i + 1]] = extra, true
  end
  return extras
end

local function add_jobs(args, at, extras, sec, usec)
  local created = iso(sec, usec)
  local replies, woken, all_added, events = {}, {}, true, {}
  local instead = {} -- of a job that was not added: the one that has its unique key
  for i = at, #args, JOB_ARGS do
    local queue, id, own, level, due = args[i], args[i + 1], args[i + 2], args[i + 3], args[i + 4]
    local key, extra = job_key(id), extras[i]
    local added = 1
    local at_ms = due_at(due, sec, usec)
    local joins = extra.batch and safe('SADD', depends_on_key(extra.batch), id) == 1
    if extra.batch and not joins then
      added = 0 -- it was added before, and may have gone since
    elseif redis.call('EXISTS', key) == 1 then
      added = 0
    elseif extra.unique then
      added = take_unique(queue, id, extra) or 1
      if added ~= 1 and extra.debounce then
        if take_over(queue, added, args, i, extra, at_ms) then
          local subtype = string.match(args[i + 6], '^[%w_.-]+') or ''
          count('debounced|' .. queue .. '|' .. subtype, 1)
          events[#events + 1] = {'debounced', queue, added, subtype}
        elseif has_started(added) then
          redis.call('SET', unique_key(queue .. ':' .. extra.unique), id)
          added = 1
        end
      end
      if added ~= 1 then instead[id] = added end
    end
    if added == 1 then
      local waits = extra.dependency_ids
      if extra.debounce then
        extra.debounce_by = string.format('%.6f', sec + usec / 1e6 + tonumber(extra.debounce) / 1000)
        extra.debounce = nil
      end
      local ready = not at_ms or at_ms <= sec * 1000 + usec / 1000
      local fields = {'status', waits and 'deferred' or ready and 'queued' or 'scheduled', 'created_at', created,
                      'enqueued_at', created,
                      'origin', queue, 'data', args[i + 5], 'description', args[i + 6], 'timeout', args[i + 7],
                      'retries_left', args[i + 8], 'result_ttl', args[i + 9], 'failure_ttl', args[i + 10]}
      if own == '1' then redis.call('DEL', results_key(id), log_key(id)) end -- what a former job of this id left
      if waits then
        adopt_holders(extra, instead)
        if due ~= '' then fields[#fields + 1] = 'due'; fields[#fields + 1] = due end
      elseif not ready then
        fields[#fields + 1] = 'run_at'; fields[#fields + 1] = string.format('%.6f', at_ms / 1000)
      end
      if level ~= NORMAL then fields[#fields + 1] = 'priority'; fields[#fields + 1] = level end
      for name, value in pairs(extra) do
        fields[#fields + 1] = name; fields[#fields + 1] = value
      end
      redis.call('HSET', key, unpack(fields))
      if waits then
        begin_waiting(queue, id, extra, sec, usec)
        if woken[queue] == nil then woken[queue] = false end
      elseif ready then
        push(queue, level, id, false)
        woken[queue] = true
      else
        safe('ZADD', delayed_key(queue), string.format('%.6f', at_ms / 1000), id)
        if woken[queue] == nil then woken[queue] = false end
      end
    end
    if joins then join_batch(extra.batch, id, sec, usec) end
    if added ~= 1 then all_added = false end
    replies[#replies + 1] = added
  end
  for queue, ready in pairs(woken) do
    safe('SADD', 'rq:queues', waiting_key(queue, NORMAL))
    if ready then wake(queue) end
  end
  publish(events)
  return replies, all_added
end

define('enqueue', {}, function(_, args)
  local sec, usec = now()
  local limits = producer_limits(args, 3)
  if first_time(args[1], args[2], sec) then
    return remembered(args[1], sec, function()
      local extras, unknown = further_fields(args, 3)
      if unknown then
        forget_call(args[1], sec)
        return unknown
      end
      local refused = refusal(args, 3, limits, sec)
      if refused then
        forget_call(args[1], sec)
        return refused
      end
      local replies, all_added = add_jobs(args, 3, extras, sec, usec)
      -- By the time the call is sent again the job that was in the way may be gone.
      if not all_added then keep_answer(args[1], replies) end
      return replies
    end)
  end
  local replies = kept_answer(args[1])
  if replies then return replies end
  replies = {}
  for i = 1, (#args - 2) / JOB_ARGS do replies[i] = 1 end
  return replies
end)
