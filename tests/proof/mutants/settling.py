"""How jobs end, and what all moves share, done wrongly."""

from tests.proof.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "enqueue ignores the nonce",
        "prelude.lua",
        "== 0 then return false end",
        "== -1 then return false end",
    ),
    Mutant(
        "settle forgets what it refused",
        "settle.lua",
        "if #refused > 0 then",
        "if false then",
    ),
    Mutant(
        "release takes somebody else's key",
        "prelude.lua",
        "if key and safe('GET', key) == id then",
        "if key then",
    ),
    Mutant(
        "settle keeps the key of a job that is done",
        "settle.lua",
        "if f[9] == 'done' then release",
        "if f[9] == 'x' then release",
    ),
    Mutant("a failed job keeps its key", "settle.lua", "release(queue, f[8], id) -- whatever", "-- whatever"),
    Mutant("settle ignores the token", "settle.lua", "f[1] ~= token or f[2]", "f[2]"),
    Mutant("settle forgets the lease", "settle.lua", "if #leases > 0 then", "if false then"),
    Mutant(
        "settle forgets the running set",
        "settle.lua",
        "safe('ZREM', active_key(queue), unpack(members))",
        "",
    ),
    Mutant(
        "settle sent again settles again",
        "settle.lua",
        "if first_time(nonce, resent, sec) then",
        "if true then",
    ),
    Mutant("settle loses a postponed job", "settle.lua", "safe('ZADD', delayed_key(queue), due, id)", ""),
    Mutant(
        "a retry uses no attempt",
        "settle.lua",
        "math.max(0, whole(f[6]) - 1)",
        "whole(f[6])",
        machine="attempts",
    ),
    Mutant(
        "a returned job goes to the end",
        "settle.lua",
        "push(queue, level_of(f[7]), id, true)",
        "push(queue, level_of(f[7]), id, false)",
        machine="attempts",
    ),
    Mutant(
        "a kept job has no entry",
        "settle.lua",
        "safe('ZADD', completed_key(queue), seconds(sec, usec, ttl * 1000), id)",
        "",
    ),
    Mutant(
        "a kept job never goes", "settle.lua", "    redis.call('EXPIRE', key, ttl)\n    redis", "    redis"
    ),
    Mutant("completed is counted once for each call", "settle.lua", "'completed', n)", "'completed', 1)"),
    Mutant(
        "a failed job has no entry",
        "prelude.lua",
        "safe('ZADD', failed_key(queue), seconds(sec, usec, ttl * 1000), id)",
        "",
    ),
    Mutant(
        "a failed job that is not kept leaves something",
        "prelude.lua",
        "  if ttl == 0 then return forget(id) end\n",
        "",
    ),
    Mutant(
        "a cancelled job has no entry",
        "prelude.lua",
        "safe('ZADD', cancelled_key(queue), seconds(sec, usec, ttl * 1000), id)",
        "",
    ),
    Mutant("a cancelled job is not counted", "prelude.lua", "  count('cancelled|' .. queue, 1)\n", ""),
    Mutant(
        "what completed is cancelled",
        "settle.lua",
        "if kind == 'completed' then\n        local",
        "if kind == 'completed' and not f[10] then\n        local",
    ),
    Mutant(
        "settle forgets that it shall be cancelled",
        "settle.lua",
        "(f[10] or kind == 'cancelled')",
        "kind == 'cancelled'",
    ),
    Mutant(
        "what is no job is cancelled", "settle.lua", "elseif kind ~= 'quarantine' and (f[10]", "elseif (f[10]"
    ),
    Mutant(
        "a crash is not counted",
        "settle.lua",
        "whole(redis.call('HGET', key, 'recoveries')) + 1",
        "whole(redis.call('HGET', key, 'recoveries'))",
    ),
    Mutant(
        "a crash uses no attempt",
        "settle.lua",
        "elseif kind == 'retry' or kind == 'crashed' then",
        "elseif kind == 'retry' then",
    ),
    Mutant("a retry counts as a crash", "settle.lua", "if kind == 'crashed' then", "if true then"),
    Mutant(
        "a completed job tells no dependents",
        "settle.lua",
        "ended(id, 'completed', f[11], f[12], ttl, blob)",
        "",
    ),
    Mutant("a completed job tells no result", "settle.lua", "f[12], ttl, blob)", "f[12], ttl)"),
    Mutant("a failed job tells no dependents", "settle.lua", "ended(id, 'failed', f[11], f[12], ttl)", ""),
    Mutant(
        "a job cancelled while it ran tells no dependents",
        "settle.lua",
        "ended(id, 'cancelled', f[11], f[12], ttl)",
        "",
    ),
)
