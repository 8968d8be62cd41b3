"""What the tests of the way to Jira share."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.http.fields import Fields
from sidecar.upstream.pool import Upstream, UpstreamRequest, UpstreamResponse
from tests.conftest import make_config
from tests.support.raw_server import RawServer, Script
from tests.support.waiting import PATIENCE

Connect = Callable[..., Awaitable[Upstream]]
Serve = Callable[..., Awaitable[RawServer]]


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Afterwards no task runs, and nothing was left for the garbage collector to close."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []

    def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context["message"] != "Error on transport creation for incoming connection":
            complaints.append(context)  # that would be a raw server's, whose handshake failed

    loop.set_exception_handler(complain)
    before = asyncio.all_tasks()
    gc.freeze()  # so that only what the test made is looked through
    try:
        yield
        gc.collect()
    finally:
        gc.unfreeze()
    if left := asyncio.all_tasks() - before - {asyncio.current_task()}:
        _, left = await asyncio.wait(left, timeout=PATIENCE)
    assert not left
    assert not complaints


@asynccontextmanager
async def serving() -> AsyncIterator[Serve]:
    """Start raw servers."""
    async with AsyncExitStack() as stack:

        async def start(script: Script, **options: Any) -> RawServer:
            return await stack.enter_async_context(RawServer(script, **options))

        yield start


@asynccontextmanager
async def connecting(folder: Path, private_key: RSAPrivateKey) -> AsyncIterator[Connect]:
    """Make ways to a Jira; options come as `timeouts__idle=0.2`."""
    async with AsyncExitStack() as stack:

        async def make(base_url: str, **options: Any) -> Upstream:
            upstream = Upstream(make_config(base_url, folder, private_key, **options))
            stack.push_async_callback(upstream.close)
            return upstream

        yield make


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.fixture
async def connect(tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[Connect]:
    async with connecting(tmp_path, private_key) as make:
        yield make


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """In every module that imports it."""
    async with nothing_left():
        yield


def request(method: str = "GET", target: str = "/", **more: Any) -> UpstreamRequest:
    """A request with the fields that its framing needs, and Host."""
    body = more.get("body", b"")
    fields: Fields = [(b"Host", b"jira")]
    if isinstance(body, bytes) and body:
        fields.append((b"Content-Length", b"%d" % len(body)))
    if more.get("chunked"):
        fields.append((b"Transfer-Encoding", b"chunked"))
    return UpstreamRequest(method, target, fields, **more)


async def whole(response: UpstreamResponse) -> bytes:
    """Read a body to its end, and give the connection back."""
    pieces = []
    try:
        while piece := await response.read():
            pieces.append(piece)
        assert response.at_end()
    finally:
        response.close()
    return b"".join(pieces)


async def get(upstream: Upstream, target: str = "/") -> bytes:
    """Get a body."""
    return await whole(await upstream.send(request(target=target)))
