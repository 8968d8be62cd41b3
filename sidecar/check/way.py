"""The way to Jira, gone by hand: each step is made alone, so that the one that fails is known.

Requests go through upstream.py as always; here is looked at what its connector does in one go.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
import time
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from sidecar import tls
from sidecar.config import Config
from sidecar.errors import (
    CertificateError,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    ProtocolError,
    TLSError,
    UpstreamError,
)
from sidecar.failures import proxy_refused

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
            if not self.through_proxy and (await self._first_byte()) in _TLS_RECORDS:
                raise TLSError(
                    f"{self._base.authority} speaks TLS, and jira.base_url says plain http.",
                    f'write it with https: jira.base_url = "https{str(self._base)[4:]}"',
                )
            return None
        jira = self._config.jira
        context = tls.client_context(jira.ca_file, jira.client_certificate, jira.client_key)
        try:
            async with asyncio.timeout(self._seconds):
                await writer.start_tls(context, server_hostname=self._base.host)
            # TLS 1.3: whether our certificate, or its lack, is accepted is said only now.
            await self._first_byte()
        except TimeoutError:
            raise TLSError(
                f"{self._base.authority} did not finish the TLS handshake within"
                f" {self._seconds:g} s.",
                "does that port speak TLS, and does a firewall let it through?",
            ) from None
        except (OSError, EOFError) as error:
            raise tls_failed(error, self._config) from None
        security = writer.get_extra_info("ssl_object")
        certificate = writer.get_extra_info("peercert") or {}
        ends = certificate.get("notAfter")
        version = security.version() if security is not None else None
        return Secured(version or "TLS", ssl.cert_time_to_seconds(ends) if ends else None)

    async def _first_byte(self) -> bytes:
        """What an unsigned request is answered with first; b"" if nothing comes of it.

        Only an ssl.SSLError is raised: a silent Jira is another step's affair.
        """
        assert self._writer is not None
        base = self._base
        head = (
            f"GET {base.path}/rest/api/2/serverInfo HTTP/1.1\r\nHost: {base.authority}\r\n"
            "Connection: close\r\n\r\n"
        )
        try:
            async with asyncio.timeout(self._seconds):
                self._writer.write(head.encode())
                return await self._reader.read(1)
        except ssl.SSLError:
            raise
        except OSError:  # TimeoutError is one
            return b""

    def close(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None


def tls_failed(error: Exception, config: Config) -> UpstreamError:
    """Why TLS with Jira failed, by the kind of failure."""
    base = config.jira.base_url
    where = base.authority
    look = f"`openssl s_client -connect {base.host}:{base.port}` shows it"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrusted(error, where, base.host, look)
    reason = (getattr(error, "reason", None) or "").replace("_", " ").lower()
    if any(sign in reason for sign in ("wrong version number", "http request", "unexpected mess")):
        plain = str(base).replace("https", "http", 1)
        return TLSError(
            f"{where} does not speak TLS at that port.",
            f'if it is plain http, jira.base_url = "{plain}"; else another port is meant',
        )
    if "protocol version" in reason or "unsupported protocol" in reason:
        return TLSError(
            f"{where} and this machine have no TLS version in common: TLS 1.2 or newer is needed.",
            "have TLS 1.2 enabled in Jira's server.xml, or in the reverse proxy in front of it",
        )
    if "unrecognized name" in reason:
        return TLSError(
            f"{where} does not know itself by the name {base.host}.",
            "jira.base_url must have the name that Jira, or its reverse proxy, is set up for",
        )
    ours = config.jira.client_certificate
    about_ours = ("certificate required", "handshake failure", "unknown ca", "certificate")
    if any(sign in reason for sign in about_ours):
        return _wants_client_certificate(where, reason, str(ours) if ours else "")
    if not reason or "eof" in reason:
        return ConnectionLost(
            f"{where} closed the connection while TLS was being agreed on.",
            "does that port speak TLS? A firewall, or a Jira that wants a client certificate"
            " (jira.client_certificate), does this too",
        )
    return TLSError(f"TLS with {where} failed: {reason}.", f"TLS 1.2 or newer is needed; {look}")


def _wants_client_certificate(where: str, reason: str, ours: str) -> TLSError:
    if ours:
        return TLSError(
            f"{where} does not accept our client certificate {ours}: {reason}.",
            "have one issued by a CA that Jira's side trusts, and see that it has not expired",
        )
    maybe = "wants" if "required" in reason else "may want"
    return TLSError(
        f"{where} {maybe} a client certificate: {reason}.",
        "get one from whoever runs Jira; jira.client_certificate and jira.client_key name it",
    )


def _distrusted(
    error: ssl.SSLCertVerificationError, where: str, host: str, look: str
) -> CertificateError:
    """X509_V_ERR_*, as X509_STORE_CTX_get_error(3) lists them."""
    message = (error.verify_message or "it does not verify").rstrip(".")
    lower = message.lower()
    if error.verify_code in (62, 64) or "mismatch" in lower:
        return CertificateError(
            f"The TLS certificate of {where} is for another name than {host}.",
            f"jira.base_url must have a name that stands in the certificate: {look}",
        )
    if error.verify_code in (9, 10) or "expired" in lower:
        fault = "is not valid yet" if error.verify_code == 9 else "has expired"
        return CertificateError(
            f"The TLS certificate of {where} {fault}.",
            "have it renewed by whoever runs Jira; if it is new, this machine's clock is wrong:"
            f" it shows {time.strftime('%Y-%m-%d %H:%M')}",
        )
    if error.verify_code in (2, 18, 19, 20, 21, 24, 27) or "issuer" in lower:
        return CertificateError(
            f"The TLS certificate of {where} is from a CA unknown here: {message}.",
            "add your company's CA to the system's trust store, or name its PEM file in"
            f" jira.ca_file; {look} (add -showcerts)",
        )
    return CertificateError(
        f"The TLS certificate of {where} is not to be trusted: {message}.", look
    )


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
