from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from sidecar.sandbox.login import Login
from tests.support.sandbox_client import SandboxClient

MYSELF = "/rest/api/2/myself"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
NO_CHECK = ("X-Atlassian-Token", "no-check")


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


def status(login: Login, name: str, password: str) -> int:
    refused = login.attempt(name, password)
    return 200 if refused is None else refused.status


def test_after_three_wrong_passwords_a_captcha_stops_even_the_right_one() -> None:
    login = Login("http://h")
    assert status(login, "alana", "alana") == 200
    assert [status(login, "alana", "guess") for _ in range(4)] == [401, 401, 401, 403]
    refused = login.attempt("alana", "alana")
    assert refused
    assert ("X-Seraph-LoginReason", "AUTHENTICATION_DENIED") in refused.fields
    reason = "CAPTCHA_CHALLENGE; login-url=http://h/login.jsp"
    assert ("X-Authentication-Denied-Reason", reason) in refused.fields
    assert status(login, "admin", "admin") == 200


def test_a_right_password_ends_the_row_of_wrong_ones() -> None:
    login = Login("http://h")
    for password in ("x", "x", "alana", "x", "x", "x"):
        login.attempt("alana", password)
    assert login.failures("alana") == 3


@pytest.mark.parametrize(("name", "password"), [("nobody", "nobody"), ("retired", "retired")])
def test_who_may_not_log_in_has_no_right_password(name: str, password: str) -> None:
    assert status(Login("http://h"), name, password) == 401


def test_only_so_many_names_are_remembered() -> None:
    login = Login("http://h")
    login.attempt("first", "x")
    for number in range(1000):
        login.attempt(f"name{number}", "x")
    assert login.failures("first") == 0


async def test_a_password_in_the_query_switches_the_user(client: SandboxClient) -> None:
    answer = await client.call("GET", MYSELF + "?os_username=admin&os_password=admin")
    assert answer.json()["name"] == answer["X-AUSERNAME"] == "admin"


async def test_a_password_in_a_form_switches_the_user(client: SandboxClient) -> None:
    body, also = b"os_username=admin&os_password=admin", [("os_username", "admin")]
    also.append(("os_password", "admin"))
    answer = await client.call("POST", "/_sandbox/echo", FORM, body=body, also=also)
    assert answer.json()["user"] == "admin"
    assert (await client.call("PUT", "/_sandbox/echo", FORM, body=body)).json()["user"] == "alana"


async def test_a_wrong_password_counts_against_the_user_who_did_not_send_it(
    client: SandboxClient,
) -> None:
    target = MYSELF + "?os_username=admin&os_password=guess"
    statuses = [(await client.call("GET", target)).status for _ in range(4)]
    assert statuses == [401, 401, 401, 403]


@pytest.mark.parametrize("query", ["os_username=admin", "os_password=x", "OS_USERNAME=a"])
async def test_half_a_login_is_none(client: SandboxClient, query: str) -> None:
    assert (await client.call("GET", f"{MYSELF}?{query}")).json()["name"] == "alana"


@pytest.mark.parametrize(
    ("credentials", "status", "user"),
    [
        (b"admin:admin", 200, "admin"),
        (b"admin:guess", 401, "anonymous"),
        (b"nonsense", 401, "anonymous"),
        (b"", 401, "anonymous"),
    ],
)
async def test_basic_is_looked_at_where_nothing_is_signed(
    client: SandboxClient, credentials: bytes, status: int, user: str
) -> None:
    basic = ("Authorization", "Basic " + base64.b64encode(credentials).decode())
    answer = await client.get(client.context + MYSELF, basic)
    assert (answer.status, answer["X-AUSERNAME"]) == (status, user)


async def test_a_bearer_is_nobody(client: SandboxClient) -> None:
    answer = await client.get(client.context + MYSELF, ("Authorization", "Bearer x"))
    assert (answer.status, answer["X-Seraph-LoginReason"]) == (401, "AUTHENTICATED_FAILED")
