"""From a payload and options to what is sent, and to the job as it will be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import orjson

from cgjobs import unique_key
from cgjobs.broker import values
from cgjobs.broker.values import NewJob
from cgjobs.codec import Codec
from cgjobs.config import Config, QueueConfig
from cgjobs.duration import format_duration
from cgjobs.errors import QueueNotFound
from cgjobs.model import Backoff, Job, JobState, Keep, Priority
from cgjobs.options import JobOptions
from cgjobs.plugins import Registry
from cgjobs.subtype import Subtype


def queue_config(config: Config, registry: Registry, name: str) -> QueueConfig:
    """The configuration of a queue: the configured one, else its processor's defaults.

    A limit of the processor holds also where the queue is configured and says nothing about that limit.

    Raises:
        QueueNotFound: Neither is there.
    """
    processor = registry.processors.get(name)
    if found := config.queues.get(name):
        if processor is None or not processor.limits:
            return found
        unsaid = {key: limit for key, limit in processor.limits.items() if getattr(found, key) is None}
        return attrs.evolve(found, **unsaid)
    if processor:
        return QueueConfig(
            name,
            concurrency=processor.concurrency,
            attempts=processor.attempts,
            backoff=processor.backoff,
            **processor.limits,
        )
    raise QueueNotFound(name, {*config.queues, *registry.processors})


def dump_backoff(backoff: Backoff) -> str:
    """A backoff as it stands in a job's hash."""
    return orjson.dumps(
        {
            "kind": backoff.kind,
            "delay": format_duration(backoff.delay),
            "ceiling": format_duration(backoff.ceiling),
            "jitter": backoff.jitter,
        }
    ).decode()


@attrs.frozen
class _Terms:
    """What jobs of one subtype with the same options have in common.

    Args:
        options: The options, checked; with the keys that the subtype makes of a payload.
        queue: Their queue.
        extra: Further fields of their hashes.
    """

    options: JobOptions
    queue: QueueConfig
    priority: Priority
    timeout: timedelta | None
    attempts: int
    keep_completed: timedelta
    keep_failed: timedelta
    extra: Mapping[str, str]
    state: JobState
    depends_on: tuple[str, ...]
    tags: tuple[str, ...]


class Preparation:
    """Prepares payloads that are enqueued with the same options.

    Args:
        config: The configuration.
        registry: The plugins.
        codec: Payloads to the wire.
        options: What was said of the jobs.
    """

    def __init__(self, config: Config, registry: Registry, codec: Codec, options: JobOptions) -> None:
        self._config, self._registry, self._codec, self._options = config, registry, codec, options
        self._terms: dict[str, _Terms] = {}

    def prepare(self, payload: object) -> tuple[NewJob, Job]:
        """A payload checked and made ready to be enqueued, and the job as it will be.

        Raises:
            InvalidPayload: Fields are wrong; lists all of them.
            InvalidOption: Options are wrong; lists all of them.
            SubtypeNotFound: No plugin has a handler for the payload's class.
        """
        subtype = self._registry.subtype_for(payload)
        wire = self._codec.dump(subtype, payload)
        terms = self._terms.get(subtype.name)
        if terms is None:
            terms = self._terms_of(subtype, payload, wire)
            if not (subtype.unique_by or subtype.limit_by):  # else they differ from payload to payload
                self._terms[subtype.name] = terms
        options, queue = terms.options, terms.queue
        chance = os.urandom(32).hex()
        job_id, correlation_id = options.job_id or chance[:32], options.correlation_id or chance[32:]
        new = NewJob(
            queue=queue.name,
            id=job_id,
            own_id=options.job_id is not None,
            priority=terms.priority,
            due=options.due,
            data=self._codec.pack(subtype.name, wire, correlation_id, subtype.version),
            description=self._codec.describe(subtype, wire),
            timeout=terms.timeout,
            attempts=terms.attempts,
            keep_completed=terms.keep_completed,
            keep_failed=terms.keep_failed,
            extra=terms.extra,
        )
        job = Job(
            id=job_id,
            queue=queue.name,
            name=subtype.name,
            state=terms.state,
            depends_on=terms.depends_on,
            payload=wire,
            priority=terms.priority,
            attempts=terms.attempts,
            correlation_id=correlation_id,
            timeout=terms.timeout,
            tags=terms.tags,
            payload_version=subtype.version,
        )
        return new, job

    def _terms_of(self, subtype: Subtype[Any, Any], payload: object, wire: Mapping[str, Any]) -> _Terms:
        options = self._options
        if options.limit_key is None and (key := subtype.limit_key(payload)) is not None:
            options = attrs.evolve(options, limit_key=key)
        if subtype.unique_by:
            options = unique_key.keyed(subtype, wire, options)
        options.check()
        queue = queue_config(self._config, self._registry, subtype.job_type)
        extra = options.extra()
        if options.timeout is not None:
            extra["timeout_ms"] = str(values.milliseconds(options.timeout))
        if options.backoff is not None:
            extra["backoff"] = dump_backoff(options.backoff)
        return _Terms(
            options=options,
            queue=queue,
            priority=Priority(options.priority),
            timeout=options.timeout or subtype.timeout or queue.timeout,
            attempts=options.attempts or subtype.attempts or queue.attempts,
            keep_completed=_kept(options.keep_completed, queue.keep_completed, extra, "result_max"),
            keep_failed=_kept(options.keep_failed, queue.keep_failed, extra, "failure_max"),
            extra=extra,
            state=_state(options),
            depends_on=options.dependency_ids,
            tags=tuple(dict.fromkeys(options.tags)),
        )


def _kept(
    own: timedelta | Keep | None, default: timedelta | Keep, extra: dict[str, str], field: str
) -> timedelta:
    kept = default if own is None else own
    if isinstance(kept, timedelta):
        return kept
    if kept.count is not None:
        extra[field] = str(kept.count)
    return kept.age


def _state(options: JobOptions) -> JobState:
    if options.depends_on:
        return JobState.DEFERRED
    return JobState.DELAYED if options.is_later else JobState.WAITING
