from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from tests.support.rest_client import API, JSON, Jira
from tests.support.wire import Response


@pytest.fixture
def jira(sandbox: Sandbox, private_key: RSAPrivateKey) -> Jira:
    return Jira(sandbox, private_key, sandbox.grant().token)


async def test_a_session_is_shown_but_never_begun(jira: Jira) -> None:
    path = "/rest/auth/1/session"
    assert (await jira.call("GET", path)).json()["name"] == "alana"
    login = jira.message("POST", jira.context + path, JSON, body=b'{"username":"a","password":"b"}')
    answers: list[Response] = [await jira.raw(login) for _ in range(4)]
    assert [answer.status for answer in answers] == [401, 401, 401, 403]
    assert "CAPTCHA_CHALLENGE" in answers[-1]["X-Authentication-Denied-Reason"]
    assert (await jira.call("DELETE", path)).status == 204


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("serverInfo", 200),
        ("field", 200),
        ("search", 200),
        ("issue/JJ-2", 401),
        ("myself", 401),
        ("project", 401),
        ("nothing", 404),
    ],
)
async def test_an_anonymous_request_sees_little(jira: Jira, path: str, status: int) -> None:
    answer = await jira.get(jira.context + API + path)
    assert (answer.status, answer["X-AUSERNAME"]) == (status, "anonymous")
    assert bool(answer.all("WWW-Authenticate")) == (status == 401)


async def test_a_method_that_is_not_there_is_a_405(jira: Jira) -> None:
    answer = await jira.call("PATCH", API + "issue/JJ-2", JSON, body=b"{}")
    assert (answer.status, answer["Allow"]) == (405, "DELETE, GET, HEAD, PUT")
    assert (await jira.call("OPTIONS", API + "issue/JJ-2")).status == 200


async def test_the_sandbox_is_not_filled_for_ever(
    jira: Jira, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.sandbox.issues.MOST_ISSUES", 300)
    given = {"fields": {"project": {"key": "SB"}, "summary": "s", "issuetype": {"id": "1"}}}
    await jira.do("POST", "issue", given, status=400)
    monkeypatch.setattr("sidecar.sandbox.issues.MOST_PARTS", 1)
    await jira.do("POST", "issue/JJ-2/comment", {"body": "x"}, status=400)
