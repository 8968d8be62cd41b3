from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.sandbox_client import SandboxClient

MYSELF = "/rest/api/2/myself"


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m sidecar.sandbox` with these arguments."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar.sandbox", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def key_file(tmp_path: Path, private_key: RSAPrivateKey) -> Path:
    file = tmp_path / "key.pem"
    public = private_key.public_key()
    file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return file


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_its_base_url_alone_and_stops_cleanly(
    key_file: Path, number: signal.Signals
) -> None:
    options = ("--port", "0", "--context-path", "/jira", "--public-key", str(key_file))
    async with running(*options) as process:
        assert process.stdout
        url = (await process.stdout.readline()).decode().strip()
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/jira")
        with await asyncio.to_thread(urlopen, url + "/rest/api/2/serverInfo") as answer:
            assert answer.status == 200
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, out) == (0, b"")
        assert b"Traceback" not in err


async def test_a_taken_port_is_75(key_file: Path) -> None:
    async with running("--port", "0", "--public-key", str(key_file)) as first:
        assert first.stdout
        port = (await first.stdout.readline()).decode().strip().rpartition(":")[2]
        async with running("--port", port) as second:
            out, err = await asyncio.wait_for(second.communicate(), 10)
            assert (second.returncode, out) == (75, b"")
            assert f"127.0.0.1:{port}" in err.decode()


@pytest.mark.parametrize("content", ["", "nonsense"])
async def test_a_file_without_a_key_is_a_usage_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "k.pem"
    file.write_text(content)
    async with running("--port", "0", "--public-key", str(file)) as process:
        _, err = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 2
        assert "no public key" in err.decode()


@pytest.mark.parametrize(
    ("options", "said", "user", "named"),
    [
        ((), "three-legged alone", None, None),
        (("--two-legged",), "two-legged as builds", "builds", None),
        (("--two-legged", "--execute-as", "alana"), "two-legged as alana", "alana", None),
        (
            ("--two-legged", "--impersonation"),
            "two-legged as builds and two-legged as any user",
            *("builds", "william"),
        ),
    ],
)
async def test_the_link_is_two_legged_where_that_is_asked_for(
    key_file: Path,
    private_key: RSAPrivateKey,
    options: tuple[str, ...],
    said: str,
    user: str | None,
    named: str | None,
) -> None:
    async with running("--port", "0", "--public-key", str(key_file), *options) as process:
        assert process.stdout
        assert process.stderr
        url = (await process.stdout.readline()).decode().strip()
        assert f", {said}; users alana, " in (await process.stderr.readline()).decode()
        client = SandboxClient(url, private_key, "")
        for target, expected in ((MYSELF, user), (MYSELF + "?user_id=william", named)):
            answer = await client.call("GET", target)
            assert (answer.status == 200) is (expected is not None)
            assert expected is None or answer.json()["name"] == expected


async def test_an_administrator_is_no_user_to_execute_as(key_file: Path) -> None:
    async with running("--execute-as", "admin") as process:
        _, err = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 2
        assert "admin" in err.decode()
