"""Jira's clock, as far as it can be told: OAuth timestamps must be within 300 s of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from sidecar.fields import Field, first
from sidecar.problems import Problem, acceptable_timestamps, http_date

TOLERANCE = 30.0
"""Seconds that `Date` may differ from our idea of Jira's clock: a tenth of what Jira accepts."""


class JiraClock:
    """Our own clock, corrected by what Jira's answers tell."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._date_lag = 0.0  # what `Date` lacks: it may come from a proxy with a clock of its own
        self.difference: float | None = None
        """Jira's clock minus ours, in seconds; None until an answer told it."""

    def now(self) -> float:
        """Unix time by Jira's clock."""
        return self._clock() + (self.difference or 0.0)

    def watch(self, fields: list[Field]) -> None:
        """Look at an answer's `Date`, so that a drifting clock is corrected before Jira minds."""
        date = first(fields, b"date")
        seconds = http_date(date) if date is not None else None
        if seconds is None or first(fields, b"age") is not None:  # a cache's answer is old
            return
        # `Date` has whole seconds, cut off: half a second is added on average.
        difference = seconds + 0.5 + self._date_lag - self._clock()
        if self.difference is None or abs(difference - self.difference) > TOLERANCE:
            self.difference = difference if abs(difference) > TOLERANCE else 0.0

    def correct(self, problem: Problem, fields: list[Field]) -> bool:
        """Learn from `timestamp_refused`; False where the answer tells no time at all."""
        date = first(fields, b"date")
        shown = http_date(date) if date is not None else None
        if accepted := acceptable_timestamps(problem):
            told = sum(accepted) / 2
            self._date_lag = told - shown if shown is not None else 0.0
        elif shown is not None:
            told = float(shown)
        else:
            return False
        self.difference = told - self._clock()
        return True
