"""One client's connection: answers in order, ends that nobody misreads, back-pressure."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from sidecar.downstream import connection, peer, timers
from sidecar.downstream.connection import ClientConnection
from sidecar.downstream.listener import Listener
from sidecar.downstream.replies import Reply
from sidecar.downstream.request import Request
from sidecar.net.half_closed import still_reads
from tests.conftest import MakeSidecar, Running
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import Exchange, Handler, RawUpstream
from tests.support.waiting import SOON, until
from tests.support.wire import Client, Wire, turns

pytestmark = pytest.mark.usefixtures("quiet")

MIB = 1 << 20


def request_lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in log.records if r.name == "sidecar.telemetry.logs"]


async def ended(exchange: Exchange) -> None:
    """Wait for the end of an exchange; the sidecar's own timeouts would take longer."""
    async with asyncio.timeout(SOON):
        await exchange.over.wait()


def saying(*pieces: bytes, then: str = "close") -> Handler:
    """A handler that reads the request, sends `pieces`, and then closes, resets or hangs."""

    async def handler(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(*pieces)
        if then == "close":
            exchange.writer.close()
        elif then == "reset":
            exchange.reset()
        elif then == "hang":
            await exchange.hang()

    return handler


async def hang(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.hang()


# ---------------------------------------------------------------- what follows an answer


async def test_a_connection_serves_one_request_after_another(
    edge: Running, upstream: RawUpstream
) -> None:
    async with await edge.wire() as wire:
        for number in range(3):
            await wire.send(edge.message("POST", f"/{number}", body=b"x" * number))
            answer = await wire.receive()
            assert (answer.status, answer.body, answer.all("Connection")) == (200, b"ok", [])
    assert [exchange.target for exchange in upstream.exchanges] == ["/0", "/1", "/2"]
    assert upstream.connections == 1


async def test_connection_close_is_answered_and_obeyed(edge: Running) -> None:
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x", ("Connection", "close")))
        assert (await wire.receive())["Connection"] == "close"
        assert await wire.end() == (b"", False)


async def test_http_1_0_is_closed_behind_its_answer(edge: Running) -> None:
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await wire.receive()
        assert (answer["Connection"], answer.body) == ("close", b"ok")
        assert await wire.end() == (b"", False)


async def test_http_1_0_stays_open_where_it_asks_for_that(edge: Running) -> None:
    message = edge.message("GET", "/x", ("Connection", "keep-alive"))
    async with await edge.wire() as wire:
        for _ in range(2):
            await wire.send(message.replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert (await wire.receive())["Connection"] == "keep-alive"


async def test_pipelined_requests_are_answered_in_their_order(
    edge: Running, upstream: RawUpstream
) -> None:
    async def echo(exchange: Exchange) -> None:
        body = await exchange.read_body()
        await exchange.say(exchange.target.encode() + b" " + body)

    upstream.handler = echo
    async with await edge.wire() as wire:
        await wire.send(
            b"".join(
                edge.message("GET", f"/a{n}") + edge.message("PUT", f"/b{n}", body=b"%d" % n)
                for n in range(40)
            )
        )
        for n in range(40):
            assert (await wire.receive()).body == b"/a%d " % n
            assert (await wire.receive()).body == b"/b%d %d" % (n, n)


async def test_head_is_answered_without_a_body(edge: Running, upstream: RawUpstream) -> None:
    upstream.handler = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", then="keep")
    async with await edge.wire() as wire:
        for _ in range(2):
            await wire.send(edge.message("HEAD", "/x"))
            assert (await wire.receive(method="HEAD"))["Content-Length"] == "1000"
        await wire.send(edge.message("HEAD", "/_sidecar/nothing"))
        refused = await wire.receive(method="HEAD")
        assert (refused.status, int(refused["Content-Length"]) > 50) == (404, True)
        await wire.send(edge.message("GET", "/_sidecar/health"))
        assert (await wire.receive()).status == 200


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_that_has_no_body_leaves_the_connection_in_step(
    edge: Running, upstream: RawUpstream, status: bytes
) -> None:
    upstream.handler = saying(b"HTTP/1.1 " + status + b'\r\nETag: "1"\r\n\r\n', then="keep")
    async with await edge.wire() as wire:
        for _ in range(2):
            await wire.send(edge.message("GET", "/x"))
            answer = await wire.receive()
            assert answer.status == int(status[:3])
            assert answer.all("Transfer-Encoding") == []
            assert answer["ETag"] == '"1"'


async def test_interim_answers_of_jira_are_swallowed(edge: Running, upstream: RawUpstream) -> None:
    upstream.handler = saying(
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        then="keep",
    )
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        answer = await wire.receive()
    assert (answer.status, answer.body, wire.interim, answer.all("Link")) == (200, b"ok", [], [])


FRAMINGS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello"),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n",
        b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: dropped\r\n\r\n",
    ),
    "close": (b"HTTP/1.1 200 OK\r\n\r\n", b"hello"),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    "1.0": (b"HTTP/1.0 200 OK\r\n\r\n", b"hello"),
}


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_every_framing_reaches_every_client(
    edge: Running, upstream: RawUpstream, framing: str
) -> None:
    head, body = FRAMINGS[framing]
    then = "close" if framing in ("close", "1.0") else "keep"
    for method in ("GET", "HEAD"):
        pieces = (head,) if method == "HEAD" else (head, body)
        upstream.handler = saying(*pieces, then=then)
        for version in ("1.0", "1.0 keep-alive", "1.1", "1.1 close"):
            await check_framing(edge, framing, method, version)


async def check_framing(edge: Running, framing: str, method: str, version: str) -> None:
    number, _, option = version.partition(" ")
    fields = [("Connection", option)] if option else []
    message = edge.message(method, "/x", *fields).replace(b"HTTP/1.1", b"HTTP/" + number.encode())
    async with await edge.wire() as wire:
        await wire.send(message)
        answer = await wire.receive(method=method)
        expected = b"" if method == "HEAD" or framing == "empty" else b"hello"
        assert (answer.status, answer.body) == (200, expected)
        known = framing in ("length", "empty")
        chunked = number == "1.1" and not known
        length = str(len(FRAMINGS[framing][1]))
        assert answer.all("Content-Length") == ([length] if known else [])
        assert answer.all("Transfer-Encoding") == (["chunked"] if chunked else [])
        stays = version in ("1.1", "1.0 keep-alive") and (known or chunked or method == "HEAD")
        assert (answer.all("Connection") != ["close"]) is stays
        if stays:
            await wire.send(edge.message("GET", "/_sidecar/health"))
            assert (await wire.receive()).status == 200
        else:
            assert await wire.end() == (b"", False)


@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_request_bodies_arrive_whole_in_the_framing_they_had(
    edge: Running, upstream: RawUpstream, coding: str
) -> None:
    for size in (0, 1, 5, 100_000):
        body = bytes(i % 251 for i in range(size))
        if coding == "length":
            field, framed = ("Content-Length", str(size)), body
        else:
            field, framed = ("Transfer-Encoding", "chunked"), in_chunks(body)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            message = edge.message(method, "/x", field) + framed
            for cut in (len(message), len(message) - len(framed), len(message) - len(framed) // 2):
                upstream.exchanges.clear()
                async with await edge.wire() as wire:
                    await wire.send(message[:cut], message[cut:])
                    assert (await wire.receive()).status == 200
                    await wire.send(edge.message("GET", "/_sidecar/health"))
                    assert (await wire.receive()).status == 200
                (exchange,) = upstream.exchanges
                assert exchange.complete
                assert exchange.body == body
                assert exchange.start_line == f"{method} /x HTTP/1.1"
                assert exchange.all(field[0]) == [field[1]]


def in_chunks(body: bytes) -> bytes:
    pieces = [body[i : i + 7000] for i in range(0, len(body), 7000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_an_offer_to_upgrade_is_ignored(edge: Running, upstream: RawUpstream) -> None:
    offer = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "A"))
    async with await edge.wire() as wire:
        for _ in range(3):
            await wire.send(edge.message("GET", "/x", *offer))
            answer = await wire.receive()
            assert (answer.status, answer.all("Connection")) == (200, [])
        await wire.send(edge.message("POST", "/x", *offer, body=b"hello"))
        answer = await wire.receive()
        # Where the next request would begin is not known.
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert await wire.end() == (b"", False)
    assert upstream.exchanges[3].body == b"hello"


# ---------------------------------------------------------------- Expect


async def test_the_body_is_asked_for_only_when_it_is_wanted(
    edge: Running, upstream: RawUpstream
) -> None:
    message = edge.message("PUT", "/x", ("Expect", "100-continue"), ("Content-Length", "5"))
    async with await edge.wire() as wire:
        await wire.send(message)
        status, _, _ = await wire.head()
        assert status == 100
        await wire.send(b"hello")
        assert (await wire.receive()).status == 200
    assert upstream.exchanges[0].body == b"hello"
    assert upstream.exchanges[0].all("expect") == []


async def test_a_body_is_asked_for_only_once_there_is_a_slot(
    make_sidecar: MakeSidecar, upstream: RawUpstream
) -> None:
    edge = await make_sidecar(upstream.url, token="t", limits__connections=1)
    upstream.handler = hang
    message = edge.message("PUT", "/x", ("Expect", "100-continue"), ("Content-Length", "5"))
    async with await edge.wire() as first, await edge.wire() as second:
        await first.send(edge.message("GET", "/first"))
        await upstream.request()
        await second.send(message)
        assert (await edge.get("/_sidecar/health")).status == 200
        assert not second.reader._buffer  # type: ignore[attr-defined]
        first.leave()
        status, _, _ = await second.head()
        assert status == 100
        second.leave()


# ---------------------------------------------------------------- clients that end or leave


async def test_a_client_may_end_its_side_behind_its_request(
    edge: Running, upstream: RawUpstream
) -> None:
    for message in (edge.message("GET", "/x"), edge.message("POST", "/x", body=b"x" * 100_000)):
        async with await edge.wire() as wire:
            wire.writer.write(message)
            wire.half_close()
            assert (await wire.receive()).body == b"ok"
            assert await wire.end() == (b"", False)


@pytest.mark.parametrize("size", [100, 100_000])
async def test_whole_requests_before_the_clients_end_are_all_answered(
    edge: Running, upstream: RawUpstream, size: int
) -> None:
    """The last says that it is; of one that is not whole nothing is heard."""
    messages = [edge.message("GET", f"/{number}") for number in range(10)]
    data = b"".join(messages) + messages[0][:-2]
    async with await edge.wire() as wire:
        await wire.send(*(data[at : at + size] for at in range(0, len(data), size)))
        wire.half_close()
        answers = [await wire.receive() for _ in messages]
        assert await wire.end() == (b"", False)
    assert [answer.status for answer in answers] == [200] * 10
    assert [answer.all("Connection") for answer in answers] == [[]] * 9 + [["close"]]
    assert [exchange.target for exchange in upstream.exchanges] == [f"/{n}" for n in range(10)]


async def test_a_client_that_ended_its_side_is_given_up_where_nobody_knows_whether_it_reads(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another machine: most such clients are gone."""
    monkeypatch.setattr(timers, "HALF_CLOSED_SECONDS", 0.05)
    monkeypatch.setattr(peer, "still_reads", lambda _: False)
    upstream.handler = hang
    async with await edge.wire() as wire:
        wire.writer.write(edge.message("GET", "/x"))
        wire.half_close()
        exchange = await upstream.request()
        await ended(exchange)
        assert await wire.end() in ((b"", True), (b"", False))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What came of each look whether a client that ended its side still reads."""
    seen: list[bool] = []

    def look(sock: socket.socket) -> bool:
        seen.append(still_reads(sock))
        return seen[-1]

    monkeypatch.setattr(timers, "HALF_CLOSED_SECONDS", 0.001)
    monkeypatch.setattr(timers, "SELDOM_SECONDS", 0.01)
    monkeypatch.setattr(peer, "still_reads", look)
    return seen


only_linux_tells = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="by sock_diag")


@only_linux_tells
async def test_a_client_that_ended_its_side_and_waits_gets_its_answer_however_long_it_takes(
    edge: Running, upstream: RawUpstream, looks: list[bool]
) -> None:
    go_on = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await exchange.read_body()
        await go_on.wait()
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    upstream.handler = wait
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        wire.half_close()
        await until(lambda: len(looks) > 5)
        go_on.set()
        assert (await wire.receive()).body == b"slow"
        assert await wire.end() == (b"", False)
    assert all(looks)


@only_linux_tells
async def test_a_client_that_ended_its_side_and_leaves_is_given_up(
    edge: Running, upstream: RawUpstream, looks: list[bool]
) -> None:
    upstream.handler = hang
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        exchange = await upstream.request()
        wire.half_close()
        await until(lambda: len(looks) > 2)
        assert not exchange.over.is_set()
    await ended(exchange)
    assert looks[-1] is False


async def test_a_client_that_ended_its_side_gets_a_slow_answer_to_its_end(
    edge: Running, upstream: RawUpstream
) -> None:
    begin, go_on = asyncio.Event(), asyncio.Event()

    async def drip(exchange: Exchange) -> None:
        await exchange.read_body()
        await begin.wait()
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"sl")
        await go_on.wait()
        await exchange.answer(b"ow")

    upstream.handler = drip
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        await upstream.request()
        (served,) = edge.server.listener.connections
        assert isinstance(served, ClientConnection)
        wire.half_close()
        await until(lambda: served._peer.is_given_up, SOON)
        begin.set()
        await wire.head()
        assert await wire.reader.readexactly(2) == b"sl"
        assert not served._peer.is_given_up
        go_on.set()
        assert await wire.end() == (b"ow", False)


@pytest.mark.parametrize("how", ["RST", "FIN"])
@pytest.mark.parametrize("when", ["before the answer", "within the answer", "within the request"])
async def test_a_client_that_leaves_cancels_its_request_quietly(
    edge: Running,
    upstream: RawUpstream,
    quiet: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    when: str,
) -> None:
    monkeypatch.setattr(timers, "HALF_CLOSED_SECONDS", 0.05)
    message = edge.message("GET", "/x")
    upstream.handler = hang
    if when == "within the answer":
        big = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(MIB)
        upstream.handler = saying(big, *([bytes(MIB)] * 90), then="hang")
    elif when == "within the request":
        message = edge.message("PUT", "/x", ("Content-Length", "100000")) + bytes(50_000)
    wire = await edge.wire()
    await wire.send(message)
    exchange = await upstream.request()
    if when == "within the answer":
        await wire.head()
    if how == "RST":
        wire.leave()
    else:
        wire.writer.close()
    await ended(exchange)
    lines = request_lines(quiet)
    assert len(lines) == 1
    if how == "FIN" and when == "within the request":
        assert " 400 " in lines[0]
    else:
        assert lines[0].endswith(" closed_early=client")
    assert [r for r in quiet.records if r.levelno > logging.INFO] == []
    assert (await edge.get("/_sidecar/health")).status == 200


@pytest.mark.parametrize("size", [3000, 100_000])
@pytest.mark.parametrize("how", ["RST", "FIN"])
async def test_a_client_that_leaves_with_more_pipelined_than_is_read_gives_its_slot_back(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, how: str, size: int
) -> None:
    """Its end lies behind bytes that are left unread, or that its own kernel still has."""
    upstream.handler = hang
    client = socket.create_connection((edge.host, edge.port))
    client.setblocking(False)
    client.send(edge.message("GET", "/x"))
    exchange = await upstream.request()
    (served,) = edge.server.listener.connections
    client.send(edge.message("GET", "/y") * size)
    await until(lambda: served.transport is None or not served.transport.is_reading())
    assert edge.server.generations[0].in_flight == 1
    if how == "RST":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    while edge.server.generations[0].in_flight:
        await loop_clock.skip(timers.LOOK_SECONDS)
    await ended(exchange)


async def test_a_client_that_sends_far_ahead_of_a_slow_jira_is_told_what_is_not_answered(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    """As many are answered as are held; the last of them says that it is."""
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.say(b"ok")

    upstream.handler = slow
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        await upstream.request()
        wire.writer.write(edge.message("GET", "/_sidecar/health") * 100_000)
        (served,) = edge.server.listener.connections
        await until(lambda: served.transport is None or not served.transport.is_reading())
        await loop_clock.skip(timers.LOOK_SECONDS)
        await until(lambda: served.received.discarded)
        go_on.set()
        answers = [await wire.receive()]
        while answers[-1].all("Connection") == []:
            answers.append(await wire.receive())
        assert await wire.end() == (b"", False)
    assert {answer.status for answer in answers} == {200}
    assert len(answers) * len(edge.message("GET", "/_sidecar/health")) > connection.HELD_BYTES


async def test_a_client_that_has_ended_its_side_behind_many_requests_is_answered(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    """More of them than are read at once; each is answered in time."""
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.say(b"ok")

    upstream.handler = slow
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        await upstream.request()
        wire.writer.write(edge.message("GET", "/_sidecar/health") * 2000)
        (served,) = edge.server.listener.connections
        await until(lambda: served.transport is None or not served.transport.is_reading())
        wire.half_close()
        await loop_clock.skip(timers.LOOK_SECONDS)
        go_on.set()
        for _ in range(2001):
            assert (await wire.receive()).status == 200
        assert await wire.end() == (b"", False)


# ---------------------------------------------------------------- closing


@pytest.mark.parametrize("refusal", ["403", "413", "400"])
async def test_a_refusal_is_read_though_the_client_sends_on(edge: Running, refusal: str) -> None:
    """50 MB are still on their way when the answer comes; a reset would destroy it."""
    fields = {
        "403": [("Origin", "http://attacker.test")],
        "413": [("Content-Type", "application/x-www-form-urlencoded")],
        "400": [],
    }[refusal]
    target = "/rest/.." if refusal == "400" else "/rest"
    head = edge.message("POST", target, *fields, ("Content-Length", str(50 * MIB)))
    async with await edge.wire() as wire:
        await wire.send(head, *([bytes(MIB)] * 50))
        answer = await wire.receive()
        assert (answer.status, answer["Connection"]) == (int(refusal), "close")
        assert await wire.end() == (b"", False)


async def test_an_early_answer_of_jira_is_read_though_the_client_sends_on(
    edge: Running, upstream: RawUpstream
) -> None:
    async def too_large(exchange: Exchange) -> None:
        await exchange.say(b"too large", status="413 Content Too Large")
        await exchange.hang()

    upstream.handler = too_large
    async with await edge.wire() as wire:
        await wire.send(edge.message("PUT", "/x", ("Content-Length", str(50 * MIB))))
        await wire.send(*([bytes(MIB)] * 50))
        answer = await wire.receive()
        assert (answer.status, answer["Connection"]) == (413, "close")
        assert await wire.end() == (b"", False)
    await ended(upstream.exchanges[0])
    assert not upstream.exchanges[0].complete


async def test_nobody_is_waited_for_forever_after_the_last_answer(
    edge: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LINGER_SECONDS", 0.1)
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x", ("Connection", "close")))
        await wire.receive()
        await no_connections(edge)


async def test_an_answer_that_nobody_reads_is_given_up(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is too small to pause anybody, and too large for the system's buffers."""
    monkeypatch.setattr(timers, "LINGER_SECONDS", 0.1)
    go_on = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await go_on.wait()
        await saying(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", bytes(60000))(exchange)

    upstream.handler = answer
    async with await narrow_wire(edge, 2048) as wire:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(edge.message("GET", "/x", ("Connection", "close")))
        await upstream.request()
        (served,) = edge.server.listener.connections
        assert served.transport is not None
        sock = served.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        go_on.set()
        await no_connections(edge)
        wire.leave()


async def test_a_client_that_never_stops_sending_is_ended_all_the_same(
    edge: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(timers, "LINGER_TOTAL_SECONDS", 0.2)
    head = edge.message("PUT", "/rest/..", ("Content-Length", "99999999999"))
    async with await edge.wire() as wire:
        await wire.send(head)
        async with asyncio.timeout(SOON):
            await send_until_refused(wire)


async def send_until_refused(wire: Wire) -> None:
    while True:
        try:
            await wire.send(bytes(1000))
        except ConnectionError:
            return


async def no_connections(edge: Running) -> None:
    """Wait until the sidecar holds no connection."""
    await until(lambda: not edge.server.listener.connections, SOON)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_an_answer_cut_short_is_never_ended_cleanly(
    edge: Running, upstream: RawUpstream, quiet: pytest.LogCaptureFixture, version: bytes
) -> None:
    for framing, body, then in (
        (b"Content-Length: 100", b"body", "close"),
        (b"Content-Length: 100", b"body", "reset"),
        (b"Transfer-Encoding: chunked", b"64\r\nbody", "close"),
        (b"Transfer-Encoding: chunked", b"4\r\nbody\r\n", "close"),
        (b"Transfer-Encoding: chunked", b"4\r\nbody\r\n0\r\n", "close"),
        (b"Transfer-Encoding: chunked", b"4\r\nbody\r\n", "reset"),
        (b"Transfer-Encoding: chunked", b"4\r\nbody\r\nZ\r\n", "keep"),
        (b"X: until the end", b"body", "reset"),
    ):
        go_on = asyncio.Event()
        upstream.handler = beginning(
            b"HTTP/1.1 200 OK\r\n" + framing, go_on, saying(body, then=then)
        )
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", "/x").replace(b"HTTP/1.1", version))
            status, _, _ = await wire.head()
            go_on.set()
            came, by_reset = await wire.end()
        assert (status, by_reset) == (200, True), (framing, body, then)
        assert not came.endswith(b"0\r\n\r\n")
        assert request_lines(quiet).pop().endswith(" closed_early=jira")
    assert "refused" not in quiet.text  # the one line is all


def beginning(head: bytes, go_on: asyncio.Event, rest: Handler) -> Handler:
    """A handler that sends a head and waits before the rest."""

    async def handler(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(head + b"\r\n\r\n")
        await go_on.wait()
        await rest(exchange)

    return handler


async def test_an_idle_connection_is_closed(edge: Running, loop_clock: LoopClock) -> None:
    async with await edge.wire() as fresh, await edge.wire() as used:
        await used.send(edge.message("GET", "/x"))
        await used.receive()
        await loop_clock.skip(timers.IDLE_SECONDS - 5)
        await used.send(edge.message("GET", "/x"))
        await used.receive()
        await loop_clock.skip(6)
        assert await fresh.end() == (b"", False)
        await used.send(edge.message("GET", "/x"))
        await used.receive()
        await loop_clock.skip(timers.IDLE_SECONDS + 1)
        assert await used.end() == (b"", False)


async def test_a_head_that_has_begun_is_not_cut_for_idleness(
    edge: Running, loop_clock: LoopClock
) -> None:
    """It has a deadline of its own, and then an answer."""
    message = edge.message("GET", "/x")
    async with await edge.wire() as fresh, await edge.wire() as used, await edge.wire() as idle:
        await used.send(message)
        await used.receive()
        await loop_clock.skip(timers.IDLE_SECONDS - timers.HEAD_SECONDS / 2)
        for wire in (fresh, used):
            await wire.send(message[:10])
        await loop_clock.skip(timers.HEAD_SECONDS / 2 + 1)
        assert await idle.end() == (b"", False)
        for wire in (fresh, used):
            await wire.send(message[10:])
            assert (await wire.receive()).status == 200
            await wire.send(message)
            assert (await wire.receive()).status == 200


# ---------------------------------------------------------------- draining


async def test_stopping_lets_an_upload_come_to_its_end(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "FIRST_REQUEST_SECONDS", 0.1)
    async with await edge.wire() as wire, await edge.wire() as idle:
        await wire.send(edge.message("PUT", "/x", ("Content-Length", "100000")), bytes(50_000))
        exchange = await upstream.request()
        stopping = asyncio.create_task(edge.server.stop(10))
        assert await idle.end() == (b"", False)
        await wire.send(bytes(50_000))
        answer = await wire.receive()
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert await wire.end() == (b"", False)
        await wire.close()
        await stopping
    assert exchange.complete


async def test_stopping_ends_a_kept_connection_behind_the_answer_being_sent(
    edge: Running, upstream: RawUpstream
) -> None:
    """Its head promised nothing yet about closing."""
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"o")
        await go_on.wait()
        await exchange.answer(b"k")

    upstream.handler = slow
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        await wire.head()
        stopping = asyncio.create_task(edge.server.stop(10))
        assert await wire.reader.readexactly(1) == b"o"
        go_on.set()
        assert await wire.end() == (b"k", False)
        await wire.close()
        await stopping


async def test_what_is_not_done_when_stopping_must_end_is_cut_short_visibly(
    edge: Running, upstream: RawUpstream
) -> None:
    upstream.handler = saying(b"HTTP/1.1 200 OK\r\n\r\n", b"half", then="hang")
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x").replace(b"HTTP/1.1", b"HTTP/1.0"))
        await wire.head()
        await edge.server.stop(0.05)
        assert (await wire.end())[1]
    await ended(upstream.exchanges[0])


async def test_stopping_does_not_wait_for_long_for_a_first_request(
    edge: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "FIRST_REQUEST_SECONDS", 0.1)
    async with await edge.wire() as wire, asyncio.timeout(SOON):
        await edge.server.stop(30)
        assert await wire.end() == (b"", False)


# ---------------------------------------------------------------- back-pressure


async def test_a_client_that_does_not_read_pauses_jira(
    edge: Running, upstream: RawUpstream
) -> None:
    size, taken = 64 * MIB, 0
    piece = hashlib.sha256(b"piece").digest() * 2048
    done = asyncio.Event()

    async def flood(exchange: Exchange) -> None:
        nonlocal taken
        await exchange.read_body()
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while taken < size:
            await exchange.answer(piece)
            taken += len(piece)
        done.set()

    upstream.handler = flood
    async with await narrow_wire(edge) as wire:
        await wire.send(edge.message("GET", "/x"))
        await upstream.request()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.5)
        assert taken < 16 * MIB, taken
        answer = await wire.receive()
    assert len(answer.body) == size
    assert answer.body == piece * (size // len(piece))


async def test_a_jira_that_does_not_read_pauses_the_client(
    edge: Running, upstream: RawUpstream
) -> None:
    size, sent = 64 * MIB, 0
    piece = hashlib.sha256(b"piece").digest() * 2048
    read_on = asyncio.Event()

    async def stall(exchange: Exchange) -> None:
        await read_on.wait()
        await exchange.read_body()
        await exchange.say(hashlib.sha256(exchange.body).digest())

    async def upload(wire: Wire) -> None:
        nonlocal sent
        await wire.send(edge.message("PUT", "/x", ("Content-Length", str(size))))
        while sent < size:
            await wire.send(piece)
            sent += len(piece)

    upstream.handler = stall
    async with await narrow_wire(edge) as wire:
        uploading = asyncio.create_task(upload(wire))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(uploading), 0.5)
        assert sent < 16 * MIB, sent
        read_on.set()
        await uploading
        expected = hashlib.sha256(piece * (size // len(piece))).digest()
        assert (await wire.receive()).body == expected


async def narrow_wire(client: Client, size: int = 65536) -> Wire:
    """A connection whose own buffers are small."""
    sock = socket.socket()
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, size)
    await asyncio.get_running_loop().sock_connect(sock, (client.host, client.port))
    return Wire(*await asyncio.open_connection(sock=sock))


async def test_a_client_that_never_reads_its_answers_is_not_served_on(edge: Running) -> None:
    """Pipelined requests without an end: neither they nor their answers may pile up here."""
    asyncio.get_running_loop().set_debug(False)  # that would take the most time
    message = edge.message("GET", "/_sidecar/nothing")

    async def flood(wire: Wire) -> None:
        while True:
            await wire.send(message * 100)

    async with await narrow_wire(edge) as wire:
        await wire.send(message)
        (served,) = edge.server.listener.connections
        assert isinstance(served, ClientConnection)
        assert served.transport is not None
        sock = served.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        flooding = asyncio.create_task(flood(wire))
        await until(lambda: served._peer.is_paused)
        await turns(500)  # enough for much more
        assert served._peer.is_paused
        assert served.transport.get_write_buffer_size() < MIB // 8
        assert served.received.held < MIB // 2
        flooding.cancel()
        await asyncio.wait([flooding])
        wire.leave()
    await no_connections(edge)


async def test_a_client_that_stops_reading_is_reset_in_the_end(
    edge: Running,
    upstream: RawUpstream,
    loop_clock: LoopClock,
    quiet: pytest.LogCaptureFixture,
) -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    upstream.handler = saying(big, *([bytes(MIB)] * 95), then="hang")
    async with await narrow_wire(edge) as wire:
        await wire.send(edge.message("GET", "/x"))
        exchange = await upstream.request()
        while not exchange.over.is_set():
            await loop_clock.skip(5)
        assert (await wire.end())[1]
    assert request_lines(quiet)[0].endswith(" closed_early=client")
    assert "refused" not in quiet.text


# ---------------------------------------------------------------- TLS and unix sockets


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


MakeEdge = Callable[[], Awaitable[Running]]


@pytest.fixture
def make_tls_edge(
    make_sidecar: MakeSidecar, upstream: RawUpstream, authority: trustme.CA, tmp_path: Path
) -> MakeEdge:
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    file = tmp_path / "tls.pem"
    file.touch(mode=0o600)
    certificate.private_key_and_cert_chain_pem.write_to_path(str(file))

    async def make() -> Running:
        return await make_sidecar(
            upstream.url, token="t", listen__tls_certificate=str(file), listen__tls_key=str(file)
        )

    return make


@pytest.fixture
async def tls_edge(make_tls_edge: MakeEdge) -> Running:
    return await make_tls_edge()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_tls_serves_like_plain_http(
    tls_edge: Running, upstream: RawUpstream, trust: ssl.SSLContext
) -> None:
    async with await tls_edge.wire(ssl=trust) as wire:
        await wire.send(tls_edge.message("GET", "/a"))
        assert (await wire.receive()).body == b"ok"
        message = tls_edge.message("PUT", "/b", body=bytes(300_000))
        await wire.send(message[:1000], message[1000:])
        assert (await wire.receive()).body == b"ok"
        await wire.send(tls_edge.message("GET", "/c", ("Connection", "close")))
        assert (await wire.receive()).body == b"ok"
        assert await wire.end() == (b"", False)
    assert len(upstream.exchanges[1].body) == 300_000
    assert [exchange.target for exchange in upstream.exchanges] == ["/a", "/b", "/c"]


async def test_over_tls_a_refusal_is_read_though_the_client_sends_on(
    tls_edge: Running, trust: ssl.SSLContext
) -> None:
    head = tls_edge.message("PUT", "/rest/..", ("Content-Length", str(20 * MIB)))
    async with await tls_edge.wire(ssl=trust) as wire:
        await wire.send(head, *([bytes(MIB)] * 20))
        assert (await wire.receive()).status == 400


async def test_over_tls_a_malformed_chunk_fails_at_once(
    tls_edge: Running, upstream: RawUpstream, trust: ssl.SSLContext
) -> None:
    async with await tls_edge.wire(ssl=trust) as wire:
        await wire.send(tls_edge.message("PUT", "/x", ("Transfer-Encoding", "chunked")))
        exchange = await upstream.request()
        await wire.send(b"5\r\nhello\r\n", b"Z\r\n")
        assert (await wire.receive()).status == 400
    await ended(exchange)
    assert not exchange.complete


@pytest.mark.parametrize("how", ["RST", "FIN"])
async def test_over_tls_a_client_that_leaves_cancels_its_request(
    tls_edge: Running, upstream: RawUpstream, trust: ssl.SSLContext, how: str
) -> None:
    upstream.handler = hang
    wire = await tls_edge.wire(ssl=trust)
    await wire.send(tls_edge.message("GET", "/x"))
    exchange = await upstream.request()
    if how == "RST":
        wire.leave()
    else:
        await wire.close()
    await ended(exchange)


async def test_over_tls_an_answer_cut_short_is_never_ended_cleanly(
    tls_edge: Running, upstream: RawUpstream, trust: ssl.SSLContext
) -> None:
    upstream.handler = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"half")
    async with await tls_edge.wire(ssl=trust) as wire:
        await wire.send(tls_edge.message("GET", "/x").replace(b"HTTP/1.1", b"HTTP/1.0"))
        came, by_reset = await wire.end()
    assert by_reset or came.startswith(b"HTTP/1.1 502 ")


async def test_tls_on_a_plain_port_is_told_so(edge: Running) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600)
    assert "plain http" in (await edge.raw(hello)).message


async def test_a_tls_handshake_has_the_time_that_a_head_has(
    make_tls_edge: MakeEdge, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.get_running_loop().set_debug(False)  # in debug mode asyncio logs a traceback
    monkeypatch.setattr(timers, "HEAD_SECONDS", 0.2)
    edge = await make_tls_edge()
    async with await edge.wire() as silent:
        assert (await silent.end())[0] == b""
    async with await edge.wire(ssl=trust) as wire:
        await wire.send(edge.message("GET", "/x"))
        assert (await wire.receive()).status == 200


async def test_plain_http_on_a_tls_port_is_closed(tls_edge: Running) -> None:
    asyncio.get_running_loop().set_debug(False)  # in debug mode asyncio logs a traceback
    async with await tls_edge.wire() as wire:
        await wire.send(tls_edge.message("GET", "/x"))
        came, _ = await wire.end()
        assert not came.startswith(b"HTTP/")


async def test_a_unix_socket_serves_like_any_other(
    make_sidecar: MakeSidecar, upstream: RawUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    edge = await make_sidecar(
        upstream.url, token="t", listen__addresses=["127.0.0.1:0", f"unix:{path}"]
    )
    async with await Wire.open_unix(str(path)) as wire:
        await wire.send(edge.message("GET", "/x"))
        assert (await wire.receive()).body == b"ok"
        await wire.send(edge.message("PUT", "/rest/..", ("Content-Length", "9999999")))
        await wire.send(bytes(MIB))
        assert (await wire.receive()).status == 400
        assert await wire.end() == (b"", False)
    upstream.handler = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"half")
    async with await Wire.open_unix(str(path)) as wire:
        await wire.send(edge.message("GET", "/x"))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await wire.receive()


async def test_a_bug_in_a_handler_ends_its_connection_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: Request) -> Reply:
        raise ZeroDivisionError

    listener = Listener(handler, lambda error, _: Reply(error.status), head_bytes=65536)
    server = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", 0)
    async with server:
        client = Client("127.0.0.1", server.sockets[0].getsockname()[1])
        async with await client.wire() as wire:
            await wire.send(client.message("GET", "/"))
            assert await wire.reader.read() == b""
    assert "a bug in a client's connection" in caplog.text
