"""Renewing the access token with its session handle: once, safely, and never in a hurry.

Jira drops the old token as it issues the new one.  So nobody who waits can stop a renewal, two
processes take turns, and the new token is on disk before anybody uses it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import NEVER, Identity
from sidecar.credentials import WARNING_SECONDS, TokenCredentials
from sidecar.errors import (
    CertificateError,
    ConfigError,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    NotAuthorized,
    SidecarError,
    in_brackets,
)
from sidecar.files.tokens import KeptBeside
from sidecar.jira.refusals import RenewedUnseen
from sidecar.telemetry.troubles import Quiet, Troubles

log = logging.getLogger(__name__)

NEAR_SECONDS = 24 * 3600.0
NEAR_PART = 0.1
"""A token is renewed in its last day, or in the last tenth of its life if that is shorter."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds before a failed renewal or save is tried again: the pause doubles each time."""
LOCK_SECONDS = 60.0
"""Seconds that a renewal waits for another process's."""
LAST_PATIENCE = 1.0
"""Seconds that the last try to store a token, at the end of the process, waits for the lock."""
LOCK_PATIENCE = 10.0
"""Seconds that a request waits for another process that is renewing the token just now."""
NEW_SECONDS = 5.0
"""A renewal takes one round trip.  Where Jira has not answered it after so many seconds, it may
still answer an upload that is signed with the old token."""
_DAY = 24 * 3600.0

_JIRA_DID_NOTHING = (
    NotAuthorized,
    ConfigError,
    NameNotResolved,
    ConnectionRefused,
    CertificateError,
    ConnectTimeout,
)
"""After these, but RenewedUnseen, Jira still knows the old token: it said so, or was never asked.
After any other error nobody knows: TLS, too, can break while the answer comes."""

IN_VAIN = NotAuthorized(
    "Jira calls a token expired that it has only just given.",
    "see whether the clocks of Jira's machines are right",
)


class Renewal:
    """Replaces the token of an identity."""

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
        self._file = identity.token_file
        self._mark = identity.renewal_mark
        self._running: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._pause = 0.0
        self._paused_until = NEVER
        self._new_until = NEVER
        self._quiet = Quiet()
        self._daily = Quiet(_DAY, clock)
        self.error: SidecarError | None = None
        """Why the last renewal failed; None again once Jira has accepted a new token."""
        self._trouble: tuple[TokenCredentials | None, SidecarError] | None = None

    @property
    def trouble(self) -> SidecarError | None:
        """Why the token in use could not be renewed or is not stored yet; None if all is well."""
        if self._trouble is None or self._trouble[0] != self._identity.token.last_read:
            return None
        return self._trouble[1]

    async def replace(self, used: TokenCredentials) -> bool:
        """Make sure that the token is another than `used`; False where it cannot be renewed.

        However many requests ask at once, one renewal is made.
        """
        if self._is_replaced_on_disk(used):
            return True
        if self._is_running() or not self._is_paused():
            await self._renew_once(used)
        return self._is_replaced(used)

    async def wait_replaced(self, used: TokenCredentials) -> bool:
        """Whether the token is another than `used` by now, once a renewal under way has ended.

        Jira drops the old token before the new one is on disk, in this process or another.
        """
        await self.wait_idle()
        if self._is_replaced(used):
            return True
        try:
            async with self._file.locked(LOCK_PATIENCE):
                return self._is_replaced_on_disk(used)
        except SidecarError:
            return False

    @property
    def has_just_begun(self) -> bool:
        """Whether a renewal is under way that began a moment ago."""
        return self._is_running() and self._clock() < self._new_until

    async def wait_while_new(self) -> None:
        """Wait for such a renewal, before a request is sent that can be sent only once."""
        await self.wait_idle(self._new_until - self._clock())

    async def wait_idle(self, seconds: float | None = None) -> None:
        """Wait for a renewal under way, for so long at most."""
        if self._running is not None and not self._running.done():
            await asyncio.wait([self._running], timeout=seconds)

    async def wait_saved(self) -> None:
        """Wait for a renewal under way, and until what it brought is on disk."""
        await self.wait_idle()
        if self._saving is not None and not self._saving.done():
            await asyncio.wait([self._saving])

    def renew_if_near_end(self) -> None:
        """Renew in the background if the token's end is near; warn of the end before that."""
        lifetime = self._identity.token.lifetime()
        token = self._identity.token.last_read
        if lifetime is None or token is None:
            return
        left, whole = lifetime
        if left <= WARNING_SECONDS:
            self._warn()
        is_near = left <= min(NEAR_SECONDS, whole * NEAR_PART)
        if is_near and token.session_handle is not None and not self._is_paused():
            self._start(token)

    def confirm(self) -> None:
        """Note that Jira accepts the new token."""
        self._pause = 0.0
        self.error = None

    def report_in_vain(self, used: TokenCredentials) -> None:
        """Note that Jira calls the new token expired, too: the next renewal has to wait."""
        if not self._is_replaced(used):
            self._failed(IN_VAIN)

    async def close(self, seconds: float) -> None:
        """Let a renewal under way come to its end: half of one could cost the token.

        One that Jira has not answered after so many seconds is given up.
        """
        await self.wait_idle(seconds)
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])
            used = self._identity.token.last_read
            if used is not None and self._mark.is_about(used):
                log.critical(
                    "stopped while Jira was asked for a new access token: if it answers"
                    " token_rejected from now on, run `sidecar auth`"
                )
        if self._saving is None or self._saving.done():
            return
        self._saving.cancel()
        await asyncio.wait([self._saving])
        if not await self._save_again(LAST_PATIENCE) and self._identity.token.unsaved() is not None:
            log.critical(
                "the new access token could not be stored, and Jira has dropped the old one:"
                " run `sidecar auth`"
            )

    async def _renew_once(self, used: TokenCredentials) -> None:
        # A client that goes away must not cost the token: its handler is cancelled, not this.
        # And a renewal that is given up at the end of the process must not look like that.
        renewing = self._start(used)
        await asyncio.wait([renewing])
        if not renewing.cancelled():
            renewing.result()

    def _start(self, used: TokenCredentials) -> asyncio.Task[None]:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._renew(used))
            self._new_until = self._clock() + NEW_SECONDS
        return self._running

    async def _renew(self, used: TokenCredentials) -> None:
        try:
            async with self._file.locked():
                if not self._is_replaced_on_disk(used) and self._is_current(used):
                    await self._exchange(used)
        except SidecarError as error:
            self._failed(error)

    async def _exchange(self, used: TokenCredentials) -> None:
        """Ask for the new token and keep it; what would stop us from storing it comes first."""
        if used.session_handle is None:
            raise NotAuthorized("Jira gave nothing to renew it with.", "run `sidecar auth`")
        if unsaved := self._identity.token.unsaved():
            self._file.save(unsaved)
            self._identity.token.use(unsaved)
        self._file.prove_replaceable()
        was_cut_short = self._mark.is_about(used)
        self._mark.set(used)
        try:
            with self._file.reserved():
                renewed = await self._authorizer.renew(used)
        except RenewedUnseen:
            raise
        except _JIRA_DID_NOTHING:
            if not was_cut_short:
                self._mark.clear()
            raise
        try:
            self._file.save(renewed)
        except KeptBeside as error:
            self._keep_beside(renewed, error)
            return
        except SidecarError as error:
            self._keep_in_memory(renewed, used, error)
            return
        self._mark.clear()
        self._trouble = None
        self._identity.token.use(renewed)
        log.info("the access token was renewed")

    def _keep_beside(self, renewed: TokenCredentials, error: KeptBeside) -> None:
        self._mark.clear()
        self._identity.token.use(renewed)
        self._note(error)
        log.error(
            "the access token was renewed: %s.  Putting it in place is tried again and again%s",
            error.message,
            in_brackets(error.hint),
        )
        self._saving = asyncio.create_task(self._keep_saving())

    def _keep_in_memory(
        self, renewed: TokenCredentials, used: TokenCredentials, error: SidecarError
    ) -> None:
        self._identity.token.use(renewed, instead_of=used)
        self._note(error)
        log.error(
            "the access token was renewed and cannot be stored: %s.  It is lost if the sidecar"
            " ends before that; storing it is tried again and again%s",
            error.message,
            in_brackets(error.hint),
        )
        self._saving = asyncio.create_task(self._keep_saving())

    async def _keep_saving(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            if await self._save_again():
                return
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _save_again(self, patience: float = LOCK_SECONDS) -> bool:
        """Store a token that is in memory, or beside its place; whether nothing is left to do."""
        try:
            async with self._file.locked(patience):
                unsaved = self._identity.token.unsaved()
                if unsaved is None:
                    self._file.put_in_place()
                    self._trouble = None
                    return True
                self._file.save(unsaved)
        except SidecarError as error:
            self._note(error)
            if (again := self._quiet.due("saving")) is not None:
                log.error(
                    "the renewed access token is still not stored: %s%s", error.message, again
                )
            return False
        self._mark.clear()
        self._trouble = None
        self._identity.token.use(unsaved)
        log.info("the renewed access token is stored now")
        return True

    def _failed(self, error: SidecarError) -> None:
        if not self._is_paused():
            self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
            self._paused_until = self._clock() + self._pause
        self.error = error
        self._note(error)
        if (again := self._quiet.due("renewal")) is not None:
            hint = in_brackets(error.hint)
            log.error("the access token cannot be renewed: %s%s%s", error.message, hint, again)

    def _note(self, error: SidecarError) -> None:
        self._trouble = self._identity.token.last_read, error
        self._troubles.not_renewed(error)

    def _warn(self) -> None:
        if self._daily.due("expiry") is None:
            return
        if (warning := self._identity.token.expiry_warning()) is not None:
            log.warning("%s", warning)

    def _is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    def _is_paused(self) -> bool:
        return self._clock() < self._paused_until

    def _is_replaced_on_disk(self, used: TokenCredentials) -> bool:
        """Whether another process has put another token there, by what the file itself says."""
        if not self._is_replaced(used):
            self._identity.token.look_again()
        return self._is_replaced(used)

    def _is_replaced(self, used: TokenCredentials) -> bool:
        current = self._current()
        return current is not None and current.token != used.token

    def _is_current(self, used: TokenCredentials) -> bool:
        current = self._current()
        return current is not None and current.token == used.token

    def _current(self) -> TokenCredentials | None:
        try:
            return self._identity.token.current()
        except SidecarError:
            return None
