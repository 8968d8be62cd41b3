"""Jira's clock, as far as it can be told: OAuth timestamps must be within 300 s of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from sidecar.http.fields import Field, first
from sidecar.http.http_date import http_date
from sidecar.jira.problems import Problem, acceptable_timestamps

TOLERANCE = 30.0
"""Seconds that `Date` may differ from our idea of Jira's clock: a tenth of what Jira accepts."""
ACCEPTED = 300.0
"""Jira accepts timestamps that are up to so many seconds off, either way."""


class JiraClock:
    """Our own clock, corrected by what Jira's answers tell."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._date_lag = 0.0  # Jira's clock minus `Date`, which a proxy may set by its own clock
        self.correction = 0.0
        """Seconds that are added to our clock for a timestamp."""
        self.difference: float | None = None
        """Jira's clock minus ours, in seconds; None until an answer told it."""

    def now(self) -> float:
        """Unix time by Jira's clock."""
        return self._clock() + self.correction

    def watch(self, fields: list[Field], correction: float, waited: float) -> None:
        """Correct a drift by the `Date` of an answer, before Jira refuses a request for it.

        The request was signed with this `correction` and accepted; its answer took `waited`
        seconds.  An answer to a request that was signed with an older correction is ignored.
        """
        shown = _date(fields)
        if shown is None or correction != self.correction or waited > TOLERANCE:
            return
        # `Date` has whole seconds, cut off: half a second is added on average.
        by_date = shown + 0.5 - self._clock()
        difference = by_date + self._date_lag
        away = abs(difference - correction)
        if away > ACCEPTED:
            # Jira accepted our timestamp, so a cache or gateway has set this Date by its own clock.
            is_plausible = abs(by_date - correction) <= ACCEPTED
            self._date_lag = 0.0 if is_plausible else correction - by_date
            return
        self.difference = difference
        if away > TOLERANCE:
            self.correction = difference if abs(difference) > TOLERANCE else 0.0

    def correct(self, problem: Problem, fields: list[Field]) -> bool:
        """Learn from `timestamp_refused`; False where the answer tells no time at all."""
        shown = _date(fields)
        if accepted := acceptable_timestamps(problem):
            told = sum(accepted) / 2
            self._date_lag = told - shown if shown is not None else 0.0
        elif shown is not None:
            told = float(shown)
            self._date_lag = 0.0
        else:
            return False
        self.correction = self.difference = told - self._clock()
        return True

    def believe(self, difference: float) -> None:
        """Use a difference between Jira's clock and ours that something else has told."""
        self.correction = self.difference = difference

    def was_wrong_throughout(self, correction: float) -> bool:
        """Whether a request's time has been too far from Jira's clock since it was signed.

        Call correct() with Jira's refusal first; the request was signed with this `correction`.
        If its time was right when it was signed, it came late: then a copy that something on the
        way sent before may have come in time.
        """
        return self.difference is not None and abs(self.difference - correction) > ACCEPTED


def _date(fields: list[Field]) -> int | None:
    """The `Date` of an answer, unless a cache says that it is old (RFC 9111 §5.1)."""
    date = first(fields, b"date")
    if date is None or first(fields, b"age") is not None:
        return None
    return http_date(date)
