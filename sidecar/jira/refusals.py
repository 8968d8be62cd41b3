"""Makes an error of an answer of Jira's that ends the dance.

What an OAuth problem means depends on the step: `token_rejected` is a mistyped code when a
request token is exchanged, and a revoked token when an access token is renewed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from sidecar.errors import ConfigError, NotAuthorized, NotJira, SidecarError, UpstreamError
from sidecar.http.fields import Fields, first
from sidecar.http.shown import printable
from sidecar.http.target import BaseURL
from sidecar.jira.base_strings import compare_base_strings
from sidecar.jira.explanations import GIVE_KEY
from sidecar.jira.problems import Problem, explain

DENIED = "denied"
"""The verifier that Jira's redirect carries when the user pressed Deny."""

_AGAIN = "run `sidecar auth` again"
_BYPASS = (
    "whoever runs that must let /plugins/servlet/oauth/ and /rest/ through to Jira, or"
    " jira.base_url must be an address that reaches Jira itself"
)


class DanceStep(Enum):
    """A request of the dance; the value names it in messages."""

    REQUEST_TOKEN = "the request for a request token"  # noqa: S105
    EXCHANGE = "the exchange of the request token"
    RENEWAL = "the renewal of the access token"
    MYSELF = "the question who we are"
    SERVER_INFO = "the question what Jira's own URL is"


class Denied(NotAuthorized):
    """The user pressed Deny."""


class VerifierRefused(NotAuthorized):
    """This code won't do, but the request token still stands: another may be given."""


class RenewedUnseen(NotAuthorized):
    """The access token may have been renewed without our seeing the new one.

    Jira looks at the token first: one that it does not know may have been dropped for a copy of
    our request that came before.  Any other refusal of a renewal says that it knows the token.
    """


@dataclass(frozen=True, slots=True)
class Consumer:
    """What messages say about us: none of it is secret."""

    base_url: BaseURL
    signing_url: BaseURL
    consumer_key: str
    fingerprint: str
    """SHA-256 of the public key; "" if it isn't at hand."""


def denied() -> Denied:
    """The error for a user who pressed Deny."""
    return Denied("Access to Jira was denied on the approval page.", f"{_AGAIN} and press Allow")


def request_token_expired() -> NotAuthorized:
    """The request token is older than Jira keeps it."""
    return NotAuthorized(
        "The request token has expired: Jira keeps it for 10 minutes.",
        "begin again with `sidecar auth` (or `sidecar auth --begin`) and approve sooner",
    )


def verifier_rejected() -> VerifierRefused:
    """Jira knows no such verifier, or no longer knows the request token."""
    return VerifierRefused(
        "Jira rejects the verification code.",
        "give it exactly as Jira shows it, capitals and all",
    )


def interrupted() -> NotAuthorized:
    """Ctrl-C; a token that was stored before is as good as it was."""
    return NotAuthorized("The sign-in was interrupted.", _AGAIN)


def refused(
    step: DanceStep, problem: Problem, consumer: Consumer, base_string: str
) -> SidecarError:
    """The error for an OAuth problem; `base_string` is what we signed."""
    if problem.name == "signature_invalid":
        return _signature_invalid(problem, consumer, base_string)
    if problem.meaning or problem.name in _DOES_NOT_FIT:
        return _does_not_fit(problem)
    if (step, problem.name) == (DanceStep.REQUEST_TOKEN, "permission_denied"):
        return _does_not_fit(Problem("three_legged_not_allowed"))
    special = _SPECIAL.get((step, problem.name)) or _AT_ANY_STEP.get(problem.name)
    if special is not None:
        return special(consumer)
    explanation = explain(problem)
    return NotAuthorized(explanation.sentence, explanation.hint)


def exit_code(problem: str) -> int:
    """What a command exits with where Jira refuses us with a problem of this name."""
    if problem in _DOES_NOT_FIT or problem in ("signature_invalid", *_CONSUMER_PROBLEMS):
        return ConfigError.exit_code
    return (UpstreamError if problem == "parameter_absent" else NotAuthorized).exit_code


def unexpected_answer(
    step: DanceStep, status: int, fields: Fields, body: bytes, base: BaseURL
) -> SidecarError:
    """The error for an answer that is neither what was asked for nor an OAuth problem."""
    if 300 <= status < 400:
        return _redirected(step, fields, base)
    if status == 404:
        return NotJira(
            f"There is no Jira with OAuth at {base} (404 for {step.value}).",
            "run `sidecar check`, which looks for Jira's context path; jira.base_url must have it,"
            " such as /jira",
        )
    if status >= 500 or status == 429:
        hint = "Jira may be starting or overloaded: try again in a minute; its log says more"
        if status == 500:
            hint += f"; if it stays so, {GIVE_KEY}"
        return UpstreamError(f"{base.authority} answered {step.value} with {status}.", hint)
    return NotJira(
        f"{base.authority} answered {step.value} with {_kind(status, body)}.",
        _BYPASS,
    )


def _kind(status: int, body: bytes) -> str:
    if body.lstrip()[:1] == b"<":
        page = "a page (HTML)"
    else:
        page = "something that is not Jira's" if body.strip() else "nothing"
    return f"{page} instead of an answer, status {status}"


def _redirected(step: DanceStep, fields: Fields, base: BaseURL) -> NotJira:
    """A redirect to the same place by another scheme or name is a wrong base_url, else a login."""
    location = (first(fields, b"location") or b"").decode(errors="replace")
    try:
        parts = urlsplit(location)
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    except ValueError:
        origin, parts = "", urlsplit("")
    where = f"to {printable(origin)}" if origin else "elsewhere"
    sentence = f"{base.authority} redirects {step.value} {where} instead of answering it."
    prefix = parts.path.partition("/plugins/servlet/oauth/")[0]
    if origin and prefix != parts.path and origin + prefix != str(base):
        return NotJira(sentence, f'is it jira.base_url = "{printable(origin + prefix)}"?')
    return NotJira(sentence, f"a login page or gateway stands in front of Jira: {_BYPASS}")


def _signature_invalid(problem: Problem, consumer: Consumer, base_string: str) -> ConfigError:
    """Jira tells its base string: with ours the same, it is the key that doesn't fit."""
    theirs = problem.parameters.get("oauth_signature_base_string", base_string)
    difference = compare_base_strings(theirs, base_string, consumer.signing_url.path)
    if difference.parts:
        return ConfigError(
            f"Jira finds our signature invalid. {difference.sentence}", difference.hint
        )
    shown = f" (SHA-256 {consumer.fingerprint})" if consumer.fingerprint else ""
    return ConfigError(
        "Jira finds our signature invalid: the public key in the application link does not fit"
        " the private key.",
        f"enter what `sidecar public-key` prints{shown} as the application link's Public key",
    )


def _consumer_key_unknown(consumer: Consumer) -> ConfigError:
    return ConfigError(
        f'Jira has no application link with the consumer key "{printable(consumer.consumer_key)}".',
        'make jira.consumer_key and the field "Consumer key" of the application link\'s incoming'
        " link in Jira the same",
    )


def _does_not_fit(problem: Problem) -> ConfigError:
    explanation = explain(problem)
    causes = "; or ".join(explanation.causes[:2])
    return ConfigError(f"{explanation.sentence} Likely {causes}.", explanation.hint)


def _callback_rejected(_: Consumer) -> NotAuthorized:
    return NotAuthorized(
        "Jira does not accept the address of this machine as a callback.",
        "use `sidecar auth --begin`, which needs none",
    )


def _stripped(consumer: Consumer) -> UpstreamError:
    return UpstreamError(
        "Our OAuth parameters did not reach Jira: something on the way drops the Authorization"
        " field.",
        f"let the reverse proxy or gateway in front of {consumer.base_url.authority} pass"
        " Authorization on unchanged",
    )


def _not_yet(_: Consumer) -> VerifierRefused:
    return VerifierRefused(
        "Nobody has pressed Allow yet on the approval page.",
        "open the URL, press Allow, and then give the code that Jira shows",
    )


def _clock(_: Consumer) -> NotAuthorized:
    return NotAuthorized(
        "Jira refuses the time of our request: its clock and this machine's are more than five"
        " minutes apart.",
        "set this machine's clock, or Jira's",
    )


def _session_over(_: Consumer) -> NotAuthorized:
    return NotAuthorized(
        "Jira does not renew the access token: its session is over, or the application link is"
        " disabled.",
        "run `sidecar auth`",
    )


def _not_renewed(_: Consumer) -> RenewedUnseen:
    return RenewedUnseen(
        "Jira does not renew the access token: it was revoked, or renewed elsewhere.",
        "run `sidecar auth`",
    )


def _renewed_twice(_: Consumer) -> RenewedUnseen:
    return RenewedUnseen(
        "Jira has seen this very renewal before: something on the way sent it twice, and the new"
        " access token may have gone there.",
        "let whatever stands between here and Jira not repeat requests; if Jira answers"
        " token_rejected from now on, run `sidecar auth`",
    )


def _nobody(_: Consumer) -> NotAuthorized:
    return NotAuthorized(
        "Jira gave an access token but answers it as it answers anybody.",
        "the user may be inactive or have no access to Jira; or something in front of Jira drops"
        " the Authorization field below /rest/",
    )


_DOES_NOT_FIT = frozenset(
    {
        "key_size_mismatch",
        "signature_method_rejected",
        "three_legged_not_allowed",
        "two_legged_not_allowed",
    }
)
"""Only the configuration, here, in Jira or on the way, can put these right."""
_CONSUMER_PROBLEMS = ("consumer_key_unknown", "consumer_key_rejected")
_AT_ANY_STEP: dict[str, Callable[[Consumer], SidecarError]] = {
    **dict.fromkeys(_CONSUMER_PROBLEMS, _consumer_key_unknown),
    "parameter_absent": _stripped,
    "timestamp_refused": _clock,
    "anonymous": _nobody,
}
_SPECIAL: dict[tuple[DanceStep, str], Callable[[Consumer], SidecarError]] = {
    (DanceStep.REQUEST_TOKEN, "parameter_rejected"): _callback_rejected,
    (DanceStep.EXCHANGE, "token_rejected"): lambda _: verifier_rejected(),
    (DanceStep.EXCHANGE, "token_expired"): lambda _: request_token_expired(),
    (DanceStep.EXCHANGE, "permission_unknown"): _not_yet,
    (DanceStep.EXCHANGE, "permission_denied"): lambda _: denied(),
    (DanceStep.EXCHANGE, "user_refused"): lambda _: denied(),
    (DanceStep.RENEWAL, "token_rejected"): _not_renewed,
    (DanceStep.RENEWAL, "nonce_used"): _renewed_twice,
    (DanceStep.RENEWAL, "permission_denied"): _session_over,
    (DanceStep.RENEWAL, "token_expired"): _session_over,
}
