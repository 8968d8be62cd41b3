"""The lines in which requests wait for Jira's rate limits: one for each user.

A line begins with an answer that says that nothing is left in the user's bucket, and it ends when
nobody waits and the bucket is fine again.  While there is none, nothing is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from enum import Enum, auto

from sidecar.errors import Overloaded
from sidecar.http.fields import Fields
from sidecar.jira.rate_limits import NEVER, is_empty, read
from sidecar.pacing.kept import KeptResponse
from sidecar.pacing.pace import Pace
from sidecar.pacing.queue import FairQueue

MOST_LINES = 10_000
"""With two-legged OAuth there may be a line for each user, of some 2 KiB, and for an hour where
Jira fills buckets once an hour: with more of them a 429 passes."""


class Turn(Enum):
    """What a wait came to."""

    COME = auto()
    TOO_FAR = auto()
    """It is known that the turn comes too late."""
    NOT_OPEN = auto()
    """Jira itself wants no request for longer than that."""


class Waiter:
    """A request that waits in a line."""

    __slots__ = ("caller", "deadline", "turn")

    def __init__(self, caller: Hashable, deadline: float, turn: asyncio.Future[Turn]) -> None:
        self.caller = caller
        self.deadline = deadline
        self.turn = turn


class Line:
    """The requests of one user."""

    def __init__(self, pace: Pace, is_over: Callable[[], None]) -> None:
        """`is_over` is called once when the bucket is fine again and nobody waits."""
        self.pace = pace
        self.waiting: dict[Waiter, None] = {}
        self.queue: FairQueue[Waiter] = FairQueue()
        """Those of them who may have a turn."""
        self.refusal: KeptResponse | None = None
        """The last 429 that was not passed on, and that any request can take for its own."""
        self._is_over = is_over
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def too_late(
        self, caller: Hashable, deadline: float, refused_until: float | None = None
    ) -> Turn | None:
        """Why a request of that caller should not wait; None where it may.

        Who was refused in its turn is the next when Retry-After has passed.
        """
        pace = self.pace
        if max(pace.opens, refused_until or 0.0) > deadline:
            return Turn.NOT_OPEN
        if pace.expected(len(self.waiting)) <= deadline:
            return None  # even behind all others
        turns = len(self.waiting) - len(self.queue)  # those who were refused go first
        if refused_until is None:
            turns += self.queue.ahead_of(caller)
        return Turn.TOO_FAR if pace.expected(turns) > deadline else None

    async def wait(
        self, caller: Hashable, deadline: float, refused_until: float | None = None
    ) -> Turn:
        """Wait for a turn; raises Overloaded where the sidecar stops meanwhile."""
        waiter = Waiter(caller, deadline, self._loop.create_future())
        self.waiting[waiter] = None
        joining = None
        if refused_until is None:
            self.queue.add(waiter)
            self.look()
        else:
            joining = self._loop.call_at(refused_until, self._join, waiter)
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter.turn
        except TimeoutError:
            return Turn.TOO_FAR
        finally:
            if joining is not None:
                joining.cancel()
            del self.waiting[waiter]
            self.queue.remove(waiter)
            if not self.waiting:
                self.look()

    def _join(self, waiter: Waiter) -> None:
        """It had a turn that came to nothing."""
        self.queue.add(waiter, first=True)
        self.look()

    def note(self, fields: Fields, sent: float, *, refused: bool) -> None:
        """Go by what an answer says."""
        self.pace.heard(read(fields, time.time()), sent, self._loop.time(), refused=refused)
        opens = self.pace.opens
        for waiter in [each for each in self.waiting if each.deadline < opens]:
            _tell(waiter, Turn.NOT_OPEN)
        self.look()

    def stop(self) -> None:
        """Send everybody away."""
        for waiter in self.waiting:
            if not waiter.turn.done():
                waiter.turn.set_exception(stopping())
        self.close()

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Give a turn to whoever is due, and look again when the next one is."""
        self.close()
        pace, now = self.pace, self._loop.time()
        while self.queue and pace.due <= now:
            pace.take(now)
            _tell(self.queue.next(), Turn.COME)
        if self.queue:
            self._timer = self._loop.call_at(pace.due, self.look)
        elif self.waiting:
            return
        elif pace.is_over(now) or pace.over_at == NEVER:
            self._is_over()
        else:
            self._timer = self._loop.call_at(pace.over_at, self.look)


class Lines:
    """Every user's line, where there is one."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        """Empty while Jira refuses nobody: whoever sends a request looks whether it is."""
        self._is_stopping = False

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(len(line.waiting) for line in self.lines.values())

    def note(self, user: str, fields: Fields, seconds: float, *, refused: bool) -> bool:
        """Go by an answer that took so many seconds; returns whether a line began with it."""
        now = asyncio.get_running_loop().time()
        line = self.lines.get(user)
        if line is not None:
            line.note(fields, now - seconds, refused=refused)
            return False
        if self._is_stopping or not (refused or is_empty(fields)) or len(self.lines) >= MOST_LINES:
            return False
        pace = Pace(read(fields, time.time()), now, refused=refused)
        line = self.lines[user] = Line(pace, lambda: self._end(user))
        line.look()
        return user in self.lines

    async def wait(
        self, user: str, caller: Hashable, deadline: float, refused_until: float | None = None
    ) -> Turn:
        """Wait for a turn in the user's line, if there is one, but not beyond the deadline.

        `refused_until` is for a request that was sent already: Jira wants it no sooner.
        Overloaded where the sidecar is stopping.
        """
        line = self.lines.get(user)
        if line is None:
            return Turn.COME
        if self._is_stopping:
            raise stopping()
        late = line.too_late(caller, deadline, refused_until)
        return late or await line.wait(caller, deadline, refused_until)

    def stop(self) -> None:
        """Send everybody away who waits, or comes to wait: the process is about to end."""
        self._is_stopping = True
        for line in self.lines.values():
            line.stop()

    def close(self) -> None:
        """Let go of every timer."""
        for line in self.lines.values():
            line.close()

    def _end(self, user: str) -> None:
        self.lines.pop(user, None)


def stopping() -> Overloaded:
    """What is answered to who would wait while the sidecar stops."""
    return Overloaded(
        "The sidecar is shutting down, and Jira's rate limit lets no request through now.",
        "send the request again",
    )


def _tell(waiter: Waiter, turn: Turn) -> None:
    if not waiter.turn.done():
        waiter.turn.set_result(turn)
