"""An answer is parsed within bounds, and in turns that are short whatever it is made of."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.errors import ProtocolError
from sidecar.upstream import incoming
from sidecar.upstream.failures import Failures
from sidecar.upstream.incoming import Incoming, Terms
from tests.conftest import make_config

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

Start = Callable[..., Incoming]


@pytest.fixture
async def start(tmp_path: Path, private_key: RSAPrivateKey) -> Start:
    config = make_config("http://jira.example.com", tmp_path, private_key)
    terms = Terms("jira.example.com", 120, 60, 64 * 1024, False, Failures(config))

    def make(method: str = "GET", go_on: Callable[[], None] = lambda: None) -> Incoming:
        return Incoming(asyncio.get_running_loop(), terms, method, go_on)

    return make


def parse(answer: Incoming, data: bytes) -> bytes:
    """Parse all of it, reading all the while; the body."""
    answer.receive(data)
    body = b""
    while answer.parse() or answer.must_wait:
        body += answer.body.read_nowait()
    return body + answer.body.read_nowait()


CHEAP = 3000
"""Pieces that one turn may have to do with."""


@pytest.mark.parametrize("piece", [b"1\r\nx\r\n", b"1;a\r\nx\r\n"], ids=repr)
async def test_chunks_of_a_byte_are_parsed_in_short_turns(start: Start, piece: bytes) -> None:
    answer = start()
    answer.receive(CHUNKED + piece * 40_000)  # 256 KiB, as asyncio reads them
    turns, size = 0, 0
    while answer.parse() or answer.must_wait:
        got = len(answer.body.read_nowait())
        assert got <= CHEAP
        size += got
        turns += 1
    assert turns > 10
    assert size + len(answer.body.read_nowait()) == 40_000


async def test_interim_answers_are_parsed_in_short_turns(start: Start) -> None:
    answer = start()
    answer.receive(b"HTTP/1.1 102 P\r\n\r\n" * 3000 + OK + b"Content-Length: 0\r\n\r\n")
    before, is_done = 0, False
    while not is_done:
        is_done = not answer.parse()
        assert len(answer.heads) - before <= 1000
        before = len(answer.heads)
    assert answer.is_whole
    assert len(answer.heads) == 3001


async def test_a_body_without_framing_is_parsed_at_once(start: Start) -> None:
    body = b"x" * (256 * 1024)
    answer = start()
    assert parse(answer, OK + b"Content-Length: %d\r\n\r\n" % len(body)) == b""
    answer.receive(body)
    assert not answer.parse()
    assert answer.body.read_nowait() == body
    assert answer.is_whole


async def test_the_reader_that_is_behind_stops_the_parser_and_starts_it_again(
    start: Start,
) -> None:
    called: list[bool] = []
    answer = start(go_on=lambda: called.append(True))
    answer.receive(CHUNKED + b"10000\r\n" + b"x" * 65536 + b"\r\n")
    while answer.parse():
        pass
    answer.receive(b"80000\r\n" + b"x" * 524288 + b"\r\n0\r\n\r\n")
    while answer.parse():
        pass
    assert answer.must_wait
    assert not answer.is_whole
    assert not called
    size = len(answer.body.read_nowait())
    assert called
    while not answer.is_whole:
        answer.parse()
        size += len(answer.body.read_nowait())
    assert size == 65536 + 524288


async def test_more_is_read_at_a_time_once_eight_mebibytes_have_gone_on(start: Start) -> None:
    """A reader that stalls has let a socket fill by then, and holds up small pieces alone."""
    answer = start()
    parse(answer, OK + b"Content-Length: %d\r\n\r\n" % (16 << 20))
    for _ in range(127):
        answer.receive(b"x" * 65536)
        answer.parse()
        assert len(answer.body.read_nowait()) == answer.piece == 65536
    answer.receive(b"x" * 65535)
    answer.parse()
    assert answer.piece == 65536
    answer.receive(b"x")
    answer.parse()
    assert answer.piece == 262144


@pytest.mark.parametrize(
    "behind",
    [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: ", OK + b"Content-Length: 4\r\n\r\nevil", b"garbage"],
    ids=repr,
)
@pytest.mark.parametrize("answer", [CHUNKED + b"2\r\nok\r\n0\r\n\r\n"], ids=["chunked"])
async def test_whatever_follows_an_answer_lets_no_request_follow(
    start: Start, answer: bytes, behind: bytes
) -> None:
    incoming = start()
    assert parse(incoming, answer) == b"ok"
    assert incoming.is_whole
    assert incoming.keeps_alive
    assert not incoming.has_followers()
    incoming = start()
    try:
        parse(incoming, answer + behind)
    except ProtocolError:
        return
    assert incoming.is_whole
    assert not incoming.keeps_alive or incoming.has_followers()


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_a_length_without_a_body_announces_none(start: Start, status: bytes) -> None:
    head = b"HTTP/1.1 %b\r\nContent-Length: 5\r\n\r\n" % status
    answer = start()
    assert parse(answer, head) == b""
    assert answer.is_whole
    assert answer.keeps_alive
    answer = start()
    with pytest.raises(ProtocolError):
        parse(answer, head + b"hello")


@pytest.mark.parametrize(
    ("data", "ends", "keeps"),
    [
        (OK + b"\r\n", True, False),
        (b"HTTP/1.0 200 OK\r\n\r\n", True, False),
        (OK + b"Content-Length: 5\r\n\r\n", False, True),
        (CHUNKED, False, True),
        (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\n", False, False),
    ],
    ids=repr,
)
async def test_how_a_body_ends_is_told_by_the_head(
    start: Start, data: bytes, ends: bool, keeps: bool
) -> None:
    answer = start()
    parse(answer, data)
    assert answer.has_head
    assert not answer.is_whole
    assert answer.ends_with_connection == ends
    assert answer.keeps_alive == keeps
    if ends:
        answer.receive(b"hello")
        answer.parse()
        answer.end()
        assert answer.is_whole
        assert answer.body.read_nowait() == b"hello"


async def test_an_answer_that_is_closed_waits_for_no_garbage_collector(start: Start) -> None:
    answer = start()
    answer.receive(CHUNKED + b"10000\r\n" + b"x" * 65536 + b"\r\n")
    answer.parse()
    body = weakref.ref(answer)
    gc.disable()
    try:
        answer.close()
        del answer
        assert body() is None
    finally:
        gc.enable()


async def test_many_interim_answers_are_looked_at_a_few_times_each(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 of them in one segment took 90 ms: each had all before it looked at."""
    pattern, looked_at = incoming._FOLD_FIRST, [0]

    class Counting:
        def search(self, text: bytes) -> re.Match[bytes] | None:
            looked_at[0] += len(text)
            return pattern.search(text)

    monkeypatch.setattr(incoming, "_FOLD_FIRST", Counting())
    interim = b"HTTP/1.1 102 x\r\n\r\n" * 3000
    answer = start()
    assert parse(answer, interim + OK + b"Content-Length: 2\r\n\r\nab") == b"ab"
    assert len(answer.heads) == 3001
    assert 0 < looked_at[0] <= 20 * len(interim)
