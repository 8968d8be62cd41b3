"""Lines of requests, on a clock that the test puts forward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sidecar.errors import Overloaded
from sidecar.http.fields import Received
from sidecar.pacing.lines import Lines, Turn
from tests.support.clocks import LoopClock


def fields(remaining: int, wait: float | None = 1, size: int = 10, fill: int = 1) -> Received:
    told = {"Limit": size, "Remaining": remaining, "FillRate": fill, "Interval-Seconds": 1}
    pairs = [(f"X-RateLimit-{name}".encode(), b"%d" % value) for name, value in told.items()]
    if wait is not None:
        pairs.append((b"Retry-After", b"%d" % wait))
    return Received(pairs)


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    lines = Lines()
    yield lines
    lines.close()


class People:
    """Those who wait for a turn, and what came of it."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.turns: list[str] = []
        self.others: dict[str, object] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def come(self, name: str, seconds: float = 30.0, refused_for: float | None = None) -> None:
        now = asyncio.get_running_loop().time()
        until = None if refused_for is None else now + refused_for
        self.tasks[name] = asyncio.create_task(self._wait(name, now + seconds, until))

    async def _wait(self, name: str, deadline: float, until: float | None) -> None:
        try:
            turn = await self.lines.wait("alana", name[0], deadline, until)
        except Overloaded as error:
            self.others[name] = error
            return
        if turn is Turn.COME:
            self.turns.append(name)
        else:
            self.others[name] = turn


async def test_a_line_begins_where_nothing_is_left_and_not_before(
    lines: Lines, loop_clock: LoopClock
) -> None:
    assert not lines.note("alana", fields(1, 0), 0.1, refused=False)
    assert lines.lines == {}
    assert lines.note("alana", fields(0), 0.1, refused=False)
    assert not lines.note("alana", fields(0), 0.1, refused=True), "it has begun before"
    assert lines.note("builds", fields(0), 0.1, refused=True)
    assert set(lines.lines) == {"alana", "builds"}


async def test_there_are_so_many_lines_at_most(
    lines: Lines, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may act as anybody can name ever more users to a Jira that refuses them for long."""
    monkeypatch.setattr("sidecar.pacing.lines.MOST_LINES", 2)
    begun = [lines.note(user, fields(0, 3600), 0.1, refused=True) for user in "abc"]
    assert begun == [True, True, False]
    assert set(lines.lines) == {"a", "b"}
    await loop_clock.skip(3700.0)
    assert lines.note("c", fields(0), 0.1, refused=True)


async def test_others_are_not_held(lines: Lines, loop_clock: LoopClock) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    assert await lines.wait("builds", "b", 0.0) is Turn.COME


async def test_callers_take_turns_one_by_one(lines: Lines, loop_clock: LoopClock) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    for name in ("a1", "a2", "a3", "b1", "c1"):
        people.come(name)
    await loop_clock.skip(0.9)
    assert people.turns == []
    assert lines.waiting == 5
    for number in range(1, 6):
        await loop_clock.skip(2.1 if number == 1 else 1.05)
        assert len(people.turns) == number
    assert people.turns == ["a1", "b1", "c1", "a2", "a3"]
    assert lines.waiting == 0


async def test_a_refused_turn_is_the_next_again(lines: Lines, loop_clock: LoopClock) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    people.come("a1")
    await loop_clock.skip(0)
    people.come("b1", refused_for=0.5)
    await loop_clock.skip(0)
    for _ in range(4):
        await loop_clock.skip(1.05)
    assert people.turns == ["b1", "a1"]


async def test_a_refused_request_waits_until_retry_after_whoever_else_goes(
    lines: Lines, loop_clock: LoopClock
) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    people.come("b1", refused_for=3.5)
    for number in range(1, 6):
        people.come(f"a{number}")
    await loop_clock.skip(0)
    assert lines.waiting == 6
    for _ in range(3):
        await loop_clock.skip(1.1)
    assert "b1" not in people.turns
    assert people.turns
    for _ in range(2):
        await loop_clock.skip(1.1)
    assert "b1" in people.turns
    people.come("c1", refused_for=31.0)
    await loop_clock.skip(0)
    assert people.others == {"c1": Turn.NOT_OPEN}


async def test_the_line_ends_by_itself(lines: Lines, loop_clock: LoopClock) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    await loop_clock.skip(4.9)
    assert lines.lines
    await loop_clock.skip(1.0)
    assert lines.lines == {}


async def test_who_leaves_frees_the_place(lines: Lines, loop_clock: LoopClock) -> None:
    lines.note("alana", fields(0, size=2), 0.1, refused=True)
    people = People(lines)
    for name in ("a1", "b1"):
        people.come(name)
    await loop_clock.skip(0.5)
    for task in people.tasks.values():
        task.cancel()
    await asyncio.gather(*people.tasks.values(), return_exceptions=True)
    assert lines.waiting == 0
    await loop_clock.skip(2.5)
    assert lines.lines == {}, "nothing of it is left"


async def test_nobody_waits_beyond_the_deadline(lines: Lines, loop_clock: LoopClock) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    people.come("a1", 2.5)
    people.come("b1", 2.5)
    await loop_clock.skip(0)
    lines.note("alana", fields(0), 0.0, refused=True)
    for _ in range(6):
        await loop_clock.skip(0.5)
        lines.note("alana", fields(0, wait=2), 0.0, refused=True)
    assert people.turns == []
    assert set(people.others) == {"a1", "b1"}


async def test_a_turn_that_is_too_far_off_is_not_waited_for(
    lines: Lines, loop_clock: LoopClock
) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    for number in range(40):
        people.come(f"a{number}")
    await loop_clock.skip(0)
    assert 25 < lines.waiting < 32, "as many as there are turns in 30 s"
    assert set(people.others.values()) == {Turn.TOO_FAR}
    people.come("b1")
    await loop_clock.skip(0)
    assert "b1" not in people.others, "another caller's turn comes soon"


async def test_where_jira_wants_no_request_for_too_long_nobody_waits(
    lines: Lines, loop_clock: LoopClock
) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    people.come("a1")
    await loop_clock.skip(0)
    lines.note("alana", fields(0, wait=3600), 0.0, refused=True)
    people.come("b1")
    await loop_clock.skip(0)
    assert people.others == {"a1": Turn.NOT_OPEN, "b1": Turn.NOT_OPEN}


async def test_an_endless_wait_makes_no_line(lines: Lines, loop_clock: LoopClock) -> None:
    assert not lines.note("alana", fields(0, wait=9223372036854775807), 0.1, refused=True)
    assert not lines.note("alana", fields(0, wait=None, fill=0), 0.1, refused=True)
    assert lines.lines == {}


async def test_all_are_sent_away_when_the_sidecar_stops(
    lines: Lines, loop_clock: LoopClock
) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    people.come("a1")
    await loop_clock.skip(0)
    lines.stop()
    people.come("b1")
    await loop_clock.skip(0)
    assert {type(error) for error in people.others.values()} == {Overloaded}
    assert len(people.others) == 2
    assert lines.waiting == 0
    assert not lines.note("builds", fields(0), 0.1, refused=True)


async def test_nobody_who_was_refused_waits_in_vain(lines: Lines, loop_clock: LoopClock) -> None:
    lines.note("alana", fields(0), 0.1, refused=True)
    people = People(lines)
    for number in range(40):
        people.come(f"a{number}", refused_for=1.0)
    await loop_clock.skip(0)
    assert 25 < lines.waiting < 32, "as many as there are turns in 30 s"
    assert set(people.others.values()) == {Turn.TOO_FAR}
    lines.stop()
    await loop_clock.skip(0)
    assert lines.waiting == 0
