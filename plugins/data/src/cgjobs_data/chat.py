"""A year of a ChatGenius that never was: rows of all tables, the same for the same arguments.

Ids are ULIDs. Times are ISO 8601 text in UTC, all of one width, so that they sort as text.
"""

from __future__ import annotations

import base64
import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate

import attrs

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
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
UPLOADS = (("screenshot.png", "image/png"), ("minutes.pdf", "application/pdf"), ("numbers.csv", "text/csv"))
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _CROCKFORD.encode())
_MINUTES = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]
_CONTENTS, _TAILS = 20_000, 1_000
_PAIRS = [high + low for high in _CROCKFORD for low in _CROCKFORD]  # ten bits at once: half the time


Row = tuple[object, ...]
USERS = ("id", "email", "username", "role", "created_at", "updated_at", "deleted_at")
CHANNELS = ("id", "name", "type", "created_by", "archived_at", "created_at", "deleted_at")
MEMBERS = ("channel_id", "user_id", "role", "joined_at")
MESSAGES = (
    "pk",
    "id",
    "channel_id",
    "user_id",
    "content",
    "thread_id",
    "edited",
    "created_at",
    "updated_at",
    "deleted_at",
)
REACTIONS = ("id", "message_id", "user_id", "emoji", "created_at")
FILES = ("id", "message_id", "user_id", "name", "type", "size", "url", "created_at", "deleted_at")


@attrs.define
class Channel:
    """A channel, and who talks in it.

    Args:
        id, name, kind: As its row has them.
        members: Ids of users, the creator first.
        weights: Cumulative: who writes how much.
        archived: When, in milliseconds; None for not.
        roots: Messages that began a thread or could.
        last: The newest message.
    """

    id: str
    name: str
    kind: str
    members: list[str]
    weights: list[float]
    archived: int | None = None
    roots: list[str] = attrs.field(factory=list)
    last: str = ""


class Chat:
    """Users and channels at once; messages as they are asked for, and what hangs on them afterwards.

    Times are milliseconds until they are written.

    Args:
        users: How many users; from 2.
        messages: How many messages.
        now: The end of the year.
        rng_seed: Another number gives other rows.

    Attributes:
        users, channels: Rows of these tables; `channels` as objects.
        reactions, files, pins: Rows of what hangs on the messages that `messages` gave so far.
        replies: How many of those were replies.
    """

    def __init__(self, users: int, messages: int, now: datetime, rng_seed: int) -> None:
        if users < 2 or messages < 0 or now.tzinfo is None:
            raise ValueError(
                f"seed needs 2 users, 0 messages and an aware now; got {users}, {messages}, {now}"
            )
        self.rng = random.Random(rng_seed)  # noqa: S311
        self.now = int(now.timestamp() * 1000)
        self.start = self.now - 365 * DAY_MS
        self.count = messages
        self._tails: list[str] = []  # of ULIDs, made a thousand at once
        self._left: dict[str, int] = {}  # when soft-deleted users left
        self.users: list[Row] = list(self._users(users))
        self.people = [str(row[0]) for row in self.users]
        self.channels = list(self._channels())
        self.reactions: list[Row] = []
        self.files: list[Row] = []
        self.pins: list[str] = []
        self.replies = 0

    def channel_rows(self) -> Iterator[Row]:
        """Rows of ``channels``."""
        created = text(self.start)
        for channel in self.channels:
            archived = text(channel.archived) if channel.archived else None
            yield channel.id, channel.name, channel.kind, channel.members[0], archived, created, None

    def member_rows(self) -> Iterator[Row]:
        """Rows of ``channel_members``."""
        joined = text(self.start)
        for channel in self.channels:
            for member in channel.members:
                yield channel.id, member, "admin" if member == channel.members[0] else "member", joined

    def messages(self) -> Iterator[Row]:
        """Rows of ``messages``, oldest first, parents before replies."""
        random, contents = self.rng.random, self._contents()  # by hand what `choices` does: twice as fast
        busy = list(accumulate(1 / (rank + 2) for rank in range(len(self.channels))))
        for pk, at in enumerate(self._moments(self.count), start=1):
            channel = self.channels[bisect(busy, random() * busy[-1])]
            if channel.archived and at > channel.archived:
                channel = self.channels[0]
            author = channel.members[bisect(channel.weights, random() * channel.weights[-1])]
            if at > self._left.get(author, self.now):
                author = next(member for member in channel.members if member not in self._left)
            message = self.ulid(at)
            thread = self._thread(channel, message)
            written, edited = text(at), random() < 0.05
            changed = text(min(at + 300_000, self.now)) if edited else written
            gone = text(min(at + HOUR_MS, self.now)) if random() < 0.02 else None
            content = contents[int(random() * len(contents))]
            channel.last = message
            self._hang_on(message, author, at)
            yield pk, message, channel.id, author, content, thread, int(edited), written, changed, gone

    def _hang_on(self, message: str, author: str, at: int) -> None:
        roll = self.rng.random()
        if roll < 0.2:
            when = min(at + self.rng.randrange(HOUR_MS), self.now)
            row = self.ulid(when), message, self.rng.choice(self.people), self.rng.choice(_EMOJI), text(when)
            self.reactions.append(row)
        elif roll < 0.23:
            self.files.append(self._file(message, author, at))
            if roll < 0.201:  # some of these were never posted
                self.files.append(self._file(None, author, at))
        elif roll < 0.232:
            self.pins.append(message)

    def _file(self, message: str | None, user: str, at: int) -> Row:
        file, (name, kind) = self.ulid(at), self.rng.choice(UPLOADS)
        size = int(self.rng.lognormvariate(12, 1.2))
        return file, message, user, name, kind, size, f"/uploads/{file}/{name}", text(at), None

    def _users(self, count: int) -> Iterator[Row]:
        firsts, lasts = _FIRST.split(), _LAST.split()
        for number in range(count):
            first, last = firsts[number % len(firsts)], lasts[number * 7 % len(lasts)]
            user = self.ulid(born := self.start - self.rng.randrange(1, 365) * DAY_MS)
            if number > 10 and number % 33 == 0:
                self._left[user] = self.now - self.rng.randrange(10, 200) * DAY_MS
            left = text(self._left[user]) if user in self._left else None
            role = "admin" if number < 3 else "member"
            email = f"{first}.{last}.{number}@example.com".lower()
            yield user, email, f"{first} {last}", role, text(born), left or text(born), left

    def _channels(self) -> Iterator[Channel]:
        rng, people = self.rng, self.people
        for name in _CHANNELS.split():
            share = 1.0 if name == "general" else rng.uniform(0.1, 0.6)
            members = rng.sample(people, max(2, int(share * len(people))))
            channel = self._channel(name, "private" if name in _PRIVATE else "public", members)
            channel.archived = self.now - 150 * DAY_MS if name in _ARCHIVED else None
            yield channel
        for _ in range(len(people) // 4):
            yield self._channel("", "dm", rng.sample(people, 2))

    def _channel(self, name: str, kind: str, members: list[str]) -> Channel:
        busy = list(accumulate(1 / (rank + 3) ** 0.8 for rank in range(len(members))))  # Zipf's law, roughly
        return Channel(self.ulid(self.start - 30 * DAY_MS), name, kind, members, busy)

    def _thread(self, channel: Channel, message: str) -> str | None:
        """Most replies are to a recent message, a few wake up a thread of long ago."""
        roots, roll = channel.roots, self.rng.random()
        if roots and roll < 0.3:
            self.replies += 1
            first = 0 if roll < 0.01 else max(0, len(roots) - 20)
            return roots[self.rng.randrange(first, len(roots))]
        roots.append(message)
        return None

    def _moments(self, count: int) -> list[int]:
        """Times over the year, ascending: busy office hours, quiet weekends, a product that grows."""
        weights = []
        for hour in range(365 * 24):
            at = datetime.fromtimestamp((self.start + hour * HOUR_MS) / 1000, UTC)
            weights.append(_HOURS[at.hour] * _DAYS[at.weekday()] * (0.6 + 0.4 * hour / (365 * 24)))
        hours = self.rng.choices(range(365 * 24), cum_weights=list(accumulate(weights)), k=count)
        random = self.rng.random
        return sorted(self.start + hour * HOUR_MS + int(random() * HOUR_MS) for hour in hours)

    def _contents(self) -> list[str]:
        rng, sentences = self.rng, self._sentences()
        count = max(1, min(self.count, _CONTENTS))
        return [" ".join(rng.choices(sentences, k=rng.choice((1, 1, 2, 3)))) for _ in range(count)]

    def _sentences(self) -> list[str]:
        rng = self.rng
        heads = [f"{rng.choice(_OPENERS)} {rng.choice(_SUBJECTS)} {rng.choice(_VERBS)}." for _ in range(300)]
        return heads + list(_CLOSERS) * 10

    def ulid(self, at: int) -> str:
        """128 bits in Crockford's base 32, milliseconds first (github.com/ulid/spec)."""
        head = "".join([_PAIRS[at >> shift & 1023] for shift in (40, 30, 20, 10, 0)])
        if not self._tails:
            tails = base64.b32encode(self.rng.randbytes(10 * _TAILS)).translate(_TO_CROCKFORD).decode()
            self._tails = [tails[start : start + 16] for start in range(0, len(tails), 16)]
        return head + self._tails.pop()


def text(at: int) -> str:
    """Milliseconds as ISO 8601."""
    day, rest = divmod(at, DAY_MS)
    minute, rest = divmod(rest, 60_000)
    return f"{_day(day)}T{_MINUTES[minute]}:{rest // 1000:02}.{rest % 1000:03}Z"


@cache
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
