-- register: enter a worker, as RQ's own classes read it. For workers, also when the broker lost their entry.
-- ARGV  worker, what may name the epoch, the epoch that it knows or '', seconds until a silent worker's entry goes, its
--       queues separated by commas, then (field, value) for each further fact about it
-- Gives the epoch: what names the time since this server last lost its data.
define('register', {'allow-oom'}, function(_, args)
  local key = worker_key(args[1])
  if redis.call('SET', EPOCH, args[2], 'NX') and args[3] ~= '' then count('data_lost', 1) end -- once for all workers
  local sec, usec = now()
  local time = iso(sec, usec)
  redis.call('DEL', key)
  redis.call('HSET', key, 'birth', time, 'last_heartbeat', time, 'queues', args[5], 'state', 'idle',
             unpack(args, 6))
  redis.call('EXPIRE', key, args[4])
  safe('SADD', 'rq:workers', key)
  for queue in string.gmatch(args[5], '[^,]+') do
    safe('SADD', 'rq:workers:' .. queue, key)
    safe('SADD', 'rq:queues', waiting_key(queue, NORMAL))
  end
  return safe('GET', EPOCH)
end)

-- unregister: take a worker's entry out. RQ keeps that of one that said goodbye for a minute.
-- ARGV  worker, its queues separated by commas
define('unregister', {'allow-oom'}, function(_, args)
  local key = worker_key(args[1])
  safe('SREM', 'rq:workers', key)
  for queue in string.gmatch(args[2], '[^,]+') do safe('SREM', 'rq:workers:' .. queue, key) end
  for queue in string.gmatch(args[2], '[^,]+') do safe('HDEL', heard_key(queue), args[1]) end
  redis.call('HSET', key, 'death', iso(now()))
  redis.call('EXPIRE', key, 60)
end)
