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


class Words(Table):
    """What handlers can say, without rules that let them."""

    begun: Sequence[Begun] = ()
    nonces = 0

    def say_much(self, claimed: Claimed) -> None:
        """A bit of everything."""
        self.keep_a_checkpoint(claimed)
        self._tell_progress([(claimed, "3")])
        self.log_some(claimed)
        self.want_twice(claimed)

    def start(self, claimed: Claimed) -> None:
        """A job that may not run twice."""
        assert self.sender.send(moves.begin(claimed.id, claimed.token)) == self.model.begin(claimed)

    def keep_a_checkpoint(self, claimed: Claimed) -> None:
        self._keep_checkpoints([(claimed, "3")])

    def take_the_checkpoint_back(self, claimed: Claimed) -> None:
        self._keep_checkpoints([(claimed, "")])

    def begin_an_effect(self, claimed: Claimed, effect: str = EFFECTS[1]) -> Begun:
        self.nonces += 1
        begun = Begun(claimed, effect, f"nonce-{self.nonces}")
        self.begun = [*self.begun, begun][-10:]
        self._once(begun, "begin")
        return begun

    def end_the_effect(self, claimed: Claimed) -> None:
        """The one that it began last, however long ago."""
        for begun in [begun for begun in self.begun if begun.claimed is claimed][-1:]:
            self._once(begun, "done")

    def log_some(self, claimed: Claimed) -> None:
        """The first reply is lost, and the second."""
        before = self._sent(claimed)
        for first in (before, before, before + 1):
            lines = [f"{claimed.retries_made}: line {first}", f"{claimed.retries_made}: line {first + 1}"]
            self._log(claimed, first, lines, 4)

    def want_twice(self, claimed: Claimed, effect: str = EFFECTS[0], move: str = "done") -> None:
        """One attempt, whose handler wants an effect twice."""
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

    def _keep_checkpoints(self, told: Sequence[tuple[Claimed, str]]) -> None:
        call = moves.checkpoint((claimed.id, claimed.token, value.encode()) for claimed, value in told)
        assert self.sender.send(call) == self.model.checkpoint(told)

    def _tell_progress(self, told: Sequence[tuple[Claimed, str]]) -> None:
        call = moves.progress((claimed.id, claimed.token, value.encode()) for claimed, value in told)
        assert self.sender.send(call) == self.model.progress(told)

    def _log(self, claimed: Claimed, before: int, lines: list[str], most: int) -> None:
        kept = self.sender.send(moves.log(most, [(claimed.id, claimed.token, before, lines)]))
        assert kept == self.model.log(claimed, before, lines, most)

    def _sent(self, claimed: Claimed) -> int:
        """How many lines of this attempt are kept."""
        job = self.model.jobs.get(claimed.id)
        attempt, known = job.logged if job else ("", 0)
        return known if attempt == claimed.token else 0

    def _speaker(self, data: st.DataObject) -> Claimed:
        hands = [claimed for those in self.hands.values() for claimed in those]
        return data.draw(st.sampled_from([*hands, *hands, *self.forgotten[-4:]] or self.forgotten))


class Reports(Words):
    """Each comes from an attempt in hand, or from one that was given up, whose words count no more."""

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), effect=st.sampled_from(EFFECTS), again=st.booleans())
    def an_effect_begins(self, data: st.DataObject, effect: str, again: bool) -> None:
        begun = self.begin_an_effect(self._speaker(data), effect)
        if again:  # the first reply was lost
            self._once(begun, "begin")

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
        self.want_twice(self._speaker(data), effect, move)

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data())
    def a_job_that_may_not_run_twice_begins(self, data: st.DataObject) -> None:
        self.start(self._speaker(data))

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), said=st.lists(values, min_size=1, max_size=3))
    def checkpoint(self, data: st.DataObject, said: list[str]) -> None:
        self._keep_checkpoints([(self._speaker(data), value) for value in said])

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), said=st.lists(values, min_size=1, max_size=3))
    def progress(self, data: st.DataObject, said: list[str]) -> None:
        self._tell_progress([(self._speaker(data), value) for value in said])

    @precondition(lambda self: any(self.hands.values()) or self.forgotten)
    @rule(data=st.data(), n=st.integers(1, 4), unheard=st.integers(0, 3), most=st.sampled_from([3, 100]))
    def log(self, data: st.DataObject, n: int, unheard: int, most: int) -> None:
        """Some of the lines were sent before, and the reply was lost."""
        claimed = self._speaker(data)
        before = max(0, self._sent(claimed) - unheard)
        lines = [f"{claimed.retries_made}.{claimed.recoveries}: line {before + i}" for i in range(n)]
        self._log(claimed, before, lines, most)
