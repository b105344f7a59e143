"""Jobs that wait for other jobs, told wrongly."""

from tests.proof.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "an unknown dependency is waited for",
        "dependents.lua",
        "if not adding[dependency] and not exists(dependency) then",
        "if false then",
    ),
    Mutant(
        "a dependency named twice counts twice",
        "dependents.lua",
        "if safe('SADD', depends_on_key(id), dependency) == 1 then",
        "if safe('SADD', depends_on_key(id), dependency) >= 0 then",
    ),
    Mutant(
        "what has ended is waited for",
        "dependents.lua",
        "  if how then\n    note_end",
        "  if false then\n    note_end",
    ),
    Mutant(
        "what is gone is waited for",
        "dependents.lua",
        "if not f or not f[1] then return 'removed' end",
        "if not f or not f[1] then return nil end",
    ),
    Mutant(
        "a dependent runs though its dependency failed",
        "dependents.lua",
        "how ~= 'completed' and f[6] ~= '1' then return fail",
        "false then return fail",
    ),
    Mutant(
        "a dependent that takes failures fails",
        "dependents.lua",
        "how ~= 'completed' and f[6] ~= '1' then return fail",
        "how ~= 'completed' then return fail",
    ),
    Mutant(
        "a dependent runs after the first end",
        "dependents.lua",
        "if left <= 0 then undefer",
        "if true then undefer",
    ),
    Mutant(
        "a dependent that is ready keeps its entry",
        "dependents.lua",
        "  safe('ZREM', deferred_key(queue), id)\nend",
        "end",
    ),
    Mutant(
        "a dependent that failed keeps its entry",
        "dependents.lua",
        "  safe('ZREM', deferred_key(queue), id)\n  release",
        "  release",
    ),
    Mutant("a dependent forgets its delay", "dependents.lua", "if at_ms and at_ms >", "if false and at_ms >"),
    Mutant(
        "a dependent goes to the front",
        "dependents.lua",
        "push(queue, level, id, false)",
        "push(queue, level, id, true)",
    ),
    Mutant("a dependent that is ready wakes nobody", "dependents.lua", "    wake(queue)\n", ""),
    Mutant(
        "the worker that settles does not hear of dependents",
        "dependents.lua",
        "    readied[queue] = true\n",
        "",
    ),
    Mutant(
        "the end of a dependent tells nobody",
        "dependents.lua",
        "  ended(id, 'failed', f[10], f[11], ttl)\n",
        "",
    ),
    Mutant(
        "the rest of the dependents is forgotten",
        "dependents.lua",
        "if told >= DEPENDENTS_AT_ONCE and",
        "if false and",
    ),
    Mutant("one call tells all dependents", "dependents.lua", "      told = told + #some\n", ""),
    Mutant(
        "a dependent that was told stays among them",
        "dependents.lua",
        "        safe('SREM', key, dependent)\n",
        "",
    ),
    Mutant(
        "an old end is told of a job that was retried",
        "dependents.lua",
        "if f and f[1] and not ENDED[f[1]] then",
        "if false then",
    ),
    Mutant(
        "retry waits for a younger job of the same id",
        "dependents.lua",
        "(f[2] or '') <= (created or '')",
        "true",
    ),
    Mutant(
        "a dependent hears twice of one dependency",
        "dependents.lua",
        "if before ~= '' then return nil end",
        "if not before then return nil end",
    ),
    Mutant(
        "an ended job keeps its dependencies for ever",
        "dependents.lua",
        "    redis.call('EXPIRE', dependencies_key(id), ttl)\n",
        "",
    ),
    Mutant(
        "retry lets the dependencies go",
        "dependents.lua",
        "  redis.call('PERSIST', dependencies_key(id))\n",
        "",
    ),
)
