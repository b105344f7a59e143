-- Jobs that wait for other jobs; shared by the moves that add or end jobs.
-- One that waits has RQ's fields dependency_id and dependency_ids, and `outstanding`: how many have not ended yet.
-- What became of each is in its hash of dependencies: '' not ended, else how it ended and, after a space, its result.
-- One that is waited for has the field `dependents`; which jobs wait for it says RQ's set. Their entries may be
-- stale (the job was removed, or ended) or a stranger's: the dependent's own hash decides.
local DEPENDENTS_AT_ONCE = 200 -- in one call, for some 10 ms; the rest waits for a promote
local RESULT_BYTES, RESULTS_BYTES = 65536, 1048576 -- base64, of one dependency and of all of a job
local ENDED = {finished = 'completed', failed = 'failed', canceled = 'cancelled', stopped = 'cancelled'}

-- Remember how a dependency ended, with its result when that is small enough.
local function note_end(id, dependency, how, blob)
  local value = how
  if blob and blob ~= '' then
    local sum = #blob <= RESULT_BYTES and increment(job_key(id), 'dependency_bytes', #blob)
    value = how .. ' ' .. (sum and sum <= RESULTS_BYTES and blob or '!')
  end
  safe('HSET', dependencies_key(id), dependency, value)
end

-- How a job ended, and its result; nil for one that has not. One that is not there was removed: it ended in this very
-- call, and is not kept.
local function end_of(id)
  local f = job_fields(id, 'status')
  if not f or not f[1] then return 'removed' end
  local how = ENDED[f[1]]
  if how ~= 'completed' then return how end
  local last = safe('XREVRANGE', results_key(id), '+', '-', 'COUNT', 1)[1]
  local fields, blob = last and last[2] or {}, ''
  for i = 1, #fields, 2 do
    if fields[i] == 'return_value' then blob = fields[i + 1] end
  end
  return how, blob
end

-- Have a job wait for another one. Gives nil, or how the other one has ended already.
local function wait_for(id, dependency)
  local how, blob = end_of(dependency)
  if how then
    note_end(id, dependency, how, blob)
    return how
  end
  safe('HSET', dependencies_key(id), dependency, '')
  safe('SADD', dependents_key(dependency), id)
  redis.call('HSET', job_key(dependency), 'dependents', '1')
end

-- All that a job waited for has ended: it is ready, or delayed when it was given a delay.
local function undefer(queue, id, level, due, sec, usec)
  local at_ms = due_at(due or '', sec, usec)
  if at_ms and at_ms > sec * 1000 + usec / 1000 then
    local at = string.format('%.6f', at_ms / 1000)
    redis.call('HSET', job_key(id), 'status', 'scheduled', 'run_at', at)
    safe('ZADD', delayed_key(queue), at, id)
  else
    redis.call('HSET', job_key(id), 'status', 'queued', 'enqueued_at', iso(sec, usec))
    push(queue, level, id, false)
    wake(queue)
    readied[queue] = true
  end
  safe('ZREM', deferred_key(queue), id)
end

local tell_dependents

-- A job has ended, or was removed: what it keeps of its dependencies goes with it (`ttl` in seconds), and its
-- dependents hear of it. `dependents` and `dependency` are its fields dependents and dependency_id.
local function ended(id, how, dependents, dependency, ttl, blob)
  if dependency then
    redis.call('EXPIRE', dependencies_key(id), ttl)
    redis.call('EXPIRE', depends_on_key(id), ttl)
  end
  if dependents then
    endings[#endings + 1] = {id, how, blob or ''}
    if #endings == 1 then tell_dependents() end
  end
end

-- What waits for a job that did not complete fails too, and so does what waits for that.
local function fail_dependent(queue, id, f, dependency, how, sec, usec)
  local reason = 'its dependency ' .. dependency .. (how == 'failed' and ' failed' or ' was ' .. how)
  local subtype = string.match(f[9] or '', '^[%w_.-]+') or ''
  local ttl = ttl_of(f[7], DEFAULT_FAILURE_TTL)
  keep_error(id, '', 1, reason, '')
  fail(queue, id, sec, usec, ttl, whole(f[12]))
  safe('ZREM', deferred_key(queue), id)
  release(queue, f[8], id)
  count('failed|' .. queue .. '|' .. subtype, 1)
  for _, part in ipairs({queue, id, reason}) do dropped[#dropped + 1] = part end
  ended(id, 'failed', f[10], f[11], ttl)
  return {'failed', queue, id, subtype}
end

local DEPENDENT_FIELDS = {'status', 'origin', 'priority', 'due', 'outstanding', 'allow_dependency_failures',
                          'failure_ttl', 'unique', 'description', 'dependents', 'dependency_id', 'failure_max', 'held'}

-- Tell one dependent how a dependency ended. Gives an event when that fails it.
local function tell(id, dependency, how, blob, sec, usec)
  local f = job_fields(id, unpack(DEPENDENT_FIELDS))
  -- One that is held was ready once: what it depended on had ended.
  if not f or f[1] ~= 'deferred' or f[13] or not f[2] or not f[11] then return nil end
  local key = dependencies_key(id)
  local before = safe('HGET', key, dependency)
  if before ~= '' then return nil end -- it never waited for that one, or does no more
  note_end(id, dependency, how, blob)
  if how ~= 'completed' and f[6] ~= '1' then return fail_dependent(f[2], id, f, dependency, how, sec, usec) end
  if how ~= 'completed' then increment(job_key(id), 'dependencies_failed', 1) end
  local left = redis.pcall('HINCRBY', job_key(id), 'outstanding', -1)
  if type(left) ~= 'number' then -- somebody wrote it: count again
    left = 0
    for _, value in ipairs(redis.call('HVALS', key)) do
      if value == '' then left = left + 1 end
    end
    redis.call('HSET', job_key(id), 'outstanding', left)
  end
  if left <= 0 then undefer(f[2], id, level_of(f[3]), f[4], sec, usec) end
end

-- Go through the endings of this call, those that it causes itself included, for so many dependents.
function tell_dependents()
  local sec, usec = now()
  local events, at = {}, 0
  local done, reason = pcall(function()
    while at < #endings do
      local id, how, blob = unpack(endings[at + 1])
      local key = dependents_key(id)
      local some = told < DEPENDENTS_AT_ONCE and safe('SRANDMEMBER', key, DEPENDENTS_AT_ONCE - told) or {}
      for _, dependent in ipairs(some) do
        events[#events + 1] = tell(dependent, id, how, blob, sec, usec)
        safe('SREM', key, dependent)
      end
      told = told + #some
      if told >= DEPENDENTS_AT_ONCE and safe('SCARD', key) > 0 then
        safe('RPUSH', ENDINGS, cjson.encode({id, how, #blob > RESULT_BYTES and '!' or blob}))
      end
      at = at + 1
    end
  end)
  for i = at + 1, done and 0 or #endings do redis.pcall('RPUSH', ENDINGS, cjson.encode(endings[i])) end
  endings = {}
  publish(events)
  if not done then reraise(reason) end
end

-- Go on with the endings that earlier calls left.
local function go_on_telling()
  while told < DEPENDENTS_AT_ONCE do
    local entry = safe('LPOP', ENDINGS)
    if not entry then return end
    local readable, ending = pcall(cjson.decode, entry)
    local id = readable and type(ending) == 'table' and ending[1]
    if type(id) ~= 'string' or type(ending[2]) ~= 'string' or type(ending[3]) ~= 'string' then
      quarantine('', entry, 'no ending of a job')
    else
      local f = job_fields(id, 'status')
      if f and f[1] and not ENDED[f[1]] then
        redis.call('HSET', job_key(id), 'dependents', '1') -- retried meanwhile: they wait for its next end
      else
        ended(id, ending[2], '1', nil, 0, ending[3])
      end
    end
  end
end

local function exists(id)
  local f = job_fields(id, 'status')
  return f and f[1]
end

-- The first id that a new job depends on and no job has, or nil. `adding` has the ids that this call adds before it.
local function unknown_dependency(extra, adding)
  local ids = not extra.outstanding and extra.dependency_ids
  for _, dependency in ipairs(ids and cjson.decode(ids) or {}) do
    if not adding[dependency] and not exists(dependency) then return dependency end
  end
  if extra.batch and exists(extra.batch) ~= 'deferred' then return extra.batch end
end

-- Have a job that was just added, as deferred, wait for what it depends on. A batch's callback says how many
-- there will be (`outstanding`): they come later, and name it in their field `batch`.
local function begin_waiting(queue, id, extra, sec, usec)
  local outstanding, failed = 0, 0
  local dependencies = extra.outstanding and {} or cjson.decode(extra.dependency_ids)
  local reason
  safe('ZADD', deferred_key(queue), sec, id)
  for _, dependency in ipairs(dependencies) do
    if safe('SADD', depends_on_key(id), dependency) == 1 then
      local how = wait_for(id, dependency)
      if not how then outstanding = outstanding + 1 end
      if how and how ~= 'completed' then failed, reason = failed + 1, reason or {dependency, how} end
    end
  end
  if failed > 0 then redis.call('HSET', job_key(id), 'dependencies_failed', failed) end
  redis.call('HSET', job_key(id), 'outstanding', extra.outstanding or outstanding)
  local f = job_fields(id, unpack(DEPENDENT_FIELDS))
  if reason and f[6] ~= '1' then
    publish({fail_dependent(queue, id, f, reason[1], reason[2], sec, usec)})
  elseif outstanding == 0 and whole(extra.outstanding) == 0 then
    undefer(queue, id, level_of(f[3]), f[4], sec, usec)
  end
end

-- Have a batch's callback wait for one of its jobs, which may have been there before and have ended.
local function join_batch(batch, id, sec, usec)
  local how, blob = end_of(id)
  if not how then return wait_for(batch, id) end
  safe('HSET', dependencies_key(batch), id, '')
  tell(batch, id, how, blob, sec, usec)
end

-- Have a job that is retried by hand wait for those of its dependencies that are under way, and for no others:
-- who retries it wants it to run. Gives how many they are. A dependency is older than what waits for it, unless
-- it belongs to that batch; a younger job of the same id could wait for this one.
local function wait_again(id, created)
  local all, outstanding = safe('HGETALL', dependencies_key(id)), 0
  for i = 1, #all, 2 do
    local dependency, before = all[i], all[i + 1]
    if string.sub(before, 1, 9) ~= 'completed' then
      local f = job_fields(dependency, 'status', 'created_at', 'batch')
      if f and f[1] and (ENDED[f[1]] or (f[2] or '') <= (created or '') or f[3] == id) then
        if not wait_for(id, dependency) then outstanding = outstanding + 1 end
      else -- it is gone, also where another one has its id now
        note_end(id, dependency, before == '' and 'removed' or before)
      end
    end
  end
  redis.call('HSET', job_key(id), 'outstanding', outstanding)
  redis.call('HDEL', job_key(id), 'due', 'dependencies_failed')
  redis.call('PERSIST', dependencies_key(id))
  redis.call('PERSIST', depends_on_key(id))
  return outstanding
end
