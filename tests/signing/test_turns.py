"""Long work leaves the loop to others after each of its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from sidecar.signing.turns import Turns


async def test_after_each_step_whatever_is_ready_goes_first() -> None:
    events: list[str] = []
    loop = asyncio.get_running_loop()

    def work() -> Generator[None, None, str]:
        for number in range(50):
            loop.call_soon(events.append, f"other {number}")
            yield
            events.append(f"step {number}")
        return "done"

    assert await Turns().finish(work()) == "done"
    assert events == [f"{what} {n}" for n in range(50) for what in ("other", "step")]


async def test_one_work_is_finished_before_the_next_begins() -> None:
    turns = Turns()
    running: set[int] = set()

    def work(number: int) -> Generator[None, None, int]:
        running.add(number)
        for _ in range(5):
            assert running == {number}
            yield
        running.discard(number)
        return number

    assert await asyncio.gather(*(turns.finish(work(n)) for n in range(5))) == list(range(5))


async def test_who_leaves_or_fails_gives_the_turn_to_the_next() -> None:
    turns = Turns()
    closed = asyncio.Event()

    def endless() -> Generator[None, None, None]:
        try:
            while True:
                yield
        finally:
            closed.set()

    def failing() -> Generator[None, None, None]:
        yield
        raise LookupError

    def short() -> Generator[None, None, str]:
        yield
        return "done"

    left = asyncio.create_task(turns.finish(endless()))
    failed = asyncio.create_task(turns.finish(failing()))
    after = asyncio.create_task(turns.finish(short()))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(LookupError):
        await failed
    assert await after == "done"
    assert left.cancelled()
    assert closed.is_set()
