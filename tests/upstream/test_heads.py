"""An answer that is read at one go is read as aiohttp's parser reads it, or left to that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.errors import ProtocolError
from sidecar.http.forwarding import response_fields
from sidecar.upstream.failures import Failures
from sidecar.upstream.heads import WholeBody, whole_answer
from sidecar.upstream.incoming import Incoming, Terms
from tests.conftest import make_config

LIMIT = 64 * 1024
START = b"HTTP/1.1 200 OK\r\n"
SIZED = START + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"

LINES = [
    *[b"Content-Type: application/json", b"Set-Cookie: a=b", b"set-cookie: c", b"X: \xc3\xa9\xff"],
    *[b"Empty:", b"Tab:\tx\ty", b"Colon: a:b", b"Content-Length: 5", b"content-length: 5"],
    *[b"Content-Length: 0", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 05"],
    *[b"Transfer-Encoding: chunked", b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding: gzip"],
    *[b"Transfer-Encoding: gzip, chunked", b"Connection: close", b"Connection: Keep-Alive"],
    *[b"Connection: keep-alive, x", b"Connection: upgrade", b"Upgrade: h2c", b"Trailing: x "],
    *[b" folded", b"Space : x", b": y", b"No colon", b"Nul: \x00", b"Bare: a\rb", b"Bare: a\nb"],
]
STARTS = [
    *[START, b"HTTP/1.1 404 Not Found\r\n", b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n"],
    *[b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 304 Not Modified\r\n"],
    *[
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 101 S\r\n",
        b"HTTP/1.1 600 X\r\n",
        b"HTTP/2 200 OK\n",
    ],
    *[b"HTTP/1.1 200 OK\n", b"HTTP/1.1 203 It's fine\r\n", b"HTTP/1.1 200 O\x00K\r\n"],
]
BODIES = [
    *[b"", b"hello", b"hell", b"hello!", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"],
    *[
        b"05\r\nhello\r\n0\r\n\r\n",
        b"5;x\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    ],
    *[b"5\r\nhello\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
    *[
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"00\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
    ],
    b"1\r\nx\r\n" * 40 + b"0\r\n\r\n",
]


@pytest.fixture
def terms(tmp_path: Path, private_key: RSAPrivateKey) -> Terms:
    config = make_config("http://jira.example.com", tmp_path, private_key)
    return Terms("jira.example.com", 120, 60, LIMIT, False, Failures(config))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(LINES), max_size=5),
    st.sampled_from(BODIES),
)
@example(START, [b"Content-Length: 5", b"Set-Cookie: a=b", b"set-cookie: c"], b"hello")
@example(START, [b"Transfer-Encoding: chunked"], b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
async def test_what_is_read_at_one_go_is_read_as_the_parser_reads_it(
    terms: Terms, start: bytes, lines: list[bytes], body: bytes
) -> None:
    data = start + b"".join([line + b"\r\n" for line in lines]) + b"\r\n" + body
    at_once = whole_answer(data, LIMIT)
    if at_once is None:
        return
    answer = Incoming(asyncio.get_running_loop(), terms, "GET", lambda: None)
    answer.receive(data)
    content = b""
    try:
        while answer.parse() or answer.must_wait:
            content += answer.body.read_nowait()
    except ProtocolError as error:
        pytest.fail(f"the parser refuses it: {error.message}")
    content += answer.body.read_nowait()
    assert ([at_once[0]], at_once[1]) == (list(answer.heads), content)
    assert answer.is_whole
    assert answer.keeps_alive
    assert not answer.has_followers()


@pytest.mark.parametrize(
    "data",
    [
        SIZED,
        SIZED.replace(b"hello", b"").replace(b": 5", b": 0"),
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
        SIZED.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\nX: y\r\nx: z\r\n\r\n"),
        SIZED.replace(b"200 OK", b"401 Unauthorized"),
    ],
    ids=repr,
)
def test_what_jira_sends_most_often_is_read_at_one_go(data: bytes) -> None:
    assert whole_answer(data, LIMIT) is not None


@pytest.mark.parametrize(
    "data",
    [
        *[SIZED[:-1], SIZED + b"!", SIZED.replace(b"Content-Length: 5\r\n", b"")],
        *[SIZED.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % line) for line in LINES[9:11]],
        SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"),
        SIZED.replace(b"200", b"204"),
        SIZED.replace(b"200", b"102"),
        SIZED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        SIZED.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\n\r\n"),
        SIZED.replace(b": 5\r\n", b": 5 \r\n"),
        SIZED.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 256 + b"\r\n"),
        CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        CHUNKED + b"1\r\nx\r\n" * 17 + b"0\r\n\r\n",
    ],
    ids=lambda data: repr(data[-60:]),
)
def test_what_is_not_whole_or_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert whole_answer(data, LIMIT) is None


def test_a_head_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    size = len(SIZED) - len(b"hello")
    assert whole_answer(SIZED, size) is not None
    assert whole_answer(SIZED, size - 1) is None


def test_a_whole_body_is_read_once() -> None:
    body = WholeBody(b"hello")
    assert (body.is_eof(), body.at_eof(), body.total_bytes) == (True, False, 5)
    assert body.read_nowait() == b"hello"
    assert body.at_eof()
    assert body.read_nowait() == b""


@given(st.binary(max_size=8), st.binary(min_size=1, max_size=1))
def test_fields_that_are_called_plain_have_no_control_byte_and_pass_unlooked_at(
    text: bytes, odd: bytes
) -> None:
    value = b"a" + text + odd + text + b"z"
    answer = SIZED.replace(b"\r\n\r\n", b"\r\nX-Odd: %b\r\n\r\n" % value)
    has_control = any((byte < 32 and byte != 9) or byte == 127 for byte in value)
    found = whole_answer(answer, LIMIT)
    assert (found is None) == has_control
    if found is not None:
        fields = found[0].fields
        assert fields.are_plain
        assert response_fields(fields) == response_fields([*fields])
        assert (b"X-Odd", value) in fields
