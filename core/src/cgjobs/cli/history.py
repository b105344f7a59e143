"""``cgjobs history``: how many jobs, how long they waited and ran, and what failed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

from cgjobs.cli.job_options import past_time
from cgjobs.cli.output import AsJson, moment, show, show_json, show_table, talk
from cgjobs.cli.session import Shared
from cgjobs.duration import format_duration
from cgjobs.errors import Fault, InvalidOption
from cgjobs.history import Histogram, History, JobHour, QueueHour, read_history
from cgjobs.wire.record import plain

_PERCENTILES = (50, 95, 99)
_WORST = 3  # classes of errors that a row shows
_HEAD = (
    *("TYPE", "ENQUEUED", "STARTED", "COMPLETED", "FAILED", "RETRIED"),
    *("WAIT P50", "WAIT P95", "RUN P50", "RUN P95", "ERRORS"),
)
_QUEUE_HEAD = ("QUEUE", "WAITING", "MOST", "OLDEST", "LOST", "DROPPED", "BUSY", "FIRED", "LATE P95")


def history(
    queue: Annotated[str | None, Parameter(name="QUEUE")] = None,
    /,
    *,
    since: str = "24h",
    until: str | None = None,
    hourly: bool = False,
    as_json: AsJson = False,
    session: Shared,
) -> None:
    """Show what happened in the last hours, by job name and by queue. Times are UTC, in whole hours.

    Args:
        queue: Only of this queue.
        since: From the hour so long ago, 24h by default, or of a time such as 2026-01-31T12:00:00Z.
        until: Up to the end of that hour; otherwise until now.
        hourly: Show each hour by itself.
        as_json: Print one JSON document, always with each hour.
    """
    now, faults, times = datetime.now(UTC), list[Fault](), list[datetime]()
    for flag, text in (("--since", since), ("--until", until)):
        try:
            times.append(now if text is None else past_time(text, now))
        except ValueError as error:
            faults.append(Fault(flag, str(error)))
    if faults:
        raise InvalidOption("the history", faults)
    if queue is not None:
        session.queue(queue)
    found = session.run(read_history(times[0], times[1], queue))
    if as_json:
        show_json(_document(found))
        return
    if not session.config.worker.history:
        talk("nothing is recorded: worker.history is 0")
    jobs, queues = (found.jobs, found.queues) if hourly else _summed(found)
    hour = ("HOUR",) if hourly else ()
    loads = _loads(found, hourly=hourly)
    if not (found.jobs or found.queues):
        talk(f"nothing happened between {moment(found.since)} and {moment(found.until)}")
        return
    show_table((*hour, *_HEAD), (_row(item, hourly=hourly) for item in jobs))
    show()
    show_table(
        (*hour, *_QUEUE_HEAD),
        (_queue_row(item, loads.get(_load_key(item, hourly=hourly)), hourly=hourly) for item in queues),
    )


def _summed(found: History) -> tuple[Iterable[JobHour], Iterable[QueueHour]]:
    return found.by_name().values(), found.by_queue().values()


def _row(hour: JobHour, *, hourly: bool) -> tuple[object, ...]:
    worst = sorted(hour.errors.items(), key=lambda item: (-item[1], item[0]))[:_WORST]
    return (
        *((moment(hour.start),) if hourly else ()),
        hour.name,
        *(hour.enqueued, hour.started, hour.completed, hour.failed, hour.retried),
        *(_time(hour.wait.percentile(50)), _time(hour.wait.percentile(95))),
        *(_time(hour.run.percentile(50)), _time(hour.run.percentile(95))),
        ", ".join(f"{name} {number}" for name, number in worst),
    )


def _load_key(hour: JobHour | QueueHour, *, hourly: bool) -> tuple[object, str]:
    return (hour.start if hourly else None, hour.queue)


def _loads(found: History, *, hourly: bool) -> dict[tuple[object, str], timedelta]:
    """How long jobs ran, in sum, by queue (and hour)."""
    busy: dict[tuple[object, str], timedelta] = {}
    for hour in found.jobs:
        key = _load_key(hour, hourly=hourly)
        busy[key] = busy.get(key, timedelta(0)) + hour.busy
    return busy


def _queue_row(hour: QueueHour, busy: timedelta | None, *, hourly: bool) -> tuple[object, ...]:
    load = f"{(busy or timedelta(0)) / hour.slots:.0%}" if hour.slots else "-"
    return (
        *((moment(hour.start),) if hourly else ()),
        hour.queue,
        "-" if hour.waiting is None else f"{hour.waiting:.1f}",
        hour.waiting_most if hour.samples else "-",
        _time(hour.oldest) if hour.samples else "-",
        *(hour.lost, hour.dropped, load, hour.fires + hour.skipped),
        _time(hour.lateness.percentile(95)),
    )


def _time(took: timedelta | None) -> str:
    """A duration to two digits: more is not known of it."""
    if took is None:
        return "-"
    seconds = took.total_seconds()
    if seconds < 1:
        return f"{float(f'{seconds * 1000:.2g}'):g}ms"
    if seconds < 60:
        return f"{seconds:.2g}s"
    return format_duration(timedelta(seconds=round(seconds)))


def _document(found: History) -> dict[str, Any]:
    return {
        "since": plain(found.since),
        "until": plain(found.until),
        "jobs": [_shown(hour) for hour in found.jobs],
        "queues": [{**_shown(hour), "waiting": hour.waiting} for hour in found.queues],
    }


def _shown(hour: JobHour | QueueHour) -> dict[str, Any]:
    """An hour with numbers of seconds; of each histogram what it says and its buckets."""
    shown: dict[str, Any] = {}
    for field in attrs.fields(type(hour)):
        value = getattr(hour, field.name)
        if isinstance(value, timedelta):
            shown[f"{_camel(field.name)}Seconds"] = value.total_seconds()
        elif isinstance(value, Histogram):
            shown[f"{field.name}Seconds"] = _summary(value)
        else:
            shown[_camel(field.name)] = plain(value)
    return shown


def _summary(histogram: Histogram) -> dict[str, Any]:
    percentiles = {f"p{percent}": histogram.percentile(percent) for percent in _PERCENTILES}
    seconds = {"mean": histogram.mean, **percentiles}
    return {
        "count": histogram.count,
        **{
            name: None if value is None else round(value.total_seconds(), 6)
            for name, value in seconds.items()
        },
        "buckets": {str(bucket): number for bucket, number in sorted(histogram.counts.items())},
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
