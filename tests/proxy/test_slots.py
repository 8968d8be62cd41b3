"""The queue in front of Jira: fair, bounded, and never losing a place."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import Overloaded
from sidecar.proxy.slots import Slots
from tests.support.waiting import PATIENCE


class Holder:
    """Takes a slot and keeps it until told."""

    def __init__(self, slots: Slots, order: list[int], number: int) -> None:
        self.release = asyncio.Event()
        self.task = asyncio.create_task(self._hold(slots, order, number))

    async def _hold(self, slots: Slots, order: list[int], number: int) -> None:
        async with slots.take() as slot:
            order.append(number)
            await self.release.wait()
            async with slot.given_up():
                await asyncio.sleep(0)


async def _turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    slots, order = Slots(2, 10), list[int]()
    holders = [Holder(slots, order, number) for number in range(8)]
    await _turn()
    assert order == [0, 1]
    assert (slots.in_use, slots.waiting) == (2, 6)
    for holder in holders:
        holder.release.set()
    await asyncio.gather(*(holder.task for holder in holders))
    assert order == list(range(8))
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_a_slot_that_is_given_up_goes_to_whoever_waits_and_comes_back_in_turn() -> None:
    slots, order, go = Slots(1, 1), list[str](), asyncio.Event()

    async def wait_for_something_else() -> None:
        async with slots.take() as slot:
            async with slot.given_up():
                assert (slots.in_use, slots.waiting) == (0, 1)
                await go.wait()
            assert slots.in_use == 1
            order.append("first")

    first = asyncio.create_task(wait_for_something_else())
    await _turn()
    async with slots.take():
        go.set()
        await _turn()
        assert (slots.in_use, slots.waiting) == (1, 1)
        with pytest.raises(Overloaded):
            await slots.take().__aenter__()
        order.append("second")
    await first
    assert order == ["second", "first"]
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_a_slot_that_comes_back_is_counted_beside_the_others() -> None:
    slots = Slots(2, 1)
    async with slots.take(), slots.take() as slot:
        async with slot.given_up():
            assert (slots.in_use, slots.waiting) == (1, 1)
        assert (slots.in_use, slots.waiting) == (2, 0)
    assert slots.in_use == 0


async def test_where_no_more_may_wait_a_slot_is_kept() -> None:
    slots = Slots(1, 0)
    async with slots.take() as slot:
        async with slot.given_up():
            assert (slots.in_use, slots.waiting) == (1, 0)
        assert slots.in_use == 1
    assert slots.in_use == 0


@pytest.mark.parametrize("is_waiting_again", [False, True])
async def test_who_leaves_without_a_slot_gives_none_back(is_waiting_again: bool) -> None:
    slots, go = Slots(1, 1), asyncio.Event()

    async def leave() -> None:
        async with slots.take() as slot, slot.given_up():
            await go.wait()

    leaving = asyncio.create_task(leave())
    await _turn()
    async with slots.take():
        if is_waiting_again:
            go.set()
            await _turn()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert (slots.in_use, slots.waiting) == (1, 0)
    assert slots.in_use == 0


async def test_nobody_who_comes_later_overtakes_whoever_waits() -> None:
    slots, order = Slots(1, 10), list[int]()
    first, second = Holder(slots, order, 0), Holder(slots, order, 1)
    await _turn()
    first.release.set()
    late = Holder(slots, order, 2)
    for holder in (second, late):
        holder.release.set()
    await asyncio.gather(first.task, second.task, late.task)
    assert order == [0, 1, 2]


async def test_a_slot_goes_on_from_whoever_leaves_as_it_comes_to_the_next_who_is_there() -> None:
    slots = Slots(1, 10)

    async def use() -> int:
        async with slots.take():
            await asyncio.sleep(0)
            return slots.in_use

    holder = slots.take()
    await holder.__aenter__()
    leaving_first, given_to, last = [asyncio.create_task(use()) for _ in range(3)]
    await _turn()
    leaving_first.cancel()  # it is still in the queue
    await holder.__aexit__(None, None, None)
    given_to.cancel()  # it has the slot and does not know yet
    left = await asyncio.gather(leaving_first, given_to, return_exceptions=True)
    assert [type(each) for each in left] == [asyncio.CancelledError] * 2
    async with asyncio.timeout(PATIENCE):
        assert await last == 1
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_past_the_limit_of_waiting_requests_the_next_is_refused() -> None:
    slots, order = Slots(1, 1), list[int]()
    holders = [Holder(slots, order, number) for number in range(2)]
    await _turn()
    with pytest.raises(Overloaded, match="1 requests wait") as refused:
        async with slots.take():
            raise AssertionError
    assert "limits.connections" in refused.value.hint
    for holder in holders:
        holder.release.set()
    await asyncio.gather(*(holder.task for holder in holders))


async def test_without_waiting_room_a_free_slot_is_still_had() -> None:
    slots = Slots(1, 0)
    for _ in range(3):
        async with slots.take():
            with pytest.raises(Overloaded):
                async with slots.take():
                    raise AssertionError


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_whoever_gives_up_gives_back(seed: int, connections: int, waiting: int) -> None:
    async def run() -> None:
        slots, order = Slots(connections, waiting), list[int]()
        dice = random.Random(seed)
        holders: list[Holder] = []
        for number in range(20):
            holders.append(Holder(slots, order, number))
            if dice.random() < 0.5:
                await asyncio.sleep(0)
            holder = dice.choice(holders)
            if dice.random() < 0.5:
                holder.task.cancel()
            else:
                holder.release.set()
            assert slots.in_use <= connections
            assert slots.waiting <= waiting
        for holder in holders:
            holder.release.set()
        await asyncio.gather(*(holder.task for holder in holders), return_exceptions=True)
        assert (slots.in_use, slots.waiting) == (0, 0)
        async with asyncio.timeout(PATIENCE):
            for _ in range(connections):
                await slots.take().__aenter__()

    asyncio.run(run())
