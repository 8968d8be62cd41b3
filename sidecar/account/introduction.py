"""Two-legged OAuth: asking Jira whom the application link acts as, and what Jira calls itself.

A sign-in learns both from the first answer to a new token; here nobody signs in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.account.link_itself import LinkItself
from sidecar.errors import SidecarError, as_sentence
from sidecar.http.shown import full_name

log = logging.getLogger(__name__)

FIRST_PAUSE = 10.0
LONGEST_PAUSE = 300.0
"""Seconds until Jira is asked again; each pause doubles the last."""
PATIENCE = 5.0
"""Seconds that requests wait for the first answer: the links in theirs depend on it."""


class Introduction:
    """Asks in the background, until Jira has answered."""

    def __init__(
        self,
        identity: Identity,
        authorizer: Authorizer,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._identity = identity
        self._authorizer = authorizer
        self._sleep = sleep
        self._asking: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    def start(self) -> None:
        """Begin to ask, where we sign as the link itself and Jira has not yet said."""
        link = self._identity.token
        if isinstance(link, LinkItself) and link.current().user is None:
            self._asking = asyncio.create_task(self._ask(link))
        else:
            self._tried.set()

    async def wait_tried(self) -> None:
        """Wait until Jira was asked once, for a while."""
        if self._tried.is_set():
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._tried.wait()
        except TimeoutError:
            self._tried.set()

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self, link: LinkItself) -> None:
        pause, said = FIRST_PAUSE, ""
        while True:
            try:
                token = await self._authorizer.introduce(link.current(), heals_url=True)
                assert token.user is not None
                link.introduce(token.user, token.display_name, token.server_url)
                who = full_name(token.user, token.display_name)
                log.info("%s as %s, two-legged", self._identity.base_url, who)
                return
            except SidecarError as error:
                if error.message != said:
                    said = error.message
                    log.warning("%s What to do: %s", said, as_sentence(error.hint))
            finally:
                self._tried.set()
            await self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
