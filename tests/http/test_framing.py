"""Which heads are well-formed: what is not is refused in our own words, never in the sender's."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import pytest
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.receiving import Receiver
from sidecar.errors import RequestRefused
from sidecar.http import framing
from sidecar.http.framing import (
    bad_body,
    body_length,
    check_beginning,
    check_expectation,
    malformed,
    request_line,
    too_large,
    too_late,
    unknown_method,
    without_trailing_space,
)
from sidecar.http.methods import KNOWN_METHODS
from tests.conftest import Running

HOST = b"Host: localhost\r\n"
MARK = b"SeNdErSoWnWoRdS"


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        (MARK + b" / HTTP/1.1\r\n" + HOST, 400, "method"),
        (b"GET / HTTP/1.1" + MARK + b"\r\n" + HOST, 400, "malformed"),
        (b"GET / RTSP/1.0\r\n" + HOST, 400, "request line"),
        (b"GET http://[" + MARK + b"/ HTTP/1.1\r\n" + HOST, 400, "target"),
        (b"GET /\x01" + MARK + b" HTTP/1.1\r\n" + HOST, 400, "target"),
        (b"GET /?jql=\xc3\xa9" + MARK + b" HTTP/1.1\r\n" + HOST, 400, "percent-encode é as %C3%A9"),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST, 400, "exactly one Host"),
        (b"GET / HTTP/1.1\r\nX: " + MARK + b"\r\n", 400, "exactly one Host"),
        (b"GET / HTTP/1.1\r\n" + HOST + MARK + b"\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: \x00" + MARK + b"\r\n", 400, "malformed"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + MARK + b"\r\n", 400, "malformed"),
        (b"GET /" + MARK * 5000 + b" HTTP/1.1\r\n" + HOST, 431, "too large"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + MARK * 5000 + b"\r\n", 431, "too large"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + MARK + b"\r\n" * 130, 431, "header fields"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK * 10, 400, "plain http"),
    ],
)
async def test_each_kind_has_its_own_words(
    edge: Running, raw: bytes, status: int, words: str, quiet: pytest.LogCaptureFixture
) -> None:
    if words == "header fields":
        raw = b"GET / HTTP/1.1\r\n" + HOST + (b"X: " + MARK + b"\r\n") * 130
    async with await edge.wire() as wire:
        await wire.send(raw + b"\r\n")
        answer = await wire.receive()
        assert await wire.end() == (b"", False)
    assert answer.status == status
    assert words in answer.message
    assert answer.json()["errors"] == {}
    assert answer["Proxy-Status"].startswith("sidecar; error=http_request_error; details=")
    assert answer["Connection"] == "close"
    shown = answer.body + b"".join(name + value for name, value in answer.fields)
    assert MARK not in shown
    lines = [record.getMessage() for record in quiet.records if record.levelname == "INFO"]
    assert [line.startswith(f"refused with {status}: ") for line in lines if "refused" in line] == [
        True
    ]
    assert not [line for line in lines if MARK.decode() in line]


# ---------------------------------------------------------------- without a socket

LIMIT = 4096
HEAD = b"GET /x HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n"


def verdict(head: bytes, limit: int = LIMIT) -> object:
    """The length of the body behind a head, or the status and words of its refusal."""
    try:
        return body_length(head[request_line(head, limit).end() - 3 :])
    except RequestRefused as refused:
        return refused.status, refused.message


def head_with(
    *fields: bytes, version: bytes = b"1.1", host: bytes = b"Host: localhost\r\n"
) -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST /x HTTP/" + version + b"\r\n" + host + lines + b"\r\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), 0),
        ((b"Content-Length: 5",), 5),
        ((b"content-LENGTH:\t 005 \t",), 5),
        ((b"Content-Length: 999999999999999999",), 999999999999999999),
        ((b"Transfer-Encoding: chunked",), None),
        ((b"TRANSFER-ENCODING:CHUNKED ",), None),
        ((b"X-Content-Length: 5", b"Content-Length-X: 6"), 0),
    ],
)
def test_the_length_of_a_body_is_what_its_head_says(
    fields: tuple[bytes, ...], expected: int | None
) -> None:
    assert verdict(head_with(*fields)) == expected


@pytest.mark.parametrize(
    ("head", "status", "words"),
    [
        (head_with(b"Content-Length: 5", b"content-length: 5"), 400, "malformed"),
        (head_with(b"Content-Length: 9999999999999999999"), 400, "malformed"),
        (head_with(b"Content-Length: \xb2"), 400, "malformed"),
        (head_with(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400, "malformed"),
        (head_with(b"Transfer-Encoding: chunked", version=b"1.0"), 400, "ambiguous"),
        (head_with(b"Transfer-Encoding: gzip, chunked"), 400, "ambiguous"),
        (head_with(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"), 400, "ambiguous"),
        (head_with(host=b""), 400, "exactly one Host"),
        (head_with(b"hOST: localhost"), 400, "exactly one Host"),
        (head_with(b"User-Agent: a", b"User-Agent: b"), 400, "malformed"),
        (head_with(b"X: a\r\n b"), 400, "malformed"),
        (head_with(b"X : a"), 400, "malformed"),
        (head_with(b": a"), 400, "malformed"),
        (head_with(b"X: a\rb"), 400, "malformed"),
        (head_with(b"X: a\nb"), 400, "malformed"),
        (head_with(b"X: a\x7f"), 400, "malformed"),
        (head_with(version=b"1.2"), 400, "version"),
        (head_with(version=b"1.10"), 400, "request line"),
        (head_with().replace(b"POST ", b"POST  "), 400, "request line"),
        (head_with().replace(b"POST ", b"post "), 400, "method"),
        (head_with().replace(b"POST ", b"POSTS "), 400, "method"),
        (head_with().replace(b"POST /x HTTP/1.1", b"POST"), 400, "request line"),
        (b"\x16\x03\x01 /x HTTP/1.1\r\n\r\n", 400, "came in TLS"),
        (head_with().replace(b"/x", b"/x y"), 400, "request line"),
        (head_with().replace(b"/x", b"/x\x00"), 400, "target"),
        (head_with().replace(b"/x", b"*"), 400, "target"),
        (head_with().replace(b"/x", b"http://a@b/"), 400, "target"),
        (head_with(*[b"X: y"] * 128), 431, "too many"),
        (head_with(b"X: " + b"y" * LIMIT), 431, "too large"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(head: bytes, status: int, words: str) -> None:
    found = verdict(head)
    assert isinstance(found, tuple)
    assert found[0] == status
    assert words in found[1]


def test_as_many_fields_as_are_allowed_may_come() -> None:
    assert verdict(head_with(*[b"X: y"] * 127)) == 0


def test_the_first_field_may_be_any() -> None:
    assert verdict(head_with(host=b"X:y\r\nHost: localhost\r\n")) == 0
    assert verdict(head_with(host=b":y\r\nHost: localhost\r\n")) == (400, malformed().message)


def test_a_head_may_be_as_long_as_its_limit() -> None:
    assert verdict(HEAD, len(HEAD)) == 0
    assert verdict(HEAD, len(HEAD) - 1) == (431, too_large().message)


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        (head_with(*[b"X: y"] * 128), "128 at most"),
        (
            head_with(b"X: " + b"y" * LIMIT),
            "limits.head_bytes sets the limit; long JQL can go into",
        ),
        (head_with(b"Transfer-Encoding: x"), "only the one coding chunked, in HTTP/1.1, is taken"),
        (head_with(b"X : a"), "its header fields, lengths or chunks break HTTP's rules"),
        (head_with().replace(b"/x", b"/\xc3\xa9"), "percent-encode é as %C3%A9, a space as %20"),
        (head_with().replace(b"/x", b"/x y"), "HTTP/1.0 and 1.1 only; percent-encode a space"),
        (b"\x16\x03\x01 /x HTTP/1.1\r\n\r\n", "use http://, or set listen.tls_certificate"),
    ],
)
def test_a_refusal_says_what_to_do(head: bytes, hint: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        body_length(head[request_line(head, LIMIT).end() - 3 :])
    assert refused.value.hint.startswith(hint)


def test_other_parts_refuse_in_the_same_words() -> None:
    refusals = [too_late(), too_large(), malformed(), unknown_method(), bad_body("it is short")]
    assert [(refusal.status, refusal.message) for refusal in refusals] == [
        (408, "The request's head was not complete in time."),
        (431, "The request's head is too large."),
        (400, "The request is malformed."),
        (400, "The request's method is not one that HTTP knows."),
        (400, "The request's body cannot be understood: it is short."),
    ]


TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
VALUES = st.binary(max_size=20).map(lambda value: bytes(b for b in value if b >= 32 and b != 127))
SPACES = st.text(" \t", max_size=3).map(str.encode)


@st.composite
def good_heads(draw: st.DrawFn) -> bytes:
    lines = [
        draw(TOKENS) + b":" + draw(SPACES) + draw(VALUES) + draw(SPACES)
        for _ in range(draw(st.integers(0, 8)))
    ]
    lines.insert(draw(st.integers(0, len(lines))), b"Host: localhost")
    method = draw(st.sampled_from(sorted(KNOWN_METHODS - {b"CONNECT", b"QUERY"})))
    return b"\r\n".join([method + b" /x?y HTTP/1.1", *lines, b"", b""])


@given(good_heads())
async def test_aiohttps_parser_reads_the_same_in_a_head_that_is_let_through(head: bytes) -> None:
    """Fields by their exact bytes, spaces around values aside."""
    if isinstance(verdict(head), tuple):
        return
    receiver = Receiver(BaseProtocol(asyncio.get_running_loop()), 65536)
    receiver.add(head)
    arrived = receiver.next_request()
    assert arrived is not None
    message, _ = arrived
    start, *lines = head[:-4].split(b"\r\n")
    method, target, _ = start.decode().split(" ")
    assert (message.method, message.path) == (method, target)
    expected = [line.partition(b":") for line in lines]
    assert list(message.raw_headers) == [(name, value.strip(b" \t")) for name, _, value in expected]


@given(good_heads(), st.data())
def test_what_is_well_formed_is_never_refused_before_its_end(
    head: bytes, drawn: st.DataObject
) -> None:
    seen = 0
    for cut in sorted(drawn.draw(st.sets(st.integers(1, len(head) - 1), max_size=9))):
        check_beginning(head[:cut], seen, LIMIT)
        seen = cut


@given(good_heads(), st.data())
def test_an_odd_byte_is_refused_as_soon_as_it_comes(head: bytes, drawn: st.DataObject) -> None:
    at = drawn.draw(st.integers(1, len(head) - 3))
    odd = drawn.draw(st.sampled_from([b"\x00", b"\x07", b"\x0b", b"\x7f", b"\x1b"]))
    seen = drawn.draw(st.integers(0, at))
    with pytest.raises(RequestRefused) as refused:
        check_beginning(head[:at] + odd, seen, LIMIT)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "begun", [b"GET / HTTP/3\r\n", b"\n", b"GET /\n", b"\x16\x03", b"G T /\r\n"]
)
def test_what_cannot_become_a_head_is_refused_at_once(begun: bytes) -> None:
    with pytest.raises(RequestRefused):
        check_beginning(begun, 0, LIMIT)


@pytest.mark.parametrize(
    ("begun", "words"),
    [
        (b"GET /\x01", "target is malformed"),
        (b"G\x01", "method"),
        (b"GET / HTTP/1.1\x00", "request line"),
        (b"GET / HTTP/1.1\r\nX: \x00", "The request is malformed"),
        (b"GET / HTTP/1.1\r\n\n", "The request is malformed"),
        (b"GET / HTTP/1.1\r\nX: \x00\r\nY: z\r\n", "The request is malformed"),
        (b"\r\n\x00", "The request is malformed"),
    ],
)
def test_an_odd_byte_is_named_by_the_line_that_it_is_in(begun: bytes, words: str) -> None:
    with pytest.raises(RequestRefused, match=words):
        check_beginning(begun, 0, LIMIT)


@pytest.mark.parametrize("seen", range(22))
def test_a_lone_cr_is_refused_with_the_byte_behind_it_wherever_it_was_cut(seen: int) -> None:
    begun = b"GET / HTTP/1.1\r\nX: a\r"
    assert len(begun) == 21
    check_beginning(begun, min(seen, 20), LIMIT)
    with pytest.raises(RequestRefused, match="The request is malformed"):
        check_beginning(begun + b"b", seen, LIMIT)


@pytest.mark.parametrize("seen", range(16))
def test_a_wrong_request_line_is_refused_wherever_it_was_cut(seen: int) -> None:
    with pytest.raises(RequestRefused, match="version"):
        check_beginning(b"GET / HTTP/3.0\r\n", seen, LIMIT)


def test_a_head_without_an_end_is_refused_at_its_limit() -> None:
    check_beginning(HEAD[:-2] + b"X" * (LIMIT - len(HEAD) + 2), len(HEAD), LIMIT)
    with pytest.raises(RequestRefused) as refused:
        check_beginning(HEAD[:-2] + b"X" * (LIMIT - len(HEAD) + 3), len(HEAD), LIMIT)
    assert refused.value.status == 431


@given(good_heads())
def test_space_behind_values_is_all_that_is_taken_away(head: bytes) -> None:
    trimmed = without_trailing_space(head)
    assert not re.search(rb"[ \t]\r\n", trimmed)
    assert [line.rstrip(b" \t") for line in head.split(b"\r\n")] == trimmed.split(b"\r\n")


@pytest.mark.parametrize(("value", "is_met"), [(b"100-Continue", True), (b"200-ok", False)])
def test_one_expectation_is_met(value: bytes, is_met: bool) -> None:
    if is_met:
        check_expectation([(b"eXpect", value)])
        return
    with pytest.raises(RequestRefused) as refused:
        check_expectation([(b"Expect", value)])
    assert refused.value.status == 417


HUGE = 2 << 20


@pytest.mark.parametrize(
    "head",
    [
        head_with(b"X: " + b" \t" * (HUGE // 2) + b"y "),
        head_with(*[b"X: " + b" " * 15_000 + b"y" + b" " * 15_000] * 60),
        head_with(b"Accept-Encoding: " + b"," * HUGE),
        head_with(b"X" * HUGE + b": y"),
        head_with(b"Content-Length: " + b"1" * HUGE),
        head_with(b"Transfer-Encoding: " + b"chunked," * (HUGE // 8)),
        head_with(host=b"Host: " + b"a." * (HUGE // 2) + b"\r\n"),
        head_with().replace(b"/x", b"/x?" + b"%&" * (HUGE // 2)),
        head_with().replace(b"/x", b"http://" + b"a." * (HUGE // 2)),
        head_with().replace(b"/x", b" " * HUGE),
        head_with().replace(b"POST", b"A" * HUGE),
        b"\r\n" * (HUGE // 2) + head_with(),
    ],
    ids=lambda head: repr(head[:60]),
)
async def test_the_work_on_a_head_grows_with_its_size_and_no_faster(head: bytes) -> None:
    """If it grew with the square, this would take minutes."""
    receiver = Receiver(BaseProtocol(asyncio.get_running_loop()), 2 * HUGE)
    receiver.add(head)
    with suppress(RequestRefused):
        receiver.next_request()
    with suppress(RequestRefused):
        check_beginning(head[:-2], 0, 2 * HUGE)


async def test_a_head_that_comes_byte_by_byte_is_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = 0

    class Counting:
        def search(self, data: bytes, start: int) -> None:
            nonlocal looked_at
            looked_at += len(data) - start

    monkeypatch.setattr(framing, "ODD_BYTE", Counting())
    head = head_with(b"X: " + b"y" * 60_000)
    receiver = Receiver(BaseProtocol(asyncio.get_running_loop()), 65536)
    for at in range(len(head) - 1):
        receiver.add(head[at : at + 1])
        assert receiver.next_request() is None
    receiver.add(head[-1:])
    assert receiver.next_request() is not None
    assert looked_at <= 2 * len(head)
