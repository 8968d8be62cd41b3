"""What aiohttp, asyncio and the operating system raise, in the sidecar's own terms.

The one place where foreign exceptions of a request to Jira are mapped.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator

import aiohttp
from aiohttp import http_exceptions
from aiohttp.streams import EofStream

from sidecar.errors import (
    CertificateError,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    ProtocolError,
    ResponseTimeout,
    TLSError,
    UpstreamError,
)

FOREIGN = (
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    EofStream,
    OSError,
    UnicodeError,  # getaddrinfo, for a name that cannot be IDNA
)
"""What a request to Jira may raise that isn't ours; anything else is a bug and stays one."""

NO_TLS = ("wrong version number", "http request", "unexpected mess")
"""How OpenSSL says that what answers a handshake is no TLS."""

_EARLY_END_HINT = (
    "Jira may be restarting, or a firewall is in between; or jira.base_url says http where that"
    " port speaks https, or Jira asks for a client certificate (jira.client_certificate)"
)
_LATE_END_HINT = (
    "Jira may be restarting, or a firewall or proxy in between has given up: if it happens again,"
    " Jira's log says more"
)
_TLS_HINT = (
    "does that port speak TLS 1.2 or newer, and does Jira ask for a client certificate"
    " (jira.client_certificate)? `sidecar check` looks closer"
)


def connecting_failed(error: Exception, where: str, seconds: float) -> UpstreamError:
    """Why there is no connection to `where` (a host, or host:port) within `seconds`."""
    reason = _reason(error)
    match error:
        case UpstreamError():
            return error
        case aiohttp.ClientConnectorDNSError() | aiohttp.InvalidURL() | UnicodeError():
            return NameNotResolved(
                f"The name of {_host(error) or where} cannot be resolved: {reason}.",
                "check jira.base_url, jira.proxy and this machine's DNS",
            )
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return CertificateError(
                f"The TLS certificate of {where} is not to be trusted: {_distrust(error)}.",
                _trust_hint(error),
            )
        case aiohttp.ServerFingerprintMismatch():
            return CertificateError(
                f"The TLS certificate of {where} is another than expected.", _trust_hint(error)
            )
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientSSLError() | ssl.SSLError():
            return _tls_failed(error, where)
        case aiohttp.ClientHttpProxyError():
            return proxy_refused(where, error.status)
        case aiohttp.ClientProxyConnectionError():
            return ConnectionRefused(
                f"The proxy in jira.proxy cannot be reached: {reason}.", "check jira.proxy"
            )
        case TimeoutError():
            return ConnectTimeout(
                f"No connection to {where} within {seconds:g} s.",
                "is there a firewall in between? timeouts.connect sets the limit",
            )
        case aiohttp.ClientConnectorError() if _errno(error) == errno.ETIMEDOUT:
            return ConnectTimeout(f"No connection to {where}: {reason}.", "is Jira up?")
        case aiohttp.ClientConnectorError() if _lost(error):
            return TLSError(
                f"{where} closed the connection while TLS was being agreed on.",
                _TLS_HINT,
            )
        case aiohttp.ClientConnectorError():
            return ConnectionRefused(
                f"Cannot connect to {where}: {reason}.",
                "is Jira up, and is jira.base_url right?",
            )
    return exchange_failed(error, where, seconds)


def exchange_failed(
    error: Exception, where: str, idle: float, *, has_begun: bool = False
) -> UpstreamError:
    """Why a request on an open connection to `where` got no whole answer.

    `has_begun` says whether the answer's head had come by then.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _tls_failed(cause, where)
        if isinstance(cause, http_exceptions.LineTooLong) or "Too many headers" in str(cause):
            return head_too_large(where)
    match error:
        case UpstreamError():
            return error
        case aiohttp.SocketTimeoutError() | aiohttp.ServerTimeoutError():
            return ResponseTimeout(
                f"{where} paused for more than {idle:g} s inside its answer.",
                "timeouts.idle sets the limit",
            )
        case aiohttp.ServerDisconnectedError():
            return ConnectionLost(
                f"{where} closed the connection without an answer.", _EARLY_END_HINT
            )
        case http_exceptions.HttpProcessingError() | aiohttp.ClientResponseError():
            return ProtocolError(
                f"What {where} answers is not valid HTTP.",
                "is jira.base_url the address of Jira, with the right scheme and port?",
            )
    return ConnectionLost(
        f"{where} closed the connection before its answer ended.",
        _LATE_END_HINT if has_begun else _EARLY_END_HINT,
    )


def proxy_refused(where: str, status: int) -> UpstreamError:
    """The HTTP proxy on the way answered instead of Jira, with `status`."""
    return ConnectionRefused(
        f"The proxy in jira.proxy refuses to connect to {where}, with status {status}.",
        "check jira.proxy, its user name and its password",
    )


def head_too_large(where: str) -> UpstreamError:
    """The head of a response has more bytes or fields than are held."""
    return ProtocolError(
        f"The head of the answer of {where} is too large.", "limits.head_bytes sets the limit"
    )


def _tls_failed(error: BaseException, where: str) -> UpstreamError:
    reason = _reason(error)
    if any(sign in reason for sign in NO_TLS):
        return TLSError(
            f"{where} does not speak TLS at that port: {reason}.",
            "if it is plain http, write jira.base_url with http://; else another port is meant",
        )
    hint = _TLS_HINT
    if "certificate required" in reason:
        hint = "jira.client_certificate and jira.client_key name the certificate to show"
    return TLSError(f"TLS with {where} failed: {reason}.", hint)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _lost(error: aiohttp.ClientConnectorError) -> bool:
    """Whether a connection was there, and ended in its TLS handshake."""
    return isinstance(error.os_error, (ConnectionResetError, ConnectionAbortedError))


def _host(error: BaseException) -> str:
    """The host that a connector's error is about: Jira's, or its proxy's."""
    return error.host if isinstance(error, aiohttp.ClientConnectorError) else ""


def _errno(error: BaseException) -> int | None:
    """The errno behind a connector's error; happy eyeballs bundles several of one kind."""
    inner = getattr(error, "os_error", error)
    number = getattr(inner, "errno", None)
    if number is None:
        for candidate in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
            if f"[Errno {candidate}]" in str(inner):
                return candidate
    return number


def _reason(error: BaseException) -> str:
    """A short, lower-case reason without addresses or class names."""
    number = _errno(error)
    inner = getattr(error, "os_error", error)
    if isinstance(inner, ssl.SSLError):
        # OpenSSL's errors have a reason; those made in Python lack even the attribute.
        return (getattr(inner, "reason", None) or "handshake failed").replace("_", " ").lower()
    if number is not None and number > 0:
        return os.strerror(number).lower()
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return str(text).lower()


def _distrust(error: BaseException) -> str:
    inner = getattr(error, "certificate_error", error)
    message = getattr(inner, "verify_message", "") or "it does not verify"
    return str(message).rstrip(".")


def _trust_hint(error: BaseException) -> str:
    reason = _distrust(error).lower()
    if "mismatch" in reason:
        return "jira.base_url must have the name that stands in the certificate"
    if "expired" in reason or "not yet valid" in reason:
        return "renew Jira's certificate, or set this machine's clock"
    return (
        "if your company's own CA signed it, add that CA to the system's trust store or name"
        " its file in jira.ca_file"
    )
