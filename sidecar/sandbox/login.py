"""Seraph's logins by password: Basic, `os_username` and `os_password`, and the session resource."""

from __future__ import annotations

from typing import Final

from sidecar.sandbox import catalog
from sidecar.sandbox.answers import Answer, Call, answer_page
from sidecar.sandbox.bounds import keep
from sidecar.sandbox.java import decode_base64

_CAPTCHA_AFTER: Final = 3
"""Wrong passwords in a row until Jira asks that user for a CAPTCHA."""
_MOST_NAMES: Final = 1_000


class Login:
    """Checks passwords; in this sandbox a user's password is the user's name."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._failures: dict[str, int] = {}

    def failures(self, name: str) -> int:
        """How many wrong passwords in a row a name has had."""
        return self._failures.get(name, 0)

    def attempt(self, name: str, password: str) -> Answer | None:
        """Try a password: None if it is right, else Jira's refusal."""
        if self.failures(name) < _CAPTCHA_AFTER:
            if name in catalog.USERS and name not in catalog.INACTIVE and password == name:
                self._failures.pop(name, None)
                return None
            keep(self._failures, name, self.failures(name) + 1, _MOST_NAMES)
            return _refuse(401, "AUTHENTICATED_FAILED")
        refused = _refuse(403, "AUTHENTICATION_DENIED")
        reason = f"CAPTCHA_CHALLENGE; login-url={self._base}/login.jsp"
        refused.fields.append(("X-Authentication-Denied-Reason", reason))
        return refused

    def admit(self, call: Call, *, basic: bool) -> Answer | None:
        """Let a request act as the user whose password it carries, whoever has signed it.

        Jira looks at the parameters on every path, and at Basic where nobody is logged in.
        """
        given = {name for name, _ in call.parameters}
        pair = None
        if {"os_username", "os_password"} <= given:
            pair = call.parameter("os_username"), call.parameter("os_password")
        elif basic and call.user is None:
            scheme, _, text = call.fields.get("authorization").partition(" ")
            if scheme.lower() == "basic":
                name, _, password = decode_base64(text.strip()).decode("latin-1").partition(":")
                pair = name, password
            elif scheme.lower() == "bearer":
                return _refuse(401, "AUTHENTICATED_FAILED")
        if pair is None:
            return None
        if (refused := self.attempt(*pair)) is None:
            call.user = pair[0]
        return refused


def _refuse(status: int, reason: str) -> Answer:
    page = answer_page("Unauthorized", "<h1>Basic Authentication Failure</h1>", status)
    page.fields.append(("X-Seraph-LoginReason", reason))
    return page
