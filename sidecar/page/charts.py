"""The last quarter of an hour as drawings, each with the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecar.telemetry.history import INTERVALS, SECONDS, Interval, percentile

WIDTH, HEIGHT = 900, 120
_STEP = WIDTH / INTERVALS
_NICE = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Line:
    """A curve, or bars: a path of SVG."""

    name: str
    """Its class in the style sheet."""
    label: str
    """What the legend says, with its present value."""
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawing."""

    name: str
    title: str
    words: str
    """The same for those who don't see it."""
    top: str
    """What the upper edge stands for."""
    lines: list[Line] = field(default_factory=list)


def charts(intervals: Sequence[Interval], present_seconds: float) -> list[Chart]:
    """Draw all charts; the last interval is only so many seconds old."""
    return [_rate(intervals, present_seconds), _latency(intervals), _share(intervals),
            _troubles(intervals)]  # fmt: skip


def _rate(intervals: Sequence[Interval], present_seconds: float) -> Chart:
    rates = [interval.requests / SECONDS for interval in intervals]
    recent = intervals[-2].requests + intervals[-1].requests
    rates[-1] = now = recent / (SECONDS + present_seconds)
    top = _nice(max(rates), least=1)
    total = sum(interval.requests for interval in intervals)
    words = (
        f"{_count(total, 'request')} in the last 15 minutes;"
        f" now {_number(now)} a second, at most {_number(max(rates))}."
    )
    lines = [
        Line("area", "", _area(rates, top)),
        Line("main", f"now {_number(now)}", _curve(rates, top)),
    ]
    return Chart("rate", "Requests a second", words, _number(top), lines)


def _latency(intervals: Sequence[Interval]) -> Chart:
    series = {
        share: [percentile(interval.latencies, share) for interval in intervals]
        for share in (0.5, 0.95)
    }
    known = [value for values in series.values() for value in values if value is not None]
    top = _nice(max(known, default=0.0), least=0.001)
    together = [sum(column) for column in zip(*(i.latencies for i in intervals), strict=True)]
    p50, p95 = percentile(together, 0.5), percentile(together, 0.95)
    lines = [
        Line("main", f"p50 {duration(p50)}", _curve(series[0.5], top)),
        Line("second", f"p95 {duration(p95)}", _curve(series[0.95], top)),
    ]
    words = (
        "No requests in the last 15 minutes."
        if p50 is None
        else f"Half of the requests took {duration(p50)} or less, 95 of 100 took"
        f" {duration(p95)} or less."
    )
    return Chart("latency", "Time for a request", words, duration(top), lines)


def _share(intervals: Sequence[Interval]) -> Chart:
    shares = [
        min(1.0, interval.waited / interval.total) if interval.total else None
        for interval in intervals
    ]
    total, waited = (sum(getattr(i, name) for i in intervals) for name in ("total", "waited"))
    share = f"{100 * min(1.0, waited / total):.0f} %" if total else "–"
    words = (
        f"Of the time for a request, {share} passed while Jira made its answer."
        if total
        else "No requests in the last 15 minutes."
    )
    lines = [Line("area", "", _area(shares, 1)), Line("main", share, _curve(shares, 1))]
    return Chart("share", "Jira’s share of that time", words, "100 %", lines)


def _troubles(intervals: Sequence[Interval]) -> Chart:
    failed = [interval.failed for interval in intervals]
    refused = [interval.refused for interval in intervals]
    healed = [interval.healed for interval in intervals]
    top = _nice(max(map(sum, zip(failed, refused, healed, strict=True))), least=1)
    ground = [0] * len(intervals)
    lines = []
    for name, label, values in (
        ("bad", "5xx", failed),
        ("note", "4xx", refused),
        ("good", "healed", healed),
    ):
        lines.append(Line(name, f"{label} {sum(values)}", _bars(ground, values, top)))
        ground = [low + value for low, value in zip(ground, values, strict=True)]
    words = (
        f"In the last 15 minutes {_count(sum(failed), 'answer')} of 5xx,"
        f" {sum(refused)} of 4xx, and {sum(healed)} healed before the client saw a problem."
    )
    return Chart("troubles", "Refused, failed, healed", words, f"{top:g}", lines)


def duration(seconds: float | None) -> str:
    """A time as people read it: `0.4 ms`, `12 ms`, `1.2 s`; a dash for none."""
    if seconds is None:
        return "–"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 or value == int(value) else f"{value:.1f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _nice(value: float, *, least: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, … times `least` that is not smaller."""
    power = least
    while True:
        for digit in _NICE:
            if digit * power >= value:
                return digit * power
        power *= 10


def _x(place: float) -> float:
    return round(place * _STEP, 1)


def _y(value: float, top: float) -> float:
    return round(HEIGHT * (1 - value / top), 1)


def _runs(values: Sequence[float | None], top: float) -> list[list[tuple[float, float]]]:
    """The points of each stretch without a gap, one in the middle of each interval."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is not None:
            runs[-1].append((_x(place + 0.5), _y(value, top)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _curve(values: Sequence[float | None], top: float) -> str:
    """A line through the values; one that stands alone becomes a short dash."""
    path = ""
    for run in _runs(values, top):
        if len(run) == 1:
            path += f"M{run[0][0] - _STEP / 2:.1f} {run[0][1]}h{_STEP:.1f}"
        else:
            path += "M" + "L".join(f"{x} {y}" for x, y in run)
    return path


def _area(values: Sequence[float | None], top: float) -> str:
    """What lies below the line."""
    return "".join(
        f"M{run[0][0]} {HEIGHT}L" + "L".join(f"{x} {y}" for x, y in run) + f"V{HEIGHT}Z"
        for run in _runs(values, top)
        if len(run) > 1
    )


def _bars(ground: Sequence[int], values: Sequence[int], top: float) -> str:
    """A bar for each value, standing on the one below it."""
    width = round(_STEP * 0.7, 1)
    return "".join(
        f"M{_x(place + 0.15)} {_y(low + value, top)}h{width}V{_y(low, top)}h-{width}Z"
        for place, (low, value) in enumerate(zip(ground, values, strict=True))
        if value
    )
