"""No login of somebody else's gets to Jira, however it is spelled."""

from __future__ import annotations

import pytest

from sidecar.access.logins import is_session_login, refuse_login
from sidecar.errors import RequestRefused
from sidecar.http.paths import readings

SESSIONS = [
    "/rest/auth/1/session",
    "/rest/auth/1/session/",
    "//rest/auth/1/session",
    "/rest/auth/1/session;x",
    "/rest/auth/1/session.json",
    "/rest/auth/1/session.xml",
    "/rest/auth/latest/session",
    "/rest/auth/1.0/session",
    "/rest/auth/1%2e0/session",
    "/rest;a/%61uth/1//session;b.json",
    "/rest/auth/1/s%65ssion%2ejson",
    "/s/x/_/rest/auth/1/session",
    "/S/x/y/_/rest/auth/1/session.json;z",
    "/rest%2Fauth%2F1%2Fsession",
    "/rest/auth/1/s%2565ssion",
    "/REST/auth/1/Session",
]
LOGINS = [
    "/login.jsp",
    "//login.jsp",
    "/login.jsp;jsessionid=1",
    "/s/x/_/login.jsp",
    "/login%2Ejsp",
    "/j_security_check",
    "/secure/j_security_check",
    "/WebSudoAuthenticate.jspa",
    "/secure/WebSudoAuthenticate.jspa",
    "/secure/x/y/websudoauthenticate!x.jspa",
    "/rest/gadget/1.0/login",
    "/rest/gadget/latest/login.json",
    "/rest/auth/1/websudo",
    "/rest/tsv/1.0/authenticate",
    "/secure/admin/WebSudoAuthenticate.jspa",
    "/secure/admin/WebSudoAuthenticate!default.jspa",
]
OTHERS = [
    "/rest/auth/1/sessions",
    "/rest/auth/1/session/x",
    "/rest/api/2/session",
    "/x/rest/auth/1/session",
    "/loginx.jsp",
    "/login.jspx",
    "/secure/attachment/1/login.jsp",
    "/rest/api/2/issue",
]


@pytest.mark.parametrize("path", SESSIONS)
def test_a_session_is_begun_and_ended_here_in_any_spelling(path: str) -> None:
    for method in ("POST", "DELETE"):
        assert is_session_login(method, readings(path))
        refuse_login(method, readings(path))
    for method in ("GET", "HEAD", "PUT", "OPTIONS"):
        assert not is_session_login(method, readings(path))


@pytest.mark.parametrize("path", LOGINS)
def test_other_logins_are_refused_and_their_pages_can_be_read(path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert not is_session_login(method, readings(path))
        with pytest.raises(RequestRefused) as refused:
            refuse_login(method, readings(path))
        assert (refused.value.status, refused.value.proxy_error) == (403, "http_request_denied")
        assert "leave the login out" in refused.value.hint
    for method in ("GET", "HEAD", "OPTIONS"):
        refuse_login(method, readings(path))


@pytest.mark.parametrize("path", OTHERS)
def test_what_only_looks_like_a_login_passes(path: str) -> None:
    assert not is_session_login("POST", readings(path))
    refuse_login("POST", readings(path))
