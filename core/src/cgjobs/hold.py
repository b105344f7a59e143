"""Why a job is held: the group in which it waits, and who can run it.

A group is a string: ``type:notification.sms`` for a type that its worker does not know,
``version:notification.sms:3`` for a payload newer than its worker's. Others are no matter of workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cgjobs.subtype import Subtype

_DIGITS = 10


def for_type(name: str) -> str:
    """The group of jobs of a subtype that is not installed."""
    return f"type:{name}"


def for_version(name: str, version: int) -> str:
    """The group of jobs whose payload has this version, newer than the one that is installed."""
    return f"version:{name}:{version}"


def can_run(group: str, subtypes: Mapping[str, Subtype[Any, Any]]) -> bool:
    """Whether a worker with these subtypes can run what is held in a group."""
    kind, name, version = _parts(group)
    found = subtypes.get(name)
    if found is None:
        return False
    if kind == "version":
        return version.isdecimal() and len(version) < _DIGITS and found.version >= int(version)
    return kind == "type"


def remedy(group: str) -> str:
    """What releases the jobs of a group, for people; ``""`` for a group that is no matter of workers."""
    kind, name, version = _parts(group)
    if kind == "type":
        return f"a worker that has {name}: install or repair its plugin"
    if kind == "version":
        return f"a worker that has {name} with payload version {version}: install that release"
    return ""


def _parts(group: str) -> tuple[str, str, str]:
    kind, _, rest = group.partition(":")
    name, _, version = rest.partition(":")
    return kind, name, version
