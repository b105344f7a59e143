"""What clients and schedulers ask for, done wrongly."""

from tests.proof.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "enqueue ignores a taken id", "enqueue.lua", "if redis.call('EXISTS', key) == 1 then", "if false then"
    ),
    Mutant(
        "enqueue forgets what it answered",
        "enqueue.lua",
        "if not all_added then",
        "if false then",
    ),
    Mutant(
        "enqueue makes delayed jobs ready",
        "enqueue.lua",
        "local ready = not at_ms or",
        "local ready = true or",
    ),
    Mutant(
        "a unique key keeps nobody out",
        "enqueue.lua",
        "== 1) then return holder end",
        "== 1) then holder = nil end",
    ),
    Mutant(
        "a unique key for a time has no end",
        "enqueue.lua",
        "redis.call('SET', key, id, 'PX', ms)",
        "redis.call('SET', key, id)",
    ),
    Mutant("debounce adds a job each time", "enqueue.lua", "elseif has_started(added) then", "else"),
    Mutant(
        "debounce keeps the first payload",
        "enqueue.lua",
        "local fields = {'data', args[i + 5],",
        "local fields = {'x', '',",
    ),
    Mutant(
        "debounce does not wait anew",
        "enqueue.lua",
        "safe('ZADD', delayed_key(queue), due, id)\n    if",
        "if",
    ),
    Mutant(
        "debounce keeps the first one's options",
        "enqueue.lua",
        "  redis.call('HDEL', key, unpack(OPTIONAL))\n",
        "",
    ),
    Mutant("enqueue wakes nobody", "enqueue.lua", "if ready then wake(queue) end", ""),
    Mutant(
        "fire ignores the slot",
        "fire.lua",
        "if (tonumber(f[1] or '') or -1) >= slot then return {0, 0} end",
        "",
    ),
    Mutant("fire adds a part twice", "fire.lua", "if first ~= there then return {2, there} end", ""),
    Mutant(
        "fire goes on with another slot's part",
        "fire.lua",
        "f[2] == args[2] and whole(f[3]) or 0",
        "whole(f[3])",
    ),
    Mutant("fire does not wait", "fire.lua", "if early > 0 then", "if false then"),
)
