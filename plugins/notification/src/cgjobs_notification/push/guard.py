"""Requests to addresses that came from a browser: to the public internet alone, whatever a name says."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""From a host and a port to its addresses."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Forbidden(Exception):
    """The address is one to which nothing is sent."""


def check_endpoint(url: str, allowed_hosts: Sequence[str], *, insecure: bool = False) -> str:
    """The origin of an endpoint, ``https://host``.

    Args:
        url: The endpoint.
        allowed_hosts: Patterns such as ``*.push.example.com``, one of which its host has to match; none: any.
        insecure: For tests: ``http`` and any port are allowed too.

    Raises:
        Forbidden: It is no URL to which a push message may be sent.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise Forbidden(f"the endpoint is no URL: {error}") from error
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \\"):
        raise Forbidden("the endpoint holds a character that no URL has")
    if not host:
        raise Forbidden("the endpoint has no host")
    if insecure:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme != "https":
        raise Forbidden(f"the endpoint begins with {parts.scheme or 'nothing'}:, not with https:")
    if parts.username is not None or parts.password is not None:
        raise Forbidden("the endpoint holds a user name")
    if port not in (None, 443):
        raise Forbidden(f"the endpoint has port {port}; a push service has 443")
    if allowed_hosts and not any(fnmatchcase(host, pattern.lower()) for pattern in allowed_hosts):
        raise Forbidden(f"its host {host} is none of allowed_hosts")
    if host.endswith((".localhost", ".local", ".internal")) or "." not in host:
        raise Forbidden(f"its host {host} is none of the public internet")
    return f"https://{host}"


def check_address(text: str) -> Address:
    """An address of the public internet.

    Raises:
        Forbidden: It is private, loopback, link-local, reserved or multicast, also inside an address of IPv6.
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    for hidden in _inside(address):
        if not hidden.is_global or hidden.is_multicast or hidden.is_reserved:
            raise Forbidden(f"{text} is none of the public internet")
    return address


def _inside(address: Address) -> Iterable[Address]:
    """The address, and those of IPv4 to which it leads."""
    if (
        isinstance(address, ipaddress.IPv6Address) and address in _NAT64
    ):  # how IPv4 is reached from IPv6 alone
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, as the system gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class GuardedBackend(httpcore2.SyncBackend):
    """Connects to the very addresses that were checked: a name cannot resolve anew in between.

    Args:
        resolve: Looks names up. A host with one forbidden address is refused as a whole.
    """

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve

    def connect_tcp(self, host: str, port: int, *rest: Any, **options: Any) -> httpcore2.NetworkStream:
        """Resolve, check, connect; TLS still asks for the name."""
        try:
            addresses = self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host}: {error}") from error
        checked = [check_address(address) for address in addresses]
        failed: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in checked:
            try:
                return super().connect_tcp(str(address), port, *rest, **options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error  # this machine may have no way to IPv6
        raise failed


class GuardedTransport(httpx2.HTTPTransport):
    """A transport whose connections are guarded. No proxy is used, whatever the environment says."""

    def __init__(self, backend: httpcore2.NetworkBackend, **options: Any) -> None:
        super().__init__(trust_env=False, **options)
        # httpx2 has no argument for the backend; httpcore2's pool, which it wraps, has.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=20,
            max_keepalive_connections=20,
            keepalive_expiry=60,
            network_backend=backend,
        )


def guarded_client(timeout: float, resolve: Resolve = resolve) -> httpx2.Client:
    """A client for endpoints that came from a browser: guarded, and it follows no redirect."""
    return httpx2.Client(
        transport=GuardedTransport(GuardedBackend(resolve)),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
    )
