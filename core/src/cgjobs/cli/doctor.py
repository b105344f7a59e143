"""``cgjobs doctor``."""

from __future__ import annotations

from collections.abc import Iterator

from cgjobs.broker import address, health
from cgjobs.cli import checks
from cgjobs.cli.exits import FAILED, OK, UNREACHABLE
from cgjobs.cli.output import AsJson, show, show_json, show_styled
from cgjobs.cli.session import Session, Shared
from cgjobs.errors import BrokerError, ConfigError
from cgjobs.finding import Finding

_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def doctor(*, as_json: AsJson = False, session: Shared) -> int:
    """Look for what is wrong and say what to do. Changes nothing.

    Exits with 1 when something is bad and 3 when the broker is away; a warning alone is 0.

    Args:
        as_json: Print one JSON document.
    """
    found: list[Finding] = []
    for finding in _findings(session):
        found.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        show_json(found)
    if any(finding.check == "broker" and finding.level == "bad" for finding in found):
        return UNREACHABLE
    return FAILED if any(finding.level == "bad" for finding in found) else OK


def _findings(session: Session) -> Iterator[Finding]:
    try:
        config = session.config
    except ConfigError as error:
        yield Finding("configuration", "bad", str(error), "nothing else can be checked before")
        return
    yield Finding("configuration", "ok", f"right ({config.env})")
    yield from _plugins(session)
    yield checks.transport(session.reachable)
    try:
        yield from _broker(session)
    except BrokerError as error:
        yield Finding("broker", "bad", str(error), "start it, or correct where it is: `cgjobs config show`")


def _plugins(session: Session) -> Iterator[Finding]:
    registry = session.worker_registry
    broken = [plugin for plugin in registry.plugins if plugin.state == "quarantined"]
    for plugin in broken:
        advice = "correct it, uninstall it, or name it in plugins.block"
        yield Finding("plugins", "bad", f"{plugin.name} is broken: {plugin.reason}", advice)
    if not broken:
        yield Finding("plugins", "ok", "none is broken")
    yield from checks.of_plugins(registry)


def _broker(session: Session) -> Iterator[Finding]:
    facts = session.send(health.server())
    yield Finding("broker", "ok", f"answers at {address(session.reachable.redis)}")
    for check in checks.ABOUT_THE_SERVER:
        yield check(facts)
    if facts.digest is None:
        return  # nothing of ours is in there, and to ask would load the functions
    names = session.run(session.operations.queue_names())
    yield from checks.queues(session, facts, names)
    yield from checks.held(session, names)
    yield from checks.leases(session, names)
    yield checks.places(session, names)


def _show(finding: Finding) -> None:
    show_styled(f"{finding.level:<4} ", _STYLES[finding.level])
    show(f"{finding.check + ':':<20} {finding.message}")
    if finding.advice:
        show(f"     {finding.advice}")
