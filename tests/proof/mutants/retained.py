"""How many ended jobs are kept, counted wrongly."""

from tests.proof.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "any number of completed jobs is kept",
        "settle.lua",
        "if ttl > 0 then keep_at_most(",
        "if false then keep_at_most(",
    ),
    Mutant("any number of failed jobs is kept", "prelude.lua", "  keep_at_most(queue, 'failed', most)\n", ""),
    Mutant(
        "one job less is kept than asked for",
        "prelude.lua",
        "safe('ZCARD', key) - most\n",
        "safe('ZCARD', key) - most + 1\n",
    ),
    Mutant(
        "the newest ended jobs go first",
        "prelude.lua",
        "redis.call('ZRANGE', key, 0, math.min(over, budget) - 1)",
        "redis.call('ZREVRANGE', key, 0, math.min(over, budget) - 1)",
    ),
    Mutant(
        "one end lets go of all that are too many", "prelude.lua", "math.min(over, budget) - 1", "over - 1"
    ),
    Mutant(
        "what one end leaves is left for ever",
        "prelude.lua",
        "    safe('HSET', queue_key(queue), KEPT[status][2], most)\n",
        "",
    ),
    Mutant("promote lets go of no rest", "promote.lua", "    trim_rest(queue, 'failed', state[3])\n", ""),
    Mutant(
        "promote never ends to let go",
        "promote.lua",
        "redis.call('HDEL', queue_key(queue), KEPT[status][2])",
        "",
    ),
    Mutant(
        "what is too many leaves its hash", "prelude.lua", "      forget(id)\n      if f[2]", "      if f[2]"
    ),
    Mutant(
        "what is too many leaves its dependencies",
        "prelude.lua",
        "if f[2] then redis.call('DEL', dependencies_key(id), depends_on_key(id)) end",
        "",
    ),
    Mutant(
        "what is too many leaves its entry",
        "prelude.lua",
        "    redis.call('ZREM', key, id)\n  end\n  return math.max",
        "  end\n  return math.max",
    ),
    Mutant(
        "a job that was enqueued again is taken for its old entry",
        "prelude.lua",
        "f[1] == status and f[3] == queue)",
        "true)",
    ),
    Mutant(
        "an old entry takes a job of another queue along",
        "prelude.lua",
        "f[1] == status and f[3] == queue)",
        "f[1] == status)",
    ),
)
