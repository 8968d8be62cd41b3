"""What a page says of how a sign-in went, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidecar.errors import (
    ConfigError,
    NotAuthorized,
    SidecarError,
    StoreError,
    UpstreamError,
    own_sentence,
)
from sidecar.http.shown import full_name
from sidecar.jira.refusals import Denied, VerifierRefused
from sidecar.signin.dance import signed_in_line
from sidecar.signin.one_time_code import CodeRefused
from sidecar.signin.page_dance import AnotherUser, NotThisDance, Outcome, SignedIn

_AGAIN = "Press “Sign in” on the sidecar's page to begin again."
_TITLES: tuple[tuple[type[SidecarError], str], ...] = (
    (CodeRefused, "This browser may not sign in"),
    (NotThisDance, "Not this sign-in"),
    (VerifierRefused, "That code does not fit"),
    (Denied, "Access denied"),
    (NotAuthorized, "Not signed in"),
    (StoreError, "The access token cannot be stored"),
    (ConfigError, "The application link does not fit"),
    (UpstreamError, "Jira cannot be asked"),
)


def of_outcome(outcome: Outcome) -> dict[str, Any]:
    """What the template says of a step that went well."""
    if isinstance(outcome, SignedIn):
        return _values("good", "Signed in", [f"{signed_in_line(outcome.token)}."], is_over=True)
    if isinstance(outcome, AnotherUser):
        new = full_name(outcome.token.user, outcome.token.display_name)
        before = full_name(outcome.before, None) if outcome.before else "nobody knows whom"
        return _values(
            "note",
            "Another user than before",
            [
                f"The sidecar has acted as {before}. In Jira, {new} has approved the access.",
                f"Should everybody who uses this sidecar act as {new} from now on?",
            ],
            confirms=new,
        )
    return _values(
        "note",
        "Nothing has changed",
        [
            "The sidecar goes on as before.",
            "Whoever approved the access can take it back in Jira, under Authorized applications.",
        ],
    )


def of_error(error: SidecarError, complete: Callable[[str], str], *, waits: bool) -> dict[str, Any]:
    """What the template says of a step that failed; `waits`: another answer may be given."""
    title = next((text for kind, text in _TITLES if isinstance(error, kind)), "Not signed in")
    if isinstance(error, Denied):
        paragraphs = [
            "You pressed Deny in Jira, so the sidecar has no new access. Nothing has changed.",
            f"If that was not what you meant: {_AGAIN}",
        ]
        return {**_values("bad", title, paragraphs), "status": 200}
    hint = complete(own_sentence(error.hint)) if error.hint else ""
    if type(error) is NotAuthorized and not waits:
        hint = _AGAIN  # its own hint names the command
    return {
        **_values("bad", title, [error.message, hint]),
        "takes_answer": waits and isinstance(error, VerifierRefused | NotThisDance),
        "tries_again": waits and isinstance(error, UpstreamError),
        "status": error.status,
        "forgets_grant": isinstance(error, CodeRefused),
    }


def _values(level: str, title: str, paragraphs: list[str], **values: Any) -> dict[str, Any]:
    return {
        "level": level,
        "title": title,
        "paragraphs": [paragraph for paragraph in paragraphs if paragraph],
        "confirms": "",
        "is_over": False,
        "takes_answer": False,
        "tries_again": False,
        "forgets_grant": False,
        **values,
    }
