"""Where hostile bytes meet one sidecar, before an upstream that records what gets through."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.server.server import Server
from tests.conftest import Running, make_config, store_token
from tests.support.raw_upstream import Canary, Exchange, RawUpstream

TOKEN = "yUvBRAqyTjKPGvJTZLNkHXpQJ5OXNYqE"
BYSTANDER = "/bystander"


class Arena:
    """A sidecar between us and an upstream that records, and a canary beside them."""

    def __init__(self, sidecar: Running, upstream: RawUpstream, canary: Canary) -> None:
        self.sidecar = sidecar
        self.upstream = upstream
        self.canary = canary
        self.trouble: list[dict[str, Any]] = []
        """What reached the event loop's exception handler."""

    def expand(self, text: str) -> str:
        text = text.replace("{{PORT}}", str(self.sidecar.port))
        text = text.replace("{{UPSTREAM}}", str(self.upstream.port))
        text = text.replace("{{EVIL}}", self.canary.authority).replace("{{TOKEN}}", TOKEN)
        text = re.sub(
            r"\{\{repeat:(.*?):(\d+)\}\}", lambda m: m[1] * int(m[2]), text, flags=re.DOTALL
        )
        return text.replace("{{LENGTH}}", str(len(text.partition("\r\n\r\n")[2])))

    async def bystander(self) -> None:
        """A normal request on a connection of its own must succeed, whatever goes on."""
        answer = await self.sidecar.get(BYSTANDER)
        assert answer.status == 200, answer

    def arrived(self) -> list[Exchange]:
        return [
            exchange
            for exchange in self.upstream.exchanges
            if not exchange.head.startswith(f"GET {BYSTANDER} ".encode())
        ]

    def check_signed(self, exchange: Exchange) -> None:
        """Whatever arrives at all is ours: signed once, for Jira's host, every line well-formed."""
        assert exchange.is_signed
        assert exchange.all("host") == [f"127.0.0.1:{self.upstream.port}"]
        assert len(exchange.all("authorization")) == 1
        start, *lines = exchange.head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        assert re.fullmatch(r"[A-Z]+ /[!-~]* HTTP/1\.1", start)
        for line in lines:
            assert re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*", line), line

    @contextmanager
    def without_trouble(self, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        """Nobody logs a traceback or an error, and no exception is left that nobody looks at."""
        self.upstream.exchanges.clear()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.trouble.append(context))
        caplog.set_level(logging.DEBUG)
        caplog.set_level(logging.INFO, "asyncio")  # in debug mode it says much
        yield
        gc.collect(0)
        assert self.trouble == []
        for record in caplog.records:
            assert record.exc_info is None, record
            assert record.levelno < logging.ERROR, record.getMessage()
            assert TOKEN not in record.getMessage()


async def answer_fixture(exchange: Exchange, canary: Canary) -> None:
    """Answer as the sample's `upstream_fixture` says."""
    await exchange.read_body()
    target = exchange.target
    if "__redir" in target:
        await exchange.say(b"", f"Location: http://{canary.authority}/x", status="302 Found")
    elif "__hop" in target:
        await exchange.say(
            b"ok",
            "Connection: X-Secret",
            "X-Secret: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
            "Set-Cookie: a=b",
            "Access-Control-Allow-Origin: *",
        )
    elif exchange.start_line.startswith("HEAD "):
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Upstream: 1\r\n\r\n")
    else:
        await exchange.say(b"ok", "X-Upstream: 1")


@asynccontextmanager
async def open_arena(folder: Path, private_key: RSAPrivateKey) -> AsyncIterator[Arena]:
    """Start a sidecar whose state is in `folder`, and what it needs."""
    async with AsyncExitStack() as stack:
        canary = await stack.enter_async_context(Canary())
        upstream = RawUpstream(lambda exchange: answer_fixture(exchange, canary))
        await stack.enter_async_context(upstream)
        config = make_config(upstream.url, folder, private_key)
        store_token(config, TOKEN)
        server = Server(config, {})
        url = (await server.start())[0]
        stack.push_async_callback(server.stop, 1.0)
        yield Arena(Running(server, config, url), upstream, canary)
