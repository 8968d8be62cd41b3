"""The last requests and the last quarter of an hour: bounded, and cheap to note."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.history import (
    BOUNDS,
    INTERVALS,
    MOST_RECORDS,
    SECONDS,
    History,
    Interval,
    percentile,
)
from sidecar.telemetry.record import Record
from tests.support.clocks import Ticking


def record(ended: float = 5.0, total: float = 0.1, path: str = "/x", **facts: object) -> Record:
    made = Record("GET", path, "id", ended - total)
    made.total, made.status, made.answered_by = total, 200, "jira"
    for name, value in facts.items():
        setattr(made, name, value)
    return made


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_last_hundred_requests_are_kept_the_newest_first(clock: Clock) -> None:
    history = History(clock)
    for number in range(250):
        history.finished(record(path=f"/{number + 1}"))
    latest = history.latest()
    assert [number for number, _ in latest] == list(range(250, 150, -1))
    assert all(one.path == f"/{number}" for number, one in latest)
    assert len(latest) == MOST_RECORDS
    assert [number for number, _ in history.latest(after=247)] == [250, 249, 248]
    assert history.latest(after=250) == []


def test_the_sidecars_own_pages_are_not_listed(clock: Clock) -> None:
    history = History(clock)
    for path in ("/_sidecar", "/_sidecar/", "/_sidecar/page/events", "http://x/_sidecar/ready"):
        history.finished(record(path=path))
    assert (history.seen, history.latest()) == (0, [])
    assert sum(interval.requests for interval in history.intervals()) == 0


def test_intervals_count_what_ended_in_them(clock: Clock) -> None:
    history = History(clock)
    history.finished(record(ended=3, first_byte=0.08))
    history.finished(record(ended=9.9, status=404))
    history.finished(record(ended=10.1, status=503, answered_by="sidecar"))
    history.finished(record(ended=11, resent_for="timestamp_refused"))
    history.finished(record(ended=12, resent_for="token_rejected", problem="token_rejected"))
    history.finished(record(ended=13, status=0))
    clock.now = 25.0
    first, second, third = history.intervals()[-3:]
    assert (first.requests, first.refused, first.failed, first.healed) == (2, 1, 0, 0)
    assert (second.requests, second.refused, second.failed, second.healed) == (4, 0, 1, 1)
    assert first.waited == 0.08
    assert first.total == pytest.approx(0.2)
    assert third.requests == 0
    assert (history.number, history.age) == (2, 5.0)


def test_there_is_a_quarter_of_an_hour_whatever_happened(clock: Clock) -> None:
    history = History(clock)
    for moment in range(0, 5000, 7):
        clock.now = float(moment)
        history.finished(record(ended=clock.now))
    intervals = history.intervals()
    assert len(intervals) == INTERVALS == 900 // SECONDS
    assert [one.number for one in intervals] == list(range(410, 500))
    assert all(one.requests for one in intervals)
    clock.now += 10_000
    assert sum(one.requests for one in history.intervals()) == 0


def test_memory_has_a_bound_and_little_is_held_before_anything_happens(clock: Clock) -> None:
    history = History(clock)
    assert _held(history) < 4096
    for moment in range(3 * 3600):
        clock.now = float(moment)
        history.finished(record(ended=clock.now, path="/" + "x" * 1000))
    full = _held(history)
    assert full < 400_000
    for moment in range(3 * 3600, 4 * 3600):
        clock.now = float(moment)
        history.finished(record(ended=clock.now, path="/" + "x" * 1000))
    assert _held(history) == pytest.approx(full, rel=0.02)


def _held(history: History) -> int:
    found = sys.getsizeof(history._records) + sys.getsizeof(history._intervals)
    for interval in history._intervals:
        found += sys.getsizeof(interval) + sys.getsizeof(interval.latencies)
    for one in history._records:
        found += sys.getsizeof(one) + sys.getsizeof(one.path)
    return found


def test_noting_a_request_looks_at_no_other(clock: Clock) -> None:
    """However many there were: a clock that ticks is not even asked."""
    ticking = Ticking(1.0)
    history = History(ticking)
    for _ in range(1000):
        history.finished(record())
    assert ticking() == 1.0


def test_when_a_request_began_is_told_by_the_other_clock() -> None:
    history = History(clock=lambda: 1000.0, wall=lambda: 1_900_000_000.0)
    assert history.began(record(ended=990.5, total=0.5)) == 1_899_999_990.0


@given(st.lists(st.floats(0, 500), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_within_a_quarter_of_the_true_one(
    values: list[float], share: float
) -> None:
    interval = Interval(0)
    for value in values:
        interval.note(record(total=value))
    found = percentile(interval.latencies, share)
    assert found is not None
    true = sorted(values)[max(0, -(-int(share * 1000) * len(values) // 1000) - 1)]
    assert found <= max(BOUNDS[0], min(true, BOUNDS[-1]) * 1.26)
    assert found >= min(true, BOUNDS[-1]) / 1.26 or true <= BOUNDS[0]


def test_nothing_has_no_percentile() -> None:
    assert percentile(Interval(0).latencies, 0.5) is None
