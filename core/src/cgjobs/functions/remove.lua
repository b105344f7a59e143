-- remove: take jobs out, wherever they are, unless they run. For operators.
-- ARGV  nonce, resent (0 or 1), the states that are meant, then ids
-- Gives for each the state it was removed from (RQ's name, or held), 'missing', 'garbage' for a hash that was no job,
-- '!' and the state that forbids it, or '~' and the state that is not meant.
define('remove', {'allow-oom'}, function(_, args)
  return move_each(args, 4, function(id, events)
    local f = job_fields(id, 'status', 'origin', 'priority', 'unique', 'held', 'dependents', 'dependency_id')
    if not f or not (f[1] or f[2]) then
      return redis.call('DEL', job_key(id)) == 1 and 'garbage' or 'missing'
    end
    local status, queue = f[1] or 'garbage', f[2] or ''
    local state = status == 'deferred' and f[5] and 'held' or status
    if status == 'started' then return '!started' end
    local other = moved_since(args[3], state)
    if other then return other end
    unlist(queue, id, level_of(f[3]), status, f[5])
    release(queue, f[4], id)
    forget(id)
    ended(id, 'removed', f[6], f[7], 0)
    events[#events + 1] = {'removed', queue, id, ''}
    return state
  end)
end)
