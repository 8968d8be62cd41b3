"""Several sidecars, each a process, with one token file that each reaches by another way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from sidecar.credentials import Secret, TokenCredentials
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from tests.conftest import CONSUMER_KEY
from tests.support.loading import MYSELF, renewals
from tests.support.processes import Process
from tests.support.services import port_of
from tests.support.wire import Client

NAMESPACE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
MOUNT = 'mount --bind "$0" "$1" && shift && exec "$@"'


def may_mount() -> bool:
    """Whether this machine lets us have mounts of our own."""
    try:
        done = subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


@asynccontextmanager
async def running(config: Path, token: Path, *before: str) -> AsyncIterator[Client]:
    """A sidecar of its own process, and a client of it."""
    process = Process(
        await asyncio.create_subprocess_exec(
            *before, sys.executable, "-m", "sidecar", "run", "--config", str(config),
            env={**os.environ, "SIDECAR_TOKEN_PATH": str(token)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )  # fmt: skip
    try:
        line = await process.says("listening on")
        yield Client("127.0.0.1", port_of(line))
    finally:
        await process.stop()


@pytest.mark.parametrize("how", ["symlink", "mount"])
async def test_two_processes_renew_once_and_lose_nothing(
    sandbox: Sandbox, write_config: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    if how == "mount" and not may_mount():
        pytest.skip("this machine lets nobody have mounts of their own")
    config = write_config(sandbox.url, '[listen]\naddresses = ["127.0.0.1:0"]\n')
    state, other = tmp_path / "state", tmp_path / "other"
    file = TokenFile(state / "token.json", BaseURL.parse(sandbox.url), CONSUMER_KEY)
    grant = sandbox.grant()
    token = TokenCredentials(Secret(grant.token), Secret(""), Secret(grant.session_handle))
    file.save(token)
    before = _other_way(state, other, how)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(config, file.path))
        two = await stack.enter_async_context(running(config, other / "token.json", *before))
        for number in range(1, 4):
            sandbox.expire()
            answers = await asyncio.gather(*(c.get(MYSELF) for _ in range(10) for c in (one, two)))
            assert {answer.status for answer in answers} == {200}
            assert renewals(sandbox) == number
    stored = file.load()
    assert stored is not None
    assert stored.token.reveal() in sandbox.provider.access_tokens


def _other_way(state: Path, other: Path, how: str) -> list[str]:
    """Make `other` lead to the folder `state`; what has to stand before the command."""
    if how == "symlink":
        other.symlink_to(state)
        return []
    other.mkdir()
    return [*NAMESPACE, "sh", "-c", MOUNT, str(state), str(other)]
