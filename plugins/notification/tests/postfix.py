"""Debian's Postfix with Dovecot's SASL: STARTTLS required, AUTH, greylisting. Own directories, own ports."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import smtplib
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trustme

_PATIENCE = 60.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
_MAIN = """
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = /tmp
maillog_file = {base}/log
myhostname = mx.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
default_transport = discard
relay_transport = discard
local_transport = discard
smtpd_tls_cert_file = {base}/server.pem
smtpd_tls_key_file = {base}/server.key
smtpd_tls_security_level = encrypt
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
message_size_limit = 300000
smtpd_error_sleep_time = 0
smtpd_client_restrictions =
smtpd_helo_restrictions =
smtpd_sender_restrictions =
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy}
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""
_DOVECOT = """
base_dir = {base}/dovecot
state_dir = {base}/dovecot
log_path = {base}/dovecot.log
protocols =
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = {base}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {base}/spool/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
"""


@attrs.frozen
class MailServer:
    """A running Postfix.

    Args:
        port: Where it listens on loopback; STARTTLS, then AUTH as ``chat`` with ``right``.
        ca_file: The authority that vouches for it.
        log: Its log.
        greylisted: Recipients that it has refused once, the first time: those with ``grey`` in the address.
    """

    port: int
    ca_file: Path
    log: Path
    greylisted: list[str]

    def sent(self, message_id: str) -> int:
        """How many mails with this Message-ID it took."""
        return self.log.read_text().count(f"message-id={message_id}")


@contextlib.contextmanager
def mail_server() -> Iterator[MailServer]:
    """Run Postfix and Dovecot; a skip where they are missing or may not be started."""
    postfix, dovecot = (shutil.which(name, path=_PATH) for name in ("postfix", "dovecot"))
    if postfix is None or dovecot is None:
        pytest.skip("there is no Postfix with Dovecot: apt-get install postfix dovecot-core")
    if os.geteuid():
        pytest.skip("Postfix and Dovecot are started by root alone")
    base = Path(tempfile.mkdtemp(prefix="cgmail-", dir="/tmp"))  # short: the paths of sockets are bounded
    with contextlib.ExitStack() as ending:
        ending.callback(shutil.rmtree, base, ignore_errors=True)
        policy = ending.enter_context(_greylisting())
        port = _free_port()
        _write(base, port, policy.port)
        log = (base / "out").open("wb")
        ending.callback(log.close)
        for command in (
            [dovecot, "-F", "-c", f"{base}/dovecot.conf"],
            [postfix, "-c", f"{base}/etc", "start-fg"],
        ):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            ending.callback(process.wait, _PATIENCE)
            ending.callback(process.terminate)
        ending.callback(subprocess.run, [postfix, "-c", f"{base}/etc", "stop"], capture_output=True)
        _await(base, port)
        yield MailServer(port, base / "ca.pem", base / "log", policy.seen)


@attrs.frozen
class _Policy:
    port: int
    seen: list[str]


@contextlib.contextmanager
def _greylisting() -> Iterator[_Policy]:
    """Postfix' policy protocol: who is new is put off once, and nobody@ is no user."""
    seen: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked: dict[str, str] = {}
            for line in self.rfile:
                name, _, value = line.decode().strip().partition("=")
                if name:
                    asked[name] = value
                    continue
                recipient = asked.get("recipient", "")
                new = "grey" in recipient and recipient not in seen
                seen.extend([recipient] if new else [])
                action = "451 4.7.1 Greylisted, come again" if new else "dunno"
                action = "550 5.1.1 no such user" if recipient.startswith("nobody@") else action
                self.wfile.write(f"action={action}\n\n".encode())
                asked = {}

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield _Policy(server.server_address[1], seen)
        server.shutdown()
        thread.join(_PATIENCE)


def _write(base: Path, port: int, policy: int) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    base.chmod(0o755)
    for name in ("etc", "spool", "spool/private", "data", "dovecot"):
        (base / name).mkdir()
    owner = pwd.getpwnam("postfix")
    for name in ("spool/private", "data"):
        os.chown(base / name, owner.pw_uid, owner.pw_gid)
    authority.cert_pem.write_to_path(base / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(base / "server.pem")
    issued.private_key_pem.write_to_path(base / "server.key")
    (base / "users").write_text("chat:{PLAIN}right\n")
    (base / "users").chmod(0o644)
    (base / "etc" / "main.cf").write_text(_MAIN.format(base=base, policy=policy))
    (base / "etc" / "master.cf").write_text(_MASTER.format(port=port))
    (base / "dovecot.conf").write_text(_DOVECOT.format(base=base))


def _await(base: Path, port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError, smtplib.SMTPException),
            smtplib.SMTP("127.0.0.1", port, timeout=5) as smtp,
        ):
            if smtp.ehlo()[0] == 250 and (base / "spool/private/auth").exists():
                return
        time.sleep(0.05)
    told = [
        path.read_text(errors="replace")[-1500:] for path in (base / "out", base / "log") if path.exists()
    ]
    raise RuntimeError(f"Postfix does not start: {told}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
