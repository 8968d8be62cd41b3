"""Charts: paths that stay within their frame, and words that say the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.page.charts import HEIGHT, WIDTH, Chart, charts, duration
from sidecar.telemetry.history import BOUNDS, INTERVALS, Interval

NUMBERS = st.integers(0, 10**6)


def interval(number: int = 0, **counts: object) -> Interval:
    made = Interval(number)
    for name, value in counts.items():
        setattr(made, name, value)
    return made


def empty() -> list[Interval]:
    return [Interval(number) for number in range(INTERVALS)]


def by_name(intervals: list[Interval], present: float = 10.0) -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(intervals, present)}


@st.composite
def quarters(draw: st.DrawFn) -> list[Interval]:
    """Any quarter of an hour, with gaps."""
    found = empty()
    for place in draw(st.lists(st.integers(0, INTERVALS - 1), max_size=12)):
        one = found[place]
        one.requests, one.refused, one.failed, one.healed = (draw(NUMBERS) for _ in range(4))
        one.latencies[draw(st.integers(0, len(BOUNDS)))] = draw(NUMBERS)
        one.total, one.waited = draw(st.floats(0, 1e6)), draw(st.floats(0, 1e6))
    return found


@given(quarters(), st.floats(0, 10))
def test_every_path_stays_within_its_frame(intervals: list[Interval], present: float) -> None:
    for chart in charts(intervals, present):
        assert chart.words
        assert chart.title
        for line in chart.lines:
            assert re.fullmatch(r"(?:[MLHVhvZ]|-?\d+(?:\.\d+)?| )*", line.path), line.path
            for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", line.path):
                assert 0 <= float(x) <= WIDTH
                assert 0 <= float(y) <= HEIGHT


def test_nothing_is_drawn_as_nothing() -> None:
    found = by_name(empty())
    assert found["rate"].words.startswith("0 requests in the last 15 minutes")
    assert found["latency"].words == found["share"].words == "No requests in the last 15 minutes."
    assert [line.path for line in found["latency"].lines] == ["", ""]


def test_what_is_drawn_is_said() -> None:
    intervals = empty()
    latencies = [0] * (len(BOUNDS) + 1)
    latencies[20] = 90
    latencies[30] = 10
    intervals[-2] = interval(
        requests=100, refused=3, failed=2, healed=1, total=10.0, waited=9.0, latencies=latencies
    )
    intervals[-1] = interval(requests=1)
    found = by_name(intervals, present=5.0)
    assert found["rate"].words == (
        "101 requests in the last 15 minutes; now 6.7 a second, at most 10."
    )
    assert found["rate"].top == "10"
    assert re.fullmatch(
        r"Half of the requests took 7\d ms or less, 95 of 100 took 7\d\d ms or less.",
        found["latency"].words,
    )
    assert "90 % passed while Jira" in found["share"].words
    assert found["troubles"].words.startswith("In the last 15 minutes 2 answers of 5xx, 3 of 4xx")
    assert [line.label for line in found["troubles"].lines] == ["5xx 2", "4xx 3", "healed 1"]


def test_bars_stand_on_each_other() -> None:
    intervals = empty()
    intervals[0] = interval(failed=1, refused=1)
    bad, note, good = by_name(intervals)["troubles"].lines
    assert bad.path == "M1.5 60.0h7.0V120.0h-7.0Z"
    assert note.path == "M1.5 0.0h7.0V60.0h-7.0Z"
    assert good.path == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0.0 ms"),
        (0.00041, "0.4 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.0123, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (61.25, "61.2 s"),
    ],
)
def test_times_are_written_as_people_read_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
