"""A SQLite database and a directory of uploads like ChatGenius' own, for the demo and for tests.

Ids are ULIDs. Times are ISO 8601 text in UTC, all of one width, so that they sort as text. The same arguments
give the same rows.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import accumulate
from pathlib import Path

import attrs

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_HOURS = (
    3,
    2,
    2,
    2,
    2,
    4,
    9,
    22,
    45,
    62,
    66,
    56,
    32,
    50,
    61,
    60,
    52,
    37,
    21,
    14,
    12,
    9,
    7,
    4,
)  # of a day, UTC
_DAYS = (1.0, 1.1, 1.1, 1.0, 0.8, 0.12, 0.1)  # of a week, Monday first

_FIRST = (
    "Ada Alan Anita Barbara Carol Claude Dennis Donald Edsger Frances Grace Hedy Ivan Jean John Katherine "
    "Ken Leslie Linus Margaret Niklaus Radia Rosa Shafi Tim"
)
_LAST = "Berg Costa Demir Endo Fischer Garcia Haddad Ivanov Jensen Kaur Lopez Meyer Novak Okafor Park Quinn"
_CHANNELS = (
    "general engineering random support design product marketing sales releases incidents frontend backend "
    "data security hiring customers docs mobile ops research onboarding finance lunch music"
)
_OPENERS = ("Heads up:", "Quick question -", "Good news:", "As discussed,", "FYI:", "Honestly,")
_SUBJECTS = ("the release", "the build", "the new editor", "search", "the login page", "the budget")
_VERBS = (
    "is ready for review",
    "looks good to me",
    "broke again",
    "needs a second look",
    "can wait until Monday",
)
_CLOSERS = ("What do you think?", "Thanks!", "I will look into it.", "Details in the ticket.", "Great work.")
_PRIVATE, _ARCHIVED = {"security", "hiring", "finance"}, {"research", "music"}
_EMOJI = ("+1", "heart", "tada", "eyes", "joy", "rocket")
_UPLOADS = (("screenshot.png", "image/png"), ("minutes.pdf", "application/pdf"), ("numbers.csv", "text/csv"))
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _CROCKFORD for low in _CROCKFORD]  # ten bits at once: half the time


@attrs.frozen
class SeedSummary:
    """What `seed` wrote.

    Args:
        path: The database.
        bytes: Its size.
        users, channels, messages, reactions, files: Rows of these tables.
        replies: How many of the messages are replies in a thread.
    """

    path: Path
    bytes: int
    users: int
    channels: int
    messages: int
    replies: int
    reactions: int
    files: int


def seed(
    path: Path, *, users: int = 200, messages: int = 50_000, now: datetime | None = None, rng_seed: int = 1
) -> SeedSummary:
    """Write a ChatGenius-like database: a year of messages up to ``now``, with quiet nights and weekends.

    The file appears complete or not at all. A database already there is replaced: close it first.

    Args:
        path: Where; its directory is made.
        users: How many users; from 2. Some of them are soft-deleted.
        messages: How many messages, soft-deleted ones included; from 0.
        now: End of the year (aware). None: the present time.
        rng_seed: Another number gives other rows.

    Raises:
        ValueError: ``users`` or ``messages`` is too small, or ``now`` is naive.
    """
    now = now or datetime.now(UTC)
    if users < 2 or messages < 0 or now.tzinfo is None:
        raise ValueError(f"seed needs 2 users, 0 messages and an aware now; got {users}, {messages}, {now}")
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}")
    workspace = _Workspace(users, messages, now, random.Random(rng_seed))  # noqa: S311
    try:
        _write(building, workspace)
        for leftover in (f"{path}-wal", f"{path}-shm"):  # SQLite would replay the old one's into the new one
            Path(leftover).unlink(missing_ok=True)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
    tables = workspace.tables
    return SeedSummary(
        path=path,
        bytes=path.stat().st_size,
        users=users,
        channels=len(tables["channels"]),
        messages=messages,
        replies=sum(row[_THREAD_ID] is not None for row in tables["messages"]),
        reactions=len(tables["reactions"]),
        files=len(tables["files"]),
    )


def seed_files(directory: Path, now: datetime, count: int = 400) -> list[Path]:
    """Write small uploads, modified at even distances from 400 days before ``now`` up to ``now``.

    Args:
        directory: Where; it is made. The files lie in one folder for each month.
        now: The age of a file is measured from here (aware).
        count: How many files; from 0.

    Returns:
        The files, newest first.
    """
    paths = []
    for number in range(count):
        written = now - timedelta(days=400) * number / max(1, count - 1)
        name, _ = _UPLOADS[number % len(_UPLOADS)]
        path = directory / f"{written:%Y-%m}" / f"{number:05}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"demo upload\n" * (1 + number * 7 % 100))
        os.utime(path, (written.timestamp(), written.timestamp()))
        paths.append(path)
    return paths


def _write(path: Path, workspace: _Workspace) -> None:
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_sql('tables.sql')}")
        db.execute("BEGIN")
        for table, rows in workspace.tables.items():
            if rows:
                places = ", ".join("?" * len(rows[0]))
                db.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608
        db.execute("COMMIT")
        db.executescript(f"{_sql('indexes.sql')} PRAGMA journal_mode = WAL;")


def _sql(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


_Row = tuple[object, ...]
_THREAD_ID = 5  # of a row of messages


@attrs.define
class _Channel:
    id: str
    name: str
    kind: str
    members: list[str]
    weights: list[float]  # cumulative: who writes how much
    archived: int | None = None
    roots: list[str] = attrs.field(factory=list)
    last: str = ""

    def row(self, created: int) -> _Row:
        archived = _text(self.archived) if self.archived else None
        return self.id, self.name, self.kind, self.members[0], archived, _text(created), None


class _Workspace:
    """All rows by table, parents before children; times are milliseconds until they are written."""

    def __init__(self, users: int, messages: int, now: datetime, rng: random.Random) -> None:
        self._rng = rng
        self._now = int(now.timestamp() * 1000)
        self._start = self._now - 365 * _DAY_MS
        self._left: dict[str, int] = {}  # when soft-deleted users left
        self.tables: dict[str, list[_Row]] = {"users": list(self._users(users))}
        self._people = [str(row[0]) for row in self.tables["users"]]
        self._channels = list(self._make_channels())
        self.tables["channels"] = [channel.row(self._start) for channel in self._channels]
        self.tables["channel_members"] = [
            (channel.id, member, "admin" if member == channel.members[0] else "member", _text(self._start))
            for channel in self._channels
            for member in channel.members
        ]
        self.tables["messages"] = list(self._messages(messages))
        self.tables["reactions"] = list(self._reactions())
        self.tables["message_reads"] = [
            (channel.last, member, _text(self._now - rng.randrange(_DAY_MS)))
            for channel in self._channels
            for member in channel.members
            if channel.last
        ]
        self.tables["files"] = list(self._files())
        self.tables |= self._belongings()

    def _users(self, count: int) -> Iterator[_Row]:
        firsts, lasts = _FIRST.split(), _LAST.split()
        for number in range(count):
            first, last = firsts[number % len(firsts)], lasts[number * 7 % len(lasts)]
            user = self._ulid(born := self._start - self._rng.randrange(1, 365) * _DAY_MS)
            if number > 10 and number % 33 == 0:
                self._left[user] = self._now - self._rng.randrange(10, 200) * _DAY_MS
            left = _text(self._left[user]) if user in self._left else None
            role = "admin" if number < 3 else "member"
            email = f"{first}.{last}.{number}@example.com".lower()
            yield user, email, f"{first} {last}", role, _text(born), left or _text(born), left

    def _make_channels(self) -> Iterator[_Channel]:
        rng, people = self._rng, self._people
        for name in _CHANNELS.split():
            share = 1.0 if name == "general" else rng.uniform(0.1, 0.6)
            members = rng.sample(people, max(2, int(share * len(people))))
            channel = self._channel(name, "private" if name in _PRIVATE else "public", members)
            channel.archived = self._now - 150 * _DAY_MS if name in _ARCHIVED else None
            yield channel
        for _ in range(len(people) // 4):
            yield self._channel("", "dm", rng.sample(people, 2))

    def _channel(self, name: str, kind: str, members: list[str]) -> _Channel:
        busy = list(accumulate(1 / (rank + 3) ** 0.8 for rank in range(len(members))))  # Zipf's law, roughly
        return _Channel(self._ulid(self._start - 30 * _DAY_MS), name, kind, members, busy)

    def _messages(self, count: int) -> Iterator[_Row]:
        rng, sentences = self._rng, self._sentences()
        busy = list(accumulate(1 / (rank + 2) for rank in range(len(self._channels))))
        for pk, at in enumerate(self._moments(count), start=1):
            channel = rng.choices(self._channels, cum_weights=busy)[0]
            if channel.archived and at > channel.archived:
                channel = self._channels[0]
            author = rng.choices(channel.members, cum_weights=channel.weights)[0]
            if at > self._left.get(author, self._now):
                author = next(member for member in channel.members if member not in self._left)
            message = self._ulid(at)
            thread = self._thread(channel, message)
            written, edited = _text(at), rng.random() < 0.05
            changed = _text(min(at + 300_000, self._now)) if edited else written
            gone = _text(min(at + _HOUR_MS, self._now)) if rng.random() < 0.02 else None
            text = " ".join(rng.choices(sentences, k=rng.choice((1, 1, 2, 3))))
            channel.last = message
            yield pk, message, channel.id, author, text, thread, int(edited), written, changed, gone

    def _thread(self, channel: _Channel, message: str) -> str | None:
        """Most replies are to a recent message, a few wake up a thread of long ago."""
        roots, roll = channel.roots, self._rng.random()
        if roots and roll < 0.3:
            return self._rng.choice(roots if roll < 0.01 else roots[-20:])
        roots.append(message)
        return None

    def _moments(self, count: int) -> list[int]:
        """Times over the year, ascending: busy office hours, quiet weekends, a product that grows."""
        weights = []
        for hour in range(365 * 24):
            at = datetime.fromtimestamp((self._start + hour * _HOUR_MS) / 1000, UTC)
            weights.append(_HOURS[at.hour] * _DAYS[at.weekday()] * (0.6 + 0.4 * hour / (365 * 24)))
        hours = self._rng.choices(range(365 * 24), cum_weights=list(accumulate(weights)), k=count)
        return sorted(self._start + hour * _HOUR_MS + int(self._rng.random() * _HOUR_MS) for hour in hours)

    def _sentences(self) -> list[str]:
        rng = self._rng
        heads = [f"{rng.choice(_OPENERS)} {rng.choice(_SUBJECTS)} {rng.choice(_VERBS)}." for _ in range(300)]
        return heads + list(_CLOSERS) * 10

    def _reactions(self) -> Iterator[_Row]:
        rng, messages = self._rng, self.tables["messages"]
        for row in rng.sample(messages, len(messages) // 5):
            at = min(_millis(str(row[7])) + rng.randrange(_HOUR_MS), self._now)
            yield self._ulid(at), row[1], rng.choice(self._people), rng.choice(_EMOJI), _text(at)

    def _files(self) -> Iterator[_Row]:
        rng, messages = self._rng, self.tables["messages"]
        owners: list[tuple[object, object, int]] = [
            (row[1], row[3], _millis(str(row[7]))) for row in rng.sample(messages, len(messages) // 33)
        ]
        for number in range(len(owners) // 30):  # uploads that were never posted
            at = self._start + rng.randrange(365 * _DAY_MS)
            owners.append((None, self._people[number % len(self._people)], at))
        for message, user, at in owners:
            file, (name, kind) = self._ulid(at), rng.choice(_UPLOADS)
            size = int(rng.lognormvariate(12, 1.2))
            yield file, message, user, name, kind, size, f"/uploads/{file}/{name}", _text(at), None

    def _belongings(self) -> dict[str, list[_Row]]:
        rng, people, now = self._rng, self._people, self._now
        seen = [now - rng.randrange(30 * _DAY_MS) for _ in people]
        return {
            "user_settings": [
                (user, rng.choice(("light", "dark", "system")), int(rng.random() < 0.8), "{}")
                for user in people
            ],
            "user_status": [
                (user, "online" if now - at < _DAY_MS else "offline", _text(at))
                for user, at in zip(people, seen, strict=True)
            ],
            "sync_state": [
                (self._ulid(at), user, _text(at), "messages", "{}")
                for user, at in zip(people, seen, strict=True)
            ],
            "sessions": [
                (f"{rng.getrandbits(128):032x}", f'{{"userId": "{user}"}}', _text(now + days * _DAY_MS))
                for user in people
                for days in (-rng.randrange(1, 60), rng.randrange(1, 30))
            ],
        }

    def _ulid(self, at: int) -> str:
        """128 bits in Crockford's base 32, milliseconds first (github.com/ulid/spec)."""
        value = at << 80 | self._rng.getrandbits(80)
        return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def _text(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def _millis(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
