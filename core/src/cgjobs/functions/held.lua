-- Held jobs: those that nobody may start for now, in groups by what they wait for. A group has a name such as
-- type:notification.sms. A held job has the status deferred, a field `held` with its group, an entry in RQ's
-- deferred registry, and one in the list of its group. Other deferred jobs are below HELD_FROM in that registry.
local HELD_FROM, HELD_TO = 1e10, 2e10 -- a held job's score is HELD_FROM plus when it was held
-- Groups that a worker lets go because of what it has installed, by name; of others the worker need not know.
local FIRST_FOR_WORKERS, GROUPS_TOLD = '[type:', 100
local last_held = 0

-- Hold a job. First the lists, then the hash: when the server refuses one of these the job is what it was before.
local function hold(queue, group, id, reason)
  local sec, usec = now()
  last_held = math.max(last_held + 1e-5, HELD_FROM + sec + usec / 1e6) -- a batch has one time and an order
  safe('ZADD', groups_key(queue), 0, group)
  safe('RPUSH', held_key(queue .. ':' .. group), id)
  safe('ZADD', deferred_key(queue), last_held, id)
  redis.call('HSET', job_key(id), 'status', 'deferred', 'token', '', 'held', group, 'held_reason', reason or '')
end

local function forget_empty(queue, group)
  if redis.call('EXISTS', held_key(queue .. ':' .. group)) == 0 then safe('ZREM', groups_key(queue), group) end
end

-- Take a held job out of the places that say so, whatever becomes of it.
local function unhold(queue, group, id)
  safe('ZREM', deferred_key(queue), id)
  drop(held_key(queue .. ':' .. group), id)
  forget_empty(queue, group)
  redis.call('HDEL', job_key(id), 'held', 'held_reason')
end

-- Make up to n jobs of a group ready, in front of their queue and in their order. Gives how many.
local function release_held(queue, group, n)
  local key, released = held_key(queue .. ':' .. group), 0
  local ids = safe('LRANGE', key, 0, n - 1)
  for at = #ids, 1, -1 do
    local id = ids[at]
    local f = job_fields(id, 'status', 'held', 'priority')
    if f and f[1] == 'deferred' and f[2] == group then
      push(queue, level_of(f[3]), id, true)
      redis.call('HSET', job_key(id), 'status', 'queued')
      redis.call('HDEL', job_key(id), 'held', 'held_reason')
      safe('ZREM', deferred_key(queue), id)
      released = released + 1
    else
      quarantine(queue, id, f and f[1] and 'listed as held, but its status is ' .. string.sub(f[1], 1, 40)
                 or 'no job has this id')
    end
  end
  if #ids > 0 then redis.call('LTRIM', key, #ids, -1) end
  forget_empty(queue, group)
  if released > 0 then
    wake(queue)
    publish({{'released', queue, '', group}})
  end
  return released
end

-- Those of a queue's groups that workers let go, at most GROUPS_TOLD; of more than that another part each second.
local function groups_for_workers(queue, sec)
  local key = groups_key(queue)
  local total = safe('ZLEXCOUNT', key, FIRST_FOR_WORKERS, '+')
  if total == 0 then return {} end
  local from = total > GROUPS_TOLD and sec * GROUPS_TOLD % total or 0
  return redis.call('ZRANGE', key, FIRST_FOR_WORKERS, '+', 'BYLEX', 'LIMIT', from, GROUPS_TOLD)
end

-- release: make held jobs ready whose group the worker can run. For workers.
-- ARGV  at most how many jobs of each group, then (queue, group) for each
-- Gives {number made ready, set aside}.
define('release', {'allow-oom'}, function(_, args)
  local released = 0
  for i = 2, #args, 2 do released = released + release_held(args[i], args[i + 1], tonumber(args[1])) end
  return {released, set_aside}
end)
