from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from sidecar.sandbox.answers import TooLarge
from sidecar.sandbox.body import WireBody
from sidecar.sandbox.record import Fields, Request
from tests.support.wire import Client

PIECE = b"x" * 1000


class Desk:
    """A server that does with a body what a test says, and what became of it."""

    def __init__(self) -> None:
        self.bodies: list[tuple[WireBody, Request]] = []
        self.said: object = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        record = Request(request.method, request.raw_path, Fields(request.raw_headers))
        body = WireBody(request, record)
        self.bodies.append((body, record))
        try:
            self.said = await getattr(self, request.path.strip("/"))(body)
        except TooLarge as error:
            self.said = str(error)
        return web.Response(text="done")

    async def peek(self, body: WireBody) -> object:
        first = await body.peek(2500)
        return first, sum([len(piece) async for piece in body.chunks()])

    async def read(self, body: WireBody) -> object:
        return await body.read(2500)

    async def drain(self, body: WireBody) -> object:
        await body.drain()
        return None


@pytest.fixture
async def desk() -> AsyncIterator[tuple[Desk, Client]]:
    desk = Desk()
    runner = web.ServerRunner(web.Server(desk.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield desk, Client(host, port)
    await runner.cleanup()


async def test_what_was_peeked_at_is_read_again(desk: tuple[Desk, Client]) -> None:
    there, client = desk
    await client.request("POST", "/peek", body=b"abc")
    assert there.said == (b"abc", 3)


async def test_a_body_over_the_limit_is_still_read_whole(desk: tuple[Desk, Client]) -> None:
    there, client = desk
    await client.request("POST", "/peek", body=PIECE * 5)
    assert there.said == (None, 5000)
    _, record = there.bodies[0]
    assert record.body_complete
    assert record.body_sha256 == hashlib.sha256(PIECE * 5).hexdigest()


@pytest.mark.parametrize(("pieces", "said"), [(2, PIECE * 2), (3, "more than 2500 bytes")])
async def test_no_more_than_the_limit_is_held(
    desk: tuple[Desk, Client], pieces: int, said: object
) -> None:
    there, client = desk
    await client.request("POST", "/read", body=PIECE * pieces)
    assert there.said == said


@pytest.mark.parametrize(("path", "interim"), [("/read", [100]), ("/drain", [])])
async def test_a_body_is_asked_for_only_when_it_is_wanted(
    desk: tuple[Desk, Client], path: str, interim: list[int]
) -> None:
    _, client = desk
    fields = ("Expect", "100-continue"), ("Content-Length", "3")
    async with await client.wire() as wire:
        await wire.send(client.message("POST", path, *fields))
        if interim:
            assert (await wire.head())[0] == 100
            await wire.send(b"abc")
        assert (await wire.receive()).status == 200
