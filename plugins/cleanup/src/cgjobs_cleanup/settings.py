"""The table ``[plugins.cleanup]``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs

from cgjobs_cleanup.payloads import Files, Logs, Messages


@attrs.frozen
class StoreRoot:
    """A root in a named store: ``uploads = {store = "attachments"}``.

    Args:
        store: Its name in ``[plugins.data.stores]``: a directory, or a bucket of an S3-compatible service.
        prefix: Where the root begins in the store, such as ``tmp/``; it ends in a slash.
        url: What the URLs of its files begin with in ChatGenius' table of files, such as
            ``https://files.example.com/``; for modes ``rows`` and ``orphans``. Empty: what the store says.
    """

    store: str
    prefix: str = attrs.field(default="")
    url: str = attrs.field(default="")

    @url.validator
    def _ends_in_a_slash(self, attribute: attrs.Attribute[str], value: str) -> None:
        if value and not value.endswith("/"):
            raise ValueError(f"url {value!r} does not end in a slash; write '{value}/'")

    @prefix.validator
    def _below(self, attribute: attrs.Attribute[str], value: str) -> None:
        parts = value.split("/")
        if value and (parts[-1] or any(part in ("", ".", "..") for part in parts[:-1])):
            raise ValueError(f"prefix {value!r} is none; write it like 'tmp/' or 'a/b/'")


@attrs.frozen
class Policy:
    """What holds for each job on one root, whatever its payload says.

    Args:
        min_age: No job may delete files younger than this.
    """

    min_age: timedelta = timedelta(days=1)


@attrs.frozen
class MessagesPolicy:
    """What holds for each job that deletes messages, whatever its payload says.

    Args:
        min_age: No job may delete younger messages.
        max_replica_lag: A purge waits while a replica of PostgreSQL lags further behind; from 1 s.
        delete_from: Tables from which rows are deleted with their message, although their foreign key says
            neither ON DELETE CASCADE nor SET NULL.
    """

    min_age: timedelta = timedelta(days=7)
    max_replica_lag: timedelta = attrs.field(
        default=timedelta(seconds=10), validator=attrs.validators.ge(timedelta(seconds=1))
    )
    delete_from: tuple[str, ...] = ()


@attrs.frozen
class Nightly:
    """The jobs that the schedule enqueues, each written like its payload.

    Args:
        files: Jobs `Files`.
        logs: Jobs `Logs`.
        messages: Jobs `Messages`.
    """

    files: tuple[Files, ...] = ()
    logs: tuple[Logs, ...] = ()
    messages: tuple[Messages, ...] = ()


@attrs.frozen
class Settings:
    """What may be cleaned, and how.

    Args:
        roots: Directories, or places in stores, by name; a payload names one and can reach nothing else.
        policies: What holds for each job on a root, by the root's name.
        nightly: What the schedule enqueues; nothing of its own accord.
        protected: Paths that no root may be or contain, besides ``/``, the home directory and the
            directory in which cgjobs keeps its state.
        messages: What holds for each job on messages.
    """

    roots: dict[str, Path | StoreRoot] = attrs.field(factory=dict)
    policies: dict[str, Policy] = attrs.field(factory=dict)
    nightly: Nightly = attrs.field(factory=Nightly)
    protected: tuple[Path, ...] = ()
    messages: MessagesPolicy = attrs.field(factory=MessagesPolicy)

    def __attrs_post_init__(self) -> None:
        jobs = [("files", job) for job in self.nightly.files] + [("logs", job) for job in self.nightly.logs]
        named = [(f"policies.{name}", name) for name in self.policies]
        named += [(f"nightly.{kind}", job.root) for kind, job in jobs]
        for where, name in named:
            if name not in self.roots:
                known = ", ".join(self.roots) or "none"
                raise ValueError(f"{where} names {name!r}, which is no root; the roots are {known}")
        for kind, job in jobs:
            floor = self.policy(job.root).min_age
            if job.age is not None and job.age < floor:
                raise ValueError(
                    f"nightly.{kind} has age {job.age} for {job.root!r}, below the {floor} of "
                    f"policies.{job.root}.min_age; raise the one or lower the other"
                )
        for message_job in self.nightly.messages:
            if message_job.age < self.messages.min_age:
                raise ValueError(
                    f"nightly.messages has age {message_job.age}, below the {self.messages.min_age} of "
                    "messages.min_age; raise the one or lower the other"
                )

    def policy(self, root: str) -> Policy:
        """The policy of a root; the default one when none is configured."""
        return self.policies.get(root, Policy())
