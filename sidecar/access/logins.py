"""Requests that log in at Jira with somebody's user name and password.

The sidecar signs every request itself.  Other credentials would make Jira answer as somebody else,
and made-up ones, which many clients send because they must, count as failed logins and bring up
Jira's CAPTCHA.
"""

from __future__ import annotations

import re

from sidecar.errors import RequestRefused
from sidecar.http.methods import SAFE_METHODS
from sidecar.http.paths import without_extensions

# `1`, `1.0` and `latest` name the same version.
_SESSION = re.compile(r"/rest/auth/[^/]+/session/?", re.IGNORECASE)
_LOGIN = re.compile(
    r"/(?:login\.jsp|rest/gadget/[^/]+/login|rest/auth/[^/]+/websudo"
    r"|rest/tsv/[^/]+/authenticate|(?:.*/)?(?:j_security_check|WebSudoAuthenticate[^/]*\.jspa))/?",
    re.IGNORECASE | re.DOTALL,
)
"""The login page, gadgets, secure administrator sessions, and Jira's two-step verification.

Jira finds an action (`….jspa`), and a servlet engine its own login, by the last segment alone.
"""


def is_session_login(method: str, paths: frozenset[str]) -> bool:
    """Whether this begins or ends a session in any reading of its path: it is answered here."""
    if method not in ("POST", "DELETE"):
        return False
    return any(map(_SESSION.fullmatch, without_extensions(paths)))


def refuse_login(method: str, paths: frozenset[str]) -> None:
    """Raise RequestRefused (403) for any other login; the pages that ask for one may be read."""
    if method in SAFE_METHODS or not any(map(_LOGIN.fullmatch, without_extensions(paths))):
        return
    raise RequestRefused(
        403,
        "This is a login at Jira, and the sidecar signs every request itself.",
        "leave the login out: requests are answered as the sidecar's user without it",
        proxy_error="http_request_denied",
    )
