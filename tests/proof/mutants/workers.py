"""What workers do while they claim, renew, reap and promote, done wrongly."""

from tests.proof.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "claim keeps a key until the start", "claim.lua", "if fields[12] == 'started' then", "if false then"
    ),
    Mutant("what is late is started", "claim.lua", "if not by or by >", "if true or by >"),
    Mutant("what expired keeps its key", "claim.lua", "  release(queue, fields[11], id)\n  ended", "  ended"),
    Mutant("claim does not add the lease", "claim.lua", "safe('ZADD', LEASES, unpack(leases))", ""),
    Mutant(
        "claim gives jobs of a paused queue",
        "claim.lua",
        "if (n > 0 or limits) and not state[1] then",
        "if n > 0 then",
    ),
    Mutant("claim sent again gives no jobs", "claim.lua", "if of == token then", "if of == worker then"),
    Mutant("claim sent again gives fresh jobs too", "claim.lua", "        n = n - 1\n", ""),
    Mutant(
        "claim sent again leaves the lease as it was",
        "claim.lua",
        "safe('ZADD', LEASES, expiry, queue .. ':' .. id .. ':' .. token) -- it begins now",
        "",
    ),
    Mutant(
        "claim leaves the token out",
        "claim.lua",
        "'worker_name', worker, 'token',\n",
        "'worker_name', worker, 'x',\n",
    ),
    Mutant("claim wakes nobody for the rest", "claim.lua", "        wake(queue)\n", ""),
    Mutant(
        "claim takes from the end",
        "claim.lua",
        "redis.call('LPOP', waiting_key(",
        "redis.call('RPOP', waiting_key(",
    ),
    Mutant("levels are ignored", "claim.lua", "if not levels then return", "if true then return"),
    Mutant("urgent levels come last", "claim.lua", "PICKS[pick % #PICKS + 1]", "#LEVELS"),
    Mutant("low levels starve", "claim.lua", "PICKS[pick % #PICKS + 1]", "1"),
    Mutant("renew ignores the token", "renew.lua", "f[1] == token and", "", machine="attempts"),
    Mutant(
        "renew does not renew",
        "renew.lua",
        "safe('ZADD', LEASES, expiry,",
        "safe('ZADD', LEASES, 'NX', expiry,",
        machine="attempts",
    ),
    Mutant(
        "reap takes jobs back whose lease holds",
        "reap.lua",
        "'-inf', seconds(sec, usec, 0)",
        "'-inf', '+inf'",
    ),
    Mutant(
        "reap forgets the running set", "reap.lua", "safe('ZREM', active_key(queue), id .. ':' .. token)", ""
    ),
    Mutant("reap does not count recoveries", "reap.lua", "whole(f[3]) + 1\n", "whole(f[3])\n"),
    Mutant("reap ignores the level", "reap.lua", "level_of(f[4])", "NORMAL", machine="attempts"),
    Mutant(
        "reap puts jobs at the end",
        "reap.lua",
        "push(queue, level_of(f[4]), id, true)",
        "push(queue, level_of(f[4]), id, false)",
        machine="attempts",
    ),
    Mutant("promote forgets the delayed entry", "promote.lua", "redis.call('ZREM', key, id)", ""),
    Mutant("promote makes all ready", "promote.lua", "'-inf', time, 'LIMIT'", "'-inf', '+inf', 'LIMIT'"),
    Mutant("promote sweeps nothing", "promote.lua", "sweep(failed_key(queue), sec)", ""),
    Mutant("promote wakes nobody", "promote.lua", "if ready then wake(queue) end", ""),
    Mutant("promote tells no groups", "promote.lua", "held[#held + 1] = queue; held[#held + 1] = group", ""),
    Mutant(
        "reap gives back what shall be cancelled",
        "reap.lua",
        "if f[10] then",
        "if false then",
        machine="attempts",
    ),
    Mutant(
        "poison tells no dependents",
        "reap.lua",
        "release(queue, f[9], id)\n          ended(id, 'failed', f[11], f[12], ttl)",
        "release(queue, f[9], id)",
    ),
    Mutant("promote does not go on telling", "promote.lua", "  go_on_telling()\n", ""),
    Mutant(
        "promote does not say that ends are left",
        "promote.lua",
        "if safe('LLEN', ENDINGS) > 0 then next_due = 0 end",
        "",
    ),
)
