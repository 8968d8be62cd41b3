"""Where the process may open few files: who is idle makes room, and messages name what lacks."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.errors import ConfigError, StoreError
from sidecar.files.lock import Lock
from sidecar.files.private import read_secret, write_private
from sidecar.sandbox import Sandbox
from tests.conftest import Running
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.services import MYSELF, Manager, port_of
from tests.support.wire import Client

FEW = 64
_LIMITED = f"""
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, ({FEW}, {FEW}))
runpy.run_module("sidecar", run_name="__main__")
"""


async def test_idle_clients_keep_nobody_out(
    sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    manager = Manager(tmp_path, sandbox.url, private_key)
    manager.store_token(sandbox.grant().token)
    manager.program = ["-c", _LIMITED]
    async with manager.running() as process, AsyncExitStack() as stack:
        client = Client("127.0.0.1", port_of(await process.says("listening on")))
        idle = [await stack.enter_async_context(await client.wire()) for _ in range(2 * FEW)]
        for target in ("/_sidecar/health", MYSELF, "/_sidecar/status", MYSELF):
            assert (await client.get(target)).status == 200
        assert await idle[0].end() == (b"", False)
        assert any("file descriptors" in line for line in process.said)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Nothing more can be opened: every number below the limit is taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        lowest = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_it_is_not_jira_that_is_blamed_where_no_connection_can_be_opened(
    edge: Running, upstream: RawUpstream
) -> None:
    async def once(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.say(b"ok", "Connection: close")

    upstream.handler = once
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/rest"))
        assert (await wire.receive()).status == 200
        with no_descriptors():
            await wire.send(edge.message("GET", "/rest"))
            answer = await wire.receive()
        assert (answer.status, answer["Retry-After"]) == (503, "1")
        assert answer["Proxy-Status"].startswith("sidecar; error=connection_limit_reached")
        assert "LimitNOFILE=" in answer.message
        assert "Jira up" not in answer.message
        await wire.send(edge.message("GET", "/rest"))
        assert (await wire.receive()).status == 200


def test_a_file_that_cannot_be_opened_is_not_blamed_on_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"secret")
    with no_descriptors():
        with pytest.raises(ConfigError, match="Too many open files") as unread:
            read_secret(path, "key", "it must be a key")
        with pytest.raises(StoreError, match="Too many open files") as unwritten:
            write_private(path, b"other")
        with pytest.raises(StoreError, match="Too many open files") as unlocked:
            Lock(path)
    for found in (unread, unwritten, unlocked):
        assert "LimitNOFILE=" in found.value.hint
    assert path.read_bytes() == b"secret"
