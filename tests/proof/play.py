"""Plays the state machine on a server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from cgjobs.broker import Sender, library
from tests.jobs import redis_config
from tests.proof import dependents, limits, operators, retained
from tests.proof.attempts import Attempts
from tests.proof.limits import Limits
from tests.proof.machine import Moves

MACHINES = {"moves": Moves, "attempts": Attempts, "limits": Limits}
STEPS = 40


def play(url: str, machine: str = "moves", *, examples: int, **chosen: Any) -> None:
    """So many orders of moves on this server, which it empties; raises what is not so.

    Args:
        url: The server.
        machine: Which one of `MACHINES`.
        examples: How many orders, each of `STEPS` moves at most.
        chosen: Further settings of Hypothesis.
    """
    source = library.source()
    changed = {**dependents.CHANGED, **retained.CHANGED, **operators.CHANGED, **limits.CHANGED}
    for text, replacement in changed.items():
        assert source.count(text) == 1, f"not once in the functions: {text}"
        source = source.replace(text, replacement)
    with loaded(with_own_digest(source)), _connected(url) as (sender, server):
        run_state_machine_as_test(
            lambda: MACHINES[machine](sender, server),  # type: ignore[arg-type]
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                **chosen,
            ),
        )


def with_own_digest(source: str) -> str:
    """A changed library that is not taken for the one it was."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    return source.replace(source.split("'")[3], digest)


@contextmanager
def loaded(source: str) -> Iterator[None]:
    """Inside, this process loads this library."""
    whole, digest = library.source, library.digest
    library.source, library.digest = lambda: source, lambda: source.split("'")[3]  # type: ignore[assignment]
    try:
        yield
    finally:
        library.source, library.digest = whole, digest


@contextmanager
def _connected(url: str) -> Iterator[tuple[Sender, redis.Redis]]:
    sender = Sender(redis_config(url))
    try:
        sender.load_functions()
        with redis.Redis.from_url(url) as server:
            yield sender, server
    finally:
        sender.close()
