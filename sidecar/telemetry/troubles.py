"""Counts troubles, remembers the last ones, and logs each kind at most once a minute."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.errors import SidecarError, as_sentence
from sidecar.jira.problems import Problem, explain

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0
MOST_KINDS = 16
"""There are fewer of our own; of those that a Jira can make up, such as URLs, any number."""
MOST_REMEMBERED = 20
"""Troubles that are kept to be shown."""
APART_SECONDS = 3600.0
"""What comes again within so many seconds is the same trouble still."""
_OTHERS = ""


class Quiet:
    """Lets each kind of message through once in a while, and counts what it holds back.

    `most_kinds` are told apart at a time, and the rest are one more: whatever comes, no more
    messages than that get through in so many seconds, and no more kinds are remembered.
    """

    def __init__(
        self,
        seconds: float = QUIET_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        most_kinds: int = MOST_KINDS,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most_kinds = most_kinds
        self._said: dict[str, float] = {}
        self._held_back: Counter[str] = Counter()

    def due(self, kind: str) -> str | None:
        """Return None if this kind was logged lately; else how often it was held back, to add."""
        now = self._clock()
        if kind not in self._said and len(self._said) >= self._most_kinds:
            self._forget(now)
            if len(self._said) >= self._most_kinds:
                kind = _OTHERS
        said = self._said.get(kind)
        if said is not None and now - said < self._seconds:
            self._held_back[kind] += 1
            return None
        self._said[kind] = now
        more = self._held_back.pop(kind, 0)
        return f" (and {more} more since that was last said)" if more else ""

    def _forget(self, now: float) -> None:
        """Forget the kinds that were not said lately; what was held back counts as of others."""
        for kind in [kind for kind, said in self._said.items() if now - said >= self._seconds]:
            del self._said[kind]
            if held_back := self._held_back.pop(kind, 0):
                self._held_back[_OTHERS] += held_back


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem with what to do about it, and when it was seen (Unix time)."""

    problem: str
    hint: str
    at: float
    """When it was last seen."""
    first_at: float
    count: int = 1
    """How often it was seen since `first_at`, at pauses of an hour at most."""


class Troubles:
    """Counts problems, remembers the last, and logs each kind at most once a minute."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._quiet = Quiet(clock=monotonic)
        self._recent: deque[Trouble] = deque(maxlen=MOST_REMEMBERED)
        self.counts: Counter[str] = Counter()
        self.heals: Counter[str] = Counter()

    @property
    def last(self) -> Trouble | None:
        """The trouble that was seen last."""
        return self._recent[-1] if self._recent else None

    @property
    def recent(self) -> list[Trouble]:
        """The last troubles, the newest first."""
        return list(reversed(self._recent))

    def seen(self, problem: Problem, sentence: str = "", hint: str = "") -> str:
        """Note a problem that reached a client; returns the hint that goes with it.

        `sentence` and `hint` say more than the name of the problem does, where that is known.
        """
        self.counts[problem.label] += 1
        return self._refused(problem, sentence, hint, 1)

    def met(self, problem: Problem, sentence: str = "", hint: str = "") -> None:
        """Note a problem with a question of our own, of which no client knows."""
        self._refused(problem, sentence, hint, 0)

    def _refused(self, problem: Problem, sentence: str, hint: str, count: int) -> str:
        explanation = explain(problem)
        causes = "" if sentence else "; or ".join(explanation.causes)
        sentence, hint = sentence or explanation.sentence, hint or explanation.hint
        self._remember(problem.name, hint, count)
        again = self._quiet.due(problem.label)
        if again is not None:
            why = f" Likely causes: {causes}." if causes else ""
            todo = as_sentence(hint)
            log.warning("%s%s What to do: %s%s (%s)", sentence, again, todo, why, problem.name)
        return hint

    def failed(self, error: SidecarError) -> None:
        """Note that a request got no answer of Jira's: it can't be reached, or we can't sign."""
        self._remember(error.proxy_error, error.hint)
        again = self._quiet.due(error.proxy_error)
        if again is not None:
            todo = f" What to do: {as_sentence(error.hint)}" if error.hint else ""
            said = as_sentence(error.message)
            log.warning("%s%s%s (%s)", said, again, todo, error.proxy_error)

    def limited(self, sentence: str, hint: str, *, passed: bool = False) -> None:
        """Note that Jira limits a user's rate; `passed` where its 429 went to a client."""
        self._remember("rate_limited", hint)
        again = self._quiet.due("rate_limited" if passed else "paced")
        if again is not None:
            log.warning("%s%s What to do: %s (rate_limited)", sentence, again, as_sentence(hint))

    def not_renewed(self, error: SidecarError) -> None:
        """Note that the access token could not be renewed, or stored; Renewal logs it itself."""
        self._remember("token_not_renewed", error.hint or error.message)

    def healed(self, problem: Problem) -> None:
        """Note a problem that no client saw."""
        self.heals[problem.label] += 1

    def _remember(self, problem: str, hint: str, count: int = 1) -> None:
        now = self._clock()
        known = next((one for one in self.recent if one.problem == problem), None)
        if known is None or now - known.at > APART_SECONDS:
            self._recent.append(Trouble(problem, hint, now, now))
            return
        self._recent.remove(known)
        self._recent.append(Trouble(problem, hint, now, known.first_at, known.count + count))
