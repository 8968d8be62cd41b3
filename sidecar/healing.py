"""Making OAuth failures good before the client sees them: at most one more try for a request.

Every try has a new nonce and timestamp.  What is learnt (a clock, a URL, a token) holds for all
requests that follow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sidecar.authorize import Authorizer
from sidecar.credentials import TokenCredentials
from sidecar.errors import SidecarError
from sidecar.fields import Field
from sidecar.identity import Identity, Signed
from sidecar.problems import Difference, Problem, Remedy, compare_base_strings, explain
from sidecar.target import BaseURL
from sidecar.troubles import Troubles

log = logging.getLogger("sidecar.oauth")

NEAR_SECONDS = 24 * 3600.0
NEAR_PART = 0.1
"""A token's end is near in its last day, or in the last tenth of what we knew of its life."""
RENEWAL_PAUSE = 60.0
"""Seconds after a failed renewal in which no other is tried."""


class Healer:
    """Heals what can be healed, and says what cannot."""

    def __init__(
        self,
        identity: Identity,
        authorizer: Authorizer,
        troubles: Troubles,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity = identity
        self._authorizer = authorizer
        self._troubles = troubles
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._renewal_failed_at: float | None = None
        self._early_renewal: asyncio.Task[bool] | None = None

    async def heal(self, problem: Problem, signed: Signed, fields: list[Field]) -> bool:
        """Whether the request may be sent again now; `fields` are those of Jira's answer."""
        match explain(problem).remedy:
            case Remedy.CLOCK:
                return self._identity.clock.correct(problem, fields)
            case Remedy.AGAIN:
                return True
            case Remedy.RELOAD:
                return self._has_other_token(signed.token)
            case Remedy.RENEW:
                return await self.renew(signed.token)
            case Remedy.COMPARE:
                return self._believe(self.difference(problem, signed))
        return False

    def difference(self, problem: Problem, signed: Signed) -> Difference | None:
        """How Jira's base string differs from ours, where Jira names its own."""
        theirs = problem.parameters.get("oauth_signature_base_string")
        if not theirs:
            return None
        return compare_base_strings(
            theirs, signed.base_string.decode(), self._identity.signing_url.path
        )

    async def renew(self, used: TokenCredentials) -> bool:
        """Make sure that the token is another than `used`: renewed by us, or by another process.

        However many requests ask at once, one renewal is made; the new token is on disk before
        anybody uses it.
        """
        async with self._renewing:
            if self._has_other_token(used):
                return True
            if used.session_handle is None or self._failed_lately():
                return False
            try:
                async with self._identity.token_file.locked():
                    if self._has_other_token(used):
                        return True
                    renewed = await self._authorizer.renew(used)
                    self._identity.token_file.save(renewed)
            except SidecarError as error:
                self._renewal_failed_at = self._clock()
                log.error("the access token cannot be renewed: %s (%s)", error.message, error.hint)
                return False
            self._identity.use(renewed)
            log.info("the access token was renewed")
            return True

    def renew_early(self) -> None:
        """Start a renewal in the background if the token's end is near."""
        lifetime = self._identity.lifetime()
        token = self._identity.known_token()
        if lifetime is None or token is None or token.session_handle is None:
            return
        left, whole = lifetime
        if left > min(NEAR_SECONDS, whole * NEAR_PART) or self._failed_lately():
            return
        if self._early_renewal is None or self._early_renewal.done():
            self._early_renewal = asyncio.create_task(self.renew(token))

    async def close(self) -> None:
        """Let a renewal under way come to its end: half of one could cost the token."""
        if self._early_renewal is not None:
            await asyncio.wait([self._early_renewal])

    def _failed_lately(self) -> bool:
        failed_at = self._renewal_failed_at
        return failed_at is not None and self._clock() - failed_at < RENEWAL_PAUSE

    def _has_other_token(self, used: TokenCredentials) -> bool:
        try:
            return self._identity.token().token != used.token
        except SidecarError:
            return False

    def _believe(self, difference: Difference | None) -> bool:
        """Sign for the URL that Jira believes in from now on, and say how to make that last."""
        if difference is None or difference.perceived is None:
            return False
        perceived = BaseURL.parse(difference.perceived)
        if perceived != self._identity.signing_url:
            self._identity.signing_url = perceived
            if perceived != self._identity.base_url:
                log.warning("%s %s", difference.sentence, difference.hint)
        return True
