"""OAuth problems as they are seen: told in plain words, but not over and over."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.problems import Problem, explain

log = logging.getLogger("sidecar.oauth")

QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem with what to do about it, and when it was seen (Unix time)."""

    problem: str
    hint: str
    at: float


class Troubles:
    """Counts problems, remembers the last, and logs each kind at most once a minute."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._unlogged: Counter[str] = Counter()
        self.last: Trouble | None = None
        self.counts: Counter[str] = Counter()
        self.heals: Counter[str] = Counter()

    def seen(self, problem: Problem, sentence: str = "", hint: str = "") -> str:
        """Note a problem that reached a client; returns the hint that goes with it."""
        explanation = explain(problem)
        sentence, hint = sentence or explanation.sentence, hint or explanation.hint
        label = problem.label
        self.counts[label] += 1
        self.last = Trouble(problem.name, hint, self._clock())
        since = self._clock() - self._logged.get(label, 0.0)
        if 0 <= since < QUIET_SECONDS:
            self._unlogged[label] += 1
            return hint
        self._logged[label] = self._clock()
        more = self._unlogged.pop(label, 0)
        again = f" (and {more} times since it was last said)" if more else ""
        causes = "".join(f"; or {cause}" for cause in explanation.causes)[5:]
        log.warning(
            "%s%s What to do: %s. Likely causes: %s. (%s)",
            sentence,
            again,
            hint,
            causes or "unknown",
            problem.name,
        )
        return hint

    def healed(self, problem: Problem) -> None:
        """Note a problem that no client saw."""
        self.heals[problem.label] += 1
