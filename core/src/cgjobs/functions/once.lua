-- once: what is known of one effect of a job over all its attempts, in the job's field `once:<key>`. For workers.
-- ARGV  id, token, key, nonce, move: begin (before the effect), done (after it), undo (it did not happen)
-- Gives for begin: 'new' (go on), 'begun' (an earlier attempt began it, and nobody knows how that ended) or 'done';
--       for done and undo: 'ok'; for all of them 'lost' when the job is not this attempt's any more.
-- Sent again with the same nonce it gives the same answer. Who began an effect may say that it is done however late.
define('once', {'allow-oom'}, function(_, args)
  local id, token, field, mine, move = args[1], args[2], 'once:' .. args[3], 'begun:' .. args[4], args[5]
  local f = job_fields(id, 'token', 'status', field)
  if not f or not f[2] then return 'lost' end
  local holds = f[1] == token and f[2] == 'started'
  if move == 'begin' then
    if not holds then return 'lost' end
    if f[3] == 'done' then return 'done' end
    if f[3] and f[3] ~= mine then return 'begun' end
    redis.call('HSET', job_key(id), field, mine)
    return 'new'
  end
  if move == 'done' and (holds or f[3] == mine) then
    redis.call('HSET', job_key(id), field, 'done')
  elseif move == 'undo' and f[3] == mine then
    redis.call('HDEL', job_key(id), field)
  end
  return holds and 'ok' or 'lost'
end)
