"""What asyncio, OpenSSL and the operating system raise on the way to Jira, in the sidecar's terms.

The one place where foreign exceptions of a connection to Jira are mapped.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Sequence

from sidecar.config.load import Config
from sidecar.errors import (
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    OutOfDescriptors,
    ProtocolError,
    TLSError,
    UpstreamError,
    is_out_of_descriptors,
)
from sidecar.upstream.tls_failures import is_plain_end, tls_failed

_EARLY_END_HINT = (
    "Jira may be restarting, or a firewall is in between; or jira.base_url says http where that"
    " port speaks https, or Jira asks for a client certificate (jira.client_certificate)"
)
_LATE_END_HINT = (
    "Jira may be restarting, or a firewall or proxy in between has given up: if it happens again,"
    " Jira's log says more"
)


_SILENT = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""What the kernel says of a peer that confirms nothing any more."""


_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SCHEME = re.compile(
    rb"(?:\A|,)[ \t]*([A-Za-z][A-Za-z0-9-]{0,19})(?=[ \t]*(?:,|\Z)|[ \t]+[^=, \t])"
)
"""A name that no = follows (RFC 9110 §11.3)."""


class Failures:
    """Makes errors that say what failed on the way to one Jira, and what to do about it."""

    def __init__(self, config: Config) -> None:
        jira = config.jira
        self._base = jira.base_url
        self._where = jira.base_url.authority
        self._has_proxy = jira.proxy is not None
        self._has_proxy_login = jira.proxy is not None and "@" in jira.proxy.reveal()
        self._has_certificate = jira.client_certificate is not None
        self._seconds = config.timeouts.connect

    def resolving(self, error: OSError | UnicodeError, host: str) -> UpstreamError:
        """Why the name `host`, Jira's or the proxy's, has no address."""
        if isinstance(error, OSError) and is_out_of_descriptors(error):
            return OutOfDescriptors()
        if isinstance(error, TimeoutError):
            reason = f"no name server answered within {self._seconds:g} s"
        elif isinstance(error, UnicodeError):
            reason = "no name can look like that"
        else:
            reason = _reason(error)
        key = "jira.proxy" if self._has_proxy else "jira.base_url"
        return NameNotResolved(
            f"The name of {host} cannot be resolved: {reason}.",
            f"check {key} for a slip of the pen, then this machine's DNS:"
            f" `getent hosts {host}`; a name of an internal network may need its VPN",
        )

    def connecting(self, error: OSError) -> UpstreamError:
        """Why no address takes a connection."""
        if is_out_of_descriptors(error):
            return OutOfDescriptors()
        reason = _reason(error)
        if error.errno == errno.ETIMEDOUT:
            return ConnectTimeout(
                f"No connection to {self._where}: {reason}.",
                "see whether Jira is up, and whether it takes a VPN to reach it",
            )
        if self._has_proxy:
            return ConnectionRefused(
                f"The proxy in jira.proxy cannot be reached: {reason}.", "check jira.proxy"
            )
        return ConnectionRefused(
            f"Cannot connect to {self._where}: {reason}.",
            "see whether Jira is up, and whether the port in jira.base_url is right",
        )

    def connect_timeout(self) -> ConnectTimeout:
        """There was no connection within `timeouts.connect`."""
        return ConnectTimeout(
            f"No connection to {self._where} within {self._seconds:g} s.",
            "is there a firewall in between, or a missing VPN? timeouts.connect sets the limit",
        )

    def proxy_refused(self, status: int, challenges: Sequence[bytes]) -> ConnectionRefused:
        """The HTTP proxy on the way answered instead of Jira; by `challenges` it wants a login."""
        if status == 407:
            return self._login_refused(_schemes(challenges))
        return ConnectionRefused(
            f"The proxy in jira.proxy refuses to connect to {self._where}, with status {status}.",
            "check jira.proxy; its administrator says which hosts it lets us reach",
        )

    def _login_refused(self, schemes: list[str]) -> ConnectionRefused:
        """The proxy wants a login by one of the schemes (RFC 9110 §11.7.1); we have Basic."""
        if schemes and not any(scheme.lower() == "basic" for scheme in schemes):
            return ConnectionRefused(
                f"The proxy in jira.proxy takes a login by {' or '.join(schemes)} alone (407), and"
                " the sidecar has only Basic.",
                "run a proxy on this machine that has it, such as px or cntlm, and name that one in"
                " jira.proxy; or have the proxy let us reach Jira without a login, or with Basic",
            )
        if self._has_proxy_login:
            return ConnectionRefused(
                "The proxy in jira.proxy does not accept the user name and password there (407).",
                "check the user name and password in jira.proxy; what is no letter or digit is"
                " percent-encoded there, @ as %40",
            )
        return ConnectionRefused(
            "The proxy in jira.proxy wants a user name and password (407).",
            'write user name and password into it: jira.proxy = "http://USER:PASSWORD@HOST:PORT"',
        )

    def no_proxy(self) -> ProtocolError:
        """What answers CONNECT is no HTTP proxy."""
        return ProtocolError(
            "What jira.proxy names does not answer as an HTTP proxy does.",
            "jira.proxy must be the address of an HTTP proxy",
        )

    def securing(self, error: OSError) -> UpstreamError:
        """Why TLS could not be agreed on."""
        if isinstance(error, ssl.SSLError) and not is_plain_end(error):
            return tls_failed(error, self._base, has_certificate=self._has_certificate)
        return TLSError(
            f"{self._where} closed the connection while TLS was being agreed on, or right after.",
            "it may want a client certificate (jira.client_certificate), or not speak TLS 1.2 or"
            " newer at that port; a firewall does this too",
        )

    def lost(self, error: Exception | None, *, is_silent: bool, has_begun: bool) -> UpstreamError:
        """Why a connection ended before the answer did, or before a request was sent.

        `is_silent` says that nothing of the answer had come, `has_begun` that its head had.
        """
        if isinstance(error, ssl.SSLError) and not is_plain_end(error):
            return self.securing(error)
        if isinstance(error, OSError) and error.errno in _SILENT:
            return ConnectionLost(
                f"The connection to {self._where} is dead: {_reason(error)}.",
                "is that machine up, and the network in between? what was sent is not confirmed",
            )
        if is_silent and error is None:
            return ConnectionLost(
                f"{self._where} closed the connection without an answer.", _EARLY_END_HINT
            )
        return ConnectionLost(
            f"{self._where} closed the connection before its answer ended.",
            _LATE_END_HINT if has_begun else _EARLY_END_HINT,
        )

    def not_http(self, fault: str) -> ProtocolError:
        """The parser refused the answer, for a fault that is told without quoting anything."""
        return ProtocolError(
            f"What {self._where} answers is not valid HTTP: {fault}.",
            "is jira.base_url the address of Jira, with the right scheme and port? If it is, have"
            " this mended in the reverse proxy or the Jira app that writes it",
        )

    def head_too_large(self) -> ProtocolError:
        """The head of an answer has more bytes or fields than are held."""
        return ProtocolError(
            f"The head of the answer of {self._where} is too large.",
            "limits.head_bytes sets the limit",
        )


def _schemes(challenges: Sequence[bytes]) -> list[str]:
    """The schemes that Proxy-Authenticate fields name, several in one perhaps, each once."""
    unquoted = (_QUOTED.sub(b"", challenge) for challenge in challenges)
    found = (name.decode() for challenge in unquoted for name in _SCHEME.findall(challenge))
    return list(dict.fromkeys(found))


def _reason(error: OSError) -> str:
    """A short reason, without addresses or class names."""
    if isinstance(error, socket.gaierror):
        return (error.strerror or "it has no address").lower()
    if error.errno is None or error.errno <= 0:  # its addresses failed each in its own way
        return "none of its addresses takes a connection"
    return os.strerror(error.errno).lower()
