"""``cgjobs demo``: real jobs of all four types, a worker killed midway, and nothing lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from cgjobs.demo.stage import Stage, WorkerProcess, staged
from cgjobs.model import Job, JobState

MAILS = 400
_DEADLINE = 50.0  # seconds for everything after the enqueueing
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
        completed: Jobs that completed, by queue.
        mails, mails_repeated: Different mails received, and mails received once more than needed.
        killed_in_flight: Jobs that the killed worker had.
        recovered_after: Seconds from the kill until they had all ended elsewhere.
        files_deleted, bytes_freed: What the cleanup removed.
        vacuum_before, vacuum_after: Size of the database in bytes.
        report: The report's HTML page.
        seconds: How long it all took.
        directory: Where everything is.
        server: Name and version of the broker.
    """

    lost: int
    failed: int
    completed: dict[str, int]
    mails: int
    mails_repeated: int
    killed_in_flight: int
    recovered_after: float
    files_deleted: int
    bytes_freed: int
    vacuum_before: int
    vacuum_after: int
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
        self._jobs: dict[str, list[Job]] = {}
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
                self._enqueue(stage)
                return self._watch(stage, workers)
        finally:
            shutil.rmtree(self._directory / "broker", ignore_errors=True)

    def _worker(self, stage: Stage, number: int, ending: ExitStack) -> WorkerProcess:
        worker = WorkerProcess(stage.config_file, stage.directory / f"worker-{number}.log")
        ending.callback(worker.stop)
        return worker

    def _enqueue(self, stage: Stage) -> None:
        client = stage.client
        prepared: list[tuple[str, dict[str, Any]]] = [
            ("notification.email", {"userId": user, "message": f"You have {i % 9 + 1} unread messages."})
            for i, user in enumerate(stage.user_ids(MAILS))
        ]
        prepared += [
            ("cleanup.files", {"root": "uploads", "age": "90d", "confirmFraction": True}),
            ("maintenance.vacuum", {"database": "chatgenius"}),
            ("report.usage", {"params": {"period": "last_month"}, "formats": ["html", "csv"]}),
        ]
        for name, payload in prepared:
            job = client.enqueue_data(name, payload)
            self._jobs.setdefault(job.queue, []).append(job)
        kinds = ", ".join(f"{len(jobs)} {queue}" for queue, jobs in self._jobs.items())
        self._say(f"enqueued: {kinds}; two workers run them")

    def _watch(self, stage: Stage, workers: list[WorkerProcess]) -> Outcome:
        deadline = time.monotonic() + _DEADLINE
        victim, in_flight, killed_at, recovered = workers[0], [], 0.0, 0.0
        enqueued = {queue: len(jobs) for queue, jobs in self._jobs.items()}
        while time.monotonic() < deadline:
            stats = stage.client.queues()
            ended = {queue: stats[queue].completed + stats[queue].failed for queue in enqueued}
            self._show(Moment(ended, enqueued))
            if not killed_at and ended["notification"] >= MAILS // 4:
                in_flight = self._kill(stage, victim)
                killed_at = time.monotonic() if in_flight else 0.0
            if killed_at and not recovered and self._all_ended(stage, in_flight):
                recovered = time.monotonic() - killed_at
                self._say(f"its {len(in_flight)} jobs were run by the other worker after {recovered:.1f} s")
            if sum(ended.values()) >= sum(enqueued.values()) and (recovered or not killed_at):
                break
            time.sleep(_LOOK)
        return self._outcome(stage, len(in_flight), recovered)

    def _kill(self, stage: Stage, victim: WorkerProcess) -> list[str]:
        """SIGKILL the victim while it has jobs; gives their ids, none when it was idle just then."""
        victim.freeze()
        mine = [
            job.id
            for queue in self._jobs
            for job in stage.client.queue(queue).jobs(JobState.ACTIVE)
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
        found = [stage.client.get(job.id) for jobs in self._jobs.values() for job in jobs]
        states = {queue: [job for job in found if job.queue == queue] for queue in self._jobs}
        completed = {
            queue: sum(j.state is JobState.COMPLETED for j in jobs) for queue, jobs in states.items()
        }

        def result(queue: str) -> dict[str, Any]:
            return states[queue][0].result or {}

        for job in found:
            if job.state is JobState.FAILED:
                self._say(f"{job.name} failed: {job.errors[-1].error if job.errors else 'no error kept'}")
        pages = [file["url"] for file in result("report").get("files", ()) if file["format"] == "html"]
        return Outcome(
            lost=sum(not job.state.final for job in found),
            failed=sum(job.state is JobState.FAILED for job in found),
            completed=completed,
            mails=stage.sink.distinct,
            mails_repeated=stage.sink.repeated,
            killed_in_flight=in_flight,
            recovered_after=round(recovered, 2),
            files_deleted=result("cleanup").get("deleted", 0),
            bytes_freed=result("cleanup").get("bytesFreed", 0),
            vacuum_before=result("maintenance").get("bytesBefore", 0),
            vacuum_after=result("maintenance").get("bytesAfter", 0),
            report=unquote(urlsplit(pages[0]).path) if pages else "",
            seconds=round(time.monotonic() - self._began, 1),
            directory=str(stage.directory),
            server=stage.server,
        )


def summary(outcome: Outcome) -> list[tuple[str, str]]:
    """What was done, as rows for people."""
    mib = 1024 * 1024
    repeated = f", {outcome.mails_repeated} of them twice" if outcome.mails_repeated else ", none twice"
    return [
        (
            "cleanup.files",
            f"{outcome.files_deleted} old files deleted, {outcome.bytes_freed / mib:.1f} MiB freed",
        ),
        (
            "maintenance.vacuum",
            f"database {outcome.vacuum_before / mib:.1f} MiB, now {outcome.vacuum_after / mib:.1f} MiB",
        ),
        ("notification.email", f"{outcome.mails} mails received by the SMTP server{repeated}"),
        ("report.usage", outcome.report or "no report"),
        (
            "one worker killed",
            (
                f"its {outcome.killed_in_flight} jobs ended elsewhere {outcome.recovered_after} s later; "
                f"{outcome.lost} lost"
            ),
        ),
    ]
