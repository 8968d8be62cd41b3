"""Making OAuth failures good before the client sees them: at most one more try for a request.

Every try has a new nonce and timestamp.  What is learnt (a clock, a URL, a token) holds for all
requests that follow.
"""

from __future__ import annotations

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity, Signed
from sidecar.account.renewal import IN_VAIN, Renewal
from sidecar.http.fields import Field
from sidecar.http.target import BaseURL
from sidecar.jira.explanations import Remedy
from sidecar.jira.problems import Problem, explain
from sidecar.telemetry.troubles import Troubles

SEND_AGAIN = "the sidecar has put it right: send the request again"


class Healer:
    """Heals what can be healed, and explains what cannot."""

    def __init__(self, identity: Identity, authorizer: Authorizer, troubles: Troubles) -> None:
        self._identity = identity
        self._troubles = troubles
        self.renewal = Renewal(identity, authorizer, troubles)

    async def heal(self, problem: Problem, signed: Signed, fields: list[Field]) -> BaseURL | None:
        """Learn from a problem; `fields` are those of Jira's answer.

        Returns the URL to sign for when the request is sent again, None where that won't help.
        """
        identity = self._identity
        match explain(problem).remedy:
            case Remedy.CLOCK:
                healed = identity.clock.correct(problem, fields)
            case Remedy.AGAIN:
                healed = True
            case Remedy.RELOAD:
                healed = await self.renewal.replaced(signed.token)
            case Remedy.RENEW:
                healed = await self.renewal.replace(signed.token)
            case Remedy.COMPARE:
                return identity.signing.perceived(problem, signed.base_string, signed.url)
            case _:
                healed = False
        return identity.signing_url if healed else None

    def tried(self, first: Problem, signed: Signed, second: Problem | None) -> None:
        """Note how the second try went, signed as given, after a `first` problem."""
        remedy = explain(first).remedy
        is_gone = second is None or second.name != first.name
        if remedy is Remedy.COMPARE and is_gone:
            self.believe(signed.url)
        elif remedy is Remedy.RENEW and is_gone:
            self.renewal.proved()
        elif remedy is Remedy.RENEW:
            self.renewal.was_in_vain(signed.token)
        if second is None:
            self._troubles.healed(first)

    def believe(self, url: BaseURL) -> None:
        """Sign for this URL from now on: Jira has shown that it is its own."""
        self._identity.signing.believe(url)

    def explanation(self, problem: Problem, signed: Signed) -> tuple[str, str]:
        """A sentence and a hint that say more than the problem's name; empty if there's no more."""
        remedy = explain(problem).remedy
        if remedy is Remedy.COMPARE:
            signing = self._identity.signing
            difference = signing.difference(problem, signed.base_string, signed.url)
            return (difference.sentence, difference.hint) if difference else ("", "")
        if remedy is Remedy.RENEW:
            error = self.renewal.error or IN_VAIN
            sentence = f"Our token has come to its end and cannot be renewed. {error.message}"
            return sentence, error.hint
        if remedy is Remedy.RELOAD and self._identity.renewal_mark.is_about(signed.token):
            sentence = (
                "Jira does not know our token any more: its renewal was cut short after Jira had"
                " dropped it and before the new one was stored."
            )
            return sentence, explain(problem).hint
        return "", ""

    async def close(self) -> None:
        """Let a renewal under way come to its end."""
        await self.renewal.close()
