"""What arrives on a connection: limits, deadlines, and one request at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio
from aiohttp.base_protocol import BaseProtocol
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.downstream import boundaries, connection, timers
from sidecar.downstream.connection import ClientConnection
from sidecar.downstream.receiving import REMEMBERED_BYTES, Receiver
from sidecar.errors import RequestRefused
from sidecar.http import framing
from tests.attacks.arena import Arena, open_arena
from tests.conftest import MakeSidecar, Running
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import SOON, until
from tests.support.wire import Wire

CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> None:
    if "arena" not in request.fixturenames:
        request.getfixturevalue("quiet")


async def is_open(edge: Running, wire: Wire) -> bool:
    """Whether the connection still serves."""
    await wire.send(edge.message("GET", "/_sidecar/health"))
    return (await wire.receive()).status == 200


# ---------------------------------------------------------------- heads


async def test_a_head_that_is_late_is_refused_and_only_that(
    edge: Running, loop_clock: LoopClock
) -> None:
    async with await edge.wire() as slow, await edge.wire() as idle, await edge.wire() as used:
        assert await is_open(edge, used)
        await slow.send(b"GET /x HTTP/1.1\r\nHost: lo")
        await used.send(b"G")
        await loop_clock.skip(timers.HEAD_SECONDS + 1)
        for wire in (slow, used):
            answer = await wire.receive()
            assert (answer.status, answer["Connection"]) == (408, "close")
            assert await wire.end() == (b"", False)
        assert await is_open(edge, idle)


async def test_a_deadline_ends_with_the_head(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    """Neither a body, nor its end, nor an empty line is taken for the next head."""
    async with await edge.wire() as wire, await edge.wire() as slow:
        await wire.send(edge.message("PUT", "/a", ("Content-Length", "200000")), bytes(100_000))
        await wire.send(bytes(100_000))
        assert (await wire.receive()).status == 200
        await wire.send(edge.message("PUT", "/b", CHUNKED)[:-1], b"\n", b"5\r\nhello\r\n")
        await slow.send(edge.message("PUT", "/c", ("Content-Length", "2"))[:-2], b"\r\n", b"x")
        await loop_clock.skip(timers.HEAD_SECONDS + 1)
        await wire.send(b"0\r\n\r\n")
        assert (await wire.receive()).status == 200
        await wire.send(b"\r\n")
        await slow.send(b"y")
        assert (await slow.receive()).status == 200
        await loop_clock.skip(timers.HEAD_SECONDS + 1)
        assert await is_open(edge, wire)
        assert await is_open(edge, slow)
    assert [exchange.complete for exchange in upstream.exchanges] == [True] * 3


async def test_a_late_head_behind_a_request_is_refused_behind_its_answer(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.read_body()
        await go_on.wait()
        await exchange.say(b"slow")

    upstream.handler = slow
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        await upstream.request()
        await wire.send(b"GET /y")
        await loop_clock.skip(timers.HEAD_SECONDS + 1)
        go_on.set()
        assert (await wire.receive()).body == b"slow"
        assert (await wire.receive()).status == 408
        assert await wire.end() == (b"", False)


async def test_a_head_without_an_end_is_refused_at_its_limit(
    make_sidecar: MakeSidecar, upstream: RawUpstream
) -> None:
    edge = await make_sidecar(upstream.url, token="t", limits__head_bytes=8192)
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x")[:-2])
        for _ in range(9):
            await wire.send(b"X: " + b"y" * 1000 + b"\r\n")
        assert (await wire.receive()).status == 431
    async with await edge.wire() as wire:
        fields = [("X", "y" * 1000)] * 9
        await wire.send(edge.message("GET", "/x", *fields))
        assert (await wire.receive()).status == 431
        assert await wire.end() == (b"", False)
    assert (await edge.get("/x", *fields[:8])).status == 200
    assert len(upstream.exchanges) == 1


# ---------------------------------------------------------------- one request at a time


async def test_what_is_well_formed_is_answered_whatever_follows(
    edge: Running, upstream: RawUpstream
) -> None:
    """In one segment; aiohttp alone would answer 400 to the first."""
    good = edge.message("GET", "/1") + edge.message("POST", "/2", body=b"hello")
    good += edge.message("PUT", "/3", CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n"
    for bad in (b"GARBAGE\r\n\r\n", b"GET / HTTP/3\r\n\r\n", b"\x00", b"GET /x\x00"):
        upstream.exchanges.clear()
        async with await edge.wire() as wire:
            await wire.send(good + bad)
            assert [(await wire.receive()).status for _ in range(4)] == [200, 200, 200, 400]
            assert await wire.end() == (b"", False)
        assert [exchange.target for exchange in upstream.exchanges] == ["/1", "/2", "/3"]


async def test_thousands_of_pipelined_requests_are_answered_and_do_not_pile_up(
    edge: Running,
) -> None:
    asyncio.get_running_loop().set_debug(False)  # that would take the most time
    count = 3000
    async with await edge.wire() as wire:
        wire.writer.write(edge.message("GET", "/_sidecar/health") * count)
        (served,) = await connections(edge)
        for _ in range(count):
            assert (await wire.receive()).status == 200
            assert served.received.held <= connection.HELD_BYTES + (1 << 18)
        assert await is_open(edge, wire)


async def connections(edge: Running) -> list[ClientConnection]:
    assert (await edge.get("/_sidecar/health")).status == 200
    return edge.server.listener.connections[:1]


async def test_what_comes_behind_a_request_that_waits_is_held_up_to_a_limit(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LOOK_SECONDS", 1000)

    async def hang(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.hang()

    upstream.handler = hang
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/1"))
        await upstream.request()
        (served,) = await connections(edge)
        flood = asyncio.create_task(wire.send(*[edge.message("GET", "/2") * 2000] * 200))
        await until(lambda: not (served.transport is None or served.transport.is_reading()), SOON)
        assert (await edge.get("/_sidecar/health")).status == 200  # many turns of the loop
        assert connection.HELD_BYTES < served.received.held < connection.HELD_BYTES + (1 << 18)
        assert not flood.done()
        flood.cancel()
        await asyncio.wait([flood])
        wire.leave()


async def test_a_refusal_is_read_though_the_client_goes_on_sending(
    edge: Running, upstream: RawUpstream
) -> None:
    """It is behind another request, so that reading had to be paused."""
    go = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.read_body()
        await go.wait()
        await exchange.say(b"ok")

    upstream.handler = slow
    more = edge.message("GET", "/3") * 2000
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/1"))
        await upstream.request()
        await wire.send(edge.message("GET", "/%2e%2e/2") + more)
        (served,) = await connections(edge)
        assert served.transport is not None
        assert not served.transport.is_reading()
        flooding = asyncio.create_task(wire.send(*[more] * 60))
        go.set()
        assert (await wire.receive()).status == 200
        await flooding  # a client that sends before it reads
        assert (await wire.receive()).status == 400


async def test_nothing_is_looked_at_behind_the_last_request(
    edge: Running, upstream: RawUpstream
) -> None:
    smuggled = edge.message("GET", "/smuggled")
    lasts = [
        edge.message("GET", "/x", ("Connection", "close")),
        edge.message("PUT", "/x", ("Connection", "close"), body=b"hello"),
        edge.message("PUT", "/x", ("Connection", "close"), CHUNKED) + b"1\r\nx\r\n0\r\n\r\n",
        edge.message("GET", "/x").replace(b"HTTP/1.1", b"HTTP/1.0"),
        edge.message("GET", "/x", ("Connection", "Upgrade"), ("Upgrade", "websocket")),
        edge.message("PUT", "/x", ("Connection", "Upgrade"), ("Upgrade", "h2c"), body=b"hello"),
        edge.message("PUT", "/x", ("Connection", "Upgrade"), ("Upgrade", "websocket"), body=b"1"),
    ]
    for last in lasts:
        for cut in (len(last) + len(smuggled), len(last) - 1, len(last) + 9):
            both = last + smuggled
            async with await edge.wire() as wire:
                await wire.send(both[:cut], both[cut:])
                answer = await wire.receive()
                assert (answer.status, answer["Connection"]) == (200, "close")
                assert await wire.end() == (b"", False)
    assert {exchange.target for exchange in upstream.exchanges} == {"/x"}


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_answers_stay_in_step_whatever_is_pipelined_in_whatever_segments(
    edge: Running, upstream: RawUpstream, size: int
) -> None:
    """An offer to upgrade among them, bodies that look like requests, and many empty lines."""

    async def echo(exchange: Exchange) -> None:
        body = await exchange.read_body()
        await exchange.say(exchange.start_line.encode() + b" " + bytes(body))

    upstream.handler = echo
    upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]
    trap = b"\r\n\r\nGET /trap HTTP/1.1\r\n\r\n"
    chunks = b"%x\r\n%b\r\n1;a=b\r\nx\r\n0\r\nT: v\r\n\r\n" % (len(trap), trap)
    requests = [
        edge.message("GET", "/0"),
        edge.message("GET", "/1", *upgrade),
        edge.message("DELETE", "/2"),
        b"\r\n\r\n\r\n" + edge.message("POST", "/3", body=trap),
        edge.message("PUT", "/4", CHUNKED) + chunks,
        edge.message("GET", "/5", ("X-Long", "x" * 20_000)),
        b"\r\n" + edge.message("PUT", "/6", ("X-Long", "x" * 20_000), CHUNKED) + chunks,
        edge.message("GET", "/7", ("Connection", "Upgrade"), ("Upgrade", "tcp")),
        edge.message("GET", "/8"),
    ]
    bodies = [b"", b"", b"", trap, trap + b"x", b"", trap + b"x", b"", b""]
    data = b"".join(requests)
    async with await edge.wire() as wire:
        sending = asyncio.create_task(
            wire.send(*(data[at : at + size] for at in range(0, len(data), size)))
        )
        for number, (request, body) in enumerate(zip(requests, bodies, strict=True)):
            answer = await wire.receive()
            method = request.lstrip().split(b" ")[0]
            assert answer.body == b"%b /%d HTTP/1.1 %b" % (method, number, body)
        await sending
        assert await is_open(edge, wire)


async def test_requests_behind_one_that_is_answered_are_judged_by_their_own_bytes(
    edge: Running, upstream: RawUpstream
) -> None:
    """Each in a segment of its own, or two in one, while the first is still being answered."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        arrived.set()
        await go.wait()
        await exchange.say(exchange.target.encode())

    upstream.handler = slow
    messages = [edge.message("GET", f"/{number}") for number in range(7)]
    strange = [edge.message("GET", "/7").replace(b" /7", b"  /7")]
    async with await edge.wire() as wire:
        await wire.send(messages[0])
        await arrived.wait()
        await wire.send(b"".join(messages[1:3]), messages[3], b"".join(messages[4:] + strange))
        go.set()
        for number in range(7):
            assert (await wire.receive()).body == b"/%d" % number
        assert (await wire.receive()).status == 400


async def test_rtsp_is_no_http_but_may_be_spoken_of(edge: Running) -> None:
    about = b"OPTIONS /x RTSP/1.0\r\n\r\n"
    answer = await edge.request("POST", "/x?a=RTSP/1.0", ("X", "GET / RTSP/1.0"), body=about)
    assert answer.status == 200
    assert (
        await edge.raw(about.replace(b"\r\n\r\n", b"\r\nHost: localhost\r\n\r\n"))
    ).status == 400


# ---------------------------------------------------------------- framing


async def test_what_stands_around_chunks_is_limited_by_the_chunks(
    edge: Running, upstream: RawUpstream
) -> None:
    big = b"%x\r\n%b\r\n" % (300_000, bytes(300_000))
    extension, trailers = b";" + b"x" * 60_000, (b"X: " + b"y" * 2000 + b"\r\n") * 20
    good = [
        b"1%b\r\nx\r\n0\r\n\r\n" % extension,
        b"1\r\nx\r\n" * 30_000 + b"0\r\n\r\n",
        big + b"0\r\n" + trailers + b"\r\n",
    ]
    bad = [
        b"1%b%b\r\nx\r\n0\r\n\r\n" % (extension, extension),
        (b"1%b\r\nx\r\n" % extension) * 3 + b"0\r\n\r\n",
        big + b"0\r\n" + trailers * 2 + b"\r\n",
    ]
    for body in good:
        assert await upload(edge, segments(body, 1 << 20)) == 200
        assert await upload(edge, segments(body, 5000)) == 200
    assert all(exchange.complete for exchange in upstream.exchanges)
    upstream.exchanges.clear()
    for body in bad:
        assert await upload(edge, segments(body, 5000)) == 400
    assert not any(exchange.complete for exchange in upstream.exchanges)


async def test_many_chunks_in_one_segment_are_read_in_turns(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two portions of them whatever else is ready has its turn."""
    turn, takes = 0, Counter[int]()
    take = boundaries.Chunked.take

    def counted(self: boundaries.Chunked, data: bytes, start: int) -> tuple[bytes, int]:
        takes[turn] += 1
        return take(self, data, start)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(boundaries.Chunked, "take", counted)
    counting = asyncio.create_task(count_turns())
    chunks = b"1\r\nx\r\n" * (10 * boundaries.CHUNKS_AT_ONCE)
    assert await upload(edge, [chunks + b"0\r\n\r\n"]) == 200
    counting.cancel()
    assert len(upstream.exchanges[0].body) == 10 * boundaries.CHUNKS_AT_ONCE
    assert sum(takes.values()) >= 10
    assert max(takes.values()) <= 2  # a new segment may come in the turn of a portion


async def upload(edge: Running, pieces: list[bytes]) -> int:
    """Send a chunked body; the answer's status."""
    async with await edge.wire() as wire:
        try:
            await wire.send(edge.message("PUT", "/x", CHUNKED), *pieces)
        except ConnectionError:
            assert pieces  # refused before its end; the answer is there all the same
        return (await wire.receive()).status


def segments(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(
    private_key: RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Arena]:
    async with open_arena(tmp_path_factory.mktemp("receiving"), private_key) as arena:
        yield arena


@pytest.mark.asyncio(loop_scope="module")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    extension=st.sampled_from([b"", b";a", b';a="b"', b";" + b"x" * 100]),
    trailers=st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nContent-Type: text/plain\r\n"]),
    cuts=st.lists(st.integers(0, 500), max_size=6),
    then=st.booleans(),
)
async def test_a_chunked_body_arrives_as_it_was_meant_however_it_is_cut(
    arena: Arena,
    pieces: list[bytes],
    extension: bytes,
    trailers: bytes,
    cuts: list[int],
    then: bool,
) -> None:
    arena.upstream.exchanges.clear()
    edge = arena.sidecar
    raw = edge.message("PUT", "/x", CHUNKED)
    raw += b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    raw += b"0" + extension + b"\r\n" + trailers + b"\r\n"
    if then:
        raw += edge.message("GET", "/y")
    at = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    async with await edge.wire() as wire:
        await wire.send(*(raw[i:j] for i, j in pairwise(at)))
        assert (await wire.receive()).status == 200
        if then:
            assert (await wire.receive()).status == 200
        assert await is_open(edge, wire)
    assert arena.upstream.exchanges[0].body == b"".join(pieces)
    assert len(arena.upstream.exchanges) == 1 + then


# ---------------------------------------------------------------- without a socket

HEAD = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPLOAD = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"


@pytest_asyncio.fixture
async def receiver() -> Receiver:
    return Receiver(BaseProtocol(asyncio.get_running_loop()), 8192)


async def test_a_head_has_begun_with_its_first_byte_and_not_with_an_empty_line(
    receiver: Receiver,
) -> None:
    for data, held, has_begun in ((b"\r", 1, False), (b"\n", 0, False), (HEAD[:9], 9, True)):
        receiver.add(data)
        assert receiver.next_request() is None
        assert (receiver.held, receiver.has_begun) == (held, has_begun)
    receiver.add(HEAD[9:] + HEAD)
    for left in (len(HEAD), 0):
        arrived = receiver.next_request()
        assert arrived is not None
        assert arrived[0].path == "/x"
        assert arrived[1].at_eof()
        assert (receiver.held, receiver.has_begun, receiver.body) == (left, False, None)


async def test_a_body_is_read_as_far_as_it_has_come_and_no_further(receiver: Receiver) -> None:
    receiver.add(UPLOAD + b"12")
    arrived = receiver.next_request()
    assert arrived is not None
    body = arrived[1]
    assert [receiver.body] == [body]
    receiver.read_body()
    assert (receiver.held, receiver.has_unread_body, body.is_eof()) == (0, False, False)
    receiver.add(b"345" + HEAD)
    receiver.read_body()
    assert (receiver.held, receiver.body, body.is_eof()) == (len(HEAD), None, True)
    assert await body.read() == b"12345"
    assert receiver.next_request() is not None


async def test_what_is_discarded_is_counted_and_what_was_here_is_still_read_if_it_is_full(
    receiver: Receiver,
) -> None:
    receiver.add(HEAD)
    receiver.is_full = True
    receiver.add(b"12345")
    receiver.add(b"678")
    assert (receiver.discarded, receiver.held) == (8, len(HEAD))
    assert receiver.next_request() is not None
    assert receiver.held == 0


async def test_once_it_has_stopped_nothing_is_looked_at(receiver: Receiver) -> None:
    receiver.add(UPLOAD + b"12")
    assert receiver.next_request() is not None
    receiver.stop()
    assert (receiver.held, receiver.body, receiver.is_deaf) == (0, None, True)
    assert not receiver.has_unread_body
    receiver.add(HEAD)
    assert (receiver.held, receiver.discarded) == (0, len(HEAD))
    assert receiver.next_request() is None
    assert not receiver.has_begun


@pytest.mark.parametrize(
    ("field", "is_last"), [(b"Connection: close", True), (b"Connection: keep-alive", False)]
)
async def test_behind_the_last_request_nothing_is_one(
    receiver: Receiver, field: bytes, is_last: bool
) -> None:
    receiver.add(UPLOAD[:-2] + field + b"\r\n\r\n12345" + HEAD)
    assert receiver.next_request() is not None
    receiver.read_body()
    assert receiver.is_deaf is is_last
    assert (receiver.next_request() is None) is is_last


@pytest.mark.parametrize(("size", "judged"), [(REMEMBERED_BYTES, 1), (REMEMBERED_BYTES + 1, 3)])
async def test_fields_that_are_repeated_are_judged_once_unless_there_are_many(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, size: int, judged: int
) -> None:
    assert REMEMBERED_BYTES == 1024
    seen: list[bytes] = []
    judge = framing.body_length

    def counting(fields: bytes) -> int | None:
        seen.append(fields)
        return judge(fields)

    monkeypatch.setattr(framing, "body_length", counting)
    fields = b"1\r\nHost: localhost\r\nContent-Length: 5\r\nX: \r\n\r\n"
    padded = fields.replace(b"X: ", b"X: " + b"y" * (size - len(fields)))
    for target in (b"/a", b"/b", b"/c"):
        receiver.add(b"POST " + target + b" HTTP/1." + padded + b"12345")
        arrived = receiver.next_request()
        assert arrived is not None
        assert arrived[0].path.encode() == target
        receiver.read_body()
        assert await arrived[1].read() == b"12345"
    assert seen == [padded] * judged


async def test_the_same_fields_mean_something_else_in_another_version(receiver: Receiver) -> None:
    """HTTP/1.0 knows no chunks: somebody else would read the body as the next request."""
    fields = b"\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    receiver.add(b"POST /x HTTP/1.1" + fields + b"0\r\n\r\n")
    assert receiver.next_request() is not None
    receiver.read_body()
    receiver.add(b"POST /x HTTP/1.0" + fields + b"0\r\n\r\n")
    with pytest.raises(RequestRefused, match="ambiguous"):
        receiver.next_request()


async def test_a_request_line_is_judged_whatever_its_fields_are(receiver: Receiver) -> None:
    fields = HEAD.partition(b"\r\n")[2]
    receiver.add(HEAD)
    assert receiver.next_request() is not None
    receiver.add(b"GET  /x HTTP/1.1\r\n" + fields)
    with pytest.raises(RequestRefused, match="request line"):
        receiver.next_request()


FIELDS = [
    b"\r\nHost: localhost\r\nX: y \r\nx:  z\r\n\r\n",
    b"\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    b"\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"\r\nHost: localhost\r\nConnection: close\r\n\r\n",
]
LINES = [
    *[b"GET /a HTTP/1.1", b"GET /b?c=%20 HTTP/1.1", b"POST /a HTTP/1.1", b"GET /a HTTP/1.0"],
    *[b"LOCK /a HTTP/1.1", b"CONNECT /a HTTP/1.1", b"QUERY /a HTTP/1.1"],
    *[b"GET http://localhost/a HTTP/1.1", b"GET //a HTTP/1.1"],
]


@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(FIELDS)), max_size=6))
@example([(LINES[0], FIELDS[0]), (LINES[1], FIELDS[0]), (LINES[5], FIELDS[0])])
async def test_what_a_client_repeats_is_read_as_if_it_were_new(
    heads: list[tuple[bytes, bytes]],
) -> None:
    def read(receiver: Receiver, data: bytes) -> object:
        receiver.add(data)
        try:
            arrived = receiver.next_request()
        except RequestRefused as refused:
            receiver.stop()
            return refused.status, refused.message
        return arrived and arrived[0], receiver.is_deaf

    def new() -> Receiver:
        return Receiver(BaseProtocol(asyncio.get_running_loop()), 64 * 1024)

    one_after_the_other = new()
    for line, fields in heads:
        found = read(one_after_the_other, line + fields)
        assert found == read(new(), line + fields)
        if one_after_the_other.is_deaf:
            return
