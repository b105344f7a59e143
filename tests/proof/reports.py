"""What handlers say while they run: effects that may happen once, log lines, checkpoints, progress."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from cgjobs.broker import moves
from cgjobs.broker.values import Claimed
from tests.proof.job import EFFECTS
from tests.proof.table import Table

values = st.sampled_from(["1", "2", ""])


@attrs.frozen
class Begun:
    """An effect that an attempt has begun, as it knows."""

    claimed: Claimed
    effect: str
    nonce: str


class Reports(Table):
    """Each comes from an attempt in hand, or from one that was given up, whose words count no more."""

    begun: Sequence[Begun] = ()
    nonces = 0

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), effect=st.sampled_from(EFFECTS), again=st.booleans())
    def an_effect_begins(self, data: st.DataObject, effect: str, again: bool) -> None:
        self.nonces += 1
        claimed = self._speaker(data)
        self.begun = [*self.begun, Begun(claimed, effect, f"nonce-{self.nonces}")][-10:]
        for _ in range(1 + again):  # the first reply was lost
            self._once(self.begun[-1], "begin")

    @precondition(lambda self: self.begun)
    @rule(data=st.data(), move=st.sampled_from(["done", "undo"]), again=st.booleans())
    def an_effect_is_done_or_undone(self, data: st.DataObject, move: str, again: bool) -> None:
        begun = data.draw(st.sampled_from(self.begun))
        for _ in range(1 + again):
            self._once(begun, move)

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data(), effect=st.sampled_from(EFFECTS), move=st.sampled_from(["", "done", "undo"]))
    def an_effect_is_wanted_twice(self, data: st.DataObject, effect: str, move: str) -> None:
        """By one attempt, whose handler asks twice; `an_effect_begins` has those of several attempts."""
        self._want_twice(self._speaker(data), effect, move)

    def _want_twice(self, claimed: Claimed, effect: str, move: str) -> None:
        for _ in range(2):
            self.nonces += 1
            begun = Begun(claimed, effect, f"nonce-{self.nonces}")
            self._once(begun, "begin")
            if move:
                self._once(begun, move)

    def _once(self, begun: Begun, move: str) -> None:
        claimed, effect, nonce = begun.claimed, begun.effect, begun.nonce
        answer = self.sender.send(moves.once(claimed.id, claimed.token, effect, nonce, move))
        assert answer == self.model.once(claimed, effect, nonce, move)

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data())
    def a_job_that_may_not_run_twice_begins(self, data: st.DataObject) -> None:
        claimed = self._speaker(data)
        assert self.sender.send(moves.begin(claimed.id, claimed.token)) == self.model.begin(claimed)

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), said=st.lists(values, min_size=1, max_size=3))
    def checkpoint(self, data: st.DataObject, said: list[str]) -> None:
        told = [(self._speaker(data), value) for value in said]
        call = moves.checkpoint((claimed.id, claimed.token, value.encode()) for claimed, value in told)
        assert self.sender.send(call) == self.model.checkpoint(told)

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), said=st.lists(values, min_size=1, max_size=3))
    def progress(self, data: st.DataObject, said: list[str]) -> None:
        told = [(self._speaker(data), value) for value in said]
        call = moves.progress((claimed.id, claimed.token, value.encode()) for claimed, value in told)
        assert self.sender.send(call) == self.model.progress(told)

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), n=st.integers(1, 4), unheard=st.integers(0, 3), most=st.sampled_from([3, 100]))
    def log(self, data: st.DataObject, n: int, unheard: int, most: int) -> None:
        """Some of the lines were sent before, and the reply was lost."""
        claimed = self._speaker(data)
        before = max(0, self._sent(claimed) - unheard)
        lines = [f"{claimed.retries_made}.{claimed.recoveries}: line {before + i}" for i in range(n)]
        kept = self.sender.send(moves.log(most, [(claimed.id, claimed.token, before, lines)]))
        assert kept == self.model.log(claimed, before, lines, most)

    def _say(self, claimed: Claimed) -> None:
        """A bit of everything."""
        values = [(claimed, "3")]
        calls = [(claimed.id, claimed.token, b"3")]
        assert self.sender.send(moves.checkpoint(calls)) == self.model.checkpoint(values)
        assert self.sender.send(moves.progress(calls)) == self.model.progress(values)
        before = self._sent(claimed)
        for first in (before, before, before + 1):  # the first reply was lost, and the second
            lines = [f"{claimed.retries_made}: line {first}", f"{claimed.retries_made}: line {first + 1}"]
            kept = self.sender.send(moves.log(4, [(claimed.id, claimed.token, first, lines)]))
            assert kept == self.model.log(claimed, first, lines, 4)
        self._want_twice(claimed, EFFECTS[0], "done")

    def _sent(self, claimed: Claimed) -> int:
        """How many lines of this attempt are kept."""
        job = self.model.jobs.get(claimed.id)
        attempt, known = job.logged if job else ("", 0)
        return known if attempt == claimed.token else 0

    def _speaker(self, data: st.DataObject) -> Claimed:
        hands = [claimed for those in self.hands.values() for claimed in those]
        return data.draw(st.sampled_from([*hands, *hands, *self.forgotten[-4:]] or self.forgotten))
