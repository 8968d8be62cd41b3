"""The last requests, and the last quarter of an hour in numbers: for the page.

A request costs one append and a few additions; whatever takes longer is worked out when somebody
looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter, time

from sidecar.telemetry.record import Record

SECONDS = 10
"""The length of an interval."""
INTERVALS = 90
"""A quarter of an hour."""
MOST_RECORDS = 100
BOUNDS = tuple(0.001 * 1.25**step for step in range(54))
"""Seconds; from 1 ms to more than timeouts.response, each a quarter more than the one before."""


class Interval:
    """What happened within ten seconds."""

    __slots__ = (
        "failed",
        "healed",
        "latencies",
        "number",
        "refused",
        "requests",
        "total",
        "waited",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        """How many intervals the clock was old when this one began."""
        self.requests = 0
        self.refused = 0
        """Answered with 4xx."""
        self.failed = 0
        """Answered with 5xx."""
        self.healed = 0
        """Sent again after an OAuth problem, which the client then did not see."""
        self.total = 0.0
        """Seconds of all requests together."""
        self.waited = 0.0
        """Seconds of those in which Jira worked on its answer."""
        self.latencies = [0] * (len(BOUNDS) + 1)

    def note(self, record: Record) -> None:
        """Count a request."""
        self.requests += 1
        self.total += record.total
        self.waited += record.first_byte
        self.latencies[bisect_left(BOUNDS, record.total)] += 1
        if record.status >= 400:
            if record.status >= 500:
                self.failed += 1
            else:
                self.refused += 1
        if record.resent_for and not record.problem:
            self.healed += 1


class History:
    """What the page shows of the past."""

    def __init__(
        self, clock: Callable[[], float] = perf_counter, wall: Callable[[], float] = time
    ) -> None:
        """`clock` is the one that records go by, `wall` tells Unix time."""
        self._clock = clock
        self._wall = wall
        self._intervals: deque[Interval] = deque([Interval(-1)], INTERVALS + 1)
        self._records: deque[Record] = deque(maxlen=MOST_RECORDS)
        self.seen = 0
        """How many requests there were, ever."""

    def finished(self, record: Record) -> None:
        """Note a finished request, unless it asked for one of the sidecar's own pages."""
        if record.is_local:
            return
        self.seen += 1
        self._records.append(record)
        number = int((record.started + record.total) / SECONDS)
        interval = self._intervals[-1]
        if interval.number < number:
            interval = Interval(number)
            self._intervals.append(interval)
        interval.note(record)

    def latest(self, after: int = 0) -> list[tuple[int, Record]]:
        """The last requests with their numbers, those after the given one, the newest first."""
        count = min(self.seen - after, len(self._records))
        return [(self.seen - age, self._records[-1 - age]) for age in range(count)]

    def began(self, record: Record) -> float:
        """When a request came, in Unix time."""
        return self._wall() - (self._clock() - record.started)

    @property
    def number(self) -> int:
        """The number of the interval that it is now."""
        return int(self._clock() / SECONDS)

    @property
    def age(self) -> float:
        """How many seconds old that is."""
        return self._clock() % SECONDS

    def intervals(self) -> list[Interval]:
        """The last quarter of an hour, the oldest interval first, the present one at the end."""
        present = self.number
        found = {interval.number: interval for interval in self._intervals}
        return [
            found.get(number) or Interval(number)
            for number in range(present - INTERVALS + 1, present + 1)
        ]


def percentile(latencies: Sequence[int], share: float) -> float | None:
    """Seconds that so large a share of requests did not exceed; None where there were none."""
    count = sum(latencies)
    if not count:
        return None
    wanted, below = share * count, 0
    for place, number in enumerate(latencies):
        if number and below + number >= wanted:
            low = BOUNDS[place - 1] if place else 0.0
            high = BOUNDS[min(place, len(BOUNDS) - 1)]
            return low + (high - low) * (wanted - below) / number
        below += number
    return BOUNDS[-1]
