"""Healing OAuth problems before the client sees them: a request is sent at most once more.

Every try has a new nonce and timestamp.  What is learnt (a clock, a URL, a token) holds for all
requests that follow.

Jira looks at OAuth before the resource, so the copy of a request that it refused has done
nothing.  But something on the way (a gateway that lost an answer) may have sent an identical copy
before, and that one may have been acted upon.  What a refusal proves about it follows from the
order of Jira's checks: token, timestamp, nonce, signature.

    nonce_used          an identical copy came before: only a safe method is sent again
    signature_invalid   the nonce was new, so no copy came before
    timestamp_refused   if the clocks were too far apart when we signed, every copy was refused;
                        if not, the request came late, and a copy before it may have been in time
    token_expired, …    Jira no longer takes the token; no sign of a copy
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
_COPIED = (
    (
        "Jira has seen this very request before: something on the way sent it twice. It is not"
        " sent again, for the first copy may have been acted upon."
    ),
    (
        "the first copy may have been acted upon: see in Jira whether it was before you send it"
        " again; let whatever stands between here and Jira not repeat requests"
    ),
)
_LATE = (
    (
        "Jira refused the time of a request that was signed in time: it was held up for minutes,"
        " or Jira's machines have different clocks. It is not sent again, for a copy of it that"
        " came in time may have been acted upon."
    ),
    (
        "a copy that came in time may have been acted upon: see in Jira whether it was before you"
        " send it again; let whatever stands between here and Jira not hold requests up"
    ),
)


class Healer:
    """Heals what can be healed, and explains what cannot."""

    def __init__(self, identity: Identity, authorizer: Authorizer, troubles: Troubles) -> None:
        self._identity = identity
        self._troubles = troubles
        self.renewal = Renewal(identity, authorizer, troubles)

    async def heal(
        self, problem: Problem, signed: Signed, fields: list[Field], *, is_safe: bool
    ) -> BaseURL | None:
        """Learn from a problem; `fields` are those of Jira's answer.

        `is_safe` says whether the request may be acted upon twice.  Returns the URL to sign for
        when it is sent again; None where that won't help, or might do something twice.
        """
        identity = self._identity
        match explain(problem).remedy:
            case Remedy.CLOCK:
                healed = identity.clock.correct(problem, fields) and (
                    is_safe or identity.clock.was_wrong_throughout(signed.clock_correction)
                )
            case Remedy.AGAIN:
                healed = is_safe
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

    def explanation(
        self, problem: Problem, signed: Signed, *, is_safe: bool = True
    ) -> tuple[str, str]:
        """A sentence and a hint that say more than the problem's name; empty if there's no more."""
        remedy = explain(problem).remedy
        if remedy is Remedy.AGAIN and not is_safe:
            return _COPIED
        clock = self._identity.clock
        if remedy is Remedy.CLOCK and not (
            is_safe or clock.was_wrong_throughout(signed.clock_correction)
        ):
            return _LATE
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
