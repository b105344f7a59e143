"""The link with which a mail program unsubscribes its owner with one click (RFC 8058), and how to read it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import get_args

import attrs
import orjson

from cgjobs_notification.payloads import Category

_MAC = 16


@attrs.frozen
class Unsubscription:
    """Who does not want to get which mails any more.

    Args:
        user_id: The user.
        category: What they are about.
    """

    user_id: str
    category: Category


def unsubscribe_token(user_id: str, category: Category, *, secret: str) -> str:
    """Sign who unsubscribes from what. It does not expire: an old mail must still be able to.

    Args:
        user_id: The user.
        category: What the mails are about.
        secret: The ``secret`` of ``[plugins.notification.unsubscribe]``.
    """
    said = orjson.dumps([user_id, category])
    return _text(_mac(said, secret) + said)


def read_unsubscribe_token(token: str, *, secret: str) -> Unsubscription:
    """Who wrote it, for the page behind the link: it answers a POST and adds a row to the opt-outs.

    Args:
        token: The value of ``token`` in the query.
        secret: As when it was signed.

    Raises:
        ValueError: It was not signed with this secret.
    """
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError("the token is none") from error
    genuine = hmac.compare_digest(content[:_MAC], _mac(content[_MAC:], secret))
    if not genuine or _text(content) != token:  # base64 has several spellings, and one is signed
        raise ValueError("the token was not signed with this secret")
    user_id, category = orjson.loads(content[_MAC:])
    if category not in get_args(Category):
        raise ValueError(f"the token is about {category!r}, which is no category")
    return Unsubscription(user_id, category)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _mac(said: bytes, secret: str) -> bytes:
    return hmac.new(secret.encode(), b"unsubscribe\0" + said, hashlib.sha256).digest()[:_MAC]
