"""Jira's answer on its way to the client: how it is framed, and how it ends."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sidecar.proxy import relay
from sidecar.proxy.relay import HELD_BYTES
from sidecar.proxy.rewriting import BodyRewriter
from tests.conftest import MakeSidecar, Running
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import until
from tests.support.wire import Response, Wire

JSON = "Content-Type: application/json"
PLAIN = "Content-Type: text/plain"
TARGET = "/rest/api/2/issue/JJ-1"

Answer = Callable[[Exchange], Awaitable[None]]


def raw_answer(head: str, *pieces: bytes) -> Answer:
    """An answer given as the lines of its head and pieces of its body, and then the end."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n", *pieces)
        exchange.writer.write_eof()

    return answer


def says(body: bytes, *fields: str, status: str = "200 OK") -> Answer:
    """An answer with a Content-Length."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.say(body, *fields, status=status)

    return answer


async def old_client(edge: Running, *fields: str) -> tuple[Wire, Response]:
    """Ask in HTTP/1.0; the connection and the answer."""
    wire = await edge.wire()
    lines = [f"GET {TARGET} HTTP/1.0", f"Host: {edge.authority}", *fields, "", ""]
    await wire.send("\r\n".join(lines).encode())
    return wire, await wire.receive()


class TestFraming:
    async def test_a_known_length_stays(self, edge: Running, upstream: RawUpstream) -> None:
        upstream.handler = says(b"12345", PLAIN)
        answer = await edge.get(TARGET)
        assert (answer["Content-Length"], answer.body) == ("5", b"12345")
        assert not answer.all("Transfer-Encoding")

    async def test_an_unknown_length_is_chunked(self, edge: Running, upstream: RawUpstream) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 200 OK\n{PLAIN}", b"1", b"23")
        async with await edge.wire() as wire:
            for _ in range(2):
                await wire.send(edge.message("GET", TARGET))
                answer = await wire.receive()
                assert (answer["Transfer-Encoding"], answer.body) == ("chunked", b"123")
                assert not answer.all("Content-Length")

    async def test_what_counts_as_sent_is_the_body_and_not_its_chunks(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 200 OK\n{PLAIN}", b"1", b"23")
        for _ in range(2):
            await edge.get(TARGET)
        await until(lambda: edge.server.metrics.requests == {("GET", 2, "jira"): 2})
        assert edge.server.metrics.sent == 6
        assert edge.server.metrics.closed_early == {}

    @pytest.mark.parametrize("field", [PLAIN, JSON])
    async def test_what_comes_piece_by_piece_is_added_up(
        self, edge: Running, upstream: RawUpstream, field: str
    ) -> None:
        pieces = [b'["x"' + b" " * 4096, b',"y"' + b" " * 8192, b',"z"]']
        arrived = [asyncio.Event() for _ in pieces]

        async def drip(exchange: Exchange) -> None:
            await exchange.read_body()
            length = sum(map(len, pieces))
            head = f"HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: {length}\r\n\r\n"
            await exchange.answer(head.encode())
            for piece, there in zip(pieces, arrived, strict=True):
                await exchange.answer(piece)
                await there.wait()

        upstream.handler = drip
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", TARGET))
            await wire.head()
            for letter, there in zip((b"x", b"y", b"z"), arrived, strict=True):
                await wire.reader.readuntil(letter)
                there.set()
            await until(lambda: edge.server.metrics.requests == {("GET", 2, "jira"): 1})
        assert edge.server.metrics.sent == sum(map(len, pieces))

    async def test_after_the_last_chunk_comes_nothing(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 200 OK\n{PLAIN}", b"1", b"23")
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", TARGET, ("Connection", "close")))
            assert (await wire.receive()).body == b"123"
            assert await wire.end() == (b"", False)

    async def test_a_rewritten_body_is_chunked(self, edge: Running, upstream: RawUpstream) -> None:
        link = b'{"self": "%b/rest"}' % upstream.url.encode()
        upstream.handler = says(link, JSON)
        answer = await edge.get(TARGET)
        assert answer.body == b'{"self": "http://%b/rest"}' % edge.authority.encode()
        assert answer["Transfer-Encoding"] == "chunked"
        assert not answer.all("Content-Length")

    @pytest.mark.parametrize("coding", ["gzip", "GZip", "identity"])
    async def test_a_body_is_inflated_to_be_rewritten_and_sent_plain(
        self, edge: Running, upstream: RawUpstream, coding: str
    ) -> None:
        link = b'{"self": "%b/rest"}' % upstream.url.encode()
        body = link if coding == "identity" else gzip.compress(link)
        upstream.handler = says(body, JSON, f"Content-Encoding: {coding}")
        answer = await edge.get(TARGET, ("Accept-Encoding", "gzip"))
        assert answer.body == b'{"self": "http://%b/rest"}' % edge.authority.encode()
        assert "gzip" not in "".join(answer.all("Content-Encoding")).lower()

    async def test_a_small_body_is_one_chunk_even_if_it_ends_in_what_may_become_a_link(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        """Nothing is held back for more of a body that is at its end."""
        whole = b'{"self": "%b' % upstream.url.encode()
        upstream.handler = says(whole, JSON)
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", TARGET, ("Connection", "close")))
            _, _, body = (await wire.ends()).partition(b"\r\n\r\n")
        assert body == b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole)

    async def test_http_1_0_gets_no_chunks_and_the_end_tells(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 200 OK\n{PLAIN}", b"123")
        wire, answer = await old_client(edge, "Connection: keep-alive")
        async with wire:
            assert answer.body == b"123"
            assert answer["Connection"] == "close"
            assert not answer.all("Transfer-Encoding")
            assert await wire.end() == (b"", False)

    async def test_http_1_0_stays_open_where_the_length_is_known(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = says(b"123", PLAIN)
        wire, answer = await old_client(edge, "Connection: keep-alive")
        async with wire:
            assert (answer.body, answer["Connection"]) == (b"123", "keep-alive")
            await wire.send(edge.message("GET", TARGET))
            assert (await wire.receive()).body == b"123"

    async def test_204_has_no_length(self, edge: Running, upstream: RawUpstream) -> None:
        upstream.handler = raw_answer("HTTP/1.1 204 No Content\nContent-Length: 0")
        async with await edge.wire() as wire:
            await wire.send(edge.message("DELETE", TARGET) + edge.message("DELETE", TARGET))
            for _ in range(2):
                answer = await wire.receive()
                assert answer.status == 204
                assert not answer.all("Content-Length") + answer.all("Transfer-Encoding")

    async def test_304_keeps_the_length_of_what_it_does_not_send(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = raw_answer("HTTP/1.1 304 Not Modified\nContent-Length: 5\nETag: W/a")
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", TARGET) + edge.message("GET", TARGET))
            for _ in range(2):
                answer = await wire.receive()
                assert (answer.status, answer["Content-Length"]) == (304, "5")

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
    async def test_what_has_no_body_needs_no_length(
        self, edge: Running, upstream: RawUpstream, status: str
    ) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 {status}\nETag: W/a")
        async with await edge.wire() as wire:
            for _ in range(2):
                await wire.send(edge.message("GET", TARGET))
                answer = await wire.receive()
                assert answer.status == int(status[:3])
                assert not answer.all("Content-Length") + answer.all("Transfer-Encoding")

    async def test_head_has_no_body_whatever_its_fields_say(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 200 OK\n{PLAIN}\nContent-Length: 5")
        async with await edge.wire() as wire:
            await wire.send(edge.message("HEAD", TARGET) + edge.message("HEAD", TARGET))
            for _ in range(2):
                answer = await wire.receive(method="HEAD")
                assert (answer.status, answer["Content-Length"]) == (200, "5")


class TestHead:
    async def test_the_reason_arrives_as_jira_wrote_it(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = says(b"", PLAIN, status="200 Gr\xfc\xdfe  an alle")
        assert (await edge.get(TARGET)).reason == b"Gr\xfc\xdfe  an alle"

    @pytest.mark.usefixtures("quiet")
    @pytest.mark.parametrize(
        "head", ["HTTP/1.1 200 a\x0bb\nContent-Length: 0", "HTTP/1.1 200 OK\nX: a\x0bb"]
    )
    async def test_control_characters_are_not_passed_on(
        self, edge: Running, upstream: RawUpstream, head: str
    ) -> None:
        upstream.handler = raw_answer(head)
        answer = await edge.get(TARGET)
        assert answer.status == 502
        assert b"\x0b" not in b"".join(name + value for name, value in answer.fields)

    async def test_an_answer_carries_the_requests_id(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        answer = await edge.get(TARGET)
        assert [answer["X-Request-Id"]] == upstream.exchanges[0].all("X-Request-Id")

    async def test_unless_jira_gives_it_one(self, edge: Running, upstream: RawUpstream) -> None:
        upstream.handler = says(b"", PLAIN, "X-Request-Id: jira's")
        assert (await edge.get(TARGET))["X-Request-Id"] == "jira's"

    @pytest.mark.parametrize(
        ("message", "field"),
        [
            ("GET /x HTTP/1.1", (b"Transfer-Encoding", b"chunked")),
            ("GET /x HTTP/1.1\nConnection: close", (b"Connection", b"close")),
            ("GET /x HTTP/1.0", (b"Connection", b"close")),
            ("HEAD /x HTTP/1.0\nConnection: keep-alive", (b"Connection", b"keep-alive")),
            ("GET /x HTTP/1.1\nX-Request-Id: mine", (b"X-Request-Id", b"mine")),
        ],
    )
    async def test_our_fields_are_spelled_as_the_standards_spell_them(
        self, edge: Running, upstream: RawUpstream, message: str, field: tuple[bytes, bytes]
    ) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 200 OK\n{PLAIN}")
        start, _, rest = message.partition("\n")
        lines = [start, f"Host: {edge.authority}", *filter(None, [rest]), "", ""]
        method = start.partition(" ")[0]
        answer = await edge.raw("\r\n".join(lines).encode(), method=method)
        assert field in answer.fields
        assert len(answer.all(field[0].decode())) == 1


class TestEnd:
    @pytest.mark.usefixtures("quiet")
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_a_body_that_is_broken_from_its_first_byte_is_502(
        self, edge: Running, upstream: RawUpstream, method: str
    ) -> None:
        """Nothing was sent yet: a sentence helps more than a connection that breaks."""
        upstream.handler = says(b"not gzip at all", JSON, "Content-Encoding: gzip")
        async with await edge.wire() as wire:
            await wire.send(edge.message(method, TARGET, ("Accept-Encoding", "gzip")))
            answer = await wire.receive()
            assert answer.status == 502
            assert "http_protocol_error" in answer["Proxy-Status"]
            assert "gzip" in answer.message
            assert answer["X-Request-Id"]
            assert edge.server.metrics.requests == {(method, 5, "sidecar"): 1}
            upstream.handler = says(b"fine", PLAIN)
            await wire.send(edge.message("GET", TARGET))
            assert (await wire.receive()).body == b"fine"

    @pytest.mark.parametrize("status", ["413 Too Large", "200 OK"])
    async def test_an_answer_before_the_request_is_whole_is_the_last(
        self, edge: Running, upstream: RawUpstream, status: str
    ) -> None:
        async def early(exchange: Exchange) -> None:
            await exchange.say(b"early", PLAIN, status=status)

        upstream.handler = early
        async with await edge.wire() as wire:
            head = edge.message("POST", TARGET, ("Content-Length", "100000"))
            await wire.send(head + b"x" * 10)
            answer = await wire.receive(method="POST")
            assert (answer["Connection"], answer.body) == ("close", b"early")

    async def test_a_body_cut_short_is_cut_short_here(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = raw_answer(f"HTTP/1.1 200 OK\n{PLAIN}\nContent-Length: 9", b"123")
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", TARGET))
            assert (await wire.head())[0] == 200
            assert (await wire.end())[1]
        await until(lambda: edge.server.metrics.requests == {("GET", 2, "jira"): 1})
        assert edge.server.metrics.closed_early == {"jira": 1}
        assert edge.server.metrics.sent == 3

    async def test_chunks_cut_short_never_look_complete(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = raw_answer(
            f"HTTP/1.1 200 OK\n{PLAIN}\nTransfer-Encoding: chunked", b"3\r\n123\r\n"
        )
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", TARGET))
            assert (await wire.head())[0] == 200
            rest, was_reset = await wire.end()
            assert was_reset
            assert b"0\r\n\r\n" not in rest

    async def test_who_stops_reading_is_let_go(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar
    ) -> None:
        edge = await make_sidecar(upstream.url, token="t" * 32, timeouts__idle=0.2)

        async def endless(exchange: Exchange) -> None:
            await exchange.answer(f"HTTP/1.1 200 OK\r\n{PLAIN}\r\n\r\n".encode())
            while True:
                await exchange.answer(b"x" * 65536)

        upstream.handler = endless
        async with await edge.wire(limit=1024) as wire:
            await wire.send(edge.message("GET", TARGET))
            await (await upstream.request()).over.wait()
            assert (await wire.end())[1]
        await until(lambda: edge.server.metrics.closed_early == {"client": 1})


STORED = [
    "/secure/attachment/10000/issues.json",
    "//secure/attachment/10000/issues.json",
    "/secure;x/attachment/10000/issues.json",
    "/secure/%61ttachment/10000/issues.json",
    "/s/x/_/secure/attachment/10000/issues.json",
    "/secure/thumbnail/10000/x",
    "/rest/api/2/attachment/content/10000",
    "/rest/api/2/issue/JJ-2/properties/notes",
]


class TestStored:
    """What people have stored comes back as it was: bytes, length, ETag and ranges."""

    def file(self, upstream: RawUpstream) -> bytes:
        return b'{"self": "%b/rest/api/2/issue/1", "key": "JJ-2"}' % upstream.url.encode()

    @pytest.mark.parametrize("target", STORED)
    async def test_a_file_keeps_its_bytes_its_length_and_its_strong_etag(
        self, edge: Running, upstream: RawUpstream, target: str
    ) -> None:
        file = self.file(upstream)
        upstream.handler = says(file, JSON, 'ETag: "abc"')
        for path in (target, f"{target}?x=1"):
            answer = await edge.get(path)
            assert answer.body == file
            assert (answer["Content-Length"], answer["ETag"]) == (str(len(file)), '"abc"')

    async def test_so_does_whatever_is_to_be_saved(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        file = self.file(upstream)
        upstream.handler = says(file, JSON, 'ETag: "abc"', "Content-Disposition: attachment")
        answer = await edge.get("/plugins/servlet/export")
        assert (answer.body, answer["ETag"]) == (file, '"abc"')

    async def test_head_says_the_same_as_get(self, edge: Running, upstream: RawUpstream) -> None:
        async def answer_head(exchange: Exchange) -> None:
            await exchange.read_body()
            head = f'HTTP/1.1 200 OK\r\n{JSON}\r\nContent-Length: 5\r\nETag: "abc"\r\n\r\n'
            await exchange.answer(head.encode())

        upstream.handler = answer_head
        answer = await edge.request("HEAD", STORED[0])
        assert (answer["Content-Length"], answer["ETag"]) == ("5", '"abc"')
        answer = await edge.request("HEAD", "/rest/api/2/issue/JJ-2/properties")
        assert (answer.all("Content-Length"), answer["ETag"]) == ([], 'W/"abc"')

    async def test_the_list_of_properties_is_jiras_and_redirects_lead_here(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        upstream.handler = says(self.file(upstream), JSON)
        answer = await edge.get("/rest/api/2/issue/JJ-2/properties/")
        assert answer.json()["self"].startswith(f"http://{edge.authority}/")
        location = f"Location: {upstream.url}/secure/attachment/1/x"
        upstream.handler = says(b"", location, status="302 Found")
        answer = await edge.get("/secure/attachment/1")
        assert answer["Location"] == f"http://{edge.authority}/secure/attachment/1/x"

    @pytest.mark.parametrize("rewrite", [True, False])
    async def test_a_document_is_sandboxed_whatever_policy_jira_gives_it(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar, rewrite: bool
    ) -> None:
        edge = await make_sidecar(upstream.url, token="t" * 32, links__rewrite=rewrite)
        for field in ("Content-Type: text/html", "Content-Type: image/svg+xml", "X-No: type"):
            upstream.handler = says(b"<p>", field, "Content-Security-Policy: img-src *")
            answer = await edge.get(STORED[0])
            assert answer.all("Content-Security-Policy") == ["img-src *", "sandbox"]
        upstream.handler = says(b"{}", JSON)
        assert not (await edge.get(STORED[0])).all("Content-Security-Policy")


async def test_after_each_step_of_rewriting_the_loop_has_its_turn(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came in one piece is never worked on at once."""
    turns: list[int] = []
    now = 0

    async def tick() -> None:
        nonlocal now
        while True:
            await asyncio.sleep(0)
            now += 1

    class Watched(BodyRewriter):
        def feed(self, data: bytes, *, last: bool = False) -> Iterator[bytes]:
            for step in super().feed(data, last=last):
                turns.append(now)
                yield step

    monkeypatch.setattr(relay, "BodyRewriter", Watched)
    members = gzip.compress(b"", mtime=0) * 3000 + gzip.compress(b" " * 500_000, mtime=0)
    upstream.handler = says(members, JSON, "Content-Encoding: gzip")
    ticking = asyncio.create_task(tick())
    answer = await edge.get(TARGET, ("Accept-Encoding", "gzip"))
    ticking.cancel()
    assert answer.body == b" " * 500_000
    assert len(turns) >= 15
    assert len(set(turns)) >= len(turns) - 2


async def test_after_the_last_piece_too_the_client_is_waited_for(
    upstream: RawUpstream, make_sidecar: MakeSidecar
) -> None:
    """Else a client that asks and does not read has us keep any number of answers."""
    edge = await make_sidecar(upstream.url, token="t" * 32, timeouts__idle=1)
    upstream.handler = says(b"x" * 60_000, PLAIN)
    async with await edge.wire(limit=1) as wire:
        await wire.send(edge.message("GET", TARGET) * 400)
        await upstream.request(1)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while edge.server.listener.connections:  # noqa: ASYNC110 — nothing tells
                await asyncio.sleep(0.01)
    assert 1 < len(upstream.exchanges) < 400


HALF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n4\r\nbody\r\n"
JSON_HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"


class TestUnixSocket:
    """A unix socket has no RST: to HTTP/1.0, its end is the end of an answer without a length."""

    @pytest.fixture
    async def place(
        self, make_sidecar: MakeSidecar, upstream: RawUpstream, tmp_path: Path
    ) -> tuple[Running, str]:
        path = str(tmp_path / "s")
        edge = await make_sidecar(
            upstream.url,
            token="t",
            timeouts__idle=1000,
            listen__addresses=["127.0.0.1:0", f"unix:{path}"],
        )
        return edge, path

    async def ask(self, place: tuple[Running, str], version: str = "1.0", *fields: str) -> Wire:
        edge, path = place
        wire = await Wire.open_unix(path)
        pairs = [("Connection", field) for field in fields]
        message = edge.message("GET", "/x", *pairs)
        await wire.send(message.replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        return wire

    @pytest.mark.parametrize("answer", [HALF % b"", JSON_HALF, b"HTTP/1.1 200 OK\r\n\r\n"])
    async def test_an_answer_that_was_cut_is_502(
        self, place: tuple[Running, str], upstream: RawUpstream, answer: bytes
    ) -> None:
        async def cut(exchange: Exchange) -> None:
            await exchange.read_body()
            await exchange.answer(answer)
            exchange.reset()

        upstream.handler = cut
        async with await self.ask(place) as wire:
            assert (await wire.receive()).status == 502
            assert await wire.end() == (b"", False)

    @pytest.mark.parametrize("size", [0, 5, HELD_BYTES - 1])
    async def test_an_answer_that_is_whole_gets_its_length(
        self, place: tuple[Running, str], upstream: RawUpstream, size: int
    ) -> None:
        assert HELD_BYTES == 1_048_576
        body = bytes(size)

        async def whole(exchange: Exchange) -> None:
            await exchange.read_body()
            await exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            if body:
                await exchange.answer(b"%x\r\n%b\r\n" % (size, body))
            await exchange.answer(b"0\r\n\r\n")

        upstream.handler = whole
        async with await self.ask(place, "1.0", "keep-alive") as wire:
            answer = await wire.receive()
            assert (b"Content-Length", b"%d" % size) in answer.fields
            assert answer.body == body
            assert answer["Connection"] == "keep-alive"

    @pytest.mark.parametrize("leaves", [True, False])
    async def test_a_large_answer_that_was_cut_is_not_ended_while_its_client_waits(
        self,
        place: tuple[Running, str],
        upstream: RawUpstream,
        loop_clock: LoopClock,
        leaves: bool,
    ) -> None:
        edge, _ = place
        go_on = asyncio.Event()

        async def cut(exchange: Exchange) -> None:
            await exchange.read_body()
            await exchange.answer(HALF % b"", b"%x\r\n" % (2 * HELD_BYTES), bytes(2 * HELD_BYTES))
            await go_on.wait()
            exchange.reset()

        upstream.handler = cut
        async with await self.ask(place) as wire:
            status, _, fields = await wire.head()
            assert status == 200
            assert b"content-length" not in {name.lower() for name, _ in fields}
            await wire.reader.readexactly(HELD_BYTES)
            (served,) = edge.server.listener.connections
            ending = asyncio.create_task(wire.reader.read())  # no limit of its own
            go_on.set()
            await until(lambda: served._peer._ended)
            await loop_clock.skip(500)
            assert not ending.done()
            if leaves:
                wire.writer.close()
            else:
                await loop_clock.skip(501)
            await asyncio.wait([ending])
            await until(lambda: not edge.server.listener.connections)

    async def test_others_see_that_something_is_missing(
        self, place: tuple[Running, str], upstream: RawUpstream
    ) -> None:
        async def cut(exchange: Exchange) -> None:
            await exchange.read_body()
            await exchange.answer(HALF % b"")
            exchange.reset()

        upstream.handler = cut
        async with await self.ask(place, "1.1") as wire:
            came, _ = await wire.end()
        assert not came.endswith(b"0\r\n\r\n")
        assert b"\r\nTransfer-Encoding: chunked\r\n" in came or came.startswith(b"HTTP/1.1 502")
