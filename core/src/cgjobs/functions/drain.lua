-- drain: remove waiting and held jobs, and delayed ones when asked. For operators.
-- ARGV  queue, also the delayed ones (0 or 1), at most how many
-- Gives the number removed; call again until it is 0.
define('drain', {'allow-oom'}, function(_, args)
  local queue, budget = args[1], tonumber(args[3])
  local ids = {}
  for _, level in ipairs(LEVELS) do
    if #ids < budget then
      for _, id in ipairs(safe('LPOP', waiting_key(queue, level), budget - #ids) or {}) do ids[#ids + 1] = id end
    end
  end
  for _, group in ipairs(safe('ZRANGE', groups_key(queue), 0, budget)) do
    for _, id in ipairs(#ids < budget and safe('LPOP', held_key(queue .. ':' .. group), budget - #ids) or {}) do
      safe('ZREM', deferred_key(queue), id)
      ids[#ids + 1] = id
    end
    forget_empty(queue, group)
  end
  if args[2] == '1' and #ids < budget then
    local popped = safe('ZPOPMIN', delayed_key(queue), budget - #ids)
    for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
  end
  for _, id in ipairs(ids) do
    local f = job_fields(id, 'status', 'unique', 'dependents', 'dependency_id')
    if f and f[1] ~= 'started' then -- else a stray entry
      release(queue, f[2], id)
      forget(id)
      ended(id, 'removed', f[3], f[4], 0)
    end
  end
  if #ids > 0 then publish({{'drained', queue, '', tostring(#ids)}}) end
  return #ids
end)
