"""No server leaves a connection open that arrives as it stops: ours does not, nor do the tests'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.server.server import Server
from tests.conftest import make_config
from tests.support.late import TURNS, ends_what_arrives
from tests.support.stream_server import StreamServer
from tests.test_browser import PageServer

pytestmark = pytest.mark.parametrize("turns", TURNS)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("is_admin", [False, True])
async def test_the_sidecar(
    turns: int, seconds: float, is_admin: bool, private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    options = {"admin__address": "127.0.0.1:0"} if is_admin else {}
    config = make_config("http://127.0.0.1:9", tmp_path, private_key, **options)

    @asynccontextmanager
    async def running() -> AsyncIterator[int]:
        server = Server(config, {}, named=str)
        await server.start()
        yield server.listening[-1].socket.getsockname()[1]
        await server.stop(seconds)

    assert await ends_what_arrives(running(), int, turns)


async def test_a_server_of_pages(turns: int) -> None:
    pages = PageServer()
    assert await ends_what_arrives(pages.serving(), lambda running: running.port, turns)


async def test_a_server_of_streams(turns: int) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    assert await ends_what_arrives(StreamServer(silent), lambda running: running.port, turns)
