-- history: add to what is kept of hours. For workers and schedulers.
-- ARGV  nonce, resent (0 or 1), seconds that an hour is kept, then as JSON an array of [hour since the epoch, queue,
--       name of a subtype or '' for the queue as a whole, {field: by}, {field: the most so far}]
-- Gives the server's time in ms. Sent again it adds nothing.
local ERRORS_KEPT = 20 -- classes of errors of one name and hour; those that come later are 'other'

local function error_field(key, field)
  if string.sub(field, 1, 2) ~= 'e:' or redis.call('HEXISTS', key, field) == 1 then return field end
  if increment(key, 'classes', 1) > ERRORS_KEPT then return 'e:other' end
  return field
end

local function add_to_hour(row, keep, sec)
  local hour, queue, name, adds, most = unpack(row)
  local ttl = (hour + 1) * 3600 + keep - sec
  if ttl <= 0 then return end -- told of when it is to be kept no more
  local key = history_key(hour .. ':' .. queue .. ':' .. name)
  safe('HLEN', key) -- whatever a stranger put there is set aside
  for field, by in pairs(adds) do
    increment(key, error_field(key, field), by)
  end
  for field, value in pairs(most) do
    if value > (tonumber(safe('HGET', key, field) or '') or -1) then redis.call('HSET', key, field, value) end
  end
  redis.call('EXPIRE', key, ttl)
  safe('ZADD', HISTORY, 'GT', hour, queue .. '|' .. name)
end

define('history', {'allow-oom'}, function(_, args)
  local sec, usec = now()
  if first_time(args[1], args[2], sec) then
    remembered(args[1], sec, function()
      local keep = tonumber(args[3])
      for _, row in ipairs(cjson.decode(args[4])) do add_to_hour(row, keep, sec) end
      safe('ZREMRANGEBYSCORE', HISTORY, '-inf', math.floor((sec - keep) / 3600) - 1)
    end)
  end
  return math.floor(sec * 1000 + usec / 1000)
end)
