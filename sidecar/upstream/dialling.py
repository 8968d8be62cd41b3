"""Making a connection to Jira: its address, the TCP connection, a tunnel through a proxy, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from sidecar.config.load import Config
from sidecar.net import liveness
from sidecar.upstream.failures import Failures

P = TypeVar("P", bound=asyncio.BaseProtocol)
Addresses = Sequence[AddrInfoType]
"""What getaddrinfo returns."""

_NEXT_ADDRESS_SECONDS = 0.25
"""RFC 8305 §5: "Connection Attempt Delay ... recommended to be 250 milliseconds"."""
_PROXY_HEAD_BYTES = 64 * 1024
_CHALLENGE = re.compile(rb"^proxy-authenticate:[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class Peer(NamedTuple):
    """Who is connected to: Jira, or the HTTP proxy on the way."""

    host: str
    port: int
    name: str
    """For messages: "jira.example.com:8443"."""
    key: str
    """The key of the configuration that it stands in."""
    login: str = ""
    """The value of Proxy-Authorization, a secret."""

    def __repr__(self) -> str:
        return f"Peer({self.name})"


class Dialler:
    """Makes connections to one Jira, step by step.  Every failure is an UpstreamError."""

    def __init__(
        self, config: Config, failures: Failures, context: Callable[[], ssl.SSLContext] | None
    ) -> None:
        """`context` returns the TLS context of the moment; None where Jira speaks plain http."""
        self._base = config.jira.base_url
        self._failures = failures
        self._seconds = config.timeouts.connect
        self._context = context
        self._looking_up: asyncio.Task[Addresses] | None = None
        self.peer = _find_peer(config)

    @property
    def through_proxy(self) -> bool:
        """Whether a proxy is asked in Jira's stead."""
        return self.peer.key == "jira.proxy"

    async def dial(self, make: Callable[[], P]) -> P:
        """Take all steps, within `timeouts.connect`; the protocol that `make` returned."""
        try:
            async with asyncio.timeout(self._seconds):
                sock = await self.connect(await self.resolve())
                return (await self.secure(sock, make))[1]
        except TimeoutError:
            raise self._failures.connect_timeout() from None

    async def resolve(self) -> Addresses:
        """The addresses of the peer's name.  Several who ask at a time wait for one answer."""
        host, port = self.peer.host, self.peer.port
        if is_address(host):
            return socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        if self._looking_up is None:
            self._looking_up = asyncio.create_task(self._resolve())
            self._looking_up.add_done_callback(self._looked_up)
        try:
            return await asyncio.shield(self._looking_up)
        except (OSError, UnicodeError) as error:
            raise self._failures.resolving(error, host) from error

    async def _resolve(self) -> Addresses:
        loop = asyncio.get_running_loop()
        host, port = self.peer.host, self.peer.port
        return await loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )

    def _looked_up(self, task: asyncio.Task[Addresses]) -> None:
        self._looking_up = None
        if not task.cancelled():
            task.exception()  # those who waited may have left

    async def connect(self, addresses: Addresses) -> socket.socket:
        """A socket connected to the peer, or through it, if it is a proxy, to a Jira with TLS."""
        try:
            sock = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS
            )
        except OSError as error:
            raise self._failures.connecting(error) from error
        try:
            liveness.watch_peer(sock)
            if self.through_proxy and self._context is not None:
                await self._ask_proxy(sock)
        except OSError as error:
            sock.close()
            raise self._failures.connecting(error) from error
        except BaseException:
            sock.close()
            raise
        return sock

    async def _ask_proxy(self, sock: socket.socket) -> None:
        """Have the proxy connect to Jira (RFC 9110 §9.3.6)."""
        loop = asyncio.get_running_loop()
        host = f"[{self._base.host}]" if ":" in self._base.host else self._base.host
        authority = f"{host}:{self._base.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self.peer.login:
            lines.append(f"Proxy-Authorization: {self.peer.login}")
        await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = await loop.sock_recv(sock, 4096)
            head += piece
            if not piece or len(head) > _PROXY_HEAD_BYTES:
                raise self._failures.no_proxy()
        status = _status(head)
        if status is None:
            raise self._failures.no_proxy()
        if not 200 <= status < 300:
            raise self._failures.proxy_refused(status, _CHALLENGE.findall(head))

    async def secure(
        self, sock: socket.socket, make: Callable[[], P]
    ) -> tuple[asyncio.Transport, P]:
        """Hand a connected socket to the event loop; with TLS where Jira speaks it."""
        loop = asyncio.get_running_loop()
        if self._context is None:
            return await loop.create_connection(make, sock=sock)
        try:
            context = self._context()
        except BaseException:
            sock.close()
            raise
        try:
            return await loop.create_connection(
                make,
                sock=sock,
                ssl=context,
                server_hostname=self._base.host.rstrip("."),
                ssl_handshake_timeout=self._seconds + 1,  # dial() gives up first
            )
        except OSError as error:
            raise self._failures.securing(error) from error

    def close(self) -> None:
        """Wait for no name any more."""
        if self._looking_up is not None:
            self._looking_up.cancel()


def _find_peer(config: Config) -> Peer:
    base, proxy = config.jira.base_url, config.jira.proxy
    if proxy is None:
        return Peer(base.host, base.port, base.authority, "jira.base_url")
    parts = urlsplit(proxy.reveal())
    host, port = parts.hostname or "", parts.port or 80
    login = ""
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {b64encode(user.encode()).decode()}"
    shown = f"[{host}]" if ":" in host else host
    return Peer(host, port, f"the proxy {shown}:{port}", "jira.proxy", login)


def _status(head: bytes) -> int | None:
    """The status of an answer to CONNECT; None where it is no HTTP."""
    version, _, rest = head.partition(b" ")
    if not (version.startswith(b"HTTP/1.") and rest[:3].isdigit()):
        return None
    return int(rest[:3])


def is_address(host: str) -> bool:
    """Whether a host is an IP address, which needs no name server."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
