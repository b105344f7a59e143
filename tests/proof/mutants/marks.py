"""What running jobs say of themselves, heard wrongly."""

from functools import partial

from tests.proof.mutants.mutant import Mutant as AnyMutant

Mutant = partial(AnyMutant, machine="attempts")

MUTANTS = (
    Mutant("an effect begins for whoever asks", "once.lua", "if not holds then return 'lost' end", ""),
    Mutant(
        "an effect that is done begins again",
        "once.lua",
        "if f[3] == 'done' then return 'done' end",
        "if f[3] == 'done' then return 'new' end",
    ),
    Mutant(
        "an effect that was begun begins again", "once.lua", "if f[3] and f[3] ~= mine then", "if false then"
    ),
    Mutant(
        "an effect that is asked for again is another one",
        "once.lua",
        "f[3] ~= mine then return 'begun'",
        "true then return 'begun'",
    ),
    Mutant(
        "who began an effect may not say late that it is done", "once.lua", "(holds or f[3] == mine)", "holds"
    ),
    Mutant("anybody says that an effect is done", "once.lua", "(holds or f[3] == mine)", "true"),
    Mutant("anybody undoes an effect", "once.lua", "move == 'undo' and f[3] == mine", "move == 'undo'"),
    Mutant(
        "an effect is done without a trace", "once.lua", "redis.call('HSET', job_key(id), field, 'done')", ""
    ),
    Mutant("lines of anybody are kept", "log.lua", "if f and f[1] == token then", "if f then"),
    Mutant(
        "lines that are sent again are kept twice",
        "log.lua",
        "for at = skip + 1, #lines",
        "for at = 1, #lines",
    ),
    Mutant(
        "lines of the next attempt are taken for sent ones",
        "log.lua",
        "of == token and math.max(",
        "of and math.max(",
    ),
    Mutant(
        "lines are counted from the last call on",
        "log.lua",
        "token .. ':' .. (before + #lines)",
        "token .. ':' .. #lines",
    ),
    Mutant("any number of lines is kept", "log.lua", "redis.call('LTRIM', key, -tonumber(args[1]), -1)", ""),
    Mutant("the first lines are kept", "log.lua", "-tonumber(args[1]), -1)", "0, tonumber(args[1]) - 1)"),
    Mutant(
        "lines of a completed job stay for ever",
        "settle.lua",
        "if logged then redis.call('EXPIRE', log_key(id), ttl) end",
        "",
    ),
    Mutant(
        "lines of a failed job stay for ever",
        "prelude.lua",
        "  redis.call('EXPIRE', log_key(id), ttl)\n  keep_at_most",
        "  keep_at_most",
    ),
    Mutant(
        "lines of a cancelled job stay for ever",
        "prelude.lua",
        "    redis.call('EXPIRE', log_key(id), ttl)\n  end\n  release",
        "  end\n  release",
    ),
    Mutant("retry lets the lines go", "retry.lua", "  redis.call('PERSIST', log_key(id))\n", ""),
    Mutant(
        "a forgotten job leaves its lines",
        "prelude.lua",
        "results_key(id), log_key(id))\nend",
        "results_key(id))\nend",
    ),
    Mutant("a checkpoint of anybody is kept", "checkpoint.lua", "f[1] == args[i + 1] then", "true then"),
    Mutant(
        "a checkpoint cannot be taken back", "checkpoint.lua", "if args[i + 2] == '' then", "if false then"
    ),
    Mutant("a checkpoint is kept over the end", "settle.lua", "if checkpoint then", "if false then"),
    Mutant(
        "a claim does not give the checkpoint", "claim.lua", "if f[16] then add('checkpoint', f[16]) end", ""
    ),
    Mutant("progress of anybody is kept", "progress.lua", "if f and f[1] == args[i + 1] then", "if f then"),
    Mutant("anybody begins", "begin.lua", "f[1] ~= args[2] or", ""),
    Mutant(
        "what has begun runs twice", "reap.lua", "elseif f[14] and f[14] == f[1] then", "elseif false then"
    ),
    Mutant(
        "what an earlier attempt began is unknown",
        "reap.lua",
        "elseif f[14] and f[14] == f[1] then",
        "elseif f[14] then",
    ),
    Mutant("retry keeps that the job has begun", "retry.lua", "'outcome', 'begun')", "'outcome')"),
    Mutant(
        "retry keeps that the outcome is unknown",
        "retry.lua",
        "'cancel', 'outcome', 'begun')",
        "'cancel', 'begun')",
    ),
    Mutant("retry keeps the progress", "retry.lua", "'ended_at', 'meta',", "'ended_at',"),
    Mutant(
        "an unknown outcome is not marked",
        "prelude.lua",
        "  redis.call('HSET', job_key(id), 'outcome', 'unknown')\n",
        "",
    ),
    Mutant(
        "an unknown outcome is not counted",
        "prelude.lua",
        "  count('unknown|' .. queue .. '|' .. subtype, 1)\n",
        "",
    ),
)
