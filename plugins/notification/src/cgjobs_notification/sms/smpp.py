"""A message centre over SMPP 3.4."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from typing import Any

from cgjobs import Discard, OutcomeUnknown, Retry
from cgjobs_notification.extras import library
from cgjobs_notification.sms.gateway import Taken, Text
from cgjobs_notification.sms.segments import encode
from cgjobs_notification.sms.settings import Smpp

_THROTTLED, _QUEUE_FULL, _SYSTEM_ERROR = 0x58, 0x14, 0x08
_AGAIN = frozenset({_THROTTLED, _QUEUE_FULL})
_BIND_AGAIN = frozenset({_SYSTEM_ERROR, _THROTTLED, 0x05})  # 0x05: already bound; the other one will end
_IDLE = (
    5.0  # seconds after which a connection is asked whether it lives: a message sent over a dead one is lost
)
_UDH, _RECEIPT = 0x40, 0x01
_INTERNATIONAL, _ALPHANUMERIC, _UNKNOWN = 1, 5, 0
_ISDN = 1
_OPEN = 1  # smpplib: connected and not bound


class SmppGateway:
    """One connection to a message centre, bound on demand, used by one thread at a time.

    Args:
        settings: The centre.

    Raises:
        Discard: The extra is missing.
    """

    def __init__(self, settings: Smpp) -> None:
        self._settings = settings
        self._client_module = library("smpplib.client", "smpp")
        self._errors = library("smpplib.exceptions", "smpp")
        self._lock = threading.Lock()
        self._client: Any = None
        self._used_at = 0.0
        self._reference = int(time.time()) & 0xFF

    def send(self, text: Text) -> Taken:
        """Submit all parts, each after the reply to the one before."""
        with self._lock:
            client = self._bound()
            self._reference = (self._reference + 1) & 0xFF
            parts, ids = text.segments.parts, list[str]()
            for number, part in enumerate(parts, 1):
                try:
                    ids.append(self._submit(client, text, part, number))
                except (Retry, Discard) as error:
                    if ids and not isinstance(error, OutcomeUnknown):
                        taken = f"{len(ids)} of {len(parts)} parts were taken"
                        raise OutcomeUnknown(f"{error.reason}; {taken}") from error
                    raise
            self._used_at = time.monotonic()
        return Taken(provider="smpp", provider_id=ids[0])

    def close(self) -> None:
        """Unbind."""
        with self._lock:
            self._drop(politely=True)

    def _submit(self, client: Any, text: Text, part: str, number: int) -> str:
        parts = len(text.segments.parts)
        content = encode(part, text.segments.encoding)
        if parts > 1:
            content = bytes((5, 0, 3, self._reference, parts, number)) + content
        named = not text.sender.removeprefix("+").isdecimal()
        try:
            pdu = client.send_message(
                source_addr_ton=_ALPHANUMERIC if named else _INTERNATIONAL,
                source_addr_npi=_UNKNOWN if named else _ISDN,
                source_addr=text.sender.removeprefix("+"),
                dest_addr_ton=_INTERNATIONAL,
                dest_addr_npi=_ISDN,
                destination_addr=text.to.e164.removeprefix("+"),
                short_message=content,
                data_coding=0 if text.segments.encoding == "gsm7" else 8,
                esm_class=_UDH if parts > 1 else 0,
                registered_delivery=_RECEIPT,
            )
            reply = self._reply(client, pdu.sequence, "submit_sm_resp")
        except (OSError, self._errors.ConnectionError, self._errors.PDUError) as error:
            self._drop()
            raise OutcomeUnknown(
                f"SMPP: no reply ({type(error).__name__}): the centre may have taken the message"
            ) from error
        if reply.status == 0:
            return str((reply.message_id or b"").decode("ascii", "replace"))
        reason = f"SMPP: status {reply.status}, {self._described(reply.status)}"
        raise Retry(reason) if reply.status in _AGAIN else Discard(reason)

    def _reply(self, client: Any, sequence: int, command: str) -> Any:
        """Wait for the reply with this number; answer what the centre asks in between."""
        deadline = time.monotonic() + self._settings.timeout.total_seconds()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            client._socket.settimeout(left)  # smpplib has no way to say how long to wait
            pdu = client.read_pdu()
            if pdu.sequence == sequence and pdu.command in (command, "generic_nack"):
                return pdu
            self._answer(client, pdu)

    def _answer(self, client: Any, pdu: Any) -> None:
        # smpplib's read_once raises for anything with an error: here only what is asked is answered.
        if pdu.command == "enquire_link":
            client._enquire_link_received(pdu)
        elif pdu.command == "deliver_sm":  # a receipt: delivery is not waited for
            client._message_received(pdu)
        elif pdu.command == "unbind":
            raise self._errors.ConnectionError("the centre says goodbye")

    def _bound(self) -> Any:
        if self._client is not None and not self._alive():
            self._drop()
        if self._client is None:
            self._client = self._bind()
        return self._client

    def _alive(self) -> bool:
        """Answer what has come in the meantime; after some idle time ask whether it is still there."""
        client = self._client
        try:
            while select.select([client._socket], [], [], 0)[0]:
                client._socket.settimeout(self._settings.timeout.total_seconds())
                self._answer(client, client.read_pdu())
            if time.monotonic() - self._used_at <= _IDLE:
                return True
            pdu = library("smpplib.smpp", "smpp").make_pdu("enquire_link", client=client)
            client.send_pdu(pdu)
            self._reply(client, pdu.sequence, "enquire_link_resp")
        except (OSError, self._errors.ConnectionError, self._errors.PDUError):
            return False
        return True

    def _bind(self) -> Any:
        settings = self._settings
        tls = ssl.create_default_context(cafile=settings.ca_file) if settings.tls else None
        client = self._client_module.Client(
            settings.host,
            settings.port,
            timeout=settings.timeout.total_seconds(),
            allow_unknown_opt_params=True,
        )
        client.logger.setLevel(logging.WARNING)  # below it, numbers are written down
        client.set_message_received_handler(lambda pdu: None)
        try:
            client._socket = self._connected(tls)  # smpplib's own socket asks for no name, and for IPv4 alone
            client.state = _OPEN
            client.bind_transceiver(
                system_id=settings.system_id, password=settings.password, system_type=settings.system_type
            )
        except self._errors.PDUError as error:
            client.disconnect()
            status = error.args[1] if len(error.args) > 1 else 0
            reason = f"SMPP bind: status {status}, {self._described(status)}"
            raise (Retry(reason) if status in _BIND_AGAIN else Discard(reason)) from error
        except ssl.SSLCertVerificationError as error:
            raise Discard(f"SMPP: {error}") from error
        except (OSError, self._errors.ConnectionError) as error:
            if client._socket is not None:
                client.disconnect()
            raise Retry(f"SMPP: no connection: {type(error).__name__}") from error
        self._used_at = time.monotonic()
        return client

    def _connected(self, tls: ssl.SSLContext | None) -> socket.socket:
        settings = self._settings
        made = socket.create_connection((settings.host, settings.port), settings.timeout.total_seconds())
        return made if tls is None else tls.wrap_socket(made, server_hostname=settings.host)

    def _drop(self, *, politely: bool = False) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        client.state = _OPEN if not politely else client.state  # else smpplib warns that it is bound
        if politely:
            with contextlib.suppress(OSError, self._errors.ConnectionError, self._errors.PDUError):
                client._socket.settimeout(1)
                client.unbind()
        client.disconnect()

    def _described(self, status: int) -> str:
        consts = library("smpplib.consts", "smpp")
        return str(consts.DESCRIPTIONS.get(status, "unknown"))
