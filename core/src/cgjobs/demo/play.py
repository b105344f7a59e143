"""``cgjobs demo``: a job of each of the twelve subtypes, a worker killed midway, and nothing lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from cgjobs.demo import programme
from cgjobs.demo.programme import MAILS, PUSHES, TEXTS, Part
from cgjobs.demo.stage import Stage, WorkerProcess, staged
from cgjobs.model import Job, JobState

_DEADLINE = 55.0  # seconds for each of the two acts
_LOOK = 0.05


@attrs.frozen
class Moment:
    """Where the play is, for whoever shows it.

    Args:
        ended: Jobs that ended, by queue.
        enqueued: Jobs enqueued, by queue.
    """

    ended: dict[str, int]
    enqueued: dict[str, int]


@attrs.frozen
class Outcome:
    """What was done, for people and machines.

    Args:
        lost: Jobs that were acknowledged and neither completed nor failed.
        failed: Jobs that failed.
        completed: Jobs that completed, by subtype.
        did: What the jobs of each subtype did, for people.
        results: What the job of each subtype returned; of those with many jobs, the first one.
        mails, mails_repeated: Different mails received, and mails received once more than needed.
        killed_in_flight: Jobs that the killed worker had.
        recovered_after: Seconds from the kill until they had all ended elsewhere.
        report: The page of the report of usage.
        seconds: How long it all took.
        directory: Where everything is.
        server: Name and version of the broker.
    """

    lost: int
    failed: int
    completed: dict[str, int]
    did: dict[str, str]
    results: dict[str, dict[str, Any]]
    mails: int
    mails_repeated: int
    killed_in_flight: int
    recovered_after: float
    report: str
    seconds: float
    directory: str
    server: str

    @property
    def good(self) -> bool:
        """Whether everything that was promised is true."""
        return self.lost == 0 and self.failed == 0 and bool(self.report)


class Play:
    """The demonstration.

    Args:
        directory: An empty or new directory; everything is kept there except the broker's data.
        say: Told each thing that happens, one line.
        show: Told where the play is, twenty times a second.
    """

    def __init__(self, directory: Path, say: Callable[[str], None], show: Callable[[Moment], None]) -> None:
        self._directory, self._say, self._show = directory, say, show
        self._jobs: dict[str, list[Job]] = {}  # by subtype
        self._began = time.monotonic()

    def run(self) -> Outcome:
        """Play; gives what was done."""
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            with staged(self._directory) as stage, ExitStack() as ending:
                data = stage.data
                self._say(f"broker: {stage.server}, embedded, on a private Unix socket")
                self._say(
                    f"data: {data.users:,} users, {data.messages:,} messages; a real SMTP server listens"
                )
                workers = [self._worker(stage, number, ending) for number in (1, 2)]
                self._enqueue(stage, programme.opening(stage.user_ids(MAILS)))
                self._say(f"enqueued: {MAILS} mails; two workers send them")
                in_flight, recovered = self._send_mails(stage, workers[0])
                self._main_act(stage)
                return self._outcome(stage, in_flight, recovered)
        finally:
            shutil.rmtree(self._directory / "broker", ignore_errors=True)

    def _worker(self, stage: Stage, number: int, ending: ExitStack) -> WorkerProcess:
        worker = WorkerProcess(stage.config_file, stage.directory / f"worker-{number}.log")
        ending.callback(worker.stop)
        return worker

    def _enqueue(self, stage: Stage, parts: Iterable[Part]) -> None:
        for part in parts:
            waits_for = [job for name in part.after for job in self._jobs[name]]
            job = stage.client.enqueue_data(part.name, part.payload, depends_on=waits_for)
            self._jobs.setdefault(part.name, []).append(job)

    def _send_mails(self, stage: Stage, victim: WorkerProcess) -> tuple[int, float]:
        """Kill a worker among the mails; gives what it had, and after how long that was done elsewhere."""
        deadline = time.monotonic() + _DEADLINE
        in_flight: list[str] = []
        killed_at, recovered = 0.0, 0.0
        while time.monotonic() < deadline:
            ended = self._look(stage)
            if not killed_at and ended >= MAILS // 4:
                in_flight = self._kill(stage, victim)
                killed_at = time.monotonic() if in_flight else 0.0
            if killed_at and not recovered and self._all_ended(stage, in_flight):
                recovered = time.monotonic() - killed_at
                self._say(f"its {len(in_flight)} jobs were run by the other worker after {recovered:.1f} s")
            if ended == MAILS and (recovered or not killed_at):
                break
            time.sleep(_LOOK)
        return len(in_flight), recovered

    def _main_act(self, stage: Stage) -> None:
        devices, phones = stage.user_ids(PUSHES, "device"), stage.user_ids(TEXTS, "phone")
        today = datetime.now(UTC).date()
        self._enqueue(stage, programme.main_act(devices, phones, stage.user_ids(1)[0], today))
        self._say("enqueued: the other eleven subtypes; a vacuum waits for the purge, reports for both")
        deadline = time.monotonic() + _DEADLINE
        ids = [job.id for jobs in self._jobs.values() for job in jobs]
        while time.monotonic() < deadline:
            if self._look(stage) >= len(ids) and self._all_ended(stage, ids):
                usage = stage.client.get(self._jobs["report.usage"][0].id)
                if self._all_ended(stage, (usage.result or {}).get("notificationJobs", [])):
                    return  # the mail with the report has gone out too
            time.sleep(_LOOK)

    def _look(self, stage: Stage) -> int:
        """Show where it stands; gives how many jobs have ended."""
        enqueued: dict[str, int] = {}
        for jobs in self._jobs.values():
            enqueued[jobs[0].queue] = enqueued.get(jobs[0].queue, 0) + len(jobs)
        stats = stage.client.queues()
        ended = {queue: stats[queue].completed + stats[queue].failed for queue in enqueued}
        self._show(Moment(ended, enqueued))
        return sum(ended.values())

    def _kill(self, stage: Stage, victim: WorkerProcess) -> list[str]:
        """SIGKILL the victim while it has jobs; gives their ids, none when it was idle just then."""
        victim.freeze()
        mine = [
            job.id
            for job in stage.client.queue("notification").jobs(JobState.ACTIVE)
            if f".{victim.pid}." in job.worker
        ]
        if not mine:
            victim.thaw()
            return []
        victim.kill()
        self._say(f"SIGKILL to worker 1 (pid {victim.pid}) with {len(mine)} jobs in its hands")
        return mine

    def _all_ended(self, stage: Stage, ids: list[str]) -> bool:
        return all(stage.client.get(job_id).state.final for job_id in ids)

    def _outcome(self, stage: Stage, in_flight: int, recovered: float) -> Outcome:
        found = {name: [stage.client.get(job.id) for job in jobs] for name, jobs in self._jobs.items()}
        every = [job for jobs in found.values() for job in jobs]
        results = {
            name: [job.result for job in jobs if job.state is JobState.COMPLETED and job.result is not None]
            for name, jobs in found.items()
        }
        for job in every:
            if job.state is JobState.FAILED:
                self._say(f"{job.name} failed: {job.errors[-1].error if job.errors else 'no error kept'}")
        usage = results["report.usage"]
        pages = [file["url"] for file in usage[0]["files"] if file["format"] == "html"] if usage else []
        return Outcome(
            lost=sum(not job.state.final for job in every),
            failed=sum(job.state is JobState.FAILED for job in every),
            completed={name: len(results[name]) for name in programme.SUBTYPES},
            did={name: programme.did(name, results[name]) for name in programme.SUBTYPES},
            results={name: results[name][0] for name in programme.SUBTYPES if results[name]},
            mails=stage.sink.distinct,
            mails_repeated=stage.sink.repeated,
            killed_in_flight=in_flight,
            recovered_after=round(recovered, 2),
            report=pages[0].removeprefix("file://") if pages else "",
            seconds=round(time.monotonic() - self._began, 1),
            directory=str(stage.directory),
            server=stage.server,
        )


def summary(outcome: Outcome) -> list[tuple[str, str]]:
    """What was done, as rows for people."""
    repeated = f"{outcome.mails_repeated} of them twice" if outcome.mails_repeated else "none twice"
    killed = (
        f"its {outcome.killed_in_flight} jobs ended elsewhere {outcome.recovered_after} s later; "
        f"{outcome.lost} lost; of {outcome.mails} mails {repeated}"
    )
    return [*outcome.did.items(), ("one worker killed", killed)]
