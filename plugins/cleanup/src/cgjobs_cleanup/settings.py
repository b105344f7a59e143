"""The table ``[plugins.cleanup]``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs

from cgjobs_cleanup.payloads import Files, Logs


@attrs.frozen
class Policy:
    """What holds for each job on one root, whatever its payload says.

    Args:
        min_age: No job may delete files younger than this.
    """

    min_age: timedelta = timedelta(days=1)


@attrs.frozen
class Nightly:
    """The jobs that the schedule enqueues, each written like its payload.

    Args:
        files: Jobs `Files`.
        logs: Jobs `Logs`.
    """

    files: tuple[Files, ...] = ()
    logs: tuple[Logs, ...] = ()


@attrs.frozen
class Settings:
    """Which directory trees may be cleaned, and how.

    Args:
        roots: The trees by name; a payload names one and can reach nothing else.
        policies: What holds for each job on a root, by the root's name.
        nightly: What the schedule enqueues; nothing of its own accord.
        protected: Paths that no root may be or contain, besides ``/``, the home directory and the
            directory in which cgjobs keeps its state.
    """

    roots: dict[str, Path] = attrs.field(factory=dict)
    policies: dict[str, Policy] = attrs.field(factory=dict)
    nightly: Nightly = attrs.field(factory=Nightly)
    protected: tuple[Path, ...] = ()

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

    def policy(self, root: str) -> Policy:
        """The policy of a root; the default one when none is configured."""
        return self.policies.get(root, Policy())
