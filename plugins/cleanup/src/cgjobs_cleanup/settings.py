"""The table ``[plugins.cleanup]``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs

from cgjobs_cleanup.globs import check_glob


@attrs.frozen
class Policy:
    """What holds for each job on one root, whatever its payload says.

    Args:
        min_age: No job may delete files younger than this.
    """

    min_age: timedelta = timedelta(days=1)


@attrs.frozen
class Nightly:
    """What the schedule deletes below one root.

    Args:
        age: Files last written longer ago are deleted.
        pattern: Only files that match one of these.
    """

    age: timedelta
    pattern: tuple[str, ...] = attrs.field(default=("**",))

    @pattern.validator
    def _relative(self, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
        for glob in value:
            check_glob(glob)


@attrs.frozen
class Settings:
    """Which directory trees may be cleaned, and how.

    Args:
        roots: The trees by name; a payload names one and can reach nothing else.
        policies: What holds for each job on a root, by the root's name.
        nightly: What the schedule deletes, by the root's name. Without an entry it leaves the root alone.
        protected: Paths that no root may be or contain, besides ``/``, the home directory and the
            directory in which cgjobs keeps its state.
    """

    roots: dict[str, Path] = attrs.field(factory=dict)
    policies: dict[str, Policy] = attrs.field(factory=dict)
    nightly: dict[str, Nightly] = attrs.field(factory=dict)
    protected: tuple[Path, ...] = ()

    def __attrs_post_init__(self) -> None:
        for section, names in (("policies", self.policies), ("nightly", self.nightly)):
            for name in names:
                if name not in self.roots:
                    raise ValueError(
                        f"{section}.{name} names no root; the roots are {', '.join(self.roots) or 'none'}"
                    )
        for name, rule in self.nightly.items():
            if rule.age < self.policy(name).min_age:
                raise ValueError(
                    f"nightly.{name}.age is {rule.age}, below the {self.policy(name).min_age} of "
                    f"policies.{name}.min_age; raise the one or lower the other"
                )

    def policy(self, root: str) -> Policy:
        """The policy of a root; the default one when none is configured."""
        return self.policies.get(root, Policy())
