"""What ``cgjobs doctor`` checks in the broker: each check gives one finding."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Literal

from cgjobs import hold
from cgjobs.broker import health, library, reads
from cgjobs.broker.connection import refuse_unsupported
from cgjobs.broker.health import ServerFacts
from cgjobs.broker.reads import QueueReading
from cgjobs.cli.session import Session
from cgjobs.config import Config
from cgjobs.duration import format_duration
from cgjobs.errors import BrokerUnsupported
from cgjobs.finding import Finding
from cgjobs.model import JobState
from cgjobs.plugins import Registry

_SCANNED = 10_000  # of each queue and state, and of all hashes: a bound on what one look costs the broker
_CHUNK = 1000
_GROUPS = 1000  # of held jobs in one queue
_LONG = timedelta(hours=1)


def transport(config: Config) -> Finding:
    """Whether a password and payloads cross a network unencrypted in production."""
    redis = config.redis
    if config.env != "production" or redis.tls or redis.socket or _is_loopback(redis.host):
        return Finding("transport", "ok", "nothing crosses a network unencrypted, or it is no production")
    advice = "use rediss:// or set redis.tls = true"
    return Finding("transport", "warn", f"the connection to {redis.host} is not encrypted", advice)


def of_plugins(registry: Registry) -> Iterator[Finding]:
    """What the plugins say of themselves: their hook ``cgjobs_checks``."""
    for name, check in registry.checks:
        try:
            yield from check()
        except Exception as error:
            message = f"its cgjobs_checks raised {type(error).__name__}: {error}"
            yield Finding(name, "bad", message, "that is a mistake in the plugin: tell its author")


def version(facts: ServerFacts) -> Finding:
    """Whether the server is new enough."""
    try:
        return Finding("version", "ok", refuse_unsupported(dict(facts.info)))
    except BrokerUnsupported as error:
        return Finding("version", "bad", str(error), "upgrade the server")


def functions(facts: ServerFacts) -> Finding:
    """Whether this release's functions are loaded."""
    if facts.digest == library.digest():
        return Finding("functions", "ok", f"{library.NAME} {facts.digest} is loaded")
    what = "are not loaded yet" if facts.digest is None else f"are another release's ({facts.digest})"
    return Finding("functions", "warn", f"this release's functions {what}", "run `cgjobs setup`")


def eviction(facts: ServerFacts) -> Finding:
    """Whether the server may throw jobs away when its memory is full."""
    policy = str(facts.info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Finding("eviction", "ok", "maxmemory-policy is noeviction")
    advice = "CONFIG SET maxmemory-policy noeviction, and write it into the server's configuration"
    return Finding("eviction", "bad", f"maxmemory-policy is {policy}: a full server loses jobs", advice)


def persistence(facts: ServerFacts) -> Finding:
    """Whether jobs survive the server's end."""
    if str(facts.info.get("aof_enabled")) == "1":
        return Finding("persistence", "ok", "appendonly is on")
    advice = "set appendonly yes, unless jobs may be lost when the server ends"
    return Finding("persistence", "warn", "appendonly is off", advice)


def quarantine(facts: ServerFacts) -> Finding:
    """Whether something that is no job stood where jobs should be."""
    if not facts.quarantined:
        return Finding("quarantine", "ok", "empty")
    advice = "look at the stream cgjobs:quarantine: who else writes to this broker?"
    return Finding("quarantine", "warn", f"{facts.quarantined} entries that were no jobs of ours", advice)


def queues(session: Session, facts: ServerFacts, names: Sequence[str]) -> Iterator[Finding]:
    """Whether waiting jobs are worked on: workers, paused queues, the longest wait."""
    found: dict[str, QueueReading] = session.send(reads.stats(names))
    served = {queue for worker in session.run(session.operations.workers()) for queue in worker.queues}
    unserved = [
        f"{name} ({reading.stats.waiting})"
        for name, reading in found.items()
        if reading.stats.waiting and name not in served
    ]
    yield _listed("workers", "bad", "jobs wait and no worker serves", unserved, "start `cgjobs worker`")
    paused = [name for name, reading in found.items() if reading.stats.paused]
    yield _listed("paused", "warn", "paused", paused, "`cgjobs queue resume NAME` when that is not meant")
    yield from limits(session, facts, found)
    ages = {
        name: facts.now - reading.waiting_since
        for name, reading in found.items()
        if reading.waiting_since is not None
    }
    late = [
        f"{name} (ready for {format_duration(timedelta(seconds=int(age.total_seconds())))})"
        for name, age in ages.items()
        if age > _LONG
    ]
    yield _listed("backlog", "warn", "jobs have waited long", late, "run more workers or raise concurrency")


def limits(session: Session, facts: ServerFacts, found: Mapping[str, QueueReading]) -> Iterator[Finding]:
    """Which queues a rate limit holds, and which are full and refuse jobs, by this configuration."""
    ends = {name: reading.stats.limited_until for name, reading in found.items()}
    held_ = [
        f"{name} (until {end:%Y-%m-%d %H:%M:%S}Z)" for name, end in ends.items() if end and end > facts.now
    ]
    advice = "a handler met a rate limit; `cgjobs queue resume NAME` tries again at once"
    yield _listed("limited", "warn", "nothing starts", held_, advice)
    full = []
    for name, reading in found.items():
        most, present = (
            session.max_length(name),
            reading.stats.waiting + reading.stats.delayed + reading.deferred,
        )
        if most is not None and present >= most:
            full.append(f"{name} ({present} jobs, max_length {most})")
    advice = "run more workers, or raise max_length; who enqueues gets QueueFull"
    yield _listed("full", "warn", "no more jobs are accepted", full, advice)


def held(session: Session, names: Sequence[str]) -> Iterator[Finding]:
    """Which jobs no worker could run, and whether each held job is in a group that can be released."""
    found = session.send(health.groups(names, _GROUPS)) if names else []
    counts = session.send(health.held(found)) if found else []
    stuck = [(queue, group, n) for (queue, group), n in zip(found, counts, strict=True) if hold.remedy(group)]
    shown = [f"{n} of {queue} ({group})" for queue, group, n in stuck]
    advice = "they go on with " + ", with ".join(dict.fromkeys(hold.remedy(group) for _, group, _ in stuck))
    yield _listed("held", "warn", "jobs that no worker could run", shown, advice)
    lost = _ungrouped(session, names)
    if lost:  # a job may have moved between two looks
        again = _ungrouped(session, names)
        lost = [name for name in lost if name in again]
    advice = "cancel them and retry them: `cgjobs jobs --state held`"
    yield _listed("groups", "bad", "held jobs that no group lists, in", lost, advice)


def _ungrouped(session: Session, names: Sequence[str]) -> list[str]:
    """The queues with more held jobs than their groups have."""
    readings: dict[str, QueueReading] = session.send(reads.stats(names))
    some = [name for name, reading in readings.items() if reading.held]
    found = session.send(health.groups(some, _GROUPS)) if some else []
    counts = session.send(health.held(found)) if found else []
    listed: Counter[str] = Counter()
    for (queue, _), n in zip(found, counts, strict=True):
        listed[queue] += n
    of_queue = Counter(queue for queue, _ in found)
    return [name for name in some if of_queue[name] <= _GROUPS and listed[name] < readings[name].held]


def leases(session: Session, names: Sequence[str]) -> Iterator[Finding]:
    """Whether each running job has a lease, and each lease a job."""
    found = session.send(health.leases(names, _SCANNED))
    if not found.complete:
        yield Finding("leases", "ok", f"more than {_SCANNED} jobs run; not compared")
        return
    stranded = sorted(found.active - found.leased)
    advice = "nothing takes them back; `cgjobs doctor` again, and if they stay report it"
    yield _listed("leases", "bad", "running jobs without a lease", stranded, advice)
    idle = sorted(lease for lease in found.leased - found.active if lease.partition(":")[0] in names)
    yield _listed("idle leases", "warn", "leases without a running job", idle, "they end by themselves")


def places(session: Session, names: Sequence[str]) -> Finding:
    """Whether each job is in exactly one place, and in the one that its own hash says."""
    wrong = _misplaced(session, names)
    if wrong:  # a job may have moved between two looks; what is wrong stays wrong
        again = _misplaced(session, names)
        wrong = {job_id: text for job_id, text in wrong.items() if again.get(job_id) == text}
    shown = [f"{job_id} {text}" for job_id, text in sorted(wrong.items())]
    advice = "look at them with `cgjobs job show`, retry or remove them, and report it"
    return _listed("places", "bad", "jobs that are not in exactly one place", shown, advice)


def _misplaced(session: Session, names: Sequence[str]) -> Mapping[str, str]:
    found = session.send(health.places(names, _SCANNED))
    wrong = {job_id: f"is in {len(spots)} places" for job_id, spots in found.jobs.items() if len(spots) > 1}
    for job_id, state in _statuses(session, found.jobs):
        said = found.jobs[job_id][0][1]
        # A final registry may outlive the hash by some seconds: both end by the clock.
        if job_id not in wrong and state is not said and not (state is None and said.final):
            wrong[job_id] = f"is listed as {said} and says {state or 'nothing'}"
    if found.complete:
        homeless = [job_id for job_id in _hashes(session) if job_id not in found.jobs]
        wrong |= {
            job_id: f"says {state} and is in no queue"
            for job_id, state in _statuses(session, homeless)
            if state is not None and not state.final
        }
    return wrong


def _statuses(session: Session, ids: Iterable[str]) -> Iterator[tuple[str, JobState | None]]:
    rest = iter(ids)
    while chunk := list(islice(rest, _CHUNK)):
        yield from session.send(health.statuses(chunk)).items()


def _hashes(session: Session) -> Iterator[str]:
    cursor = 0
    for _ in range(_SCANNED // _CHUNK):
        cursor, ids = session.send(health.hashes(cursor, _CHUNK))
        yield from ids
        if cursor == 0:
            return


def _listed(
    check: str, level: Literal["warn", "bad"], what: str, items: Sequence[str], advice: str, most: int = 5
) -> Finding:
    if not items:
        return Finding(check, "ok", "none")
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return Finding(check, level, f"{what}: {', '.join(items[:most])}{more}", advice)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


ABOUT_THE_SERVER: tuple[Callable[[ServerFacts], Finding], ...] = (
    version,
    functions,
    eviction,
    persistence,
    quarantine,
)
"""The checks that need nothing but the server's facts."""
