-- Shared by all moves: time, keys, quarantine, wake-ups, events and counters.
-- Every move is one atomic function call. The server takes nothing back when one raises midway (an ACL that forbids
-- a command, say), so each move leaves what can be found again: see `remembered` and `claim_from`.
-- The names of keys are those of keys.py; a test compares them.

-- What the present call put into quarantine, (queue, entry, reason) each: the worker that called says so.
local set_aside = {}
-- Jobs that it failed, since they had expired or their dependency failed, (queue, id, reason) each.
local dropped = {}
-- Jobs that it ended and others wait for, {id, how, result} each, and how many of those it has told.
local endings, told = {}, 0
-- Queues to which it gave work by that.
local readied = {}
-- Whether it moves several jobs, and through how many entries of lists it has looked for them.
local several, searched = false, 0

local function define(name, flags, callback)
  local function fresh(keys, args)
    set_aside, dropped, endings, told, readied, several, searched = {}, {}, {}, 0, {}, false, 0
    return callback(keys, args)
  end
  redis.register_function({function_name = PREFIX .. name, callback = fresh, flags = flags})
end

local NORMAL = 'normal'
local LEVELS = {'critical', 'high', 'normal', 'low'}
-- Which level a claim looks at first, pick by pick: 8 of 15 critical, 4 high, 2 normal, 1 low.
local PICKS = {1, 1, 2, 1, 1, 2, 3, 1, 1, 2, 1, 1, 2, 3, 4}
local FAR_FUTURE = '9999999999' -- the year 2286: RQ's cleanup on reading never touches a running job of ours
local EVENTS_KEPT = 1000
local QUARANTINE_KEPT = 1000
local RESULTS_KEPT = 50
local NONCE_SECONDS = 60 -- a call may be sent again this long after it was first sent
-- Upper bounds of the run time histogram, in microseconds; metrics.py has the same in seconds.
local BUCKETS = {1000, 5000, 10000, 50000, 100000, 500000, 1000000, 5000000, 10000000, 60000000, 300000000,
                 1800000000}

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]), tonumber(t[2])
end

-- RQ's time format, UTC. Civil date from days since the epoch: H. Hinnant, "chrono-Compatible Low-Level Date
-- Algorithms". The part up to the second is kept, since a batch has one second.
local iso_second, iso_prefix = -1, ''
local function iso(sec, usec)
  if sec ~= iso_second then
    local floor = math.floor
    local days, rest = floor(sec / 86400), sec % 86400
    local z = days + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    local day = doy - floor((153 * mp + 2) / 5) + 1
    local month = mp < 10 and mp + 3 or mp - 9
    local year = yoe + era * 400 + (month <= 2 and 1 or 0)
    iso_prefix = string.format('%04d-%02d-%02dT%02d:%02d:%02d.', year, month, day, floor(rest / 3600),
                               floor(rest % 3600 / 60), rest % 60)
    iso_second = sec
  end
  return iso_prefix .. string.format('%06dZ', usec)
end

local function job_key(id) return 'rq:job:' .. id end
local function results_key(id) return 'rq:results:' .. id end
local function log_key(id) return 'cgjobs:log:' .. id end
local function waiting_key(queue, level)
  if level == NORMAL then return 'rq:queue:' .. queue end
  return 'rq:queue:' .. queue .. ':' .. level
end
local function active_key(queue) return 'rq:wip:' .. queue end
local function completed_key(queue) return 'rq:finished:' .. queue end
local function failed_key(queue) return 'rq:failed:' .. queue end
local function delayed_key(queue) return 'rq:scheduled:' .. queue end
local function deferred_key(queue) return 'rq:deferred:' .. queue end
local function cancelled_key(queue) return 'rq:canceled:' .. queue end
local function worker_key(name) return 'rq:worker:' .. name end
local function queue_key(queue) return 'cgjobs:queue:' .. queue end
local function heard_key(queue) return 'cgjobs:heard:' .. queue end
local function wake_key(queue) return 'cgjobs:wake:' .. queue end
local function starts_key(name) return 'cgjobs:starts:' .. name end
local function running_key(name) return 'cgjobs:running:' .. name end
local function limited_key(name) return 'cgjobs:limited:' .. name end
local function due_key(queue) return 'cgjobs:due:' .. queue end
local function groups_key(queue) return 'cgjobs:groups:' .. queue end
local function held_key(group) return 'cgjobs:held:' .. group end
local function unique_key(name) return 'cgjobs:unique:' .. name end
local function dependents_key(id) return 'rq:job:' .. id .. ':dependents' end
local function depends_on_key(id) return 'rq:job::' .. id .. ':dependencies' end -- RQ's, with two colons
local function dependencies_key(id) return 'cgjobs:dependencies:' .. id end
local function cancels_key(worker) return 'cgjobs:cancels:' .. worker end
local function schedule_key(name) return 'cgjobs:schedule:' .. name end
local function history_key(cell) return 'cgjobs:history:' .. cell end
local function answer_key(nonce) return 'cgjobs:answer:' .. nonce end
local LEASES, EVENTS, METRICS, QUARANTINE, ENDINGS = 'cgjobs:leases', 'cgjobs:events', 'cgjobs:metrics', 'cgjobs:quarantine', 'cgjobs:endings'
local EPOCH, CLOCK, HISTORY = 'cgjobs:epoch', 'cgjobs:clock', 'cgjobs:history'

-- Run a command on a key that only we write. If somebody put another type there, or a stream whose ids are used
-- up, set it aside under a name that says so, and go on with an empty key: one bad entry never stops a queue.
local quarantine
local function safe(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then
    if not string.find(reply.err, 'WRONGTYPE', 1, true) and not string.find(reply.err, 'exhausted', 1, true) then
      error(reply.err, 0)
    end
    local sec, usec = now()
    redis.call('RENAME', key, 'cgjobs:set-aside:' .. key .. ':' .. string.format('%d%06d', sec, usec))
    quarantine('', key, 'key of a wrong type, set aside')
    reply = redis.call(command, key, ...)
  end
  return reply
end

-- Add to a number in a hash; one that is no number, or would grow past 64 bits, begins anew.
local function increment(key, field, by)
  local reply = redis.pcall('HINCRBY', key, field, by)
  if type(reply) == 'number' then return reply end
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call('HDEL', key, field) end
  return safe('HINCRBY', key, field, by)
end

local function count(field, by)
  increment(METRICS, field, by)
end

-- Something that is no job of ours was found where a job should be: keep a record, count it, go on.
function quarantine(queue, entry, reason)
  safe('XADD', QUARANTINE, 'MAXLEN', '~', QUARANTINE_KEPT, '*', 'queue', queue, 'entry', string.sub(entry, 1, 200),
       'reason', reason)
  count('quarantined|' .. queue, 1)
  for _, part in ipairs({queue, string.sub(entry, 1, 200), reason}) do set_aside[#set_aside + 1] = part end
end

-- Fields of a job's hash, or nil when there is no such hash. Never raises.
local function job_fields(id, ...)
  local reply = redis.pcall('HMGET', job_key(id), ...)
  if reply.err then return nil end
  return reply
end

local function seconds(sec, usec, delay_ms)
  return string.format('%.6f', sec + usec / 1e6 + delay_ms / 1e3)
end

-- Put one token where an idle worker waits, unless one lies there already.
local function wake(queue)
  local key = wake_key(queue)
  if safe('LLEN', key) == 0 then redis.call('LPUSH', key, '1') end
end

local function push(queue, level, id, front)
  if level ~= NORMAL then
    safe('HSET', queue_key(queue), 'levels', '1')
    safe('SADD', 'rq:queues', waiting_key(queue, level))
  end
  safe(front and 'LPUSH' or 'RPUSH', waiting_key(queue, level), id)
end

-- Take a job out of a list. Of several jobs each is sought from the head on, where who calls names them first.
local function drop(key, id)
  if not several then return safe('LREM', key, 0, id) end
  local at = safe('LPOS', key, id)
  searched = searched + 2 * (at or redis.call('LLEN', key))
  if at then redis.call('LREM', key, 1, id) end
end

local function publish(events)
  if #events == 0 then return end
  safe('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'events', cjson.encode(events))
end

-- When a job is due, in ms since the epoch: '' now, '+ms' from now, 'ms' then. nil for now, and for what is none.
local function due_at(due, sec, usec)
  local relative = string.match(due, '^%+(%d+)$')
  if relative then return sec * 1000 + usec / 1000 + tonumber(relative) end
  return tonumber(string.match(due, '^%d+$'))
end

-- Remember a call, so that the same call sent again (its reply was lost) is known. True when it is new.
local function first_time(nonce, resent, sec)
  local bucket = math.floor(sec / NONCE_SECONDS)
  local key = 'cgjobs:calls:' .. bucket
  if resent == '1' and safe('SISMEMBER', 'cgjobs:calls:' .. (bucket - 1), nonce) == 1 then return false end
  if safe('SADD', key, nonce) == 0 then return false end
  if redis.call('SCARD', key) == 1 then redis.call('EXPIRE', key, 2 * NONCE_SECONDS) end
  return true
end

local function forget_call(nonce, sec)
  redis.pcall('SREM', 'cgjobs:calls:' .. math.floor(sec / NONCE_SECONDS), nonce)
end

local function reraise(reason)
  error(type(reason) == 'table' and reason.err or reason, 0)
end

-- Do the work of a call that is remembered; when it raises it is forgotten, so that it can be sent again.
local function remembered(nonce, sec, work, ...)
  local done, reply = pcall(work, ...)
  if not done then
    forget_call(nonce, sec)
    reraise(reply)
  end
  return reply
end

-- What a call answered, for the same call sent again: kept when that could not be told any more.
local function keep_answer(nonce, answer)
  redis.call('SET', answer_key(nonce), cjson.encode(answer), 'EX', 2 * NONCE_SECONDS)
end
local function kept_answer(nonce)
  local answer = safe('GET', answer_key(nonce))
  return answer and cjson.decode(answer)
end

-- The error of one attempt, in RQ's results stream. `blob` is RQ's exc_string: base64 of zlib.
local function keep_error(id, worker, attempt, message, blob, ttl)
  local key = results_key(id)
  safe('XADD', key, 'MAXLEN', RESULTS_KEPT, '*', 'type', '2', 'worker_name', worker, 'exc_string', blob, 'attempt',
       attempt, 'error', message)
  if ttl then redis.call('EXPIRE', key, ttl) end
end

-- Give a unique key back, when this job has it.
local function release(queue, name, id)
  local key = name and unique_key(queue .. ':' .. name)
  if key and safe('GET', key) == id then redis.call('DEL', key) end
end

-- Delete all keys of a job. Its entry in a list or registry, and its unique key, are the caller's.
local function forget(id)
  redis.call('DEL', job_key(id), results_key(id), log_key(id))
end

-- Of a queue's jobs that ended in one state, let those go that would go first, until `most` are kept; so many at
-- most in one call. Gives how many are still too many.
local KEPT = {finished = {completed_key, 'keep_completed'}, failed = {failed_key, 'keep_failed'}}
local function trim(queue, status, most, budget)
  local key = KEPT[status][1](queue)
  local over = safe('ZCARD', key) - most
  if over <= 0 then return 0 end
  for _, id in ipairs(redis.call('ZRANGE', key, 0, math.min(over, budget) - 1)) do
    local f = job_fields(id, 'status', 'dependency_id', 'origin')
    if f and (not f[1] or f[1] == status and f[3] == queue) then -- else a stray entry: its job is somewhere else
      forget(id)
      if f[2] then redis.call('DEL', dependencies_key(id), depends_on_key(id)) end
    end
    redis.call('ZREM', key, id)
  end
  return math.max(0, over - budget)
end

local TRIMMED_AT_ONCE = 20
-- Enforce a number of jobs to keep (0: none was given); what is more than one call should do is left to promote.
local function keep_at_most(queue, status, most)
  if most > 0 and trim(queue, status, most, TRIMMED_AT_ONCE) > 0 then
    safe('HSET', queue_key(queue), KEPT[status][2], most)
  end
end

local function fail(queue, id, sec, usec, ttl, most)
  local key = job_key(id)
  if ttl == 0 then return forget(id) end
  redis.call('HSET', key, 'status', 'failed', 'ended_at', iso(sec, usec), 'token', '')
  safe('ZADD', failed_key(queue), seconds(sec, usec, ttl * 1000), id)
  redis.call('EXPIRE', key, ttl)
  redis.call('EXPIRE', results_key(id), ttl)
  redis.call('EXPIRE', log_key(id), ttl)
  keep_at_most(queue, 'failed', most)
end

-- A job that may not run twice, and of whose run nobody knows how it ended: failed, and marked.
local function fail_unknown(queue, id, subtype, sec, usec, ttl, most)
  redis.call('HSET', job_key(id), 'outcome', 'unknown')
  fail(queue, id, sec, usec, ttl, most)
  count('unknown|' .. queue .. '|' .. subtype, 1)
end

local function end_cancelled(queue, id, unique, sec, usec, ttl)
  local key = job_key(id)
  if ttl == 0 then
    forget(id)
  else
    redis.call('HSET', key, 'status', 'canceled', 'ended_at', iso(sec, usec), 'token', '')
    safe('ZADD', cancelled_key(queue), seconds(sec, usec, ttl * 1000), id)
    redis.call('EXPIRE', key, ttl)
    redis.call('EXPIRE', results_key(id), ttl)
    redis.call('EXPIRE', log_key(id), ttl)
  end
  release(queue, unique, id)
  count('cancelled|' .. queue, 1)
end

local DEFAULT_FAILURE_TTL = 2592000
local function ttl_of(text, default)
  local ttl = tonumber(text or '')
  if not ttl or ttl ~= ttl or ttl < 0 or ttl > 4e9 then return default end
  return math.floor(ttl)
end
-- A count that somebody may have written; 0 for what is none.
local function whole(text)
  local n = tonumber(text or '')
  return n and n >= 0 and n <= 1e9 and math.floor(n) or 0
end
local function level_of(text)
  if text == 'critical' or text == 'high' or text == 'low' then return text end
  return NORMAL
end
