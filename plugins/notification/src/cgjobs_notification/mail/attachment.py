"""Files that go with a mail, from the named stores."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence

import attrs

from cgjobs import Context, Discard
from cgjobs_notification.payloads import Attachment

MOST_BYTES = 10_000_000
"""All files of one mail together; on the way they are a third larger."""


@attrs.frozen
class File:
    """A file in memory.

    Args:
        name: As the reader sees it.
        content: Its bytes.
        content_type: Such as ``application/pdf``.
    """

    name: str
    content: bytes = attrs.field(repr=False)
    content_type: str


def read_files(ctx: Context, attachments: Sequence[Attachment]) -> tuple[File, ...]:
    """Fetch the files of a mail.

    Raises:
        Discard: There is no such store or file, or they are too large together.
        Retry: The store does not answer.
    """
    if not attachments:
        return ()
    from cgjobs_data import Settings as DataSettings
    from cgjobs_data import open_store

    settings, files, left = ctx.settings(DataSettings), list[File](), MOST_BYTES
    for attachment in attachments:
        store = ctx.use(open_store, settings, attachment.store)
        try:
            with store.open(attachment.path) as source:
                content = source.read(left + 1)
        except FileNotFoundError as error:
            raise Discard(f"there is no {attachment.path!r} in the store {attachment.store!r}") from error
        left -= len(content)
        if left < 0:
            raise Discard(f"the attachments have more than {MOST_BYTES:,} bytes; send a link instead")
        name = attachment.name or attachment.path.rpartition("/")[2]
        files.append(File(name, content, mimetypes.guess_type(name)[0] or "application/octet-stream"))
    return tuple(files)
