"""Wrong access keys: answered slowly, few at a time, and nobody else waits for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.files.private import write_private
from sidecar.proxy import wrong_keys
from sidecar.proxy.wrong_keys import DELAY_SECONDS, MOST_HELD, WrongKeys
from tests.conftest import MakeSidecar, Running
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import RawUpstream
from tests.support.waiting import until
from tests.support.wire import Wire, turns

WRONG = ("X-Sidecar-Key", "wrong")
RIGHT = ("X-Sidecar-Key", "right")


class Night:
    """A sleep that lasts until it is ended, and remembers how long it should have been."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.over.wait()


async def test_a_guess_takes_a_second_and_no_flood_of_them_holds_more_than_64_answers() -> None:
    night = Night()
    held_back = WrongKeys(night)
    for number in (1, 2):
        night.over.clear()
        waiting = [asyncio.create_task(held_back.hold_back()) for _ in range(65)]
        await turns(2)
        assert night.asked == [1.0] * 64 * number
        night.over.set()
        assert await asyncio.gather(*waiting) == [True] * 64 + [False]


async def test_so_many_wait_and_no_more_and_then_others_can() -> None:
    night = Night()
    held_back = WrongKeys(night)
    waiting = [asyncio.create_task(held_back.hold_back()) for _ in range(MOST_HELD)]
    await turns(2)
    assert night.asked == [DELAY_SECONDS] * MOST_HELD
    assert not await held_back.hold_back()
    waiting[0].cancel()  # its client has left
    await asyncio.gather(waiting[0], return_exceptions=True)
    one_more = asyncio.create_task(held_back.hold_back())
    await turns(2)
    assert not one_more.done()
    night.over.set()
    assert all(await asyncio.gather(*waiting[1:], one_more))


@pytest.fixture
async def guarded(upstream: RawUpstream, make_sidecar: MakeSidecar, tmp_path: Path) -> Running:
    """A sidecar that asks for a key, with one slot."""
    write_private(tmp_path / "access_key", b"right\n")
    return await make_sidecar(
        upstream.url,
        token="t",
        access__key_file=str(tmp_path / "access_key"),
        limits__connections=1,
        limits__waiting=0,
    )


@pytest.mark.parametrize("target", ["/x", "/_sidecar/status"])
async def test_a_wrong_key_waits_and_a_right_or_a_missing_one_does_not(
    guarded: Running, target: str, loop_clock: LoopClock
) -> None:
    async with await guarded.wire() as wire:
        await wire.send(guarded.message("GET", target, WRONG))
        answering = asyncio.create_task(wire.receive())
        assert (await guarded.get(target, RIGHT)).status == 200
        assert (await guarded.get(target)).status == 401
        assert not answering.done()
        await loop_clock.skip(DELAY_SECONDS)
        assert (await answering).status == 401
        await wire.send(guarded.message("GET", target, RIGHT))  # it may go on
        assert (await wire.receive()).status == 200


async def test_one_too_many_is_answered_at_once_and_has_to_connect_again(
    guarded: Running, monkeypatch: pytest.MonkeyPatch, loop_clock: LoopClock
) -> None:
    monkeypatch.setattr(wrong_keys, "MOST_HELD", 2)
    wires = [await guarded.wire() for _ in range(3)]
    for wire in wires:
        await wire.send(guarded.message("GET", "/x", WRONG))
    ended = await asyncio.gather(*map(_first_to_end, wires[2:]))
    assert [status for status, _ in ended] == [401]
    assert [field for _, field in ended] == ["close"]
    assert (await guarded.get("/x", RIGHT)).status == 200
    await loop_clock.skip(DELAY_SECONDS)
    for wire in wires[:2]:
        answer = await wire.receive()
        assert (answer.status, answer.all("Connection")) == (401, [])
    for wire in wires:
        await wire.close()


async def _first_to_end(wire: Wire) -> tuple[int, str]:
    answer = await wire.receive()
    assert not await wire.ends()
    return answer.status, answer["Connection"]


async def test_a_client_that_leaves_is_not_waited_for(guarded: Running) -> None:
    wire = await guarded.wire()
    await wire.send(guarded.message("GET", "/x", WRONG))
    await until(lambda: guarded.server.listener.connections)
    wire.leave()
    await until(lambda: not guarded.server.listener.connections)
