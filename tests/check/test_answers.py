"""Who answers where Jira should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.check.answers import not_jira, redirected_path, server_info
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from sidecar.upstream.pool import Answer
from tests.support.checking import Diagnose, always, diagnose, page, relay, untried
from tests.support.dancing import answer
from tests.support.raw_server import RawServer

__all__ = ["diagnose"]


@pytest.mark.parametrize("fault", ["sso_redirect", "sso_html"])
async def test_a_login_page_is_recognised(sandbox: Sandbox, diagnose: Diagnose, fault: str) -> None:
    setattr(sandbox.faults, fault, True)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.failed == ["jira"]
    assert result.code == 69
    assert "login page (single sign-on)" in result["jira"].message
    assert "/plugins/servlet/oauth/" in result["jira"].hint
    assert result.of("skipped") == untried("context_path")


async def test_a_gateway_that_lets_signed_requests_through_is_no_fault(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    """Strangers are sent to the login page, and whoever signs reaches Jira."""
    login = page(302, "", "Location: https://sso.example.com/login")
    async with relay(sandbox, for_strangers=login) as base_url:
        for token in (sandbox.grant().token, None):
            result = await diagnose(base_url, token=token)
            assert result.failed == ([] if token else ["token"]), result.text
            assert "lets signed ones through" in result["jira"].message


CAPTIVE = [
    page(511, "<html>log in</html>"),
    page(200, "<html><title>Hotel WiFi</title>Accept the terms of use</html>"),
    page(302, "", "Location: http://captive.example/portal?url=x"),
    page(407, "<html></html>", "Proxy-Authenticate: Basic"),
]


@pytest.mark.parametrize("raw", CAPTIVE, ids=["511", "page", "redirect", "407"])
async def test_a_captive_portal_is_recognised(diagnose: Diagnose, raw: bytes) -> None:
    async with RawServer(always(raw)) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 69)
    assert "captive portal or proxy of this network" in result["jira"].message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (page(200, "<html><title>Welcome to nginx!</title>"), 'titled "Welcome to nginx!"'),
        (page(200, "<form><input type=password></form>"), "login page"),
        (page(403, "<html>Blocked by Zscaler</html>"), "web filter"),
        (page(401, "", "WWW-Authenticate: Negotiate"), "login of its own (Negotiate)"),
        (page(302, "", "Location: https://elsewhere.example/x"), "redirects to https://elsewhere"),
        (page(302, "", "Location: https://a:b@elsewhere.example/x"), "to https://elsewhere"),
        (page(302), "redirects to"),
        (page(302, "", "Location: http://[bad"), "redirects to elsewhere"),
        (page(404, "<html>not found</html>"), "There is no Jira at"),
        (page(503, "starting"), "status 503"),
        (answer(200, "[1]", "Content-Type: application/json"), "is not Jira's"),
        (answer(200, "[" * 100_000), "is not Jira's"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not valid HTTP"),
    ],
)
async def test_whatever_else_answers_is_named(diagnose: Diagnose, raw: bytes, message: str) -> None:
    async with RawServer(always(raw)) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 69)
    assert message in result["jira"].message
    assert "a:b" not in result.text


async def test_a_redirect_to_https_names_the_right_base_url(diagnose: Diagnose) -> None:
    where = "Location: https://jira.example.com/tracker/rest/api/2/serverInfo"
    async with RawServer(always(page(301, "", where))) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 69)
    assert result["jira"].hint == 'set jira.base_url = "https://jira.example.com/tracker"'


@pytest.mark.parametrize("fault", ["unavailable", "reset", "cut_off"])
async def test_a_jira_that_does_not_answer_soundly(
    sandbox: Sandbox, diagnose: Diagnose, fault: str
) -> None:
    token = sandbox.grant().token
    setattr(sandbox.faults, fault, 10 if fault == "cut_off" else True)
    result = await diagnose(sandbox.url, token=token)
    assert (result.failed, result.code) == (["jira"], 69)
    assert "try again" in result["jira"].hint
    sandbox.faults.clear()
    assert (await diagnose(sandbox.url, token=token)).code == 0


async def test_jira_cloud_is_known_by_its_server_info(diagnose: Diagnose) -> None:
    cloud = '{"baseUrl": "https://jira.acme.com", "deploymentType": "Cloud"}'
    async with RawServer(always(answer(200, cloud))) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 78)
    assert "Jira Cloud" in result["jira"].message


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a": 1}', b"\xff", b'{"baseUrl": 1', b"null"])
def test_what_is_no_server_info_is_none(body: bytes) -> None:
    assert server_info(Answer(200, [], body)) is None


LOCATIONS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            ["http://", "https:", "//", "127.0.0.1", ":8080", "/jira", "/rest/api/2/serverInfo",
             "@", "[", "]", "?", "#", "%", "\\", "\n", "é", "..", "/secure/", "login", "wifi"]
        ),
        max_size=8,
    ).map(lambda parts: "".join(parts).encode()),
)  # fmt: skip


@given(
    status=st.integers(200, 599),
    location=LOCATIONS,
    challenge=st.binary(max_size=30),
    body=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: f"<title>{t}".encode()),
)
def test_whatever_answers_is_named_on_one_line(
    status: int, location: bytes, challenge: bytes, body: bytes
) -> None:
    base = BaseURL.parse("http://127.0.0.1:8080/jira")
    fields = [(b"Location", location), (b"WWW-Authenticate", challenge)]
    given = Answer(status, fields, body)
    error = not_jira(given, base)
    assert error.exit_code in (69, 78)
    assert error.message.isprintable()
    assert error.hint.isprintable()
    path = redirected_path(given, base.origin, base.path)
    assert path is None or path == "" or (path.startswith("/") and not path.endswith("/"))
