"""What the seeded people have beside their messages: settings, sessions, and rows of our companion tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from cgjobs_data.chat import DAY_MS, Chat, Row, text

_ZONES = ("Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo", "UTC")
_LOCALES = ("de", "en-GB", "en-US", "ja", "en")
_ACTIONS = (
    "login",
    "login",
    "login",
    "message.delete",
    "channel.create",
    "member.add",
    "export",
    "role.change",
)
_ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/"


def companions(chat: Chat) -> dict[str, tuple[tuple[str, ...], list[Row]]]:
    """Columns and rows of the companion tables; ask after the messages were given.

    Two users and a channel are held, and one message of a channel that is not.
    """
    return {
        "contacts": (("user_id", "phone", "phone_verified_at", "timezone", "locale"), list(_contacts(chat))),
        "push_subscriptions": (
            ("id", "user_id", "kind", "address", "p256dh", "auth", "created_at"),
            list(_subscriptions(chat)),
        ),
        "legal_holds": (("id", "scope", "target_id", "reason", "until"), list(_holds(chat))),
        "pins": (("message_id",), [(pin,) for pin in chat.pins]),
        "audit_log": (("id", "at", "actor", "action", "target", "detail", "hash"), list(_audit(chat))),
        "notification_preferences": (
            ("user_id", "channel", "category", "enabled", "quiet_from", "quiet_until"),
            list(_preferences(chat)),
        ),
        "opt_outs": (
            ("user_id", "channel", "category", "at", "source"),
            [
                (user, "email", "digest", text(chat.now - 30 * DAY_MS), "unsubscribe")
                for user in chat.people[::10]
            ],
        ),
    }


def audit_hash(row: Mapping[str, object]) -> str:
    """The ``hash`` of a row of the audit log: SHA-256 of its other columns as JSON, sorted by name."""
    content = {name: value for name, value in row.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _contacts(chat: Chat) -> Iterator[Row]:
    verified = text(chat.start)
    for number, user in enumerate(chat.people):
        phone = f"+447700900{number % 1000:03}" if number % 4 else None  # Ofcom's numbers for drama
        yield (
            user,
            phone,
            verified if phone and number % 8 else None,
            _ZONES[number % 5],
            _LOCALES[number % 5],
        )


def _subscriptions(chat: Chat) -> Iterator[Row]:
    rng, created = chat.rng, text(chat.start)
    for number, user in enumerate(chat.people):
        device, address = chat.ulid(chat.start), f"{rng.getrandbits(256):064x}"
        match number % 4:
            case 0:
                # The example keys of RFC 8291, appendix A: messages can be encrypted for them.
                key = (
                    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
                )
                yield device, user, "webpush", _ENDPOINT + address, key, "BTBZMqHH6r4Tts7J_aSIgg", created
            case 1:
                yield device, user, "fcm", address, None, None, created
            case 2:
                yield device, user, "apns", address, None, None, created
            case _:
                pass


def _holds(chat: Chat) -> Iterator[Row]:
    held = chat.channels[min(12, len(chat.channels) - 1)]
    targets = [("user", user) for user in chat.people[5:7]] + [("channel", held.id)]
    targets += [("message", channel.roots[0]) for channel in chat.channels[:1] if channel.roots]
    for number, (scope, target) in enumerate(targets):
        yield f"hold-{number}", scope, target, f"case {number}", None


def _audit(chat: Chat) -> Iterator[Row]:
    rng, count = chat.rng, min(20_000, chat.count * 2 // 5)
    moments = sorted(chat.start + rng.randrange(365 * DAY_MS) for _ in range(count))
    names = ("id", "at", "actor", "action", "target", "detail")
    for at in moments:
        user, action = rng.choice(chat.people), rng.choice(_ACTIONS)
        detail = f'{{"ip": "192.0.2.{rng.randrange(1, 255)}"}}'
        row = (chat.ulid(at), text(at), user, action, rng.choice(chat.people), detail)
        yield *row, audit_hash(dict(zip(names, row, strict=True)))


def _preferences(chat: Chat) -> Iterator[Row]:
    for number, user in enumerate(chat.people):
        if number % 3 == 0:
            yield user, "push", "mention", True, "22:00", "07:00"
        if number % 7 == 0:
            yield user, "email", "digest", False, None, None
