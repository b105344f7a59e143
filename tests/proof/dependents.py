"""What must be true of jobs that wait for other jobs: the model of functions/dependents.lua.

The server tells the dependents of one end in any order, as many as it may at once. Here it is made to tell
them in the order of their ids and a few at once, so that one order of moves does the same each time.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from cgjobs import keys
from cgjobs.broker.values import NewJob

if TYPE_CHECKING:
    from tests.proof.model import Known

AT_ONCE = 3  # dependents told in one call: the functions' own 1000 would never be reached
IN_ORDER = """(function(key, n)
  local all = redis.call('SMEMBERS', key)
  table.sort(all)
  return {unpack(all, 1, n)}
end)(key, DEPENDENTS_AT_ONCE - told)"""
CHANGED = {
    "DEPENDENTS_AT_ONCE = 200": f"DEPENDENTS_AT_ONCE = {AT_ONCE}",
    "safe('SRANDMEMBER', key, DEPENDENTS_AT_ONCE - told)": IN_ORDER,
}
DEFERRED = "deferred"
ENDED = {"finished": "completed", "failed": "failed", "canceled": "cancelled"}


def depends_on(new: NewJob) -> list[str]:
    """The ids that a new job names, each once."""
    return list(dict.fromkeys(json.loads(new.extra.get("dependency_ids", "[]"))))


@attrs.define
class Dependents(ABC):
    """Who waits for whom, and which ends have to be told yet.

    Attributes:
        waits_for: By job: who waits for it, and who did before he was removed or ended otherwise.
        untold: Ends (id, how, result) that promote goes on with.
        told, dropped, readied: Of the present call: how many were told, which jobs failed by that, and which
            queues got work by that.
        instead: Of the present call: for jobs that were not added, those that have their unique keys.
        calls: How many calls there were: the age of a job.
    """

    jobs: dict[str, Known] = attrs.field(factory=dict)
    waits_for: dict[str, set[str]] = attrs.field(factory=dict)
    untold: list[tuple[str, str, str]] = attrs.field(factory=list)
    told: int = 0
    dropped: list[tuple[str, str]] = attrs.field(factory=list)
    readied: set[str] = attrs.field(factory=set)
    instead: dict[str, str] = attrs.field(factory=dict)
    calls: int = 0
    counters: Counter[str] = attrs.field(factory=Counter)

    @abstractmethod
    def fail(self, job: Known) -> None:
        """Keep the error and move it among the failed ones."""

    @abstractmethod
    def make_ready(self, job: Known) -> bool:
        """Move it to the end of its queue, or among the delayed ones (False)."""

    def begin_call(self) -> None:
        self.told, self.dropped, self.readied, self.instead = 0, [], set(), {}
        self.calls += 1

    def unknown(self, new: Sequence[NewJob]) -> str:
        """The first dependency that does not exist when all these are enqueued, or ``""``."""
        known = {*self.jobs}
        for job in new:
            for dependency in depends_on(job):
                if dependency not in known:
                    return dependency
            known.add(job.id)
        return ""

    def begin_waiting(self, job: Known) -> None:
        """A job that was added as deferred: wait for what has not ended."""
        failed = False
        for dependency in dict.fromkeys(self.instead.get(named, named) for named in depends_on(job.new)):
            how = self._wait_for(job, dependency)
            job.failed_dependencies += how not in ("", "completed")
            failed = failed or how not in ("", "completed")
        if failed and not job.ignores_failures:
            self._fail_dependent(job)
        elif not job.outstanding:
            self._undefer(job)

    def wait_again(self, job: Known) -> bool:
        """A job is retried by hand: whether it waits for jobs that are under way."""
        job.outstanding = job.failed_dependencies = 0
        job.keeps_due = False
        for dependency, before in list(job.dependencies.items()):
            if before.startswith("completed"):
                continue
            other = self.jobs.get(dependency)
            if other and (other.place in ENDED or other.created <= job.created):
                self._wait_for(job, dependency)
            else:  # it is gone; another one may have its id
                job.dependencies[dependency] = before or "removed"
        return job.outstanding > 0

    def ended(self, job: Known, how: str) -> None:
        """A job has ended, or was removed: tell those that wait for it."""
        if job.waited_for:
            self._tell_all([(job.new.id, how, job.result if how == "completed" else "")])

    def go_on_telling(self) -> None:
        """Tell of the ends that earlier calls left."""
        while self.told < AT_ONCE and self.untold:
            job_id, how, blob = self.untold.pop(0)
            job = self.jobs.get(job_id)
            if job and job.place not in ENDED:
                job.waited_for = True  # it was retried: they wait for its next end
            else:
                self._tell_all([(job_id, how, blob)])

    def picture_of_dependents(self) -> dict[str, Any]:
        """Key -> content of the keys that are about dependencies alone, but for the registry."""
        wanted: dict[str, Any] = {
            keys.dependents(job_id): sorted(those) for job_id, those in self.waits_for.items() if those
        }
        if self.untold:
            wanted[keys.ENDINGS] = [json.dumps(entry, separators=(",", ":")) for entry in self.untold]
        for job_id, job in self.jobs.items():
            if job.dependencies:
                lasts = job.place not in ENDED
                wanted[keys.dependencies(job_id)] = [job.dependencies, lasts]
                wanted[keys.depends_on(job_id)] = [sorted(job.dependencies), lasts]
        return wanted

    def _wait_for(self, job: Known, dependency: str) -> str:
        """Wait for another job; gives how it has ended already, or ``""``."""
        other = self.jobs.get(dependency)
        how = ENDED.get(other.place, "") if other else "removed"
        self._note(job, dependency, how, other.result if other and how == "completed" else "")
        if other and not how:
            self.waits_for.setdefault(dependency, set()).add(job.new.id)
            other.waited_for = True
            job.outstanding += 1
        return how

    def _note(self, job: Known, dependency: str, how: str, blob: str) -> None:
        job.dependencies[dependency] = f"{how} {blob}" if blob else how
        job.dependency_bytes += len(blob)

    def _tell_all(self, ends: list[tuple[str, str, str]]) -> None:
        for job_id, how, blob in ends:  # which grows meanwhile
            those = self.waits_for.get(job_id, set())
            told = sorted(those)[: AT_ONCE - self.told]
            for dependent in told:
                ends += self._tell(dependent, job_id, how, blob)
            those -= {*told}
            self.told += len(told)
            if self.told >= AT_ONCE and those:
                self.untold.append((job_id, how, blob))

    def _tell(self, job_id: str, dependency: str, how: str, blob: str) -> list[tuple[str, str, str]]:
        """Gives the end that this brings about."""
        job = self.jobs.get(job_id)
        if job is None or job.place != DEFERRED or job.dependencies.get(dependency) != "":
            return []
        self._note(job, dependency, how, blob)
        if how != "completed" and not job.ignores_failures:
            return self._fail_dependent(job)
        job.failed_dependencies += how != "completed"
        job.outstanding -= 1
        if not job.outstanding:
            self._undefer(job)
        return []

    def _fail_dependent(self, job: Known) -> list[tuple[str, str, str]]:
        self.dropped.append((job.new.queue, job.new.id))
        self.fail(job)
        return [(job.new.id, "failed", "")] if job.waited_for else []

    def _undefer(self, job: Known) -> None:
        if self.make_ready(job):
            self.readied.add(job.new.queue)
