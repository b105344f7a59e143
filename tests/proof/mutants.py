"""Small mistakes put into the functions on the server, each of which the state machine has to find.

    make mutants
    python -m tests.proof.mutants --examples 300 "settle ignores the token"

What it prints is the proof's own proof: a machine that finds none of them would show nothing by passing.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.resources import files
from pathlib import Path

import attrs
import pytest
from hypothesis import Phase

from cgjobs.broker import library
from tests.conftest import Server
from tests.proof.play import loaded, play, with_own_digest

EXAMPLES = 300


@attrs.frozen
class Mutant:
    """One mistake: in this file, instead of ``text``, which stands there once, ``replacement``."""

    name: str
    file: str
    text: str
    replacement: str

    def source(self) -> str:
        """The library with the mistake in it and a digest of its own.

        Raises:
            LookupError: The text does not stand in the file exactly once.
        """
        lua = (files("cgjobs.functions") / self.file).read_text("utf-8")
        if lua.count(self.text) != 1:
            raise LookupError(
                f"mutant {self.name!r}: its text stands {lua.count(self.text)} times in {self.file}, "
                f"not once: {self.text!r}. The file has changed; change the mutant too"
            )
        whole = library.source()
        mutated = whole.replace(lua, lua.replace(self.text, self.replacement))
        if mutated == whole:
            raise LookupError(f"mutant {self.name!r}: {self.file} was edited since this process read it")
        return with_own_digest(mutated)


MUTANTS = (
    Mutant(
        "enqueue ignores the nonce",
        "prelude.lua",
        "== 0 then return false end",
        "== -1 then return false end",
    ),
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
        "settle forgets what it refused",
        "settle.lua",
        "if #refused > 0 then",
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
    Mutant(
        "release takes somebody else's key",
        "prelude.lua",
        "if key and safe('GET', key) == id then",
        "if key then",
    ),
    Mutant(
        "claim keeps a key until the start", "claim.lua", "if fields[12] == 'started' then", "if false then"
    ),
    Mutant(
        "settle keeps the key of a job that is done",
        "settle.lua",
        "if f[9] == 'done' then release",
        "if f[9] == 'x' then release",
    ),
    Mutant("a failed job keeps its key", "settle.lua", "release(queue, f[8], id) -- whatever", "-- whatever"),
    Mutant("a removed job keeps its key", "remove.lua", "  release(queue, f[4], id)\n", ""),
    Mutant("a drained job keeps its key", "drain.lua", "release(queue, f[2], id)", ""),
    Mutant("retry ignores who has the key", "retry.lua", "if holder and holder ~= id then", "if false then"),
    Mutant("what is late is started", "claim.lua", "if not by or by >", "if true or by >"),
    Mutant("what expired keeps its key", "claim.lua", "  release(queue, fields[11], id)\n  ended", "  ended"),
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
    Mutant("a retry uses no attempt", "settle.lua", "math.max(0, whole(f[6]) - 1)", "whole(f[6])"),
    Mutant(
        "a returned job goes to the end",
        "settle.lua",
        "push(queue, level_of(f[7]), id, true)",
        "push(queue, level_of(f[7]), id, false)",
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
    Mutant("renew ignores the token", "renew.lua", "f[1] == token and", ""),
    Mutant(
        "renew does not renew",
        "renew.lua",
        "safe('ZADD', LEASES, expiry,",
        "safe('ZADD', LEASES, 'NX', expiry,",
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
    Mutant("reap ignores the level", "reap.lua", "level_of(f[4])", "NORMAL"),
    Mutant(
        "reap puts jobs at the end",
        "reap.lua",
        "push(queue, level_of(f[4]), id, true)",
        "push(queue, level_of(f[4]), id, false)",
    ),
    Mutant("promote forgets the delayed entry", "promote.lua", "redis.call('ZREM', key, id)", ""),
    Mutant("promote makes all ready", "promote.lua", "'-inf', time, 'LIMIT'", "'-inf', '+inf', 'LIMIT'"),
    Mutant("promote sweeps nothing", "promote.lua", "sweep(failed_key(queue), sec)", ""),
    Mutant("promote wakes nobody", "promote.lua", "if ready then wake(queue) end", ""),
    Mutant("resume wakes nobody", "pause.lua", "wake(args[1])", ""),
    Mutant(
        "remove takes a running job", "remove.lua", "if status == 'started' then", "if status == 'x' then"
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
    Mutant("drain forgets the hash", "drain.lua", "forget(id)", ""),
    Mutant("drain takes delayed jobs unasked", "drain.lua", "args[2] == '1'", "true"),
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
    Mutant("promote tells no groups", "promote.lua", "held[#held + 1] = queue; held[#held + 1] = group", ""),
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
    Mutant("reap gives back what shall be cancelled", "reap.lua", "if f[10] then", "if false then"),
    Mutant(
        "poison tells no dependents",
        "reap.lua",
        "release(queue, f[9], id)\n          ended(id, 'failed', f[11], f[12], ttl)",
        "release(queue, f[9], id)",
    ),
    Mutant("a removed job tells no dependents", "remove.lua", "ended(id, 'removed', f[6], f[7], 0)", ""),
    Mutant("a drained job tells no dependents", "drain.lua", "ended(id, 'removed', f[3], f[4], 0)", ""),
    Mutant("retry does not wait again", "retry.lua", "f[7] and wait_again(id, f[8]) > 0", "false"),
    Mutant("retry keeps the wish to cancel", "retry.lua", "'expires_at', 'cancel',", "'expires_at',"),
    Mutant("promote does not go on telling", "promote.lua", "  go_on_telling()\n", ""),
    Mutant(
        "promote does not say that ends are left",
        "promote.lua",
        "if safe('LLEN', ENDINGS) > 0 then next_due = 0 end",
        "",
    ),
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


def killed_by(source: str, url: str, examples: int) -> str:
    """What the machine said about this library; empty when it found nothing."""
    said = io.StringIO()
    with loaded(source), redirect_stdout(said):
        try:
            play(url, examples=examples, phases=[Phase.generate], database=None, derandomize=True)
        except (Exception, pytest.fail.Exception) as error:
            return type(error).__name__
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Let the state machine look for seeded mistakes.")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="orders of moves for each mutant")
    parser.add_argument("names", nargs="*", help="only these mutants")
    chosen = parser.parse_args(arguments)
    mutants = [mutant for mutant in MUTANTS if not chosen.names or mutant.name in chosen.names]
    sources = [
        mutant.source() for mutant in mutants
    ]  # all before the first runs: somebody may edit meanwhile
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            for mutant, source in zip(mutants, sources, strict=True):
                began = time.monotonic()
                found = killed_by(source, server.url, chosen.examples)
                survived += not found
                fate = f"killed   {found}" if found else "SURVIVED"
                print(f"{time.monotonic() - began:6.1f} s  {mutant.name:50} {fate}", flush=True)
        finally:
            server.kill()
    print(f"\n{len(mutants) - survived} of {len(mutants)} killed: {1 - survived / max(1, len(mutants)):.0%}")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
