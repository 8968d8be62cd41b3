"""Jira's OAuth 1.0a provider: its tokens, its checks and their order; no I/O."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from sidecar.sandbox import catalog
from sidecar.sandbox.bounds import keep
from sidecar.sandbox.faults import Faults
from sidecar.sandbox.link import Link
from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.refusals import MayNotLogIn
from sidecar.sandbox.validator import Validator

REQUEST_TOKEN_LIFE = 600
ACCESS_TOKEN_LIFE = 157_680_000
"""Seconds: 5 years, as current versions of Jira say."""
SESSION_LIFE = 160_272_000
"""Seconds: 30 days more than the token's own life."""
MOST_TOKENS = 20_000
"""Request tokens, and access tokens, that are kept; the oldest go first."""

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
    callback: str | None
    """None: OAuth 1.0 without a verifier."""
    issued_at: float
    consumer_key: str
    xsrf_token: str
    """The XSRF token that the approval form has to send back."""
    user: str | None = None
    verifier: str | None = None
    denied: bool = False

    @property
    def decided(self) -> bool:
        """Whether the user has pressed Allow or Deny."""
        return self.user is not None


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

    validator: Validator
    faults: Faults
    now: Callable[[], float]
    """Jira's clock, faults included."""
    request_tokens: dict[str, RequestToken] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)

    @property
    def link(self) -> Link:
        """The application link with what faults have changed in it."""
        return self.validator.link.under(self.faults)

    # ── the token endpoints ─────────────────────────────────────────────────────────────────

    def request_token(self, message: Message) -> str:
        """Answer `POST request-token`: a new request token, form-encoded."""
        message.require("oauth_consumer_key")
        consumer_key = self._known_consumer(message)
        if not self.link.three_legged:
            raise OAuthProblem("permission_denied")
        callback = message.get("oauth_callback")
        if callback not in (None, "oob") and not _is_absolute(callback or ""):
            raise OAuthProblem("parameter_rejected", oauth_parameters_rejected="oauth_callback")
        self._validate(message)
        texts = random_text(32), random_text(32)
        token = RequestToken(*texts, callback, self.now(), consumer_key, random_text(40))
        keep(self.request_tokens, token.token, token, MOST_TOKENS)
        return urlencode(
            {
                "oauth_token": token.token,
                "oauth_token_secret": token.secret,
                "oauth_callback_confirmed": "true",
            }
        )

    def _known_consumer(self, message: Message) -> str:
        consumer_key = message.get("oauth_consumer_key") or ""
        if consumer_key != self.validator.link.consumer_key or self.faults.link_gone:
            raise OAuthProblem("consumer_key_unknown")
        return consumer_key

    def _validate(self, message: Message) -> None:
        if self.faults.problem is not None:
            raise OAuthProblem(self.faults.problem)
        self.validator.validate(message)

    def access_token(self, message: Message) -> Grant:
        """Answer `POST access-token`: exchange a request token, or renew an access token."""
        message.require("oauth_token")
        text = message.get("oauth_token") or ""
        if self.faults.link_gone:
            raise OAuthProblem("token_rejected")
        if old := self.access_tokens.get(text):
            return self._renew(old, message)
        token = self._check_exchange(self.request_tokens.get(text), message)
        self._validate(message)
        del self.request_tokens[text]
        return self.grant(token.user or "", token.consumer_key)

    def _check_exchange(self, token: RequestToken | None, message: Message) -> RequestToken:
        """Raise the first problem of an exchange, in Jira's order."""
        if token is None:
            raise OAuthProblem("token_rejected")
        if self._is_too_old(token):
            raise OAuthProblem("token_expired")
        if not token.decided:
            raise OAuthProblem("permission_unknown")
        if token.denied:
            raise OAuthProblem("permission_denied")
        if token.consumer_key != message.get("oauth_consumer_key"):
            raise OAuthProblem("token_rejected")
        if token.callback is not None:
            message.require("oauth_verifier")
            if message.get("oauth_verifier") != token.verifier:
                raise OAuthProblem("token_rejected")
        return token

    def _renew(self, old: AccessToken, message: Message) -> Grant:
        """Give a new token and handle for an old token, expired or not, while its session lives.

        No consumer is compared, the session counts from now on, and the secret stays the same.
        """
        if self.faults.revoked:
            raise OAuthProblem("token_rejected")
        message.require("oauth_session_handle")
        if message.get("oauth_session_handle") != old.grant.session_handle:
            raise OAuthProblem("token_rejected")
        if self.now() >= old.session_expires_at:
            raise OAuthProblem("permission_denied")
        self._validate(message)
        del self.access_tokens[old.grant.token]
        return self.grant(old.user, old.consumer_key, secret=old.grant.secret)

    def grant(
        self,
        user: str,
        consumer_key: str | None = None,
        expires_in: int = ACCESS_TOKEN_LIFE,
        session_expires_in: int = SESSION_LIFE,
        secret: str | None = None,
    ) -> Grant:
        """Issue an access token."""
        texts = random_text(32), secret or random_text(32), random_text(32)
        grant = Grant(*texts, expires_in, session_expires_in)
        now = self.now()
        token = AccessToken(
            grant,
            user,
            consumer_key or self.validator.link.consumer_key,
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
        """Record Allow or Deny; give the URL that the browser is sent to, or None for a page.

        The application link's callback counts even for `oob`, the request's own goes before it.
        """
        token.user = user
        token.denied = not approve
        token.verifier = random_text(6) if approve else None
        asked = token.callback not in (None, "oob")
        callback = token.callback if asked else self.link.callback_url
        if callback is None:
            return None
        query = urlencode(
            {"oauth_token": token.token, "oauth_verifier": token.verifier or "denied"}
        )
        joint = "&" if "?" in callback else "?"
        return f"{callback}{joint}{query}"

    # ── a signed request ────────────────────────────────────────────────────────────────────

    def authenticate(self, message: Message) -> str | None:
        """Give the user that a request for a resource acts as; None is anonymous.

        Raises OAuthProblem, JavaException or MayNotLogIn: the first that applies.
        """
        is_two_legged = message.get("oauth_token") == ""
        user = self._two_legged(message) if is_two_legged else self._three_legged(message)
        if user is not None and (self.faults.inactive_user or user in catalog.INACTIVE):
            raise MayNotLogIn
        return user

    def _three_legged(self, message: Message) -> str:
        """Give the user of an access token."""
        token = self.access_tokens.get(message.get("oauth_token") or "")
        if token is None or self.faults.revoked or self.faults.link_gone:
            raise OAuthProblem("token_rejected")
        if token.consumer_key != message.get("oauth_consumer_key"):
            raise OAuthProblem("token_rejected")
        if self.faults.expired or self.now() >= token.expires_at:
            raise OAuthProblem("token_expired")
        self._validate(message)
        if not self.link.three_legged:
            raise OAuthProblem("permission_denied")
        return token.user

    def _two_legged(self, message: Message) -> str | None:
        """Give the user that a request names, or else the link's; None if Jira has no such user."""
        self._known_consumer(message)
        self._validate(message)
        link, requestor = self.link, message.requestor
        if not (link.two_legged if requestor is None else link.impersonation):
            raise MayNotLogIn
        user = link.execute_as if requestor is None else requestor
        return user if user in catalog.USERS else None

    def _is_too_old(self, token: RequestToken) -> bool:
        return self.now() >= token.issued_at + REQUEST_TOKEN_LIFE


def _is_absolute(callback: str) -> bool:
    try:
        parts = urlsplit(callback)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
