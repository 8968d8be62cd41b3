"""Jira's OAuth 1.0a provider: its tokens, its checks and their order; no I/O."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from sidecar.sandbox.bounds import keep
from sidecar.sandbox.faults import Faults
from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.validator import Validator

REQUEST_TOKEN_LIFE = 600
ACCESS_TOKEN_LIFE = 157_680_000
"""Seconds: 5 years, as current versions of Jira say."""
SESSION_LIFE = 160_272_000
"""Seconds: 30 days more than the token's own life."""
MOST_TOKENS = 20_000
"""Kept of each kind; the oldest go first."""

_ALPHANUMERICS = string.ascii_letters + string.digits


def random_text(length: int) -> str:
    """Letters and digits, as Jira's tokens are made of."""
    return "".join(secrets.choice(_ALPHANUMERICS) for _ in range(length))


class Grant(NamedTuple):
    """An access token as the provider hands it out; lives are in seconds."""

    token: str
    secret: str
    session_handle: str
    expires_in: int
    session_expires_in: int

    def form(self) -> str:
        """The reply of the access-token endpoint."""
        return urlencode(
            {
                "oauth_token": self.token,
                "oauth_token_secret": self.secret,
                "oauth_expires_in": self.expires_in,
                "oauth_session_handle": self.session_handle,
                "oauth_authorization_expires_in": self.session_expires_in,
            }
        )


@dataclass(slots=True)
class RequestToken:
    """A request token, and what its user made of it."""

    token: str
    secret: str
    callback: str
    issued_at: float
    consumer_key: str
    user: str | None = None
    verifier: str | None = None
    denied: bool = False

    @property
    def decided(self) -> bool:
        """Whether the user has pressed Allow or Deny."""
        return self.denied or self.verifier is not None


@dataclass(slots=True)
class AccessToken:
    """An access token and its session; ends are in Unix time by Jira's clock."""

    grant: Grant
    user: str
    consumer_key: str
    expires_at: float
    session_expires_at: float


@dataclass(slots=True)
class Provider:
    """One application link with its tokens."""

    consumer_key: str
    validator: Validator
    faults: Faults
    now: Callable[[], float]
    """Jira's clock, faults included."""
    callback_url: str | None = None
    """The application link's own Consumer Callback URL."""
    request_tokens: dict[str, RequestToken] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)

    # ── the token endpoints ─────────────────────────────────────────────────────────────────

    def request_token(self, message: Message) -> str:
        """Answer `POST request-token`: a new request token, form-encoded."""
        message.require("oauth_consumer_key", "oauth_callback")
        consumer_key = message.get("oauth_consumer_key") or ""
        if consumer_key != self.consumer_key or self.faults.link_gone:
            raise OAuthProblem("consumer_key_unknown")
        self.validator.validate(message)
        callback = message.get("oauth_callback") or ""
        if callback != "oob" and not _is_absolute(callback):
            raise OAuthProblem("parameter_rejected", oauth_parameters_rejected="oauth_callback")
        token = RequestToken(random_text(32), random_text(32), callback, self.now(), consumer_key)
        keep(self.request_tokens, token.token, token, MOST_TOKENS)
        return urlencode(
            {
                "oauth_token": token.token,
                "oauth_token_secret": token.secret,
                "oauth_callback_confirmed": "true",
            }
        )

    def access_token(self, message: Message) -> Grant:
        """Answer `POST access-token`: exchange a request token, or renew an access token."""
        message.require("oauth_token")
        text = message.get("oauth_token") or ""
        if self.faults.link_gone:
            raise OAuthProblem("token_rejected")
        if old := self.access_tokens.get(text):
            return self._renew(old, message)
        token = self._check_exchange(self.request_tokens.get(text), message)
        self.validator.validate(message)
        del self.request_tokens[text]
        return self.grant(token.user or "", token.consumer_key)

    def _check_exchange(self, token: RequestToken | None, message: Message) -> RequestToken:
        """Raise the first problem of an exchange, in Jira's order."""
        if token is None or token.consumer_key != message.get("oauth_consumer_key"):
            raise OAuthProblem("token_rejected")
        if self._is_too_old(token):
            raise OAuthProblem("token_expired")
        if not token.decided:
            raise OAuthProblem("permission_unknown")
        if token.denied:
            raise OAuthProblem("permission_denied")
        message.require("oauth_verifier")
        if message.get("oauth_verifier") != token.verifier:
            raise OAuthProblem("token_rejected")
        return token

    def _renew(self, old: AccessToken, message: Message) -> Grant:
        """Give a new token and handle for an old token, expired or not, while its session lives."""
        if old.consumer_key != message.get("oauth_consumer_key") or self.faults.revoked:
            raise OAuthProblem("token_rejected")
        message.require("oauth_session_handle")
        if message.get("oauth_session_handle") != old.grant.session_handle:
            raise OAuthProblem("token_rejected")
        if self.now() >= old.session_expires_at:
            raise OAuthProblem("permission_denied")
        self.validator.validate(message)
        del self.access_tokens[old.grant.token]
        return self.grant(old.user, old.consumer_key)

    def grant(
        self,
        user: str,
        consumer_key: str | None = None,
        expires_in: int = ACCESS_TOKEN_LIFE,
        session_expires_in: int = SESSION_LIFE,
    ) -> Grant:
        """Issue an access token."""
        grant = Grant(
            random_text(32), random_text(32), random_text(32), expires_in, session_expires_in
        )
        now = self.now()
        token = AccessToken(
            grant,
            user,
            consumer_key or self.consumer_key,
            now + expires_in,
            now + session_expires_in,
        )
        keep(self.access_tokens, grant.token, token, MOST_TOKENS)
        return grant

    # ── the user's decision ─────────────────────────────────────────────────────────────────

    def undecided(self, text: str | None) -> RequestToken:
        """Give the request token that the authorize page is about, or raise its problem."""
        if text is None:
            raise OAuthProblem("parameter_absent", oauth_parameters_absent="oauth_token")
        token = self.request_tokens.get(text)
        if token is None or self.faults.link_gone:
            raise OAuthProblem("token_rejected")
        if token.decided:
            raise OAuthProblem("token_used")
        if self._is_too_old(token):
            raise OAuthProblem("token_expired")
        return token

    def decide(self, token: RequestToken, user: str, *, approve: bool) -> str | None:
        """Note Allow or Deny; give where the browser goes, None for a page of Jira's own.

        The application link's callback counts even for `oob`, the request's own goes before it.
        """
        token.user = user
        token.denied = not approve
        token.verifier = random_text(6) if approve else None
        callback = self.callback_url if token.callback == "oob" else token.callback
        if callback is None:
            return None
        query = urlencode(
            {"oauth_token": token.token, "oauth_verifier": token.verifier or "denied"}
        )
        joint = "&" if "?" in callback else "?"
        return f"{callback}{joint}{query}"

    # ── a signed request ────────────────────────────────────────────────────────────────────

    def authenticate(self, message: Message) -> str:
        """Give the user that a request for a resource acts as, or raise the first problem."""
        token = self.access_tokens.get(message.get("oauth_token") or "")
        if token is None or self.faults.revoked or self.faults.link_gone:
            raise OAuthProblem("token_rejected")
        if token.consumer_key != message.get("oauth_consumer_key"):
            raise OAuthProblem("token_rejected")
        if self.faults.expired or self.now() >= token.expires_at:
            raise OAuthProblem("token_expired")
        self.validator.validate(message)
        return token.user

    def _is_too_old(self, token: RequestToken) -> bool:
        return self.now() >= token.issued_at + REQUEST_TOKEN_LIFE


def _is_absolute(callback: str) -> bool:
    try:
        parts = urlsplit(callback)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
