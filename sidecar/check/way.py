"""The way to Jira, gone by hand: each step is made alone, so that the one that fails is known.

Requests go through the pool as always; here is looked at what its connector does in one go.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from sidecar.check.tls_reasons import tls_failed
from sidecar.config.load import Config
from sidecar.errors import (
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    ProtocolError,
    TLSError,
)
from sidecar.net import tls
from sidecar.upstream.failures import proxy_refused

_TLS_RECORDS = (b"\x15", b"\x16")  # alert, handshake (RFC 8446 §5.1)


class Peer(NamedTuple):
    """Who is connected to: Jira, or the HTTP proxy on the way."""

    host: str
    port: int
    name: str
    """For messages: "Jira (jira.example.com:443)"."""
    key: str
    """The key of the configuration that it stands in."""


class Secured(NamedTuple):
    """What TLS agreed on."""

    version: str
    ends_at: float | None
    """Unix time of the certificate's end."""


class Way:
    """One connection to Jira; close() it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._base = config.jira.base_url
        self._seconds = config.timeouts.connect
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._login = b""
        self.hung_up = False
        """Whether a request in plain http was met with the connection's end."""
        self.peer = self._find_peer()

    def _find_peer(self) -> Peer:
        base, proxy = self._base, self._config.jira.proxy
        if proxy is None:
            return Peer(base.host, base.port, base.authority, "jira.base_url")
        parts = urlsplit(proxy.reveal())
        host, port = parts.hostname or "", parts.port or 80
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._login = b64encode(login.encode())
        shown = f"[{host}]" if ":" in host else host
        return Peer(host, port, f"the proxy {shown}:{port}", "jira.proxy")

    @property
    def through_proxy(self) -> bool:
        """Whether a proxy is asked in Jira's stead."""
        return self.peer.key == "jira.proxy"

    async def resolve(self) -> list[str]:
        """The addresses of the peer's name; NameNotResolved if there are none."""
        host, port = self.peer.host, self.peer.port
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            reason = f"no name server answers within {self._seconds:g} s"
        except UnicodeError:
            reason = "no name can look like that"
        except OSError as error:
            reason = (error.strerror or "there is none").lower()
        else:
            return list(dict.fromkeys(str(address[0]) for *_, address in found))
        raise NameNotResolved(
            f"The name {host} has no address: {reason}.",
            f"check {self.peer.key} for a slip of the pen, then this machine's DNS:"
            f" `getent hosts {host}`; a name of an internal network may need its VPN",
        )

    async def connect(self) -> str:
        """Open the connection, to Jira itself in the end; the address it leads to."""
        peer = self.peer
        try:
            async with asyncio.timeout(self._seconds):
                self._reader, self._writer = await asyncio.open_connection(
                    peer.host, peer.port, happy_eyeballs_delay=0.25
                )
                address = str(self._writer.get_extra_info("peername")[0])
                if self.through_proxy and self._base.scheme == "https":
                    await self._ask_proxy()
        except TimeoutError:
            raise ConnectTimeout(
                f"{peer.name} does not answer: no connection within {self._seconds:g} s.",
                f"is {peer.key} right, and does a firewall or a missing VPN stand in between?",
            ) from None
        except OSError as error:
            raise ConnectionRefused(
                f"{peer.name} takes no connection: {_reason(error)}.",
                f"does it run, and is the port in {peer.key} right?",
            ) from None
        return address

    async def _ask_proxy(self) -> None:
        """Have the proxy connect to Jira (RFC 9110 §9.3.6)."""
        assert self._writer is not None
        host = f"[{self._base.host}]" if ":" in self._base.host else self._base.host
        authority = f"{host}:{self._base.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self._login:
            lines.append(f"Proxy-Authorization: Basic {self._login.decode()}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            version, _, rest = head.partition(b" ")
            if not version.startswith(b"HTTP/1."):
                raise ValueError
            status = int(rest[:3])
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            raise ProtocolError(
                f"{self.peer.name} does not answer as an HTTP proxy does.",
                "jira.proxy must be the address of an HTTP proxy",
            ) from None
        if not 200 <= status < 300:
            raise proxy_refused(self._base.authority, status)

    async def secure(self) -> Secured | None:
        """Make the connection TLS, and see that Jira then answers; None for plain http.

        An UpstreamError says by kind what is wrong: TLS on a plain http URL, too.
        """
        writer = self._writer
        assert writer is not None
        if self._base.scheme == "http":
            await self._see_that_it_is_plain()
            return None
        await self._shake_hands(writer)
        security = writer.get_extra_info("ssl_object")
        certificate = writer.get_extra_info("peercert") or {}
        ends = certificate.get("notAfter")
        version = security.version() if security is not None else None
        return Secured(version or "TLS", ssl.cert_time_to_seconds(ends) if ends else None)

    async def _see_that_it_is_plain(self) -> None:
        first = None if self.through_proxy else await self._first_byte()
        self.hung_up = first == b""
        if first in _TLS_RECORDS:
            raise TLSError(
                f"{self._base.authority} speaks TLS, and jira.base_url says plain http.",
                f'write it with https: jira.base_url = "https{str(self._base)[4:]}"',
            )

    async def _shake_hands(self, writer: asyncio.StreamWriter) -> None:
        jira = self._config.jira
        context = tls.client_context(jira.ca_file, jira.client_certificate, jira.client_key)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._seconds):
                await writer.start_tls(context, server_hostname=self._base.host)
            # TLS 1.3: whether our certificate, or its lack, is accepted is said only now, one
            # round trip later.  The handshake took longer; a request in between would cross it.
            answered = await self._read(loop.time() - started + 0.02)
            if answered == b"" or (answered is None and await self._first_byte() == b""):
                raise EOFError
        except TimeoutError:
            raise TLSError(
                f"{self._base.authority} did not finish the TLS handshake within"
                f" {self._seconds:g} s.",
                "does that port speak TLS, and does a firewall let it through?",
            ) from None
        except (OSError, EOFError) as error:
            raise tls_failed(error, self._config) from None

    async def _first_byte(self) -> bytes | None:
        """What an unsigned request is answered with first; b"" for the connection's end.

        None if nothing comes for a while: a slow Jira is another step's affair.
        """
        assert self._writer is not None
        base = self._base
        head = (
            f"GET {base.path}/rest/api/2/serverInfo HTTP/1.1\r\nHost: {base.authority}\r\n"
            "Connection: close\r\n\r\n"
        )
        self._writer.write(head.encode())
        return await self._read(self._seconds)

    async def _read(self, seconds: float) -> bytes | None:
        """A byte, b"" for the connection's end, None for silence; ssl.SSLError for an alert."""
        try:
            async with asyncio.timeout(seconds):
                return await self._reader.read(1)
        except ssl.SSLError:
            raise
        except TimeoutError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None


def _reason(error: OSError) -> str:
    """A short reason; happy eyeballs bundles several errors into one without a number."""
    found = re.search(r"\[Errno ([0-9]+)\]", str(error))
    return os.strerror(int(found[1])).lower() if found else str(error).lower().rstrip(".")


def is_address(host: str) -> bool:
    """Whether a host is an IP address, which needs no name server."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
