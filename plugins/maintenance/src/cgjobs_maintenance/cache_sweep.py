"""A sweep over the keys of one cache in Redis: SCAN, look, delete or give a time to live, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
from redis import exceptions

from cgjobs import Context, Snooze
from cgjobs_maintenance.cache_keys import DENIED
from cgjobs_maintenance.cache_server import Node, meaning
from cgjobs_maintenance.payloads import Cache, Only
from cgjobs_maintenance.results import CacheResult, CacheSkipped

SAMPLES = 5
_STAYS, _GONE = -1, -2  # what TTL says of a key without one, and of one that is not there
_MOVED = (exceptions.AskError, exceptions.MovedError, exceptions.TryAgainError)


@attrs.define
class Tally:
    """What a sweep has done so far, over all its runs.

    Args:
        keys: How many there were in all at the beginning.
        nodes: The servers that are done with.
        looked: Keys that SCAN has passed, about.
        bytes: What the matched keys take, in a dry run.
    """

    cutoff: str
    memory: int
    keys: int
    nodes: list[str] = attrs.field(factory=list)
    looked: int = 0
    scanned: int = 0
    matched: int = 0
    unlinked: int = 0
    ttl_set: int = 0
    bytes: int = 0
    protected: int = 0
    ttl: int = 0
    young: int = 0
    gone: int = 0
    samples: list[str] = attrs.field(factory=list)


class CacheSweep:
    """Sweeps what a payload selects. Use it once.

    Args:
        nodes: The servers; each has keys of its own.
        payload: What to do; its pattern has been checked.
        protected: Prefixes of keys that are left alone, besides the queue's own.
        ctx: The job that runs.
        cutoff: What was used after this is not idle.
        clock: Seconds since any start, never going back.
        now: The time.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        payload: Cache,
        protected: Sequence[str],
        ctx: Context,
        *,
        cutoff: datetime,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._nodes, self._payload, self._ctx, self._clock, self._now = nodes, payload, ctx, clock, now
        self._only: Only = payload.only or "no_ttl"
        self._denied = tuple(prefix.encode() for prefix in (*DENIED, *protected))
        self._deadline = clock() + payload.max_duration.total_seconds()
        self._limit = payload.max_items
        saved: dict[str, Any] = ctx.resume({})
        self._cursor: dict[str, Any] = saved.get("cursor", {})
        self._tally = Tally(
            **saved.get(
                "tally",
                {
                    "cutoff": cutoff.isoformat(),
                    "memory": sum(node.memory for node in nodes),
                    "keys": sum(node.keys for node in nodes),
                },
            )
        )
        self._cutoff = datetime.fromisoformat(self._tally.cutoff)

    def run(self) -> CacheResult:
        """Sweep every server.

        Raises:
            Snooze: ``max_duration`` is over; the next run goes on where this one stands.
        """
        try:
            for node in self._nodes:
                if node.name not in self._tally.nodes and not self._is_full():
                    self._sweep(node)
                    self._tally.nodes.append(node.name)
            self._ctx.progress(self._tally.keys, self._tally.keys, self._so_far())
        finally:  # whatever ends it, this is the record of what is gone
            self._ctx.log.info(
                "cache_swept",
                target=self._payload.target,
                pattern=self._payload.pattern,
                only=self._only,
                cutoff=self._tally.cutoff,
                dry_run=self._payload.dry_run,
                matched=self._tally.matched,
                unlinked=self._tally.unlinked,
                ttl_set=self._tally.ttl_set,
            )
        return self._result()

    def _sweep(self, node: Node) -> None:
        if self._only == "idle" and node.counts_uses:
            self._ctx.log.warning(
                "cache_counts_uses", node=node.name, policy=node.policy, frequency=self._payload.frequency
            )
        # A cursor means nothing to a server that was started again: the hash of its keys is another one.
        cursor = self._cursor.get("at", 0) if self._cursor.get("run_id") == node.run_id else 0
        while True:
            cursor, keys = self._scan(node, cursor)
            self._step(node, keys)
            # COUNT is how many keys a SCAN passes, whether or not they match.
            self._tally.looked = min(self._tally.looked + self._payload.batch, self._tally.keys)
            if cursor == 0 or self._is_full():
                return
            self._cursor = {"run_id": node.run_id, "at": cursor}
            self._keep()
            if self._clock() >= self._deadline:
                raise Snooze(
                    timedelta(0),
                    f"max_duration: about {self._tally.looked} of {self._tally.keys} keys, going on",
                )

    def _scan(self, node: Node, cursor: int) -> tuple[int, list[bytes]]:
        reply: Any = node.client.scan(cursor, match=self._payload.pattern, count=self._payload.batch)
        return int(reply[0]), reply[1]

    def _keep(self) -> None:
        self._ctx.checkpoint({"cursor": self._cursor, "tally": attrs.asdict(self._tally)})
        self._ctx.progress(self._tally.looked, self._tally.keys, self._so_far())

    def _so_far(self) -> str:
        if self._payload.dry_run:
            return f"{self._tally.matched} keys would be changed"
        if self._payload.set_ttl is not None:
            return f"{self._tally.ttl_set} keys were given a time to live"
        return f"{self._tally.unlinked} keys deleted"

    def _is_full(self) -> bool:
        return self._limit is not None and self._done() >= self._limit

    def _done(self) -> int:
        return self._tally.matched if self._payload.dry_run else self._tally.unlinked + self._tally.ttl_set

    def _step(self, node: Node, keys: list[bytes]) -> None:
        tally = self._tally
        tally.scanned += len(keys)
        mine = [key for key in keys if not key.startswith(self._denied)]
        tally.protected += len(keys) - len(mine)
        wanted = self._eligible(node, mine)
        if self._limit is not None:
            wanted = wanted[: self._limit - self._done()]
        tally.matched += len(wanted)
        for key in wanted[: SAMPLES - len(tally.samples)]:
            tally.samples.append(key.decode("utf-8", "backslashreplace"))
        if self._payload.dry_run:
            tally.bytes += sum(filter(None, self._ask(node, [("MEMORY USAGE", key) for key in wanted])))
        elif self._payload.set_ttl is not None:
            # NX, LT: a time to live that the key was given since we looked is kept, if it is the shorter one.
            how = "NX" if self._only == "no_ttl" else "LT"
            seconds = int(self._payload.set_ttl.total_seconds())
            tally.ttl_set += sum(
                filter(None, self._ask(node, [("EXPIRE", key, seconds, how) for key in wanted]))
            )
        else:
            tally.unlinked += sum(filter(None, self._ask(node, [("UNLINK", key) for key in wanted])))

    def _eligible(self, node: Node, keys: list[bytes]) -> list[bytes]:
        if self._only == "all":
            return keys
        tally, wanted = self._tally, []
        if self._only == "no_ttl":
            for key, ttl in zip(keys, self._ask(node, [("TTL", key) for key in keys]), strict=True):
                if ttl == _STAYS:
                    wanted.append(key)
                else:
                    tally.gone += ttl in (None, _GONE)
                    tally.ttl += ttl not in (None, _GONE)
            return wanted
        what = "FREQ" if node.counts_uses else "IDLETIME"
        # Idle times grow while we look; what counts is whether the last use was before the cutoff.
        least = (self._now() - self._cutoff).total_seconds()
        for key, value in zip(keys, self._ask(node, [("OBJECT", what, key) for key in keys]), strict=True):
            if value is None:
                tally.gone += 1
            elif value <= self._payload.frequency if node.counts_uses else value >= least:
                wanted.append(key)
            else:
                tally.young += 1
        return wanted

    def _ask(self, node: Node, commands: list[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands on one key each; None for a key that is gone or elsewhere by now."""
        if not commands:
            return []
        pipe = node.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        replies = pipe.execute(raise_on_error=False)
        for reply in replies:
            if (
                isinstance(reply, Exception)
                and not isinstance(reply, _MOVED)
                and "no such key" not in str(reply)
            ):
                raise meaning(self._payload.target, reply)
        return [None if isinstance(reply, Exception) else reply for reply in replies]

    def _result(self) -> CacheResult:
        tally = self._tally
        return CacheResult(
            dry_run=self._payload.dry_run,
            scanned=tally.scanned,
            matched=tally.matched,
            unlinked=tally.unlinked,
            ttl_set=tally.ttl_set,
            memory_before=tally.memory,
            memory_after=sum(node.used_memory() for node in self._nodes),
            matched_bytes=tally.bytes if self._payload.dry_run else None,
            skipped=CacheSkipped(
                protected=tally.protected, ttl=tally.ttl, young=tally.young, gone=tally.gone
            ),
            evicted_policy=", ".join(sorted({node.policy for node in self._nodes})),
            samples=tuple(tally.samples),
            stopped_by="max_items" if self._is_full() else None,
        )
