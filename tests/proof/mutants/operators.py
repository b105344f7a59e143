"""Held jobs, and what operators do, done wrongly."""

from tests.proof.mutants.mutant import Mutant

MUTANTS = (
    Mutant("a removed job keeps its key", "remove.lua", "  release(queue, f[4], id)\n", ""),
    Mutant("a drained job keeps its key", "drain.lua", "release(queue, f[2], id)", ""),
    Mutant("retry ignores who has the key", "retry.lua", "if holder and holder ~= id then", "if false then"),
    Mutant("resume wakes nobody", "pause.lua", "wake(args[1])", ""),
    Mutant(
        "remove takes a running job",
        "remove.lua",
        "if status == 'started' then",
        "if status == 'x' then",
        machine="attempts",
    ),
    Mutant("remove leaves the entry", "remove.lua", "unlist(queue, id, level_of(f[3]), status, f[5])", ""),
    Mutant("retry leaves the entry", "retry.lua", "unlist(queue, id, level, status)", ""),
    Mutant("retry lets the job go when its time is over", "retry.lua", "redis.call('PERSIST', key)", ""),
    Mutant(
        "retry takes a waiting job",
        "retry.lua",
        "if status ~= 'failed' and",
        "if status ~= 'queued' and status ~= 'failed' and",
    ),
    Mutant(
        "a move sent again is made again",
        "operators.lua",
        "if not first_time(nonce, args[2], sec)",
        "if false",
    ),
    Mutant("a move sent again has no answer", "operators.lua", "    keep_answer(nonce, answers)\n", ""),
    Mutant("a bulk moves what has moved since", "operators.lua", "meant ~= '' and not", "false and not"),
    Mutant(
        "a bulk looks for as long as it takes",
        "operators.lua",
        "if searched > SEARCHED_AT_MOST then break end",
        "",
    ),
    Mutant("what a bulk finds costs nothing", "prelude.lua", "searched + 2 * (at", "searched + 0 * (at"),
    Mutant(
        "what one bulk looked through counts for the next",
        "prelude.lua",
        "several, searched = {}, {}, {}, 0, {}, false, 0",
        "several = {}, {}, {}, 0, {}, false",
    ),
    Mutant(
        "a bulk ends at a job that is gone",
        "operators.lua",
        "        answers[#answers + 1] = move(args[i], events)\n",
        "        answers[#answers + 1] = move(args[i], events)\n"
        "        if answers[#answers] == 'missing' then break end\n",
    ),
    Mutant(
        "a bulk moves the first alone", "operators.lua", "for i = from, #args do", "for i = from, from do"
    ),
    Mutant("a bulk leaves the entries", "prelude.lua", "if at then redis.call('LREM', key, 1, id) end", ""),
    Mutant("a bulk retry forgets the attempts", "retry.lua", "or whole(f[9]) + whole(f[10])", "or 0"),
    Mutant("drain forgets the hash", "drain.lua", "forget(id)", ""),
    Mutant("drain takes delayed jobs unasked", "drain.lua", "args[2] == '1'", "true"),
    Mutant("a held job has no entry", "held.lua", "safe('ZADD', deferred_key(queue), last_held, id)", ""),
    Mutant("a held job is in no group", "held.lua", "safe('RPUSH', held_key(queue .. ':' .. group), id)", ""),
    Mutant("hold names no group", "held.lua", "safe('ZADD', groups_key(queue), 0, group)", ""),
    Mutant(
        "release leaves the entry",
        "held.lua",
        "safe('ZREM', deferred_key(queue), id)\n      released",
        "released",
    ),
    Mutant(
        "release leaves the group's list",
        "held.lua",
        "if #ids > 0 then redis.call('LTRIM', key, #ids, -1) end",
        "",
    ),
    Mutant("release turns the order around", "held.lua", "for at = #ids, 1, -1 do", "for at = 1, #ids do"),
    Mutant(
        "release puts jobs at the end",
        "held.lua",
        "push(queue, level_of(f[3]), id, true)",
        "push(queue, level_of(f[3]), id, false)",
    ),
    Mutant("release ignores the level", "held.lua", "level_of(f[3])", "NORMAL"),
    Mutant("release wakes nobody", "held.lua", "    wake(queue)\n", ""),
    Mutant(
        "release leaves the reason",
        "held.lua",
        "'status', 'queued')\n      redis.call('HDEL', job_key(id), 'held', 'held_reason')",
        "'status', 'queued')",
    ),
    Mutant(
        "an empty group is still told",
        "held.lua",
        "== 0 then safe('ZREM', groups",
        "== -1 then safe('ZREM', groups",
    ),
    Mutant(
        "remove leaves a held job in its group",
        "operators.lua",
        "if held then unhold(queue, held, id) end",
        "",
    ),
    Mutant(
        "drain leaves held jobs",
        "drain.lua",
        "#ids < budget and safe('LPOP', held",
        "false and safe('LPOP', held",
    ),
    Mutant(
        "drain leaves the entry of held jobs",
        "drain.lua",
        "      safe('ZREM', deferred_key(queue), id)\n",
        "",
    ),
    Mutant("stats forget held jobs", "stats.lua", "{waiting + held,", "{waiting,"),
    Mutant(
        "stats forget a level",
        "stats.lua",
        "for _, level in ipairs(LEVELS) do",
        "for _, level in ipairs({NORMAL}) do",
    ),
    Mutant(
        "cancel does not mark a running job",
        "cancel.lua",
        "redis.call('HSET', job_key(id), 'cancel', '1')",
        "",
    ),
    Mutant(
        "cancel tells no worker", "cancel.lua", "      safe('SADD', key, id .. ':' .. (f[7] or ''))\n", ""
    ),
    Mutant("cancel leaves the entry", "cancel.lua", "unlist(queue, id, level_of(f[3]), status, f[8])", ""),
    Mutant(
        "cancel leaves a held job in its group",
        "cancel.lua",
        "status, f[8])\n      local",
        "status)\n      local",
    ),
    Mutant("cancel ignores the level", "cancel.lua", "level_of(f[3])", "NORMAL"),
    Mutant("cancel tells no dependents", "cancel.lua", "ended(id, 'cancelled', f[9], f[10], ttl)", ""),
    Mutant(
        "cancel ends a failed job again",
        "cancel.lua",
        "elseif status == 'queued' or",
        "elseif status == 'failed' or status == 'queued' or",
    ),
    Mutant(
        "cancels tells a worker only once", "cancel.lua", "safe('SMEMBERS', key)", "safe('SPOP', key, 100)"
    ),
    Mutant(
        "cancels ignores what the worker has heard",
        "cancel.lua",
        "do safe('SREM', key, args[i] .. ':' .. args[i + 1]) end",
        "do end",
    ),
    Mutant("a removed job tells no dependents", "remove.lua", "ended(id, 'removed', f[6], f[7], 0)", ""),
    Mutant("a drained job tells no dependents", "drain.lua", "ended(id, 'removed', f[3], f[4], 0)", ""),
    Mutant("retry does not wait again", "retry.lua", "f[7] and wait_again(id, f[8]) > 0", "false"),
    Mutant("retry keeps the wish to cancel", "retry.lua", "'expires_at', 'cancel',", "'expires_at',"),
)
