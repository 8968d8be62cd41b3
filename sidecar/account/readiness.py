"""Whether requests can be signed and Jira takes them, from what is known already.

Nobody who asks for it causes a question to Jira: account/standing.py asks by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sidecar.account.identity import Identity
from sidecar.account.standing import Refusal
from sidecar.account.token_in_use import NoToken
from sidecar.errors import ConfigError, SidecarError
from sidecar.jira.problems import explain

NO_TOKEN = "no_token"  # noqa: S105
SHUTTING_DOWN = "shutting_down"


class Why(NamedTuple):
    """What happened, and what to do about it."""

    reason: str
    hint: str


class NotReady(NamedTuple):
    """Why we are not ready."""

    problem: str
    """Its name: a problem of Jira's, or no_token, token_not_ours, token_unusable, shutting_down."""
    label: str
    """The name, or "other" for one that only this Jira knows: for metrics, which must stay few."""
    public: Why
    """For everybody: without paths and names."""
    detailed: Why
    """For those who may look at the status."""
    since: float | None = None
    """Unix time, where it is known."""

    @property
    def summary(self) -> str:
        """Half a line, for systemd."""
        reason, hint = self.detailed
        if self.problem == NO_TOKEN:
            return f"{reason.rstrip('.')}: {hint}"
        if self.problem in _STORED_TOKEN:
            return f"no usable access token: {hint or reason}"
        return f"not ready ({self.problem}): {hint or reason}"


_STOPPING = Why("The sidecar is shutting down.", "send the request again in a moment")
_NONE_YET = Why("There is no access token for Jira yet.", "run `sidecar auth`")
_STORED_TOKEN = {
    "token_not_ours": Why(
        "The access token that is stored is not for this Jira and consumer key.",
        "run `sidecar auth --replace`, or set token.path to another file",
    ),
    "token_unusable": Why(
        "The access token that is stored cannot be used.",
        "run `sidecar check`: it names the file, and what is wrong with it",
    ),
}


class Readiness:
    """Puts together what key, token and Jira's last answer say."""

    def __init__(
        self, identity: Callable[[], Identity], refusal: Callable[[], Refusal | None]
    ) -> None:
        """Both tell what holds now: a reload may change that."""
        self._identity = identity
        self._refusal = refusal
        self.stopping = False

    def why_not(self) -> NotReady | None:
        """Why we are not ready; None if we are."""
        if self.stopping:
            return NotReady(SHUTTING_DOWN, SHUTTING_DOWN, _STOPPING, _STOPPING)
        try:
            self._identity().token.current()
        except SidecarError as error:
            return _without_token(error)
        refusal = self._refusal()
        return None if refusal is None else _refused(refusal)


def _without_token(error: SidecarError) -> NotReady:
    detailed = Why(error.message, error.hint)
    if isinstance(error, NoToken):
        return NotReady(NO_TOKEN, NO_TOKEN, _NONE_YET, detailed)
    name = "token_unusable" if isinstance(error, ConfigError) else "token_not_ours"
    return NotReady(name, name, _STORED_TOKEN[name], detailed)


def _refused(refusal: Refusal) -> NotReady:
    problem = refusal.problem
    known = explain(problem)
    return NotReady(
        problem.name,
        problem.label,
        Why(known.sentence, known.hint),
        Why(refusal.sentence, refusal.hint),
        refusal.since,
    )
