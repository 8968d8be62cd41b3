"""The credentials that OAuth 1.0a hands around (RFC 5849 §1.1), as values that show no secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn


class Secret:
    """A text that repr, str, format and pickle do not show; `reveal()` does."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the text itself: only for a signature, a request or a 0600 file."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.__text == other.__text

    def __hash__(self) -> int:
        return hash(self.__text)

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """A request token (RFC 5849 §2.1), as Jira keeps it for 600 seconds."""

    token: Secret
    token_secret: Secret
    issued_at: float
    """Unix time at which Jira gave it, by our clock."""


WARNING_SECONDS = 30 * 24 * 3600.0
"""How long before its end a token, or a certificate, is warned about."""
LATEST = 253402214400.0
"""Unix time of 9999-12-31, the end of Python's calendar: whatever lasts longer has no end."""


@dataclass(frozen=True, slots=True)
class TokenCredentials:
    """An access token (RFC 5849 §2.3) with what Jira says about its life."""

    token: Secret
    token_secret: Secret
    session_handle: Secret | None = None
    """Renews the token while the session lives; None where Jira gave none."""
    expires_at: float | None = None
    """Unix time of the token's end, before LATEST; None where Jira named none."""
    session_expires_at: float | None = None
    """Unix time after which not even renewal works."""
    user: str | None = None
    """The Jira user name that the token acts as."""
    display_name: str | None = None
    server_url: str | None = None
    """What Jira calls itself: serverInfo.baseUrl."""

    @property
    def is_two_legged(self) -> bool:
        """Whether there is no token: Jira takes the application link itself for the user."""
        return not self.token

    def is_renewable(self, at: float) -> bool:
        """Whether it can be renewed at that Unix time, as far as we know."""
        session_end = self.session_expires_at
        return self.session_handle is not None and (session_end is None or session_end > at)


TWO_LEGGED = TokenCredentials(Secret(""), Secret(""))
"""In place of a token where the application link itself signs: an empty one."""
