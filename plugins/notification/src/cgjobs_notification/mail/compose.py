"""A payload to the bytes of a mail."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import attrs

from cgjobs import Discard
from cgjobs_notification.mail.attachment import File
from cgjobs_notification.payloads import Content, one_line

# Seven bits pass every server; headers fold at 78 characters and end in CRLF (RFC 5322).
_POLICY = policy.SMTP.clone(cte_type="7bit")


@attrs.frozen
class Mail:
    """A mail ready to be sent.

    Args:
        message_id: Its Message-ID, with angle brackets.
        sender: The envelope's sender.
        recipient: The envelope's recipient.
        content: Headers and body.
    """

    message_id: str
    sender: str
    recipient: str
    content: bytes


def compose(
    content: Content,
    *,
    sender: str,
    recipient: str,
    job_id: str,
    now: datetime,
    unsubscribe: str = "",
    files: Sequence[File] = (),
) -> Mail:
    """Build a mail whose Message-ID depends on the job and the recipient alone.

    A mail that arrives twice, because the connection broke after it was sent, is thereby recognised as one.

    Args:
        content: What it says.
        sender: Who it is from: an address, or ``Name <address>``.
        recipient: Who it is for: an address.
        job_id: The job that sends it.
        now: Its Date (aware).
        unsubscribe: The link with which its reader unsubscribes; empty for none.
        files: What goes with it.

    Raises:
        Discard: The recipient is no address, or a header would hold a line break.
    """
    to = _address(recipient)
    name, sender_address = parseaddr(sender)
    who = _address(sender_address)
    digest = hashlib.sha256(to.addr_spec.lower().encode()).hexdigest()[:16]
    message_id = f"<{job_id.strip('.')}.{digest}@{who.domain}>"
    mail = EmailMessage(policy=_POLICY)
    mail["Message-ID"] = message_id
    mail["Date"] = format_datetime(now)
    mail["From"] = Address(display_name=name, addr_spec=who.addr_spec)
    mail["To"] = to
    mail["Subject"] = content.subject
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies, please
    if unsubscribe:  # both are to be signed by the server's DKIM (RFC 8058, 4)
        mail["List-Unsubscribe"] = f"<{unsubscribe}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(content.text)
    if content.html is not None:
        mail.add_alternative(content.html, subtype="html")
    for file in files:
        main, _, sub = file.content_type.partition("/")
        mail.add_attachment(file.content, maintype=main, subtype=sub, filename=file.name)
    return Mail(message_id, who.addr_spec, to.addr_spec, mail.as_bytes())


def _address(text: str) -> Address:
    from email_validator import validate_email  # .07 s, which who only enqueues does not spend

    try:
        # What is well-formed will do, also of a house's own domain: the server knows the addresses.
        found = validate_email(
            one_line(text.strip(" ")),
            check_deliverability=False,
            globally_deliverable=False,
            allow_smtputf8=False,
        )
        return Address(addr_spec=found.ascii_email or found.normalized)
    except ValueError as error:
        raise Discard(f"{text!r} is no address that mail can go to: {error}") from error
