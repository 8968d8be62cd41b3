"""Real clients run as they are: each in a process of its own, against a sidecar in another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.clients.stand import Stand, stand
from tests.support.waiting import PATIENCE

SCRIPTS = Path(__file__).parent / "scripts"
INSTALLED = Path(__file__).parents[2] / ".venv-clients"
prepared = pytest.mark.skipif(not INSTALLED.is_dir(), reason="make clients installs the clients")
MakeStand = Callable[..., Awaitable[Stand]]


class Ran(NamedTuple):
    """What a tool left behind."""

    code: int
    out: bytes
    err: str


@pytest.fixture
async def make_stand(tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[MakeStand]:
    """Start stands with the options given."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Stand:
            return await stack.enter_async_context(stand(tmp_path, private_key, **options))

        yield make


async def run(
    *words: str, folder: Path, stdin: bytes = b"", environ: Mapping[str, str] | None = None
) -> Ran:
    """Run a tool to its end with an environment of its own."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ran(process.returncode, out, err.decode("utf-8", "replace"))
