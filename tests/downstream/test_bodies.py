"""Request bodies: streamed, counted, kept while small, and given up when the client is slow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.bodies import REPLAY_BYTES, RequestBody
from sidecar.errors import RequestRefused
from tests.conftest import MakeSidecar, Running
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import SOON

FORM = ("Content-Type", "application/x-www-form-urlencoded")


class Message:
    """What a body needs of a request's head."""

    def __init__(self, fields: list[tuple[bytes, bytes]], *, chunked: bool) -> None:
        self.raw_headers = fields
        self.chunked = chunked


class Connection:
    """Counts how often the client is asked for its body."""

    def __init__(self) -> None:
        self.asked = 0

    def ask_for_body(self) -> None:
        self.asked += 1


class Arriving:
    """A request whose body a test feeds."""

    def __init__(self, *fields: tuple[bytes, bytes], chunked: bool = False) -> None:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol.transport = asyncio.Transport()  # to a StreamReader that means: connected
        self.message = Message(list(fields), chunked=chunked)
        self.body = StreamReader(protocol, 1 << 18, loop=loop)
        self.connection = Connection()
        self.failure = ""

    def feed(self, *pieces: bytes, end: bool = True) -> Arriving:
        for piece in pieces:
            self.body.feed_data(piece)
        if end:
            self.body.feed_eof()
        return self

    def check_body(self) -> None:
        if self.failure:
            raise RequestRefused(400, self.failure)

    def read(self, *, idle: float = 5, expects_continue: bool = False) -> RequestBody:
        request: Any = self
        return RequestBody(request, idle, expects_continue=expects_continue)


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.binary(min_size=1, max_size=50)))
async def test_what_arrives_is_what_is_read_and_again_when_it_begins_again(
    early: list[bytes], late: list[bytes]
) -> None:
    arriving = Arriving(chunked=True).feed(*early, end=False)
    body = arriving.read()
    asyncio.get_running_loop().call_soon(lambda: arriving.feed(*late))
    whole = b"".join(early + late)
    assert b"".join([piece async for piece in body]) == whole
    assert body.size == len(whole)
    assert body.replayable
    assert b"".join([piece async for piece in body]) == whole
    assert body.size == len(whole)


@given(st.integers(0, 5))
async def test_a_body_begun_can_begin_again(taken: int) -> None:
    arriving = Arriving(chunked=True)
    body = arriving.read()
    pieces = [b"a", b"b", b"c", b"d", b"e"]
    for piece in pieces[:taken]:
        arriving.feed(piece, end=False)
        assert await anext(aiter(body) if body.size == 0 else body) == piece
    arriving.feed(*pieces[taken:])
    assert b"".join([piece async for piece in body]) == b"abcde"


async def test_a_large_body_is_not_kept() -> None:
    body = Arriving().feed(bytes(REPLAY_BYTES), b"x").read()
    assert len([piece async for piece in body]) >= 1
    assert body.size == REPLAY_BYTES + 1
    assert not body.replayable
    assert [piece async for piece in body] == []


async def test_a_body_of_64_kib_is_kept_and_can_be_sent_again() -> None:
    assert REPLAY_BYTES == 65_536
    whole = b"x" * REPLAY_BYTES
    assert Arriving().feed(whole).read().at_hand() == whole
    body = Arriving(chunked=True).feed(whole[:-1], whole[-1:]).read()
    for _ in range(2):
        assert b"".join([piece async for piece in body]) == whole
        assert body.replayable
        assert body.size == REPLAY_BYTES


async def test_a_small_body_with_a_length_is_at_hand_once_it_is_here() -> None:
    assert Arriving().feed(b"he", b"llo").read().at_hand() == b"hello"
    assert Arriving().feed().read().at_hand() == b""
    assert Arriving().feed(b"he", end=False).read().at_hand() is None
    assert Arriving().feed(bytes(REPLAY_BYTES + 1)).read().at_hand() is None
    # An unknown length stays chunked.
    assert Arriving(chunked=True).feed(b"hello").read().at_hand() is None


async def test_a_body_that_failed_is_refused_wherever_it_is_read() -> None:
    arriving = Arriving().feed(b"he", end=False)
    body = arriving.read()
    assert await anext(body) == b"he"
    waiting = asyncio.create_task(anext(body))
    await asyncio.sleep(0)
    arriving.failure = "odd chunks"
    arriving.feed()
    with pytest.raises(RequestRefused, match="odd chunks"):
        await waiting
    with pytest.raises(RequestRefused):
        await anext(body)
    with pytest.raises(RequestRefused):
        arriving.read().at_hand()


async def test_a_pause_is_refused_with_408() -> None:
    body = Arriving().feed(b"he", end=False).read(idle=0.02)
    assert await anext(body) == b"he"
    with pytest.raises(RequestRefused, match=r"paused for more than 0\.02 s") as refused:
        await anext(body)
    assert refused.value.status == 408
    assert "timeouts.idle" in refused.value.hint


async def test_a_client_that_has_left_is_refused_and_is_no_fault_of_jiras() -> None:
    arriving = Arriving()
    reading = asyncio.create_task(arriving.read().read_all(100))
    await asyncio.sleep(0)
    arriving.body.set_exception(ConnectionResetError())
    with pytest.raises(RequestRefused) as refused:
        await reading
    assert refused.value.status == 400


async def test_what_was_read_before_is_at_hand_too_and_comes_again() -> None:
    arriving = Arriving().feed(b"he", end=False)
    body = arriving.read()
    assert await anext(body) == b"he"
    arriving.feed(b"llo")
    assert body.at_hand() == b"hello"
    assert await anext(body) == b"llo", "it goes on where it was"
    begun = Arriving().feed(b"hello").read()
    assert begun.at_hand() == b"hello"
    assert await anext(begun) == b"hello"


async def test_a_client_that_was_asked_for_its_body_is_not_asked_again() -> None:
    waiting = Arriving()
    body = waiting.read(expects_continue=True)
    for _ in range(2):
        reading = asyncio.create_task(body.read_all(100))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert waiting.connection.asked == 1


async def test_what_is_skipped_has_a_limit() -> None:
    await Arriving(chunked=True).feed(bytes(60), bytes(40)).read().skip(100)
    body = Arriving(chunked=True).feed(bytes(60), bytes(41)).read()
    with pytest.raises(RequestRefused, match="larger than 100 bytes") as refused:
        await body.skip(100)
    assert refused.value.status == 413
    assert "send JSON" in refused.value.hint


async def test_the_client_is_asked_for_a_body_once_and_only_if_it_waits() -> None:
    waiting = Arriving()
    body = waiting.read(expects_continue=True)
    assert waiting.connection.asked == 0
    reading = asyncio.create_task(body.read_all(100))
    await asyncio.sleep(0)
    assert waiting.connection.asked == 1
    waiting.feed(b"hello")
    assert await reading == b"hello"
    assert waiting.connection.asked == 1

    here = Arriving().feed(b"hello")
    assert await here.read(expects_continue=True).read_all(100) == b"hello"
    empty = Arriving().feed()
    assert await empty.read(expects_continue=True).read_all(100) == b""
    assert (here.connection.asked, empty.connection.asked) == (0, 0)


async def test_what_is_too_large_is_refused_before_it_is_asked_for() -> None:
    arriving = Arriving((b"Content-Length", b"101"))
    with pytest.raises(RequestRefused) as refused:
        await arriving.read(expects_continue=True).read_all(100)
    assert (refused.value.status, arriving.connection.asked) == (413, 0)
    with pytest.raises(RequestRefused) as refused:
        await Arriving(chunked=True).feed(bytes(60), bytes(41)).read().read_all(100)
    assert refused.value.status == 413
    assert len(await Arriving(chunked=True).feed(bytes(100)).read().read_all(100)) == 100
    arriving = Arriving(chunked=True).feed(b"a" * 60, end=False)
    reading = asyncio.create_task(arriving.read().read_all(100))
    await asyncio.sleep(0)
    arriving.feed(b"b" * 40)
    assert await reading == b"a" * 60 + b"b" * 40


# ---------------------------------------------------------------- over a socket


@pytest.mark.parametrize("fields", [(), (FORM,)])
async def test_a_client_that_pauses_gets_408_and_jira_an_aborted_request(
    make_sidecar: MakeSidecar, upstream: RawUpstream, fields: tuple[tuple[str, str], ...]
) -> None:
    edge = await make_sidecar(upstream.url, token="t", timeouts__idle=0.1)
    async with await edge.wire() as wire:
        await wire.send(edge.message("POST", "/x", *fields, ("Content-Length", "10")), b"hello")
        answer = await wire.receive()
        assert (answer.status, answer["Connection"]) == (408, "close")
        assert await wire.end() == (b"", False)
    if fields:
        assert upstream.exchanges == []  # a form is read before anything is sent
        return
    async with asyncio.timeout(SOON):
        await upstream.exchanges[0].over.wait()
    assert not upstream.exchanges[0].complete


async def test_a_slow_client_does_not_hurt_others(edge: Running, upstream: RawUpstream) -> None:
    async with await edge.wire() as slow:
        await slow.send(edge.message("PUT", "/slow", ("Content-Length", "10")), b"hello")
        await upstream.request()
        for _ in range(3):
            assert (await edge.get("/quick")).status == 200
        await slow.send(b"hello")
        assert (await slow.receive()).status == 200


async def test_a_form_is_refused_where_it_grows_too_large(
    make_sidecar: MakeSidecar, upstream: RawUpstream
) -> None:
    edge = await make_sidecar(upstream.url, token="t", limits__form_bytes=1000)
    body = b"a=" + bytes(998).replace(b"\0", b"x")
    assert (await edge.request("POST", "/x", FORM, body=body)).status == 200
    assert (await edge.request("POST", "/x", FORM, body=body + b"x")).status == 413
    chunk = b"%x\r\n%b\r\n" % (len(body) + 1, body + b"x")
    message = edge.message("POST", "/x", FORM, ("Transfer-Encoding", "chunked"))
    assert (await edge.raw(message, chunk)).status == 413
    assert len(upstream.exchanges) == 1


async def test_a_body_can_be_gzip_and_arrives_as_it_is(
    edge: Running, upstream: RawUpstream
) -> None:
    body = b"\x1f\x8b not really gzip"
    answer = await edge.request("POST", "/x", ("Content-Encoding", "gzip"), body=body)
    assert answer.status == 200
    assert upstream.exchanges[0].all("content-encoding") == ["gzip"]
    assert upstream.exchanges[0].body == body


async def test_a_body_streams_while_it_arrives(edge: Running, upstream: RawUpstream) -> None:
    """The first piece is at Jira before the second is sent."""
    arrived = asyncio.Event()

    async def first_piece(exchange: Exchange) -> None:
        assert await exchange.read_piece() == b"hello"
        arrived.set()
        await exchange.read_body()
        await exchange.say(b"ok")

    upstream.handler = first_piece
    async with await edge.wire() as wire:
        await wire.send(edge.message("PUT", "/x", ("Content-Length", "10")), b"hello")
        await asyncio.wait_for(arrived.wait(), 5)
        await wire.send(b"world")
        assert (await wire.receive()).status == 200
