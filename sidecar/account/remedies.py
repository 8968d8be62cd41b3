"""What Jira's refusal of a request teaches, and whether the request may be sent again.

Jira looks at OAuth before the resource, so the copy of a request that it refused has done
nothing.  But something on the way (a gateway that lost an answer) may have sent an identical copy
before, and that one may have been acted upon.  What a refusal proves about it follows from the
order of Jira's checks: token, timestamp, nonce, signature.

    nonce_used          an identical copy came before: only a safe request is sent again
    signature_invalid   the nonce was new, so no copy came before
    timestamp_refused   if the clocks were too far apart when we signed, every copy was refused;
                        if not, the request came late, and a copy before it may have been in time
    token_expired, …    Jira no longer takes the token; no sign of a copy (see healing.py)

For a renewal and an exchange Jira looks at the token first, and drops it once it has acted: it is
token_rejected that may mean that a copy came before, and any other refusal says that none was
acted upon.
"""

from __future__ import annotations

from sidecar.account.request_signer import RequestSigner, Signed
from sidecar.http.fields import Field
from sidecar.http.target import BaseURL
from sidecar.jira.explanations import Remedy
from sidecar.jira.problems import Problem, explain

COPIED = (
    (
        "Jira has seen this very request before: something on the way sent it twice. It is not"
        " sent again, for the first copy may have been acted upon."
    ),
    (
        "the first copy may have been acted upon: see in Jira whether it was before you send it"
        " again; let whatever stands between here and Jira not repeat requests"
    ),
)
LATE = (
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


class Remedies:
    """Heals what is wrong with the way that we sign: clock, nonce, URL.

    What is wrong with the token is healing.py's.
    """

    def __init__(self, signer: RequestSigner) -> None:
        self._clock = signer.clock
        self._signing_url = signer.signing_url

    def heal(
        self, problem: Problem, signed: Signed, fields: list[Field], *, is_safe: bool
    ) -> BaseURL | None:
        """Learn from a problem; `fields` are those of Jira's answer.

        `is_safe` says whether the request may be acted upon twice.  Returns the URL to sign for
        when it is sent again; None where that won't help, or might do something twice.
        """
        match explain(problem).remedy:
            case Remedy.CLOCK:
                is_healed = self._clock.correct(problem, fields) and (
                    is_safe or not self._may_be_late(signed)
                )
            case Remedy.AGAIN:
                is_healed = is_safe
            case Remedy.COMPARE:
                return self._signing_url.perceived(problem, signed.base_string, signed.url)
            case _:
                is_healed = False
        return self._signing_url.url if is_healed else None

    def explanation(
        self, problem: Problem, signed: Signed, *, is_safe: bool
    ) -> tuple[str, str] | None:
        """A sentence and a hint that say more than the problem's name; None if there's no more."""
        match explain(problem).remedy:
            case Remedy.AGAIN if not is_safe:
                return COPIED
            case Remedy.CLOCK if not is_safe and self._may_be_late(signed):
                return LATE
            case Remedy.COMPARE:
                difference = self._signing_url.difference(problem, signed.base_string, signed.url)
                return None if difference is None else (difference.sentence, difference.hint)
        return None

    def _may_be_late(self, signed: Signed) -> bool:
        return not self._clock.was_wrong_throughout(signed.clock_correction)
