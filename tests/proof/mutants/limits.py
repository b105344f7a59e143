"""How many may start, and how many may wait, counted wrongly."""

from functools import partial

from tests.proof.mutants.mutant import Mutant

limited = partial(Mutant, machine="limits")

MUTANTS = (
    limited("any number runs", "limits.lua", "if limits[2] > 0 then room", "if false then room"),
    limited(
        "one more runs than may",
        "limits.lua",
        "limits[2] - safe('ZCARD', active_key(queue))",
        "limits[2] + 1 - safe('ZCARD', active_key(queue))",
    ),
    limited(
        "any number starts",
        "limits.lua",
        "if limits[3] > 0 and room > 0 then\n    room",
        "if false then\n    room",
    ),
    limited(
        "starts of a queue are not noted", "claim.lua", "if limits and limits[3] > 0 then", "if false then"
    ),
    limited(
        "starts of one claim count once",
        "claim.lua",
        "note_starts(starts_key(queue), #members / 2,",
        "note_starts(starts_key(queue), 1,",
    ),
    limited(
        "a start counts for ever",
        "limits.lua",
        "if at and at > now_us - window and at <= now_us then break end",
        "if at then break end",
    ),
    limited(
        "a start does not count",
        "limits.lua",
        "if at and at > now_us - window and at <= now_us then break end",
        "",
    ),
    limited(
        "nobody hears when the rate allows more",
        "claim.lua",
        "later[#later + 1] = queue; later[#later + 1] = wait\n",
        "",
    ),
    limited("any number of a key runs", "limits.lua", "if limits[5] > 0 then room =", "if false then room ="),
    limited(
        "any number of a key starts", "limits.lua", "if limits[6] > 0 and room > 0 then", "if false then"
    ),
    limited(
        "running jobs of a key are not noted",
        "limits.lua",
        "if limits[5] > 0 then safe('SADD', running_key(key), member) end",
        "",
    ),
    limited(
        "starts of a key are not noted",
        "limits.lua",
        "if limits[6] > 0 then note_starts(starts_key(key), 1, limits[7], now_us) end",
        "",
    ),
    limited(
        "what runs of a key is counted for ever",
        "limits.lua",
        "  redis.pcall('SREM', running_key(queue .. ':' .. k), member)\n",
        "",
    ),
    limited(
        "a held job of a key is overtaken", "claim.lua", "if room > 0 and not waits then", "if room > 0 then"
    ),
    limited(
        "a key that is freed is not looked at",
        "limits.lua",
        "    look_at_key(queue, k, 0, now_us)\n    wake(queue)\n",
        "    wake(queue)\n",
    ),
    limited(
        "a key that is freed wakes nobody",
        "limits.lua",
        "    look_at_key(queue, k, 0, now_us)\n    wake(queue)\n",
        "    look_at_key(queue, k, 0, now_us)\n",
    ),
    limited(
        "settle frees no key", "settle.lua", "if f[17] then keys[#keys + 1]", "if false then keys[#keys + 1]"
    ),
    limited("reap frees no key", "reap.lua", "if f[15] then key_freed", "if false then key_freed"),
    limited(
        "keys that wait are not looked at again",
        "claim.lua",
        "if state[4] or next(held.keys) then due = look_again",
        "if false then due = look_again",
    ),
    limited(
        "a key is looked at too late",
        "limits.lua",
        "safe('ZADD', due_key(queue), 'LT',",
        "safe('ZADD', due_key(queue), 'NX',",
    ),
    limited(
        "a claim takes what its key forbids",
        "claim.lua",
        "  if room == 0 then return nil end\n",
        "  if room == 0 then return id, fields end\n",
    ),
    limited(
        "a held job that is next stays listed",
        "limits.lua",
        "local id = safe('LPOP', held_key(queue .. ':' .. group))",
        "local id = safe('LINDEX', held_key(queue .. ':' .. group), 0)",
    ),
    limited(
        "a job that was told to wait waits behind the others",
        "limits.lua",
        "  redis.call('LMOVE', list, list, 'RIGHT', 'LEFT')\n",
        "",
    ),
    limited(
        "a key that was told to wait does not",
        "limits.lua",
        "if redis.call('PTTL', limited_key(name)) < ms then",
        "if false then",
    ),
    limited(
        "a shorter wait of a key ends a longer one",
        "limits.lua",
        "if redis.call('PTTL', limited_key(name)) < ms then",
        "if true then",
    ),
    limited(
        "a queue that was told to wait does not",
        "settle.lua",
        "if kind == 'limited' then hold_queue(queue, delay_ms, sec, usec) else wake(queue) end",
        "wake(queue)",
    ),
    limited(
        "a shorter wait of a queue ends a longer one", "limits.lua", "if ends > before then", "if true then"
    ),
    limited(
        "a queue that waits is not told when to ask",
        "limits.lua",
        "then return 0, math.ceil(held_ms - now_us / 1000) end",
        "then return 0 end",
    ),
    limited("resume leaves a queue waiting", "pause.lua", "'paused', 'until'))", "'paused'))"),
    limited(
        "nobody asks for others when a job has ended", "claim.lua", "if (n > 0 or limits) and", "if n > 0 and"
    ),
    limited(
        "a full queue takes more",
        "enqueue.lua",
        "if more > 0 and present + more > most then",
        "if false then",
    ),
    limited(
        "a queue is full one too early", "enqueue.lua", "present + more > most", "present + more >= most"
    ),
    limited(
        "what adds nothing takes a place",
        "enqueue.lua",
        "if args[i] == queue and not is_taken(args, i) then",
        "if args[i] == queue then",
    ),
    limited(
        "held jobs take no place",
        "enqueue.lua",
        "safe('ZCARD', delayed_key(queue)) + safe('ZCARD', deferred_key(queue))",
        "safe('ZCARD', delayed_key(queue))",
    ),
    limited(
        "a refusal is remembered as done",
        "enqueue.lua",
        "      if refused then\n        forget_call(args[1], sec)\n",
        "      if refused then\n",
    ),
    limited("a refusal is not counted", "enqueue.lua", "      count('refused|' .. queue, more)\n", ""),
    limited("a slot is fired into a full queue", "fire.lua", "  if refused then return refused end\n", ""),
)
