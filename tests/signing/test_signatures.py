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
from sidecar.signing.signatures import Signatures
from sidecar.signing.signer import Signer
from tests.signing.test_process import is_alive, pid_of
from tests.support.clocks import Ticking
from tests.support.processes import Process
from tests.support.raw_upstream import RawUpstream
from tests.support.services import Manager, port_of
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Client

only_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")


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
    for _ in range(300):
        assert await signatures.make(SIGNER, b"text") == SIGNER.signature(b"text")
    assert signatures._processes == []


async def test_many_at_once_that_come_slowly_sign_on_the_loop() -> None:
    signatures = Signatures(lambda: True, Ticking(10 * SECONDS))
    signatures._change_signer(SIGNER)
    signatures._quickest = SECONDS  # so that most of the time goes by between signatures
    for _ in range(300):
        await signatures.make(SIGNER, b"text")
    assert signatures._processes == []


class Hand:
    """A clock that stands still until a test puts it forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Taking(Counting):
    """A signer whose signatures take a second each, by that clock."""

    def __init__(self, clock: Hand) -> None:
        super().__init__(SIGNER.private_key, "OauthKey")
        self.clock = clock

    def signature(self, base_string: bytes) -> bytes:
        self.clock.now += 1.0
        return super().signature(base_string)


async def hundred(signatures: Signatures, signer: Taking, seconds: float) -> None:
    """Ask for a hundred, the last of them so long after `seconds` began to count."""
    end = signer.clock.now + seconds
    for _ in range(99):
        await signatures.make(signer, b"text")
    assert signer.clock.now <= end
    signer.clock.now = end
    await signatures.make(signer, b"text")


async def test_a_hundred_within_four_times_what_they_take_are_a_rush() -> None:
    clock = Hand()
    signatures = Signatures(lambda: True, clock, cores=2)
    signer = Taking(clock)
    await hundred(signatures, signer, 400.0)
    assert signatures._processes == []
    clock.now -= 1.0  # the hundredth began the second hundred, and took one second
    await hundred(signatures, signer, 400.0)
    assert signatures._processes == []
    clock.now -= 1.0
    await hundred(signatures, signer, 399.0)
    assert len(signatures._processes) == 1
    await signatures.close()


async def test_a_rush_is_over_when_a_hundred_took_longer() -> None:
    clock = Hand()
    signatures = Signatures(lambda: True, clock, cores=2)
    signer = Taking(clock)
    await hundred(signatures, signer, 399.0)
    await until(lambda: signatures._processes[0].is_ready)
    signer.made = 0
    for _ in range(99):
        await signatures.make(signer, b"text")
    assert signer.made == 0
    clock.now += 400.0
    await signatures.make(signer, b"text")
    assert signer.made == 1
    await signatures.close()


async def test_in_a_rush_a_process_makes_them(busy: Signatures) -> None:
    signer = counting()
    await rush(busy, signer)
    keep_rushing(busy)
    signer.made = 0
    texts = [b"%d" % number for number in range(6)]
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
    texts = [b"%d" % number for number in range(32)]
    with held_up(process):
        made = asyncio.gather(*(busy.make(signer, text) for text in texts))
        await asyncio.sleep(0)
        for turn in range(7):
            assert process.waiting == 16
            assert signer.made == turn
            await asyncio.sleep(0)
    assert await made == [SIGNER.signature(text) for text in texts]


@pytest.mark.parametrize(
    ("wanted", "asked"), [(6, 6), (7, 6), (8, 6), (9, 6), (11, 8), (16, 12), (22, 16), (24, 16)]
)
async def test_the_loop_is_left_a_quarter_of_what_is_wanted_and_what_is_over_sixteen(
    busy: Signatures, wanted: int, asked: int
) -> None:
    signer = counting()
    process = await rush(busy, signer)
    keep_rushing(busy)
    signer.made = 0
    texts = [b"%d" % number for number in range(wanted)]
    with held_up(process):
        made = asyncio.gather(*(busy.make(signer, text) for text in texts))
        for _ in range(wanted):
            await asyncio.sleep(0)
        assert (process.waiting, signer.made) == (asked, wanted - asked)
    assert await made == [SIGNER.signature(text) for text in texts]


@pytest.mark.parametrize(("seconds", "helps"), [(0.0005, True), (0.00051, False)])
async def test_the_loop_helps_where_a_signature_takes_half_a_millisecond_at_most(
    seconds: float, helps: bool
) -> None:
    signatures = Signatures(lambda: True, Ticking(SECONDS), cores=1)
    signer = counting()
    process = await rush(signatures, signer)
    keep_rushing(signatures, seconds)
    signer.made = 0
    with held_up(process):
        made = asyncio.gather(*(signatures.make(signer, b"text") for _ in range(8)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert (signer.made > 0) is helps
    await made
    await signatures.close()


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
        assert process.waiting == 16
    assert await made == [SIGNER.signature(text) for text in texts]
    assert signer.made == 0


async def test_who_leaves_while_it_waits_here_costs_no_signature(
    busy: Signatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await rush(busy)
    keep_rushing(busy, 0.003)
    with held_up(process):
        staying = [asyncio.create_task(busy.make(SIGNER, b"x")) for _ in range(16)]
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


async def test_who_leaves_before_the_loop_helps_costs_no_signature(busy: Signatures) -> None:
    signer = counting()
    process = await rush(busy, signer)
    keep_rushing(busy)
    signer.made = 0
    with held_up(process):
        tasks = [asyncio.create_task(busy.make(signer, b"x")) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[16:-1]:
            task.cancel()
        assert await tasks[-1] == SIGNER.signature(b"x")
        assert (process.waiting, signer.made) == (16, 1)
    await asyncio.gather(*tasks[:16])


async def test_a_key_that_would_hold_the_loop_up_is_signed_with_on_all_cores(
    busy: Signatures,
) -> None:
    first = await rush(busy)
    keep_rushing(busy, 0.003)
    with held_up(first):
        texts = [b"%d" % number for number in range(32)]
        made = [asyncio.create_task(busy.make(SIGNER, text)) for text in texts]
        await until(lambda: len(busy._processes) == 2 and busy._processes[1].is_ready)
        await asyncio.wait([asyncio.create_task(busy.make(SIGNER, b"more"))])
        # The other one alone has made what the first has no room for.
        assert [task.done() for task in made] == [False] * 16 + [True] * 16
    assert await asyncio.gather(*made) == [SIGNER.signature(text) for text in texts]


@pytest.mark.parametrize(
    ("cores", "seconds", "most"),
    [
        *[(1, 0.0, 1), (1, 0.003, 1), (2, 0.0, 1), (2, 0.0005, 1), (2, 0.00051, 2), (2, 0.003, 2)],
        *[(4, 0.0, 3), (64, 0.003, 4)],
    ],
)
async def test_no_more_processes_than_cores_that_have_something_to_sign(
    cores: int, seconds: float, most: int
) -> None:
    signatures = Signatures(lambda: True, Ticking(SECONDS), cores=cores)
    await rush(signatures)
    keep_rushing(signatures, seconds)
    for _ in range(5):
        signatures._start_process()
        await until(lambda: all(process.is_ready for process in signatures._processes))
    assert len(signatures._processes) == most
    await signatures.close()


async def test_one_process_is_started_at_a_time() -> None:
    signatures = Signatures(lambda: True, Ticking(SECONDS), cores=64)
    await rush(signatures)
    for _ in range(3):
        signatures._start_process()
    assert [process.is_ready for process in signatures._processes] == [True, False]
    await signatures.close()


@only_linux
async def test_cores_that_we_may_not_run_on_do_not_count() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        signatures = Signatures(lambda: True, Ticking(SECONDS))
    finally:
        os.sched_setaffinity(0, cores)
    await rush(signatures)
    keep_rushing(signatures, 0.003)
    signatures._start_process()
    assert len(signatures._processes) == 1
    await signatures.close()


@pytest.mark.parametrize(("counted", "most"), [(3, 3), (None, 1)])
async def test_where_the_system_does_not_tell_them_apart_all_cores_count(
    counted: int | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    signatures = Signatures(lambda: True, Ticking(SECONDS))
    await rush(signatures)
    keep_rushing(signatures, 0.003)
    for _ in range(3):
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
    await until(lambda: process not in busy._processes)
    assert "is gone: it ended with status -9. Nothing is lost" in caplog.text


async def test_after_a_failure_another_is_started_only_after_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Hand()
    signatures = Signatures(lambda: True, clock, cores=2)
    keep_rushing(signatures)
    process = await rush(signatures)
    os.kill(pid_of(process), signal.SIGKILL)
    await until_gone(signatures)
    assert "another is started after 60 s if needed" in caplog.text
    for clock.now, started in [(1000.0, 0), (1059.9, 0), (1060.0, 1)]:
        keep_rushing(signatures)
        await signatures.make(SIGNER, b"text")
        assert len(signatures._processes) == started
    assert await rush(signatures) is not process
    await signatures.close()


async def test_after_a_rest_two_requests_at_once_start_none_again(
    busy: Signatures, caplog: pytest.LogCaptureFixture
) -> None:
    process = await rush(busy)
    keep_rushing(busy)
    process.close()  # as it does itself when it has nothing to do
    await until_gone(busy)
    await asyncio.gather(busy.make(SIGNER, b"a"), busy.make(SIGNER, b"b"))
    assert busy._processes == []
    keep_rushing(busy)
    assert await rush(busy) is not process  # but the next rush does, at once
    assert caplog.text == ""


async def test_a_changed_key_is_another_processs(busy: Signatures) -> None:
    first = await rush(busy)
    keep_rushing(busy)
    asked = asyncio.create_task(busy.make(SIGNER, b"before"))
    await asyncio.sleep(0)
    second = await rush(busy, OTHER)
    assert second is not first
    assert await asked == SIGNER.signature(b"before")
    await first.wait_closed()
    await until(lambda: not busy._ending)  # so that it does not stay in memory


async def test_what_waits_here_when_the_key_changes_is_signed_with_its_own(
    busy: Signatures,
) -> None:
    process = await rush(busy)
    keep_rushing(busy, 0.003)
    with held_up(process):
        asked = [asyncio.create_task(busy.make(SIGNER, b"before")) for _ in range(20)]
        await asyncio.sleep(0)
        assert await busy.make(OTHER, b"after") == OTHER.signature(b"after")
        assert await asked[-1] == SIGNER.signature(b"before")
    assert await asyncio.gather(*asked) == [SIGNER.signature(b"before")] * 20


async def test_closed_it_leaves_no_process_and_still_signs(busy: Signatures) -> None:
    pid = pid_of(await rush(busy))
    await busy.close()
    assert not is_alive(pid)
    for _ in range(200):
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
