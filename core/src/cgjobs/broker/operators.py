"""The moves of jobs that operators make, one or many in a call; sent again they give the same answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar

from cgjobs.broker.call import Call, Command, fcall
from cgjobs.broker.moves import new_nonce
from cgjobs.broker.replies import text
from cgjobs.broker.values import STATES
from cgjobs.errors import JobNotFound, JobStateError
from cgjobs.model import JobState

T = TypeVar("T")


def remove(job_id: str) -> Call[JobState | None]:
    """Take a job out. Gives the state it was in; None for a garbage hash."""
    return _single("remove", job_id, lambda status: STATES.get(status))


def retry(job_id: str, *, attempts: int | None = None) -> Call[JobState]:
    """Make an ended job ready again, with ``attempts`` or as many as before. Gives the state it was in."""
    return _single("retry", job_id, lambda status: STATES[status], attempts=attempts)


def cancel(job_id: str) -> Call[JobState]:
    """End a job on purpose; a running one is ended by its worker. Gives the state it was in."""
    return _single("cancel", job_id, lambda status: STATES[status])


OperatorMove: TypeAlias = Literal["retry", "cancel", "remove"]
_MOVED: Mapping[str, tuple[str, str]] = {  # what it is, and why not, by move
    "retry": ("retried", "Only a failed, completed or cancelled job can be retried."),
    "cancel": ("cancelled", "It has ended already."),
    "remove": ("removed", "Wait for its end first."),
}


def move_many(move: OperatorMove, ids: Sequence[str], state: JobState) -> Call[list[bool]]:
    """Move jobs that are in one state, at most 500.

    Gives for each whether it was moved: not when it has gone, is in another state by now, or another job has
    its unique key. When the call would have taken long the list is shorter than that of the ids, and the rest
    is for another call.
    """

    def parse(reply: list[bytes]) -> list[bool]:
        return [status != b"missing" and status[:1] not in (b"!", b"~", b"=") for status in reply]

    meant = "".join(f",{name}" for name, known in STATES.items() if known is state) + ","
    return _operator_call(move, meant, ids, parse)


def _single(
    move: OperatorMove, job_id: str, read: Callable[[str], T], attempts: int | None = None
) -> Call[T]:
    what, hint = _MOVED[move]

    def parse(reply: list[bytes]) -> T:
        [status] = reply
        held = status == b"!held"
        why = "It goes on by itself; `cgjobs job show` says what it waits for." if held else hint
        return read(_moved(job_id, text(status), what, why))

    return _operator_call(move, "", [job_id], parse, attempts)


def _operator_call(
    move: OperatorMove,
    meant: str,
    ids: Sequence[str],
    parse: Callable[[list[bytes]], T],
    attempts: int | None = None,
) -> Call[T]:
    nonce = new_nonce()
    more = ("" if attempts is None else attempts,) if move == "retry" else ()

    def command(resent: int) -> Command:
        return fcall(move, nonce, resent, meant, *more, *ids)

    return Call((command(0),), parse, (command(1),))


def _moved(job_id: str, status: str, move: str, hint: str) -> str:
    if status.startswith("="):
        state, _, holder = status[1:].partition(" ")
        raise JobStateError(
            job_id, STATES.get(state, state), move, f"The job {holder!r} has its unique key now."
        )
    if status == "missing":
        raise JobNotFound(job_id)
    if status.startswith("!"):
        raise JobStateError(job_id, STATES.get(status[1:], status[1:]), move, hint)
    return status
