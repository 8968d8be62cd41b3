"""When the next request of a user may be sent, by what Jira says of the user's rate limit; pure.

Jira fills a bucket with so many tokens each interval.  Requests are spread over the interval: so
each finds a token, whenever in the interval they come.  With several nodes each has a bucket, and
every answer speaks of one of them: how many there are shows in how many were emptied at once, and
in what is left over of all of them.

A 429 that comes in spite of the pace closes the line until Retry-After; with several nodes, which
may be chosen at random, it is one of them that is empty, and only the request that met it waits.

A bucket that is filled each minute or hour has many tokens at once.  They may go within seconds,
and where none are left it is waited until they come.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from sidecar.jira.rate_limits import NEVER, Said

SLACK = 0.98
"""Of the fill rate: one that is late by a fiftieth of an interval still finds its token."""
_LONG = 5.0
"""Seconds: the tokens of a longer interval are used up and waited for."""
_SPEND = 4.0
"""Seconds in which most tokens that are left over may go."""
_SUSPECT = 10
"""Intervals in which a 429, in spite of the pace, says that another one was no accident."""
_FEW = 8
"""Requests, at least, by which it is judged how many are refused: a quarter is too many."""
_MOST_NODES = 32
_LEAST_SHARE = 1 / 16
"""Of a bucket that others use, too, as much is tried for."""
_LOWER, _HIGHER = 0.8, 1.1


class Pace:
    """The pace of one user, from the answer on that says that nothing is left."""

    def __init__(
        self,
        said: Said,
        now: float,
        *,
        refused: bool,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`refused` tells a 429 from an answer that took the last token; `now` is monotonic."""
        self._jitter = jitter
        self._bucket = said.bucket
        self._share = 0.0  # how many buckets' fill is used, or which part of one
        self._has_begun = False
        self._since = now  # since then it is known that nothing was left
        self._suspect_until = now
        self._left, self._left_at = 0, now  # in the emptiest bucket, and when that was said
        self._reserve = 0  # what was left over when tokens came
        self._window_ends = 0.0
        self._lowest: int | None = None  # of what was left, in the present window
        self._lowest_before: int | None = None
        self._taken = self._refused = 0  # in the present window
        self.opens = now
        """Before that Jira wants no request."""
        self._last = now  # when the last request was due
        self.heard(said, now - 1, now, refused=refused)

    @property
    def spacing(self) -> float:
        """Seconds between two requests."""
        bucket, share = self._bucket, self._share if self._has_begun else max(self._share, 1.0)
        rate = max(bucket.fill, _LEAST_SHARE) * share / bucket.interval
        return 1 / (rate * SLACK + max(0, self._reserve - 1) / _SPEND)

    @property
    def due(self) -> float:
        """When the next request may be sent."""
        return max(self.opens, self._last + self.spacing)

    def expected(self, turns: int) -> float:
        """When it is somebody's turn who has so many before it, as far as it can be foreseen."""
        bucket = self._bucket
        if bucket.interval <= _LONG:
            return self.due + turns * self.spacing
        fillings, rest = divmod(turns, max(bucket.fill, 1))
        return self.due + fillings * bucket.interval + min(rest * self.spacing, _SPEND)

    @property
    def over_at(self) -> float:
        """When the bucket is half full again, if nothing else is heard of it."""
        bucket = self._bucket
        half = max(1.0, bucket.size / 2)
        missing = half - max(self._left, self._reserve)
        if missing <= 0:
            return self.opens
        if not bucket.fill:
            return NEVER
        return max(self.opens, self._left_at + missing * bucket.interval / bucket.fill)

    def is_over(self, now: float) -> bool:
        """Whether the bucket is fine again: half full by its last word, or by the time since."""
        return now >= self.over_at

    def take(self, now: float) -> None:
        """A request is sent.  If it was due a little earlier, the next one does not wait for it."""
        due, spacing = self.due, self.spacing
        self._last = due if now - due < spacing else now
        self._taken += 1
        if not self._has_begun:
            self._has_begun = True
            if self._share > 1:
                self._suspect_until = now + _SUSPECT * self._bucket.interval
            self._share = max(self._share, 1.0)

    def heard(self, said: Said, sent: float, now: float, *, refused: bool) -> None:
        """Take note of an answer, and of when its request was sent."""
        left = 0 if refused else said.remaining
        if left is None:
            left = said.bucket.size + 1  # it is not said: as many as were asked for
        is_early = sent < self._since
        self._note_left(left, now)
        if refused:
            if is_early or not self._has_begun or self._is_strike(now):
                self._hold(said.wait or self.spacing, now)
        elif is_early:
            if not left:
                self._add_node(said, now)
        else:
            self._bucket = said.bucket
            self._follow(said, left, now)

    def _note_left(self, left: int, now: float) -> None:
        bucket = self._bucket
        filled = self._left + bucket.fill * (now - self._left_at) / bucket.interval
        if left <= filled:
            self._left, self._left_at = left, now

    def _hold(self, seconds: float, now: float) -> None:
        """Let nobody go for a while."""
        self._since = now
        self.opens = max(self.opens, now + seconds + self._jitter() * min(self.spacing, 1.0))
        self._last = self.opens - self.spacing
        self._begin_window(self.opens)

    def _add_node(self, said: Said, now: float) -> None:
        """Another bucket was emptied, in the same moment, by requests that nobody held."""
        if not self._has_begun:
            self._share = min(self._share + 1, _MOST_NODES)
            self._hold(min(said.wait, said.bucket.interval), now)

    def _is_strike(self, now: float) -> bool:
        """Whether all wait after a 429 that came in spite of the pace.

        Of several nodes one is empty; where too many are, they are fewer than we believe.  Of one
        node it may be an accident, or somebody else takes tokens, too.
        """
        self._refused += 1
        self._lowest_before = None
        if self._share > 1:
            if self._taken < _FEW or self._refused * 4 <= self._taken:
                return False
            self._share -= 1
        elif now < self._suspect_until:
            self._share = max(self._share * _LOWER, _LEAST_SHARE)
        self._suspect_until = now + _SUSPECT * self._bucket.interval
        return True

    def _follow(self, said: Said, left: int, now: float) -> None:
        """Go by an answer to a request that was sent at this pace."""
        if left and self.opens > now:  # Jira takes requests before it said it would
            self.opens = now
        if self._bucket.interval > _LONG:
            self._reserve = left
            if not left:
                self._hold(min(said.wait, said.bucket.interval), now)
            return
        if now >= self._window_ends and (self._taken >= _FEW or not self._refused):
            self._judge_window(now)
            self._begin_window(now)
        self._lowest = left if self._lowest is None else min(left, self._lowest)

    def _begin_window(self, now: float) -> None:
        self._window_ends = now + self._bucket.interval
        self._lowest = None
        self._taken = self._refused = 0

    def _judge_window(self, now: float) -> None:
        """Use more of the buckets where what was left over was lost when tokens came, twice."""
        lowest, before = self._lowest, self._lowest_before
        self._lowest_before = lowest
        if lowest is None or self._refused:
            self._reserve = 0
            return
        bucket = self._bucket
        self._reserve = min(lowest, bucket.size - bucket.fill)
        is_used = self._taken * self.spacing >= 0.8 * bucket.interval
        if not is_used or before is None or lowest < before:
            return
        if self._share < 1 and lowest:
            self._share = min(1.0, self._share * _HIGHER)
        elif lowest >= max(3, bucket.fill / 4, bucket.size - bucket.fill):
            self._share = min(self._share + 1, _MOST_NODES)
            self._lowest_before = None
