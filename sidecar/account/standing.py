"""Whether Jira takes us, by its last answer to a question of our own.

                  a caller was refused             Jira refuses us
      ┌─────────┐ ───────────────────▶ ┌────────┐ ────────────────▶ ┌─────────┐
      │  TAKEN  │                      │ ASKING │                   │ REFUSED │
      └─────────┘ ◀─────────────────── └────────┘ ◀──────────────── └─────────┘
                     Jira takes us               a pause is over, or
                                                 token or key is another

The question is who we are, and is asked as no caller: one who sends an odd request, or acts as a
user who may not, changes nothing.  A Jira that cannot be reached has not refused us.  With
two-legged OAuth the question is asked at the start, too: nobody has signed in, so only the answer
tells whom the application link acts as.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from sidecar.account.authorize import Authorizer
from sidecar.account.healing import Healer
from sidecar.account.identity import Identity
from sidecar.account.own_requests import Asked
from sidecar.account.token_in_use import LinkItself
from sidecar.errors import SidecarError, with_hint
from sidecar.http.shown import full_name
from sidecar.jira.problems import Problem, explain
from sidecar.telemetry.troubles import Troubles

log = logging.getLogger(__name__)

FIRST_PAUSE = 10.0
LONGEST_PAUSE = 300.0
"""Seconds until Jira is asked again; each pause doubles the last."""
SPREAD = 0.25
"""By what part of it a pause is longer, at most, so that a fleet does not ask all at once."""
PATIENCE = 5.0
"""Seconds that requests wait for the first answer: the links in theirs depend on it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why Jira does not take us."""

    problem: Problem
    """Without its parameters: they hold the access token."""
    sentence: str
    hint: str
    """What to do.  Both may name files and hosts; what explain() says of `problem` does not."""
    since: float
    """Unix time."""


class Standing:
    """Asks Jira who we are when that is in doubt, and again and again while it refuses us."""

    def __init__(
        self,
        identity: Identity,
        authorizer: Authorizer,
        healer: Healer,
        troubles: Troubles,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance` is a number from 0 to 1, another one each time."""
        self._identity = identity
        self._authorizer = authorizer
        self._healer = healer
        self._troubles = troubles
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._asking: asyncio.Task[None] | None = None
        self._doubted = asyncio.Event()
        self._is_closed = False
        self._changed = asyncio.Event()
        self._tried = asyncio.Event()
        self._said = ""
        self.refusal: Refusal | None = None
        """Why we are refused; None while Jira takes us, as far as is known."""

    def start(self, before: Refusal | None = None, *, is_doubted: bool = False) -> None:
        """Begin, with what was known `before` a reload; ask at once where that is in doubt."""
        self.refusal = before
        self._identity.watch(self._changed.set)
        if is_doubted or before is not None or self._is_nameless():
            self.doubt()
        else:
            self._tried.set()

    def doubt(self) -> None:
        """Ask soon: Jira has refused a caller's request, and that may be about us."""
        self._doubted.set()
        if not self._is_closed and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._keep_asking())

    @property
    def is_in_doubt(self) -> bool:
        """Whether Jira is being asked, or was a moment ago, or refuses us."""
        return self._asking is not None and not self._asking.done()

    async def wait_tried(self) -> None:
        """With two-legged OAuth, wait until Jira was asked once, for a while."""
        if self._tried.is_set():
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._tried.wait()
        except TimeoutError:
            self._tried.set()

    async def close(self) -> None:
        """Ask no more."""
        self._is_closed = True
        self._tried.set()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _keep_asking(self) -> None:
        """Ask until Jira takes us, and nobody has doubted that since."""
        pause = FIRST_PAUSE
        while True:
            self._doubted.clear()
            self._changed.clear()
            is_taken = await self._ask()
            self._tried.set()
            if is_taken:
                pause = FIRST_PAUSE
            if await self._changes_within(pause):
                pause = FIRST_PAUSE
            elif not is_taken:
                pause = min(2 * pause, LONGEST_PAUSE / (1 + SPREAD))
            elif not self._doubted.is_set():
                return

    async def _changes_within(self, seconds: float) -> bool:
        """Wait for a while; whether token or key is another by then."""
        pause = asyncio.ensure_future(self._sleep(seconds * (1 + SPREAD * self._chance())))
        change = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({pause, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            change.cancel()
        return self._changed.is_set()

    async def _ask(self) -> bool:
        """Ask Jira who we are, and draw the conclusions; whether it takes us."""
        try:
            asked = await self._answer()
            if self._changed.is_set():  # that was about another token, or key
                return False
            if asked.problem is not None:
                self._refuse(asked, asked.problem)
                return False
            user, display_name = self._authorizer.names(asked)
        except SidecarError as error:
            self._tell(error)
            return False
        self._take()
        await self._introduce(user, display_name)
        return True

    async def _answer(self) -> Asked:
        """Jira's answer; the second one, where the first was about a token that was replaced."""
        asked = await self._ask_once()
        first = asked.problem
        if first is None or not self._healer.takes_time(first):
            return asked
        fields = asked.answer.fields
        if await self._healer.heal(first, asked.signed, fields, is_safe=True) is None:
            return asked
        asked = await self._ask_once()
        self._healer.tried(first, asked.signed, asked.problem)
        return asked

    async def _ask_once(self) -> Asked:
        token = self._identity.refresh()
        self._changed.clear()
        return await self._authorizer.ask_myself(token)

    def _refuse(self, asked: Asked, problem: Problem) -> None:
        before = self.refusal
        explanation = explain(problem)
        sentence, hint = self._healer.explanation(problem, asked.signed, is_safe=True)
        self.refusal = Refusal(
            replace(problem, parameters={}),
            sentence or explanation.sentence,
            hint or explanation.hint,
            before.since if before is not None else self._clock(),
        )
        if before is None or before.problem.name != problem.name:
            self._troubles.met(problem, sentence, hint)
            log.info("not ready: Jira refuses the sidecar's own question, too (%s)", problem.name)

    def _take(self) -> None:
        self._said = ""
        if self.refusal is not None:
            self.refusal = None
            log.info("ready again: Jira takes the sidecar's own question")

    async def _introduce(self, user: str, display_name: str | None) -> None:
        """Note for two-legged requests whom they act as, and what Jira calls itself."""
        link = self._identity.token
        if isinstance(link, LinkItself) and self._is_nameless():
            server_url = await self._authorizer.server_url(link.current())
            link.introduce(user, display_name, server_url)
            who = full_name(user, display_name)
            log.info("%s as %s, two-legged", self._identity.base_url, who)

    def _is_nameless(self) -> bool:
        """Whether we sign as the application link, and do not know whom that acts as."""
        return self._identity.two_legged and self._identity.token.current().user is None

    def _tell(self, error: SidecarError) -> None:
        """Say once why there is no answer that counts; nobody else does before the first one."""
        if error.message != self._said:
            self._said = error.message
            level = logging.WARNING if self._is_nameless() else logging.DEBUG
            log.log(level, "%s", with_hint(error.message, error.hint))
