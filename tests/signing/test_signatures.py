"""Who makes a signature: the loop while it has the time, a process in a rush, and never nobody."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sidecar.signing.process import SigningProcess
from sidecar.signing.signatures import (
    LEAST_AHEAD,
    MOST_AHEAD,
    MOST_PROCESSES,
    WINDOW,
    Signatures,
)
from sidecar.signing.signer import Signer
from tests.signing.test_process import is_alive, pid_of
from tests.support.clocks import Ticking
from tests.support.processes import Process
from tests.support.raw_upstream import RawUpstream
from tests.support.services import Manager, port_of
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Client


class Counting(Signer):
    """A signer that counts the signatures that the loop makes with it."""

    made = 0

    def signature(self, base_string: bytes) -> bytes:
        self.made += 1
        return super().signature(base_string)


SIGNER = Signer(generate_private_key(65537, 1024), "OauthKey")
OTHER = Signer(generate_private_key(65537, 1024), "OauthKey")
SECONDS = 0.0003
"""What a signature takes by the clocks here, and all that goes by: no machine is too slow."""


@pytest.fixture
async def busy() -> AsyncIterator[Signatures]:
    signatures = Signatures(lambda: True, Ticking(SECONDS), cores=2)
    yield signatures
    await signatures.close()


def counting() -> Counting:
    return Counting(SIGNER.private_key, "OauthKey")


async def rush(signatures: Signatures, signer: Signer = SIGNER) -> SigningProcess:
    """Want signatures, one after the other, until a process that makes them is up."""
    async with asyncio.timeout(PATIENCE):
        while True:
            made = await signatures.make(signer, b"text")
            assert made == signer.signature(b"text")
            for process in signatures._processes:
                if process.is_ready and process.signer is signer:
                    return process
            await asyncio.sleep(0)


def keep_rushing(signatures: Signatures, seconds: float = 0.0) -> None:
    """Let the rush go on, with signatures that take so long on the loop."""
    signatures._is_rush = True
    signatures._asked = -(10**6)
    signatures._quickest = seconds


async def until_gone(signatures: Signatures) -> None:
    await until(lambda: not signatures._processes)


@contextmanager
def held_up(process: SigningProcess) -> Iterator[None]:
    """Let a process make nothing meanwhile."""
    os.kill(pid_of(process), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid_of(process), signal.SIGCONT)


async def test_a_lone_request_after_the_other_signs_on_the_loop() -> None:
    signatures = Signatures(lambda: False, Ticking(SECONDS))
    for _ in range(3 * WINDOW):
        assert await signatures.make(SIGNER, b"text") == SIGNER.signature(b"text")
    assert signatures._processes == []


async def test_many_at_once_that_come_slowly_sign_on_the_loop() -> None:
    signatures = Signatures(lambda: True, Ticking(10 * SECONDS))
    signatures._change_signer(SIGNER)
    signatures._quickest = SECONDS  # so that most of the time goes by between signatures
    for _ in range(3 * WINDOW):
        await signatures.make(SIGNER, b"text")
    assert signatures._processes == []


async def test_the_first_rush_is_helped_at_once_however_young_the_machine_is(
    busy: Signatures,
) -> None:
    for _ in range(WINDOW + 1):
        await busy.make(SIGNER, b"text")
    assert len(busy._processes) == 1


async def test_in_a_rush_a_process_makes_them(busy: Signatures) -> None:
    signer = counting()
    await rush(busy, signer)
    keep_rushing(busy)
    signer.made = 0
    texts = [b"%d" % number for number in range(LEAST_AHEAD)]
    made = await asyncio.gather(*(busy.make(signer, text) for text in texts))
    assert signer.made == 0
    assert made == [signer.signature(text) for text in texts]


async def test_what_a_process_has_no_room_for_the_loop_makes_one_in_each_turn(
    busy: Signatures,
) -> None:
    signer = counting()
    process = await rush(busy, signer)
    keep_rushing(busy)
    signer.made = 0
    texts = [b"%d" % number for number in range(2 * MOST_AHEAD)]
    with held_up(process):
        made = asyncio.gather(*(busy.make(signer, text) for text in texts))
        await asyncio.sleep(0)
        for turn in range(7):
            assert process.waiting == MOST_AHEAD
            assert signer.made == turn
            await asyncio.sleep(0)
    assert await made == [SIGNER.signature(text) for text in texts]


async def test_of_a_few_the_loop_is_left_its_share(busy: Signatures) -> None:
    signer = counting()
    process = await rush(busy, signer)
    keep_rushing(busy)
    signer.made = 0
    with held_up(process):
        made = asyncio.gather(*(busy.make(signer, b"%d" % number) for number in range(8)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert (process.waiting, signer.made) == (LEAST_AHEAD, 2)
    assert await made == [SIGNER.signature(b"%d" % number) for number in range(8)]


async def test_what_waits_here_is_passed_on_as_soon_as_there_is_room(busy: Signatures) -> None:
    signer = counting()
    process = await rush(busy, signer)
    keep_rushing(busy, 0.003)  # the loop would be held up
    signer.made = 0
    texts = [b"%d" % number for number in range(50)]
    with held_up(process):
        made = asyncio.gather(*(busy.make(signer, text) for text in texts))
        for _ in range(5):
            await asyncio.sleep(0)
        assert process.waiting == MOST_AHEAD
    assert await made == [SIGNER.signature(text) for text in texts]
    assert signer.made == 0


async def test_who_leaves_while_it_waits_here_costs_no_signature(
    busy: Signatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await rush(busy)
    keep_rushing(busy, 0.003)
    with held_up(process):
        staying = [asyncio.create_task(busy.make(SIGNER, b"x")) for _ in range(MOST_AHEAD)]
        leaving = [asyncio.create_task(busy.make(SIGNER, b"y")) for _ in range(200)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        last = asyncio.create_task(busy.make(SIGNER, b"z"))
        await asyncio.sleep(0)
        asked: list[bytes] = []
        sign = process.sign

        def noting(text: bytes, into: asyncio.Future[bytes] | None = None) -> object:
            asked.append(text)
            return sign(text, into)

        monkeypatch.setattr(process, "sign", noting)
    assert await last == SIGNER.signature(b"z")
    assert asked == [b"z"]
    await asyncio.gather(*staying)


async def test_a_key_that_would_hold_the_loop_up_is_signed_with_on_all_cores(
    busy: Signatures,
) -> None:
    first = await rush(busy)
    keep_rushing(busy, 0.003)
    with held_up(first):
        texts = [b"%d" % number for number in range(2 * MOST_AHEAD)]
        made = [asyncio.create_task(busy.make(SIGNER, text)) for text in texts]
        await until(lambda: len(busy._processes) == 2 and busy._processes[1].is_ready)
        await asyncio.wait([asyncio.create_task(busy.make(SIGNER, b"more"))])
        # The other one alone has made what the first has no room for.
        assert [task.done() for task in made] == [False] * MOST_AHEAD + [True] * MOST_AHEAD
    assert await asyncio.gather(*made) == [SIGNER.signature(text) for text in texts]


@pytest.mark.parametrize(
    ("cores", "seconds", "most"),
    [(1, 0.0, 1), (1, 0.003, 1), (2, 0.0, 1), (2, 0.003, 2), (4, 0.0, 3), (64, 0.003, 4)],
)
async def test_no_more_processes_than_cores_that_have_something_to_sign(
    cores: int, seconds: float, most: int
) -> None:
    assert MOST_PROCESSES == 4
    signatures = Signatures(lambda: True, Ticking(SECONDS), cores=cores)
    await rush(signatures)
    keep_rushing(signatures, seconds)
    for _ in range(MOST_PROCESSES + 1):
        signatures._start_process()
        await until(lambda: all(process.is_ready for process in signatures._processes))
    assert len(signatures._processes) == most
    await signatures.close()


def test_requests_that_come_while_the_process_dies_are_signed_on_any_loop() -> None:
    async def kill_under_load() -> None:
        signatures = Signatures(lambda: True, Ticking(SECONDS), cores=2)
        for _ in range(5):
            process = await rush(signatures)
            keep_rushing(signatures, 0.003)
            os.kill(pid_of(process), signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                while process in signatures._processes:
                    making = asyncio.create_task(signatures.make(SIGNER, b"text"))
                    await asyncio.sleep(0)
                    assert await making == SIGNER.signature(b"text")
            signatures._start_after = signatures._asked = 0
        await signatures.close()

    asyncio.run(kill_under_load())
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(kill_under_load())


async def test_how_long_a_signature_takes_is_found_out_for_each_key(busy: Signatures) -> None:
    await busy.make(SIGNER, b"text")
    busy._quickest = 1e-9
    await busy.make(OTHER, b"text")
    assert busy._quickest > 1e-9


async def test_when_the_process_is_killed_everybody_gets_a_signature_all_the_same(
    busy: Signatures, caplog: pytest.LogCaptureFixture
) -> None:
    process = await rush(busy)
    keep_rushing(busy, 0.003)  # so that all go to the process
    asked = [asyncio.create_task(busy.make(SIGNER, b"%d" % number)) for number in range(200)]
    await asyncio.sleep(0)
    os.kill(pid_of(process), signal.SIGKILL)
    assert await asyncio.gather(*asked) == [SIGNER.signature(b"%d" % n) for n in range(200)]
    await until_gone(busy)
    assert "is gone: it ended with status -9. Nothing is lost" in caplog.text


async def test_after_a_failure_another_is_started_only_after_a_pause(
    busy: Signatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await rush(busy)
    os.kill(pid_of(process), signal.SIGKILL)
    await until_gone(busy)
    for _ in range(2 * WINDOW):
        await busy.make(SIGNER, b"text")
    assert busy._processes == []
    busy._start_after = 0.0
    assert await rush(busy) is not process


async def test_after_a_rest_two_requests_at_once_start_none_again(busy: Signatures) -> None:
    process = await rush(busy)
    keep_rushing(busy)
    process.close()  # as it does itself when it has nothing to do
    await until_gone(busy)
    await asyncio.gather(busy.make(SIGNER, b"a"), busy.make(SIGNER, b"b"))
    assert busy._processes == []


async def test_a_changed_key_is_another_processs(busy: Signatures) -> None:
    first = await rush(busy)
    keep_rushing(busy)
    asked = asyncio.create_task(busy.make(SIGNER, b"before"))
    await asyncio.sleep(0)
    second = await rush(busy, OTHER)
    assert second is not first
    assert await asked == SIGNER.signature(b"before")
    await first.wait_closed()


async def test_closed_it_leaves_no_process_and_still_signs(busy: Signatures) -> None:
    pid = pid_of(await rush(busy))
    await busy.close()
    assert not is_alive(pid)
    for _ in range(2 * WINDOW):
        assert await busy.make(SIGNER, b"text") == SIGNER.signature(b"text")
    assert busy._processes == []


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class UnderLoad:
    """A sidecar that runs as its user runs it, and eight clients that keep it busy."""

    def __init__(self, process: Process, client: Client) -> None:
        self.process = process
        self.statuses: list[int] = []
        self._client = client
        self._over = asyncio.Event()
        self._asking = [asyncio.create_task(self._ask()) for _ in range(8)]

    async def _ask(self) -> None:
        async with await self._client.wire() as wire:
            while not self._over.is_set():
                await wire.send(self._client.message("GET", "/rest/api/2/myself"))
                self.statuses.append((await wire.receive()).status)

    async def more(self, number: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.statuses) + number
        await until(lambda: len(self.statuses) >= wanted)

    async def child(self) -> int:
        """The process id of the process that signs, once there is one."""
        await until(lambda: children(self.process.pid))
        return children(self.process.pid)[0]

    async def stop(self) -> None:
        self._over.set()
        await asyncio.gather(*self._asking)


# However slowly requests come: the machine may have other things to do.
_ALWAYS_A_RUSH = """
from sidecar.signing import signatures
signatures.RUSH = float("inf")
from sidecar.cli import main
main()
"""


@pytest.fixture
async def under_load(
    upstream: RawUpstream, tmp_path: Path, private_key: RSAPrivateKey
) -> AsyncIterator[UnderLoad]:
    manager = Manager(tmp_path, upstream.url, private_key)
    manager.program = ["-c", _ALWAYS_A_RUSH]
    manager.store_token("TOKEN")
    async with manager.running() as process:
        client = Client("127.0.0.1", port_of(await process.says("listening on")))
        yield UnderLoad(process, client)


only_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")


@only_linux
async def test_no_client_notices_that_the_process_was_killed(under_load: UnderLoad) -> None:
    child = await under_load.child()
    await under_load.more(100)
    os.kill(child, signal.SIGKILL)
    await under_load.more(100)
    await under_load.stop()
    assert set(under_load.statuses) == {200}
    await under_load.process.says("is gone: it ended with status -9")


@only_linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_end_of_the_sidecar_leaves_the_process_behind(
    under_load: UnderLoad, number: signal.Signals
) -> None:
    child = await under_load.child()
    await under_load.more(20)
    await under_load.stop()
    under_load.process.signal(number)
    assert await under_load.process.ends() == (0 if number == signal.SIGTERM else -number)
    await until(lambda: not is_alive(child))
