"""`sidecar demo`: it can be ended at any moment, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.support.processes import Process, Shell, shell
from tests.support.wire import Client

__all__ = ["shell"]


@pytest.fixture
def demo_shell(shell: Shell, tmp_path: Path) -> Shell:
    """A shell whose browser does nothing, and whose temporary folders can be seen."""
    shell.environ |= {"TMPDIR": str(tmp_path), "BROWSER": "true"}
    return shell


def folders(folder: Path) -> list[Path]:
    return list(folder.glob("sidecar-demo-*"))


def port_in(curl: str) -> int:
    return int(curl.rpartition("127.0.0.1:")[2].partition("/")[0])


async def test_it_serves_until_it_is_ended(demo_shell: Shell, tmp_path: Path) -> None:
    async with demo_shell.running("demo", "--port", "0", until="Ctrl-C") as process:
        port = port_in(await process.says("curl http://127.0.0.1:"))
        answer = await Client("127.0.0.1", port).get("/rest/api/2/issue/JJ-2")
        assert answer.json()["key"] == "JJ-2"
        assert folders(tmp_path)
        process.signal(signal.SIGINT)
        assert await process.ends() == 0
    assert not folders(tmp_path)


async def test_it_acts_as_the_application_link_where_nobody_has_to_approve(
    demo_shell: Shell,
) -> None:
    async with demo_shell.running("demo", "--port", "0", "--two-legged", until="Ctrl-C") as process:
        assert "Two-legged: acts as Build Robot (builds)" in process.said
        port = port_in(await process.says("curl http://127.0.0.1:"))
        answer = await Client("127.0.0.1", port).get("/rest/api/2/myself")
        assert answer.json()["name"] == "builds"
    refused = await demo_shell.run("demo", "--two-legged", "--manual")
    assert (refused.code, refused.hint) == (2, "leave --manual out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("words", "until"),
    [
        (["--manual"], "oauth_token="),
        ([], "a sandbox Jira runs at"),
        ([], "Ctrl-C"),
    ],
)
async def test_the_first_signal_ends_it_at_every_stage(
    demo_shell: Shell, tmp_path: Path, words: list[str], until: str, number: signal.Signals
) -> None:
    async with demo_shell.running("demo", "--port", "0", *words, until=until) as process:
        assert folders(tmp_path)
        process.signal(number)
        assert await process.ends() == 0
    assert not folders(tmp_path)
    assert not any("rror" in line for line in process.said), process.said


async def test_started_by_nohup_it_outlives_its_terminal(demo_shell: Shell, tmp_path: Path) -> None:
    process = Process(
        await asyncio.create_subprocess_exec(
            "nohup", sys.executable, "-m", "sidecar", "demo", "--port", "0",
            cwd=tmp_path, env=demo_shell.environ, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
    )  # fmt: skip
    try:
        port = port_in(await process.says("curl http://127.0.0.1:"))
        process.signal(signal.SIGHUP)
        assert (await Client("127.0.0.1", port).get("/_sidecar/health")).status == 200
    finally:
        await process.stop()
    assert not folders(tmp_path)


async def test_a_port_in_use_is_answered_with_the_option_that_it_has(
    demo_shell: Shell, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = await demo_shell.run("demo", "--port", str(other.getsockname()[1]))
    assert done.code == 75
    assert "--port" in done.hint
    assert "--listen" not in done.hint
    assert not folders(tmp_path)
