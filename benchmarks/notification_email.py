"""How fast mails go out: a connection for each, and the pool of ``notification.email``.

    .venv/bin/python benchmarks/notification_email.py
    .venv/bin/python benchmarks/notification_email.py --mails 500 --rounds 3

All against the same server on loopback: Debian's Postfix (apt-get install postfix dovecot-core) with SASL of
Dovecot, STARTTLS and AUTH, its mails discarded. Rounds are interleaved; the medians and their ratio count.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from cgjobs_notification import Content
from cgjobs_notification.mail.compose import Mail, compose
from cgjobs_notification.mail.settings import Smtp
from cgjobs_notification.mail.smtp import SmtpPool
from plugins.notification.tests.postfix import mail_server


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mails", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    with _server() as (name, smtp):
        ways: dict[str, Callable[[list[Mail]], None]] = {
            "a connection for each mail": lambda mails: _each(smtp, mails),
            "the pool, one thread": lambda mails: _pooled(smtp, mails, 1),
            f"the pool, {args.threads} threads": lambda mails: _pooled(smtp, mails, args.threads),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.rounds):
            for way, send in ways.items():
                mails = _mails(args.mails)
                begun = time.perf_counter()
                send(mails)
                rates[way].append(len(mails) / (time.perf_counter() - begun))
    print(f"{args.mails} mails to {name}, median of {args.rounds} rounds")
    base = statistics.median(next(iter(rates.values())))
    for way, found in rates.items():
        rate = statistics.median(found)
        print(f"{way:30} {rate:7.0f} mails/s   {rate / base:4.1f} x")


def _each(smtp: Smtp, mails: list[Mail]) -> None:
    for mail in mails:
        with SmtpPool(smtp) as pool:
            pool.send(mail.sender, mail.recipient, mail.content)


def _pooled(smtp: Smtp, mails: list[Mail], threads: int) -> None:
    with SmtpPool(smtp) as pool, ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda mail: pool.send(mail.sender, mail.recipient, mail.content), mails))


def _mails(count: int) -> list[Mail]:
    content = Content(subject="You were mentioned", text="Ada wrote: hello\n" * 20, html="<p>hello</p>" * 20)
    now = datetime.now(UTC)
    run = f"{now:%H%M%S%f}"
    return [
        compose(
            content,
            sender="noreply@chat.example",
            recipient=f"u{number}@example.com",
            job_id=f"{run}-{number}",
            now=now,
        )
        for number in range(count)
    ]


@contextlib.contextmanager
def _server() -> Iterator[tuple[str, Smtp]]:
    try:
        with mail_server() as postfix:
            yield (
                "Postfix (STARTTLS, AUTH, discard)",
                Smtp(
                    host="127.0.0.1",
                    port=postfix.port,
                    sender="noreply@chat.example",
                    username="chat",
                    password="right",
                    ca_file=postfix.ca_file,
                    timeout=timedelta(seconds=30),
                ),
            )
    except pytest.skip.Exception as reason:
        sys.exit(f"{reason}")


if __name__ == "__main__":
    main()
