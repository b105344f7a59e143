"""What ``cgjobs doctor`` says of notifications: what is missing or out of reach. Nothing is sent."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cgjobs import Discard, Finding, Retry
from cgjobs_data import Settings as DataSettings
from cgjobs_notification.push.handler import service
from cgjobs_notification.push.settings import PushSettings
from cgjobs_notification.settings import Settings

_CONNECT = 1.0
_ALL = 1.8  # seconds for everything that is asked of others
_MODULES = {
    "webpush": ("push", ("pywebpush", "httpx2")),
    "fcm": ("push", ("google.oauth2.service_account", "httpx2")),
    "apns": ("push", ("jwt", "h2", "httpx2")),
    "ntfy": ("push", ("httpx2",)),
    "twilio": ("sms", ("phonenumbers", "httpx2")),
    "vonage": ("sms", ("phonenumbers", "httpx2")),
    "http": ("sms", ("phonenumbers", "httpx2")),
    "sns": ("sns", ("phonenumbers", "boto3")),
    "smpp": ("smpp", ("phonenumbers", "smpplib")),
}
_TABLES = {
    "notification.push": ("push_subscriptions",),
    "notification.sms": ("deliveries", "opt_outs"),
    "notification.email": ("deliveries", "opt_outs", "notification_preferences", "contacts"),
}
_WITHOUT = {
    "push_subscriptions": "no device is known",
    "deliveries": "two jobs with one idempotency key both send, and hourly caps count each worker by itself",
    "opt_outs": "nobody can unsubscribe",
    "notification_preferences": "everybody wants everything at any hour",
    "contacts": "addresses that bounced are written to again",
}
_INIT = "cgjobs data init"


def check(settings: Callable[[type[Any]], Any], *, patience: float = _ALL) -> Iterable[Finding]:
    """All findings.

    Args:
        settings: Gives the settings of a class.
        patience: What is asked of servers is asked at once, and given up after so many seconds.
    """
    own: Settings = settings(Settings)
    yield from _transports(own)
    asked: list[Callable[[], Iterable[Finding]]] = [lambda: _keys(own.push)]
    asked += [
        lambda name=name, host=host, port=port: _reachable(name, host, port)  # type: ignore[misc]
        for name, host, port in _servers(own)
    ]
    try:
        data: DataSettings | None = settings(DataSettings)
    except LookupError:
        data = None
    if data is None or not (data.url or data.demo_file.exists()):
        yield Finding(
            "notification", "warn", "there is no database: jobs can name no user", "set url in [plugins.data]"
        )
    else:
        where = data
        asked.append(lambda: _tables(where))
    yield from _at_once(asked, patience)


def _transports(settings: Settings) -> Iterator[Finding]:
    """What is configured, and whether its libraries and files are there."""
    chosen = {
        "notification.email": ("smtp",) if settings.smtp else (),
        "notification.push": settings.push.configured,
        "notification.sms": () if settings.sms.provider == "outbox" else (settings.sms.provider,),
    }
    outboxes = {
        "notification.email": (settings.outbox, "smtp"),
        "notification.push": (settings.push.outbox, "push.webpush"),
        "notification.sms": (settings.sms.outbox, "sms.twilio"),
    }
    for name, kinds in chosen.items():
        if not kinds:
            directory, table = outboxes[name]
            message = f"no transport: messages are only written to {directory}"
            yield Finding(name, "warn", message, f"configure one, such as [plugins.notification.{table}]")
        missing = {extra: module for kind in kinds for extra, module in _missing(kind)}
        for extra, module in missing.items():
            advice = f"pip install 'chatgenius-jobs-notification[{extra}]'"
            yield Finding(name, "bad", f"{module} is not installed", advice)
        for path in _files(settings, name):
            if not path.is_file():
                yield Finding(name, "bad", f"there is no file {path}", "correct the path in the settings")
        if kinds and not missing:
            yield Finding(name, "ok", f"sends over {', '.join(kinds)}")


def _missing(kind: str) -> Iterator[tuple[str, str]]:
    extra, modules = _MODULES.get(kind, ("", ()))
    for module in modules:
        try:
            found = importlib.util.find_spec(module)
        except ImportError:
            found = None
        if found is None:
            yield extra, module.partition(".")[0]


def _files(settings: Settings, name: str) -> Sequence[Path]:
    """The files that the settings of a subtype name."""
    push, files = settings.push, list[Path | None]()
    if name == "notification.push":
        files += [push.webpush.private_key_file] if push.webpush else []
        files += [push.fcm.credentials] if push.fcm else []
        files += [push.apns.key_file, push.apns.ca_file] if push.apns else []
    elif name == "notification.email" and settings.smtp:
        files += [settings.smtp.ca_file]
    return [path for path in files if path is not None]


def _servers(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """The servers that messages go to, by subtype. Endpoints of browsers are many, and not asked."""
    if settings.smtp is not None:
        yield "notification.email", settings.smtp.host, settings.smtp.port
    push, sms = settings.push, settings.sms
    urls = [("notification.push", one.endpoint) for one in (push.fcm, push.apns) if one is not None]
    urls += [("notification.push", push.ntfy.server)] if push.ntfy else []
    urls += [("notification.sms", one.endpoint) for one in (sms.twilio, sms.vonage) if one is not None]
    urls += [("notification.sms", sms.http.url)] if sms.http else []
    for name, url in urls:
        parts = urlsplit(url)
        yield name, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if sms.smpp is not None:
        yield "notification.sms", sms.smpp.host, sms.smpp.port


def _reachable(name: str, host: str, port: int) -> Iterator[Finding]:
    try:
        socket.create_connection((host, port), _CONNECT).close()
    except OSError as error:
        advice = "start it, or correct its address; jobs wait for it for hours"
        yield Finding(name, "bad", f"{host}:{port} cannot be reached: {error}", advice)


def _keys(settings: PushSettings) -> Iterator[Finding]:
    """Whether the services of push messages can be opened with their keys; nothing is sent."""
    for kind in settings.configured:
        if list(_missing(kind)):
            continue  # that is said already
        try:
            opened: Any = service(lambda factory, given: factory(given), settings, kind)
            opened.close()
        except Discard as error:
            yield Finding("notification.push", "bad", error.reason, "correct the key in the settings")


def _tables(data: DataSettings) -> Iterator[Finding]:
    from cgjobs_data import Database

    try:
        database = Database(data)
    except (Discard, Retry) as error:
        yield Finding("notification", "bad", f"users cannot be looked up: {error}", "see [plugins.data]")
        return
    try:
        for name, tables in _TABLES.items():
            for table in tables:
                if database.find_companion(table) is None:
                    level: Any = "bad" if table == "push_subscriptions" else "warn"
                    message = f"the table {data.companion.prefix}{table} is missing: {_WITHOUT[table]}"
                    yield Finding(name, level, message, _INIT)
        database.entity("users", needs=("id", "email"))
    except (Discard, Retry) as error:
        yield Finding("notification", "bad", f"users cannot be looked up: {error}", "cgjobs data check")
    finally:
        database.close()


def _at_once(asked: Sequence[Callable[[], Iterable[Finding]]], patience: float) -> list[Finding]:
    """Ask in threads of their own, and give up waiting together."""
    found: list[Finding] = []
    threads = [threading.Thread(target=lambda ask=ask: found.extend(ask()), daemon=True) for ask in asked]
    for thread in threads:
        thread.start()
    deadline = threading.Event()
    timer = threading.Timer(patience, deadline.set)
    timer.daemon = True
    timer.start()
    for thread in threads:
        while thread.is_alive() and not deadline.is_set():
            thread.join(0.02)
    timer.cancel()
    late = sum(thread.is_alive() for thread in threads)
    if late:
        message = f"{late} of {len(threads)} questions were not answered within {patience:g} s"
        found.append(Finding("notification", "warn", message, "look at their addresses and at the network"))
    return sorted(found, key=lambda finding: (finding.check, finding.message))
