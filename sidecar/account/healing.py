"""Healing OAuth problems before the client sees them: a request is sent at most once more.

Every try has a new nonce and timestamp.  What is learnt (a clock, a URL, a token) holds for all
requests that follow.  What a refusal proves says remedies.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import NEVER, Identity
from sidecar.account.remedies import Remedies
from sidecar.account.renewal import IN_VAIN, Renewal
from sidecar.account.request_signer import Signed
from sidecar.errors import SidecarError
from sidecar.http.fields import Field
from sidecar.http.target import BaseURL
from sidecar.jira.explanations import Remedy
from sidecar.jira.problems import Problem, explain
from sidecar.rotation.next_key import KEY_PROBLEMS
from sidecar.telemetry.troubles import Troubles

KEY_PAUSE = 10.0
"""Seconds between two questions whether Jira accepts the private key that is to follow."""
SEND_AGAIN = "the sidecar has put it right: send the request again"


class Healer:
    """Heals what can be healed, and explains what cannot."""

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
        self._remedies = Remedies(identity.request_signer)
        self.renewal = Renewal(identity, authorizer, troubles)
        self._clock = clock
        self._asking = asyncio.Lock()
        self._ask_after = NEVER

    async def heal(
        self, problem: Problem, signed: Signed, fields: list[Field], *, is_safe: bool
    ) -> BaseURL | None:
        """Learn from a problem, see Remedies.heal(); get another token where that is the problem.

        A token that Jira no longer takes has let no copy of the request through, but for one
        that came in the moment before its end; nothing speaks for such a copy.
        """
        match explain(problem).remedy:
            case Remedy.RELOAD if signed.token is not None:
                is_healed = await self.renewal.wait_replaced(signed.token)
            case Remedy.RENEW if signed.token is not None:
                is_healed = await self.renewal.replace(signed.token)
            case _ if problem.name in KEY_PROBLEMS and await self._takes_next_key():
                is_healed = True
            case _:
                url = self._remedies.heal(problem, signed, fields, is_safe=is_safe)
                is_healed = url is None and problem.name in KEY_PROBLEMS and self.has_new_key
                return self._identity.signing_url.url if is_healed else url
        return self._identity.signing_url.url if is_healed else None

    async def probe(self, signed: Signed) -> Problem | None:
        """Ask about the signature of a long request, whose refusal does not fit into an answer."""
        try:
            found = None if signed.token is None else await self._authorizer.probe(signed.token)
            if found is not None:
                await self._takes_next_key()
        except SidecarError:
            return None  # the answer that there is goes to the client
        return found

    def takes_time(self, problem: Problem) -> bool:
        """Whether heal() may wait, for Jira or for another process."""
        if problem.name in KEY_PROBLEMS:
            return self._identity.next_key.is_there()
        return explain(problem).remedy in (Remedy.RELOAD, Remedy.RENEW)

    def tried(self, first: Problem, signed: Signed, second: Problem | None) -> None:
        """Note how the second try went, signed as given, after a `first` problem."""
        remedy = explain(first).remedy
        is_gone = second is None or second.name != first.name
        if remedy is Remedy.COMPARE and is_gone:
            self.believe(signed.url)
        elif remedy is Remedy.RENEW and is_gone:
            self.renewal.confirm()
        elif remedy is Remedy.RENEW and signed.token is not None:
            self.renewal.report_in_vain(signed.token)
        if second is None:
            self._troubles.healed(first)

    def believe(self, url: BaseURL) -> None:
        """Sign for this URL from now on: Jira has shown that it is its own."""
        self._identity.signing_url.believe(url)

    def explanation(self, problem: Problem, signed: Signed, *, is_safe: bool) -> tuple[str, str]:
        """A sentence and a hint that say more than the problem's name; empty if there's no more."""
        remedy, token = explain(problem).remedy, signed.token
        if remedy is Remedy.RENEW:
            error = self.renewal.error or IN_VAIN
            sentence = f"Our token has come to its end and cannot be renewed. {error.message}"
            return sentence, error.hint
        if remedy is Remedy.RELOAD and token and self._identity.renewal_mark.is_about(token):
            sentence = (
                "Jira does not know our token any more: its renewal was cut short after Jira had"
                " dropped it and before the new one was stored."
            )
            return sentence, explain(problem).hint
        if remedy is Remedy.RELOAD and (host := self._identity.token_file.other_machine()):
            sentence = (
                f"Jira does not know our token any more: it was stored on {host}, another machine,"
                " and most likely a sidecar there has renewed it."
            )
            return sentence, "run `sidecar auth` here; each machine needs a token of its own"
        return self._remedies.explanation(problem, signed, is_safe=is_safe) or ("", "")

    @property
    def has_new_key(self) -> bool:
        """Whether we sign by another private key than a moment ago."""
        return self._identity.has_another_key

    async def _takes_next_key(self) -> bool:
        """Ask Jira about the private key that is to follow, and use it if it is accepted.

        However many requests ask at once, one question is asked, and another only after a pause.
        """
        if not self._identity.next_key.is_there():
            return self._identity.looks_at_key()
        async with self._asking:
            if self._clock() < self._ask_after:
                return self.has_new_key
            try:
                return await self._authorizer.take_next_key()
            except SidecarError:
                return False  # of no use to this request: its own answer goes to the client
            finally:
                self._ask_after = self._clock() + KEY_PAUSE

    async def close(self, seconds: float) -> None:
        """Let a renewal under way come to its end, for so long."""
        await self.renewal.close(seconds)
