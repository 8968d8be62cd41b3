"""The way to Jira, one step after the other, so that the one that fails is known."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import NamedTuple

from cryptography import x509

from sidecar.check.sent_chain import distrust, sent_chain
from sidecar.config.load import Config
from sidecar.errors import CertificateError, TLSError, UnknownIssuer, UpstreamError
from sidecar.net import tls
from sidecar.upstream.dialling import Addresses, Dialler
from sidecar.upstream.failures import Failures

_TLS_RECORDS = (b"\x15", b"\x16")  # alert, handshake (RFC 8446 §5.1)


class Secured(NamedTuple):
    """What TLS agreed on."""

    version: str
    ends_at: float | None
    """Unix time of the certificate's end."""


class Way:
    """One connection to Jira; close() it."""

    def __init__(self, config: Config) -> None:
        self._jira = config.jira
        self._base = config.jira.base_url
        self._seconds = config.timeouts.connect
        self._failures = Failures(config)
        self._dialler = Dialler(
            config, self._failures, self._context if self._base.scheme == "https" else None
        )
        self._addresses: Addresses = []
        self._socket: socket.socket | None = None
        self._reader = asyncio.StreamReader()
        self._transport: asyncio.Transport | None = None
        self.hung_up = False
        """Whether a request in plain http was met with the connection's end."""
        self.peer = self._dialler.peer
        self.through_proxy = self._dialler.through_proxy

    def _context(self) -> ssl.SSLContext:
        jira = self._jira
        return tls.client_context(jira.ca_file, jira.client_certificate, jira.client_key)

    async def resolve(self) -> list[str]:
        """The addresses of the peer's name; NameNotResolved if there are none."""
        try:
            async with asyncio.timeout(self._seconds):
                self._addresses = await self._dialler.resolve()
        except TimeoutError as error:
            raise self._failures.resolving(error, self.peer.host) from None
        return list(dict.fromkeys(str(address[0]) for *_, address in self._addresses))

    async def connect(self) -> str:
        """Open the connection, to Jira itself in the end; the address it leads to."""
        try:
            async with asyncio.timeout(self._seconds):
                self._socket = await self._dialler.connect(self._addresses)
        except TimeoutError:
            raise self._failures.connect_timeout() from None
        return str(self._socket.getpeername()[0])

    async def secure(self) -> Secured | None:
        """Make the connection TLS, and see that Jira then answers; None for plain http.

        An UpstreamError says by kind what is wrong: TLS on a plain http URL, too.
        """
        if self._base.scheme == "http":
            await self._hand_over()
            await self._see_that_it_is_plain()
            return None
        try:
            await self._shake_hands()
        except UnknownIssuer as error:
            raise await self._distrust() or error from None
        assert self._transport is not None
        security = self._transport.get_extra_info("ssl_object")
        certificate = self._transport.get_extra_info("peercert") or {}
        ends = certificate.get("notAfter")
        version = security.version() if security is not None else None
        return Secured(version or "TLS", ssl.cert_time_to_seconds(ends) if ends else None)

    async def _distrust(self) -> CertificateError | None:
        """What the certificates that Jira sends show of why they are not trusted, if anything."""
        chain: list[x509.Certificate] = []
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(self._seconds):
                sock = await self._dialler.connect(self._addresses)
                chain = await sent_chain(sock, self._base.host.rstrip("."))
        return distrust(chain, f"The TLS certificate of {self._base.authority}")

    async def _hand_over(self) -> None:
        """Let the event loop read from the connection; with TLS where Jira speaks it."""
        sock, self._socket = self._socket, None
        assert sock is not None
        protocol = asyncio.StreamReaderProtocol(self._reader)
        self._transport, _ = await self._dialler.secure(sock, lambda: protocol)

    async def _see_that_it_is_plain(self) -> None:
        first = None if self.through_proxy else await self._first_byte()
        self.hung_up = first == b""
        if first in _TLS_RECORDS:
            raise TLSError(
                f"{self._base.authority} speaks TLS, and jira.base_url says plain http.",
                f'write it with https: jira.base_url = "https{str(self._base)[4:]}"',
            )

    async def _shake_hands(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._seconds):
                await self._hand_over()
        except TimeoutError:
            raise TLSError(
                f"{self._base.authority} did not finish the TLS handshake within"
                f" {self._seconds:g} s.",
                "see whether that port speaks TLS, and whether a firewall lets it through",
            ) from None
        try:
            # TLS 1.3: whether our certificate, or its lack, is accepted is said only now, one
            # round trip later.  The handshake took longer; a request in between would cross it.
            answered = await self._read(loop.time() - started + 0.02)
            if answered == b"" or (answered is None and await self._first_byte() == b""):
                raise ConnectionResetError
        except OSError as error:
            raise self._failures.securing(error) from None

    async def _first_byte(self) -> bytes | None:
        """What an unsigned request is answered with first; b"" for the connection's end.

        None if nothing comes for a while: a slow Jira is another step's affair.
        """
        assert self._transport is not None
        base = self._base
        head = (
            f"GET {base.path}/rest/api/2/serverInfo HTTP/1.1\r\nHost: {base.authority}\r\n"
            "Connection: close\r\n\r\n"
        )
        self._transport.write(head.encode())
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
        self._dialler.close()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
