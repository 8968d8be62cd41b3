"""Every exception of a connection to Jira becomes one of ours, with a text to act on."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar import errors
from sidecar.errors import (
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    ProtocolError,
    TLSError,
    UpstreamError,
)
from sidecar.upstream.failures import Failures
from tests.conftest import make_config

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


@pytest.fixture
def failures(tmp_path: Path, private_key: RSAPrivateKey) -> Failures:
    return Failures(make_config(f"https://{WHERE}", tmp_path, private_key))


@pytest.fixture
def behind_proxy(tmp_path: Path, private_key: RSAPrivateKey) -> Failures:
    proxy = "http://alana:s3cret@proxy.example.com:3128"
    return Failures(make_config(f"https://{WHERE}", tmp_path, private_key, jira__proxy=proxy))


def descendants(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


CAUGHT: list[OSError] = [
    OSError(errno.EPIPE, "Broken pipe"),
    OSError(errno.ECONNREFUSED, "Connection refused"),
    OSError(errno.ETIMEDOUT, "Connection timed out"),
    OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] no"),
    ConnectionResetError(),
    ConnectionAbortedError("SSL handshake is taking longer than 11 seconds: aborting"),
    BrokenPipeError(),
    TimeoutError(),
    ssl.SSLError(1, "[SSL] no"),
    ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
    ssl.SSLZeroReturnError(6, "closed"),
    ssl.SSLCertVerificationError(1, "no"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    socket.gaierror(),
]
HOW: dict[str, Callable[[Failures, OSError], UpstreamError]] = {
    "resolving": lambda failures, error: failures.resolving(error, "jira.example.com"),
    "connecting": lambda failures, error: failures.connecting(error),
    "securing": lambda failures, error: failures.securing(error),
    "lost early": lambda failures, error: failures.lost(error, is_silent=True, has_begun=False),
    "lost late": lambda failures, error: failures.lost(error, is_silent=False, has_begun=True),
}


@pytest.mark.parametrize("error", CAUGHT, ids=repr)
@pytest.mark.parametrize("how", HOW)
def test_no_error_escapes(failures: Failures, how: str, error: OSError) -> None:
    mapped = HOW[how](failures, error)
    assert type(mapped) is not UpstreamError
    assert isinstance(mapped, UpstreamError)
    assert mapped.proxy_error in TOKENS
    assert mapped.status in (502, 504)
    assert re.fullmatch(r"[A-Za-z].*\.", mapped.message)
    assert re.fullmatch(r"[ -~]+", mapped.hint)
    assert "Error" not in mapped.message + mapped.hint
    assert "rrno" not in mapped.message + mapped.hint


def oserror(number: int) -> OSError:
    return OSError(number, "in another language")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "name or service not known",
        ),
        (UnicodeError("label too long"), "no name can look like that"),
        (TimeoutError(), "no name server answered within 10 s"),
    ],
    ids=repr,
)
def test_why_a_name_has_no_address(
    failures: Failures, behind_proxy: Failures, error: OSError | UnicodeError, text: str
) -> None:
    mapped = failures.resolving(error, "jira.example.com")
    assert type(mapped) is NameNotResolved
    assert re.search(rf"name of jira.example.com cannot be resolved: {text}", mapped.message)
    assert "jira.base_url" in mapped.hint
    assert "jira.proxy" in behind_proxy.resolving(error, "proxy.example.com").hint


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (oserror(errno.ECONNREFUSED), ConnectionRefused, "connection refused"),
        (oserror(errno.EHOSTUNREACH), ConnectionRefused, "no route to host"),
        (OSError("each address in its own way"), ConnectionRefused, "none of its addresses"),
        (oserror(errno.ETIMEDOUT), ConnectTimeout, "timed out"),
    ],
    ids=repr,
)
def test_why_there_is_no_connection(
    failures: Failures, error: OSError, kind: type[UpstreamError], text: str
) -> None:
    mapped = failures.connecting(error)
    assert type(mapped) is kind
    assert re.search(text, mapped.message)
    assert WHERE in mapped.message


def test_a_proxy_is_named_where_it_is_the_one_that_fails(behind_proxy: Failures) -> None:
    refused = behind_proxy.connecting(oserror(errno.ECONNREFUSED))
    assert str(refused) == "The proxy in jira.proxy cannot be reached: connection refused."
    assert "status 403" in behind_proxy.proxy_refused(403, []).message
    assert "jira.proxy" in behind_proxy.no_proxy().message
    for error in (refused, behind_proxy.proxy_refused(407, []), behind_proxy.no_proxy()):
        assert "s3cret" not in error.message + error.hint


@pytest.mark.parametrize(
    ("challenges", "schemes"),
    [
        ([b"NTLM"], "NTLM"),
        ([b"Negotiate", b"NTLM", b"Negotiate"], "Negotiate or NTLM"),
        ([b"Negotiate, NTLM"], "Negotiate or NTLM"),
        ([b'Digest realm="a, Basic b", nonce="x", qop=auth', b"Kerberos"], "Digest or Kerberos"),
        ([b"Negotiate YIIfg=="], "Negotiate"),
    ],
)
def test_a_proxy_without_basic_is_said_to_need_a_helper(
    failures: Failures, behind_proxy: Failures, challenges: list[bytes], schemes: str
) -> None:
    for one in (failures, behind_proxy):
        refused = one.proxy_refused(407, challenges)
        assert f"takes a login by {schemes} alone (407)" in refused.message
        assert "px or cntlm" in refused.hint


@pytest.mark.parametrize(
    "challenges", [[], [b'Basic realm="x"'], [b"NTLM", b"basic"], [b'NTLM, Basic realm="a"']]
)
def test_a_proxy_with_basic_wants_a_password_or_another(
    failures: Failures, behind_proxy: Failures, challenges: list[bytes]
) -> None:
    assert "wants a user name and password" in failures.proxy_refused(407, challenges).message
    assert "USER:PASSWORD" in failures.proxy_refused(407, challenges).hint
    assert "does not accept the user name" in behind_proxy.proxy_refused(407, challenges).message


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] in another language")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (None, ConnectionLost, "without an answer"),
        (oserror(errno.ECONNRESET), ConnectionLost, "before its answer ended"),
        (oserror(errno.ETIMEDOUT), ConnectionLost, "is dead: connection timed out"),
        (oserror(errno.EHOSTUNREACH), ConnectionLost, "is dead: no route to host"),
        (ssl_error("UNEXPECTED_EOF_WHILE_READING"), ConnectionLost, "before its answer ended"),
        (ssl_error("TLSV1_ALERT_INTERNAL_ERROR"), TLSError, "TLS with .* internal error"),
    ],
    ids=repr,
)
def test_why_there_is_no_answer(
    failures: Failures, error: Exception | None, kind: type[UpstreamError], text: str
) -> None:
    mapped = failures.lost(error, is_silent=True, has_begun=False)
    assert type(mapped) is kind
    assert re.search(text, mapped.message)


@pytest.mark.parametrize("error", [oserror(errno.ECONNRESET), None])
def test_a_connection_that_ends_before_any_answer_may_be_https_or_a_firewall_or_a_restart(
    failures: Failures, error: Exception | None
) -> None:
    hint = failures.lost(error, is_silent=True, has_begun=False).hint
    for cause in ("jira.base_url says http", "https", "firewall", "restarting"):
        assert cause in hint


def test_a_connection_that_ends_inside_an_answer_has_spoken_http_already(
    failures: Failures,
) -> None:
    hint = failures.lost(None, is_silent=False, has_begun=True).hint
    assert "restarting" in hint
    assert "firewall" in hint
    assert "http" not in hint


def test_what_is_no_answer_is_a_protocol_error(failures: Failures) -> None:
    broken = failures.not_http("field 2 of its head has no colon")
    assert type(broken) is ProtocolError
    assert "is not valid HTTP: field 2 of its head has no colon." in broken.message
    assert "head" in failures.head_too_large().message
    assert "limits.head_bytes" in failures.head_too_large().hint


def test_every_proxy_status_token_is_registered() -> None:
    ours = [errors.SidecarError, *descendants(errors.SidecarError)]
    assert {cast(type[errors.SidecarError], kind).proxy_error for kind in ours} <= TOKENS
