"""Callers take turns; each one's requests come in their order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.pacing.queue import FairQueue


@dataclass(frozen=True)
class One:
    caller: str
    number: int


def filled(*callers: str) -> FairQueue[One]:
    queue: FairQueue[One] = FairQueue()
    for number, caller in enumerate(callers):
        queue.add(One(caller, number))
    return queue


def order(queue: FairQueue[One]) -> list[One]:
    return [queue.next() for _ in range(len(queue))]


def test_a_caller_with_many_requests_holds_up_no_other() -> None:
    assert [one.caller for one in order(filled(*"aaaaabc"))] == list("abcaaaa")


def test_each_callers_requests_keep_their_order() -> None:
    numbers = [one.number for one in order(filled(*"aabbab")) if one.caller == "a"]
    assert numbers == [0, 1, 4]


def test_a_turn_that_came_to_nothing_comes_again_at_once() -> None:
    queue = filled(*"abab")
    first = queue.next()
    queue.add(first, first=True)
    assert order(queue)[0] is first
    assert len(queue) == 0
    with pytest.raises(KeyError):
        queue.next()


def test_who_leaves_is_not_waited_for() -> None:
    queue = filled(*"aab")
    for one in list(queue):
        if one.caller == "a":
            queue.remove(one)
            queue.remove(one)
    assert [one.caller for one in order(queue)] == ["b"]
    queue.remove(One("a", 0))


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.sampled_from("abcde"))
def test_how_many_come_before_is_known(callers: list[str], caller: str) -> None:
    queue = filled(*callers)
    ahead = queue.ahead_of(caller)
    assert len(list(queue)) == len(queue) == len(callers)
    newest = One(caller, -1)
    queue.add(newest)
    assert ahead - 3 <= order(queue).index(newest) <= ahead


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_nobody_has_two_turns_while_another_waits_for_one(callers: list[str]) -> None:
    queue = filled(*callers)
    waiting = {caller: callers.count(caller) for caller in callers}
    since: dict[str, int] = dict.fromkeys(callers, 0)
    for one in order(queue):
        for other in waiting:
            if other != one.caller and waiting[other]:
                since[other] += 1
                assert since[other] <= len(waiting)
        waiting[one.caller] -= 1
        since[one.caller] = 0
