"""Every exception that a request to Jira can raise becomes one of ours, with a text to act on."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from aiohttp.streams import EofStream
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from sidecar import errors
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
from sidecar.upstream.failures import FOREIGN, connecting_failed, exchange_failed

# RFC 9209 §2.3
_REGISTERED = """
    dns_timeout dns_error destination_not_found destination_unavailable
    destination_ip_prohibited destination_ip_unroutable connection_refused connection_terminated
    connection_timeout connection_read_timeout connection_write_timeout connection_limit_reached
    tls_protocol_error tls_certificate_error tls_alert_received http_request_error
    http_request_denied http_response_incomplete http_response_header_section_size
    http_response_header_size http_response_body_size http_response_trailer_section_size
    http_response_trailer_size http_response_transfer_coding http_response_content_coding
    http_response_timeout http_upgrade_failed http_protocol_error proxy_internal_response
    proxy_internal_error proxy_configuration_error proxy_loop_detected
"""
TOKENS = frozenset(_REGISTERED.split())

WHERE = "jira.example.com:8443"
KEY = ConnectionKey("jira.example.com", 8443, True, True, None, None, None)
INFO = RequestInfo(
    URL("https://jira.example.com"), "GET", CIMultiDictProxy(CIMultiDict()), URL("https://x")
)


def descendants(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def make(kind: type[Exception]) -> Exception:
    """An instance of an aiohttp error, by the arguments that its kind takes."""
    create = cast(Callable[..., Exception], kind)
    refused = OSError(errno.ECONNREFUSED, "Connection refused")
    special: dict[type[Any], Callable[[], Exception]] = {
        aiohttp.ClientConnectorCertificateError: lambda: create(KEY, ssl.CertificateError("no")),
        client_exceptions.UnixClientConnectorError: lambda: create("/path", KEY, refused),
        aiohttp.ClientConnectorError: lambda: create(KEY, refused),
        aiohttp.ClientResponseError: lambda: create(INFO, (), status=500),
        aiohttp.ServerFingerprintMismatch: lambda: create(b"a", b"b", "jira.example.com", 8443),
        aiohttp.InvalidURL: lambda: create("http://127.1"),
        aiohttp.ClientOSError: lambda: create(errno.ECONNRESET, "Connection reset"),
    }
    for base, build in special.items():
        if issubclass(kind, base):
            return build()
    return create()


CLIENT_ERRORS = list(dict.fromkeys([aiohttp.ClientError, *descendants(aiohttp.ClientError)]))
PARSER_ERRORS: list[Exception] = [
    http_exceptions.HttpProcessingError(),
    http_exceptions.BadHttpMessage("x"),
    http_exceptions.BadStatusLine("x"),
    http_exceptions.InvalidHeader("x"),
    http_exceptions.LineTooLong("x"),
    http_exceptions.TransferEncodingError("x"),
    http_exceptions.ContentLengthError("x"),
]
OTHERS: list[Exception] = [
    EofStream(),
    OSError(errno.EPIPE, "Broken pipe"),
    ConnectionResetError(),
    ConnectionAbortedError(),
    BrokenPipeError(),
    TimeoutError(),
    ssl.SSLError(1, "[SSL] no"),
    ssl.SSLCertVerificationError(1, "no"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    UnicodeError("label too long"),
]


def test_the_walk_meets_every_error_that_aiohttp_exports() -> None:
    exported = {getattr(client_exceptions, name) for name in client_exceptions.__all__}
    assert {kind for kind in exported if issubclass(kind, aiohttp.ClientError)} <= set(
        CLIENT_ERRORS
    )


@pytest.mark.parametrize(
    "error",
    [*(make(cast(type[Exception], kind)) for kind in CLIENT_ERRORS), *PARSER_ERRORS, *OTHERS],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("failed", [connecting_failed, exchange_failed])
def test_no_error_escapes(
    failed: Callable[[Exception, str, float], UpstreamError], error: Exception
) -> None:
    assert isinstance(error, FOREIGN)
    mapped = failed(error, WHERE, 10)
    assert type(mapped) is not UpstreamError
    assert isinstance(mapped, UpstreamError)
    assert mapped.proxy_error in TOKENS
    assert mapped.status in (502, 504)
    assert re.fullmatch(r"[A-Za-z].*\.", mapped.message)
    assert re.fullmatch(r"[ -~]+", mapped.hint)
    assert "aiohttp" not in mapped.message + mapped.hint
    assert "Error" not in mapped.message + mapped.hint


CONNECTING: list[tuple[Exception, type[UpstreamError], str]] = [
    (
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")),
        NameNotResolved,
        "The name of jira.example.com cannot be resolved: name or service not known.",
    ),
    (aiohttp.InvalidURL("http://127.1"), NameNotResolved, "cannot be resolved"),
    (UnicodeError("label too long"), NameNotResolved, "label too long"),
    (
        aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "x")),
        ConnectionRefused,
        "connection refused",
    ),
    (
        aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "x")),
        ConnectionRefused,
        "no route to host",
    ),
    (
        aiohttp.ClientConnectorError(
            KEY, OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] no")
        ),
        ConnectionRefused,
        "connection refused",
    ),
    (
        aiohttp.ClientConnectorError(KEY, OSError(errno.ETIMEDOUT, "x")),
        ConnectTimeout,
        "timed out",
    ),
    (aiohttp.ClientConnectorError(KEY, ConnectionResetError()), TLSError, "being agreed on"),
    (aiohttp.ClientConnectorError(KEY, ConnectionAbortedError("slow")), TLSError, "agreed on"),
    (ssl.SSLCertVerificationError(1, "no"), CertificateError, "not to be trusted"),
    (TimeoutError(), ConnectTimeout, "within 10 s"),
    (aiohttp.ConnectionTimeoutError(), ConnectTimeout, "within 10 s"),
    (
        aiohttp.ClientProxyConnectionError(KEY, OSError(errno.ECONNREFUSED, "x")),
        ConnectionRefused,
        "proxy in jira.proxy cannot be reached: connection refused",
    ),
    (
        aiohttp.ClientHttpProxyError(INFO, (), status=407),
        ConnectionRefused,
        "proxy in jira.proxy refuses .* with status 407",
    ),
    (aiohttp.ServerDisconnectedError(), ConnectionLost, "without an answer"),
    (aiohttp.ClientConnectionError("Connector is closed."), ConnectionLost, "closed"),
    (http_exceptions.BadStatusLine("x"), ProtocolError, "not valid HTTP"),
]


@pytest.mark.parametrize(("error", "kind", "text"), CONNECTING, ids=lambda value: repr(value)[:60])
def test_why_there_is_no_connection(error: Exception, kind: type[UpstreamError], text: str) -> None:
    mapped = connecting_failed(error, WHERE, 10)
    assert type(mapped) is kind
    assert re.search(text, mapped.message)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


EXCHANGE: list[tuple[Exception, type[UpstreamError], str]] = [
    (aiohttp.SocketTimeoutError(), ResponseTimeout, "paused for more than 10 s"),
    (aiohttp.ServerDisconnectedError(), ConnectionLost, "without an answer"),
    (aiohttp.ClientOSError(errno.ECONNRESET, "x"), ConnectionLost, "before its answer ended"),
    (aiohttp.ClientPayloadError("x"), ConnectionLost, "before its answer ended"),
    (OSError(errno.ETIMEDOUT, "x"), ConnectionLost, "before its answer ended"),
    (EofStream(), ConnectionLost, "before its answer ended"),
    (http_exceptions.HttpProcessingError(), ProtocolError, "not valid HTTP"),
    (
        caused(http_exceptions.HttpProcessingError(), http_exceptions.LineTooLong("x", 65536)),
        ProtocolError,
        "head .* too large",
    ),
    (
        http_exceptions.HttpProcessingError(message="Too many headers received"),
        ProtocolError,
        "head .* too large",
    ),
    (
        caused(aiohttp.ClientOSError(1, "x"), ssl.SSLError(1, "[SSL: TLSV1_ALERT] no")),
        TLSError,
        "TLS with",
    ),
    (ConnectionLost("ours"), ConnectionLost, "ours"),
]


@pytest.mark.parametrize(("error", "kind", "text"), EXCHANGE, ids=lambda value: repr(value)[:60])
def test_why_there_is_no_whole_answer(
    error: Exception, kind: type[UpstreamError], text: str
) -> None:
    mapped = exchange_failed(error, WHERE, 10)
    assert type(mapped) is kind
    assert re.search(text, mapped.message)


@pytest.mark.parametrize(
    "error", [aiohttp.ClientOSError(errno.ECONNRESET, "x"), aiohttp.ServerDisconnectedError()]
)
def test_a_connection_that_ends_before_any_answer_may_be_https_or_a_firewall_or_a_restart(
    error: Exception,
) -> None:
    hint = exchange_failed(error, WHERE, 10).hint
    for cause in ("jira.base_url says http", "https", "firewall", "restarting"):
        assert cause in hint


def test_a_connection_that_ends_inside_an_answer_has_spoken_http_already() -> None:
    hint = exchange_failed(aiohttp.ClientPayloadError("x"), WHERE, 10, has_begun=True).hint
    assert "restarting" in hint
    assert "firewall" in hint
    assert "http" not in hint


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"])
def test_what_speaks_no_tls_may_be_plain_http(reason: str) -> None:
    inner = ssl.SSLError(1, f"[SSL: {reason}] no")
    inner.reason = reason
    mapped = connecting_failed(aiohttp.ClientConnectorSSLError(KEY, inner), WHERE, 10)
    assert type(mapped) is TLSError
    assert mapped.message.startswith(f"{WHERE} does not speak TLS at that port: ")
    assert "write jira.base_url with http://" in mapped.hint


@pytest.mark.parametrize(
    "error", [TypeError(), ValueError(), KeyError(), AssertionError(), RuntimeError()], ids=repr
)
def test_a_bug_is_none_of_them(error: Exception) -> None:
    assert not isinstance(error, FOREIGN)


def test_every_proxy_status_token_is_registered() -> None:
    ours = [errors.SidecarError, *descendants(errors.SidecarError)]
    assert {cast(type[errors.SidecarError], kind).proxy_error for kind in ours} <= TOKENS


def test_an_error_of_ours_stays_itself() -> None:
    error = ProtocolError("ours")
    assert connecting_failed(error, WHERE, 10) is error
    assert exchange_failed(error, WHERE, 10) is error
