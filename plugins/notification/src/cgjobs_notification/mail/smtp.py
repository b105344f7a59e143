"""Mails over SMTP: a pool of connections, driven phase by phase so that each failure is told apart."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import attrs

from cgjobs import Discard, Retry
from cgjobs_notification.mail.port import NoMailbox, Receipt
from cgjobs_notification.mail.settings import Smtp

_MAILS = 100  # over one connection; many servers end it somewhere beyond that
_IDLE = timedelta(seconds=60)
_GREYLISTED = timedelta(minutes=5)  # for which greylisting usually refuses; sooner would waste attempts
_OK, _CLOSING = 250, 421
_NO_MAILBOX = re.compile(r"5\.1\.(1|6|10)\b")  # RFC 3463: bad mailbox, moved, null MX
_Reply = tuple[int, bytes]


@attrs.define(eq=False)
class _Connection:
    smtp: smtplib.SMTP
    tls: bool
    mails: int = 0
    used_at: float = 0.0


class SmtpPool:
    """Connections to one server, opened on demand, reused, and closed at the end of the worker.

    There are never more than threads that send at once. A connection is given up after 100 mails or 60 s
    without one. A reused one that turns out to be gone before a mail was begun is replaced silently.

    Args:
        settings: The server.
        clock: Seconds that only grow.

    Raises:
        Discard: The authority's certificate cannot be read.
    """

    def __init__(self, settings: Smtp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        try:
            self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise Discard(f"ca_file {settings.ca_file}: {error}") from error

    @property
    def sender(self) -> str:
        """Who the mails are from."""
        return self._settings.sender

    def send(self, sender: str, recipient: str, mail: bytes) -> Receipt:
        """Hand over one mail; `Retry` and `Discard` say in which phase it went wrong."""
        connection, reply = self._begin(sender, len(mail))
        reused, clean = connection.mails > 0, False
        try:
            _check("MAIL FROM", reply)
            with _phase("RCPT TO"):
                _check("RCPT TO", connection.smtp.rcpt(recipient), again=_GREYLISTED)
            with _phase("DATA", lost="the connection broke while the mail was sent: outcome unknown"):
                _check("DATA", connection.smtp.data(mail))
            clean = True
        finally:
            self._give_back(connection, clean)
        return Receipt(transport="smtp", delivered=True, tls=connection.tls, connection_reused=reused)

    def close(self) -> None:
        """Say goodbye on every idle connection."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            _quit(connection.smtp)

    def __enter__(self) -> SmtpPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _begin(self, sender: str, size: int) -> tuple[_Connection, _Reply]:
        """A connection, and what it replied to MAIL FROM."""
        while (connection := self._take()) is not None:
            try:
                reply = _mail_from(connection.smtp, sender, size)
            except smtplib.SMTPServerDisconnected:
                continue  # gone while it was idle
            if reply[0] != _CLOSING:
                return connection, reply
            connection.smtp.close()
        connection = self._connect()
        try:
            with _phase("MAIL FROM"):
                return connection, _mail_from(connection.smtp, sender, size)
        except BaseException:
            connection.smtp.close()
            raise

    def _take(self) -> _Connection | None:
        oldest = self._clock() - _IDLE.total_seconds()
        with self._lock:
            expired = [connection for connection in self._idle if connection.used_at <= oldest]
            self._idle = [connection for connection in self._idle if connection.used_at > oldest]
            connection = self._idle.pop() if self._idle else None
        for other in expired:
            _quit(other.smtp)
        return connection

    def _give_back(self, connection: _Connection, clean: bool) -> None:
        connection.mails += 1
        connection.used_at = self._clock()
        if not (clean or _reset(connection.smtp)):
            connection.smtp.close()
        elif connection.mails >= _MAILS:
            _quit(connection.smtp)
        else:
            with self._lock:
                self._idle.append(connection)

    def _connect(self) -> _Connection:
        settings, timeout = self._settings, self._settings.timeout.total_seconds()
        smtp: smtplib.SMTP
        with _phase("connect"):
            if settings.tls:
                smtp = smtplib.SMTP_SSL(settings.host, settings.port, timeout=timeout, context=self._tls)
            else:
                smtp = smtplib.SMTP(settings.host, settings.port, timeout=timeout)
        try:
            if settings.starttls and not settings.tls:
                with _phase("STARTTLS"):
                    smtp.starttls(context=self._tls)
            with _phase("EHLO"):
                smtp.ehlo_or_helo_if_needed()
            if settings.username is not None and settings.password is not None:
                with _phase("AUTH"):
                    smtp.login(settings.username, settings.password)
        except BaseException:
            smtp.close()
            raise
        return _Connection(smtp, tls=settings.tls or settings.starttls)


def _mail_from(smtp: smtplib.SMTP, sender: str, size: int) -> _Reply:
    # With its size declared (RFC 1870), a mail that is too large is refused before it is sent.
    return smtp.mail(sender, [f"SIZE={size}"] if smtp.has_extn("size") else [])


def _reset(smtp: smtplib.SMTP) -> bool:
    try:
        return smtp.rset()[0] == _OK
    except OSError:
        return False


def _quit(smtp: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError):
        if smtp.sock is not None:
            smtp.sock.settimeout(1)  # politeness, not worth more waiting
        smtp.quit()
    smtp.close()


@contextlib.contextmanager
def _phase(name: str, lost: str = "the connection broke") -> Iterator[None]:
    """Turn smtplib's errors, each an `OSError`, into what becomes of the job."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        _check(name, (error.smtp_code, error.smtp_error))
        raise Retry(f"{name}: unexpected reply {error.smtp_code}") from error
    except smtplib.SMTPServerDisconnected as error:
        raise Retry(f"{name}: {lost} ({error})") from error
    except (smtplib.SMTPException, ssl.SSLCertVerificationError) as error:
        raise Discard(f"{name}: {error}") from error
    except OSError as error:
        raise Retry(f"{name}: {lost} ({error})") from error


def _check(phase: str, reply: tuple[int, bytes | str], again: timedelta | None = None) -> None:
    """5xx is for good, everything else that is no success passes (RFC 5321, 4.2.1)."""
    code, text = reply
    if 200 <= code < 300:
        return
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    reason = f"{phase}: {code} {' '.join(said.split())}"
    if code < 500:
        raise Retry(reason, after=again)
    raise NoMailbox(reason) if phase == "RCPT TO" and _NO_MAILBOX.match(said) else Discard(reason)
