from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from sidecar.sandbox.answers import JSON, Answer, answer_json
from sidecar.sandbox.send import reset, send
from tests.support.wire import Client

GZIP = ("Accept-Encoding", "gzip")
Serve = Callable[[Callable[[], Answer], int | None], None]


class Desk(Client):
    """A server that sends one answer, made anew for each request, and a client of it."""

    make: Callable[[], Answer] = Answer
    cut_off: int | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/reset":
            return await reset(request)
        return await send(request, type(self).make(), self.cut_off)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk("127.0.0.1", 0)
    runner = web.ServerRunner(web.Server(desk.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    desk.port = runner.addresses[0][1]
    yield desk
    await runner.cleanup()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def sends(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Answer]) -> None:
    monkeypatch.setattr(Desk, "make", staticmethod(make))


async def test_fields_keep_their_order_and_the_reason_is_empty(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [("X-B", "1"), ("X-A", "2"), ("X-B", "3")]
    sends(monkeypatch, lambda: Answer(299, b"x", "text/x", list(pairs)))
    answer = await desk.get("/")
    assert (answer.status, answer.reason, answer.body) == (299, b"", b"x")
    ours = [(name.decode(), value.decode()) for name, value in answer.fields]
    assert [pair for pair in ours if pair[0].startswith("X-")] == pairs


@pytest.mark.parametrize(("length", "name"), [(3, "Content-Length"), (None, "Transfer-Encoding")])
async def test_a_stream_has_its_length_or_is_chunked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, length: int | None, name: str
) -> None:
    sends(monkeypatch, lambda: Answer(200, pieces(b"a", b"bc"), "text/x", length=length))
    answer = await desk.get("/")
    assert answer.body == b"abc"
    assert answer.all(name)
    assert (await desk.request("HEAD", "/")).body == b""


@pytest.mark.parametrize(
    ("answer", "compressed"),
    [
        (lambda: answer_json({"a": 1}), True),
        (lambda: Answer(200, pieces(b"abc"), "text/plain"), True),
        (lambda: answer_json({"a": 1}, ETag='W/"1"'), True),
        (lambda: answer_json({"a": 1}, ETag='"1"'), False),
        (lambda: Answer(206, b"abc", JSON), False),
        (lambda: Answer(200, b"abc", "image/png"), False),
        (lambda: Answer(200, b"", JSON), False),
        (lambda: Answer(200, b"abc", JSON, bare=True), False),
    ],
)
async def test_text_is_compressed_unless_its_bytes_are_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Answer], compressed: bool
) -> None:
    sends(monkeypatch, answer)
    plain, asked = await desk.get("/"), await desk.get("/", GZIP)
    assert asked.all("Content-Encoding") == (["gzip"] if compressed else [])
    assert (gzip.decompress(asked.body) if compressed else asked.body) == plain.body


@pytest.mark.parametrize(
    "make",
    [
        lambda: Answer(200, b"abcdef", "a/b"),
        lambda: Answer(200, pieces(b"ab", b"cdef"), "a/b", length=6),
    ],
)
async def test_an_answer_can_be_cut_off(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Answer]
) -> None:  # fmt: skip
    sends(monkeypatch, make)
    desk.cut_off = 3
    async with await desk.wire() as wire:
        await wire.send(desk.message("GET", "/"))
        _, _, fields = await wire.head()
        assert (b"Content-Length", b"6") in fields
        assert await wire.ends() == b"abc"


async def test_raw_bytes_are_sent_as_they_are(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sends(monkeypatch, lambda: Answer(raw=b"HTTP/1.1 200 \xff\r\nX: \xfe\r\n\r\nraw"))
    answer = await desk.get("/")
    assert (answer.reason, answer.fields, answer.body) == (b"\xff", [(b"X", b"\xfe")], b"raw")


async def test_close_is_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sends(monkeypatch, lambda: Answer(400, b"x", fields=[("Connection", "close")]))
    async with await desk.wire() as wire:
        await wire.send(desk.message("GET", "/"))
        assert (await wire.receive())["Connection"] == "close"
        assert await wire.ends() == b""


async def test_a_reset_is_no_answer(desk: Desk) -> None:
    async with await desk.wire() as wire:
        await wire.send(desk.message("GET", "/reset"))
        assert await wire.end() == (b"", True)
