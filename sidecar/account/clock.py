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
"""Seconds that Jira accepts either way: what it took was never further from its clock."""


class JiraClock:
    """Our own clock, corrected by what Jira's answers tell."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._date_lag = 0.0  # what `Date` lacks: it may come from a proxy with a clock of its own
        self.correction = 0.0
        """Seconds that are added to our clock for a timestamp."""
        self.difference: float | None = None
        """Jira's clock minus ours, in seconds; None until an answer told it."""

    def now(self) -> float:
        """Unix time by Jira's clock."""
        return self._clock() + self.correction

    def watch(self, fields: list[Field], correction: float, waited: float = 0.0) -> None:
        """Look at the `Date` of an answer, so that a drift is corrected before Jira minds.

        The request was signed with this `correction` and not refused; its answer took `waited`
        seconds.  Who signed with an older correction has nothing new to say.
        """
        shown = _date(fields)
        if shown is None or correction != self.correction or waited > TOLERANCE:
            return
        # `Date` has whole seconds, cut off: half a second is added on average.
        by_date = shown + 0.5 - self._clock()
        difference = by_date + self._date_lag
        away = abs(difference - correction)
        if away > ACCEPTED:
            # Jira took our timestamp, so this Date was set by a cache's or a gateway's clock.
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
        """Sign by a difference from our clock that was told otherwise."""
        self.correction = self.difference = difference

    def was_wrong_throughout(self, correction: float) -> bool:
        """Whether Jira refused the time of a request at every moment since it was signed.

        To be asked once correct() has learnt from the refusal; the request was signed with this
        `correction`.  False: it was signed in time and came late, so that a copy of it which
        something on the way has sent before may have been in time.
        """
        return self.difference is not None and abs(self.difference - correction) > ACCEPTED


def _date(fields: list[Field]) -> int | None:
    """The `Date` of an answer, unless a cache says that it is old (RFC 9111 §5.1)."""
    date = first(fields, b"date")
    if date is None or first(fields, b"age") is not None:
        return None
    return http_date(date)
