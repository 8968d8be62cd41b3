from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from tests.support.sandbox_client import SandboxClient

JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
NO_CHECK = ("X-Atlassian-Token", "no-check")
SESSION = "/rest/auth/1/session"


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


def login(name: str, password: str) -> bytes:
    return json.dumps({"username": name, "password": password}).encode()


@pytest.mark.parametrize(
    "spelling",
    [
        SESSION, "/" + SESSION, SESSION + ";x", SESSION + ".json", SESSION + "/",
        "/rest/auth/latest/session", "/rest/auth/1/./session", "/s/x/_" + SESSION,
        "/rest/%61uth/1/session",
    ],
)  # fmt: skip
async def test_every_spelling_of_the_login_is_one(client: SandboxClient, spelling: str) -> None:
    target = client.context + spelling
    right = await client.request("POST", target, JSON, body=login("admin", "admin"))
    assert right.json()["session"]["name"] == "JSESSIONID"
    wrong = await client.request("POST", target, JSON, body=login("admin", "guess"))
    assert (wrong.status, wrong["X-Seraph-LoginReason"]) == (401, "AUTHENTICATED_FAILED")
    assert (await client.call("GET", spelling)).json()["name"] == "alana"


async def test_a_session_says_how_often_its_user_failed(client: SandboxClient) -> None:
    for _ in range(2):
        await client.request("POST", client.context + SESSION, JSON, body=login("alana", "guess"))
    assert (await client.call("GET", SESSION)).json()["loginInfo"]["failedLoginCount"] == 2


async def test_logging_out_ends_nothing(client: SandboxClient) -> None:
    assert (await client.call("DELETE", SESSION)).status == 204
    assert (await client.request("DELETE", client.context + SESSION)).status == 401
    assert (await client.call("GET", SESSION)).status == 200


@pytest.mark.parametrize(
    "path", ["/login.jsp", "/rest/gadget/1.0/login", "/rest/gadget/latest/login"]
)
async def test_the_login_forms_count_passwords(client: SandboxClient, path: str) -> None:
    async def post(password: str) -> int:
        body = f"os_username=admin&os_password={password}".encode()
        answer = await client.request("POST", client.context + path, FORM, NO_CHECK, body=body)
        return answer.status

    assert [await post(word) for word in ("admin", "a", "b", "c", "admin")] == [
        *(200, 401, 401, 401, 403)
    ]


async def test_a_gadget_says_whether_a_login_succeeded(client: SandboxClient) -> None:
    target = client.context + "/rest/gadget/1.0/login"
    body = b"os_username=admin&os_password=admin"
    answer = await client.request("POST", target, FORM, NO_CHECK, body=body)
    assert answer.json() == {"loginSucceeded": True}
    assert (await client.request("POST", target, FORM, NO_CHECK)).json() == {
        "loginSucceeded": False
    }
