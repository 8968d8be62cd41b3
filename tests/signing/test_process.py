"""The signing process as the loop sees it: signatures to whom they belong, and no end unnoticed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from sidecar.signing import child
from sidecar.signing import process as signing_process
from sidecar.signing.process import SigningProcess, SigningProcessEnded
from sidecar.signing.signer import Signer
from tests.support.waiting import PATIENCE, until

SIGNER = Signer(generate_private_key(65537, 1024), "OauthKey")
SLOW = Signer(generate_private_key(65537, 4096), "OauthKey")


class Desk:
    """Starts signing processes, and hears why they end."""

    def __init__(self) -> None:
        self.started: list[SigningProcess] = []
        self.reasons: asyncio.Queue[str] = asyncio.Queue()

    def start(self, signer: Signer = SIGNER) -> SigningProcess:
        process = SigningProcess(signer, lambda _, why: self.reasons.put_nowait(why))
        self.started.append(process)
        return process

    async def ready(self, signer: Signer = SIGNER) -> SigningProcess:
        process = self.start(signer)
        await until(lambda: process.is_ready)
        return process

    async def reason(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self.reasons.get()


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that gets no time to answer is none that does not answer."""
    monkeypatch.setattr(signing_process, "PATIENCE", PATIENCE)
    monkeypatch.setattr(signing_process, "STARTING_SECONDS", PATIENCE)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    for process in desk.started:
        process.close()
        await process.wait_closed()


def pid_of(process: SigningProcess) -> int:
    assert process._transport is not None
    pid = process._transport.get_pid()
    assert isinstance(pid, int)
    return pid


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_everybody_gets_the_signature_of_their_own_base_string(desk: Desk) -> None:
    process = await desk.ready()
    texts = [b"GET&%d" % number for number in range(500)]
    made = await asyncio.gather(*(process.sign(text) for text in texts))
    assert made == [SIGNER.signature(text) for text in texts]


async def test_who_leaves_takes_nothing_from_anybody(desk: Desk) -> None:
    process = await desk.ready()
    asked = [process.sign(b"%d" % number) for number in range(20)]
    for leaving in asked[::2]:
        leaving.cancel()
    assert await asyncio.gather(*asked[1::2]) == [
        SIGNER.signature(b"%d" % number) for number in range(1, 20, 2)
    ]


async def test_it_is_not_ready_before_it_has_signed(desk: Desk) -> None:
    process = desk.start()
    assert not process.is_ready


async def test_when_closed_it_makes_what_it_was_asked_for_and_goes(desk: Desk) -> None:
    process = await desk.ready()
    asked = [process.sign(b"%d" % number) for number in range(50)]
    process.close()
    assert not process.is_ready
    assert len(await asyncio.gather(*asked)) == 50
    pid = pid_of(process)
    await process.wait_closed()
    assert await desk.reason() == ""
    assert not is_alive(pid)


async def test_closed_while_it_starts_it_goes_too(desk: Desk) -> None:
    process = desk.start()
    process.close()
    await process.wait_closed()
    assert await desk.reason() == ""


async def test_who_waits_for_one_that_is_killed_is_told(desk: Desk) -> None:
    process = await desk.ready(SLOW)
    asked = [process.sign(b"%d" % number) for number in range(200)]
    os.kill(pid_of(process), signal.SIGKILL)
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, bytes | SigningProcessEnded) for result in results)
    assert isinstance(results[-1], SigningProcessEnded)
    assert await desk.reason() == "it ended with status -9"
    assert not process.is_ready


async def test_one_that_does_not_answer_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await desk.ready(SLOW)
    pid = pid_of(process)
    os.kill(pid, signal.SIGSTOP)
    asked = process.sign(b"x")
    process._look()
    assert process.is_ready  # it has some time to answer
    with monkeypatch.context() as patch:
        patch.setattr(signing_process, "PATIENCE", 0.0)
        process._look()
    with pytest.raises(SigningProcessEnded):
        await asked
    assert await desk.reason() == "it did not answer"
    await until(lambda: not is_alive(pid))


@pytest.mark.parametrize("is_closed", [False, True])
async def test_one_that_rested_has_time_for_what_it_is_told_next(
    desk: Desk, is_closed: bool
) -> None:
    process = await desk.ready(SLOW)
    process._moved_at -= 2 * signing_process.PATIENCE
    if is_closed:
        process.close()
        process._look()
        assert await desk.reason() == ""
    else:
        asked = process.sign(b"x")
        process._look()
        assert await asked == SLOW.signature(b"x")


async def test_one_that_has_nothing_to_do_goes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await desk.ready()
    process._look()
    assert process.is_ready
    monkeypatch.setattr(signing_process, "IDLE_SECONDS", 0.0)
    process._look()
    assert not process.is_ready
    assert await desk.reason() == ""


async def test_what_arrives_after_it_was_given_up_is_nobodys(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await desk.ready()
    asked = process.sign(b"x")
    with monkeypatch.context() as patch:
        patch.setattr(signing_process, "PATIENCE", 0.0)
        process._look()
    process.pipe_data_received(1, SIGNER.signature(b"x"))
    with pytest.raises(SigningProcessEnded):
        await asked


async def test_one_whose_output_is_not_its_own_is_not_used(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho hello\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    process = desk.start()
    assert await desk.reason() == "its signatures are wrong"
    assert not process.is_ready


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("/nonexistent/python", "it could not be started: "),
        (None, "it could not be started: "),
        ("/bin/false", "it ended with status 1"),
    ],
)
async def test_one_that_cannot_start_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, program: str | None, why: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    process = desk.start()
    assert (await desk.reason()).startswith(why)
    assert not process.is_ready


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux shows them there")
async def test_the_key_is_on_no_command_line_and_in_no_environment(desk: Desk) -> None:
    process = await desk.ready()
    about = Path(f"/proc/{pid_of(process)}")
    words = (about / "cmdline").read_bytes().split(b"\0")
    assert words == [sys.executable.encode(), b"-P", child.__file__.encode(), b""]
    secret = str(SIGNER.private_key.private_numbers().d).encode()
    environ = (about / "environ").read_bytes()
    assert b"PRIVATE KEY" not in environ
    assert secret not in environ
