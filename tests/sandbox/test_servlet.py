from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from tests.support.sandbox_client import OAUTH, SandboxClient, challenges, problem

FORM = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key)


async def request_token(client: SandboxClient) -> str:
    reply = await client.token_call("request-token", oauth_callback="oob")
    return dict(parse_qsl(reply.body.decode()))["oauth_token"]


@pytest.mark.parametrize("xsrf", ["", "&atl_token=", "&atl_token=guess", "&atl_token=%C3%A9"])
async def test_a_form_without_the_pages_token_decides_nothing(
    client: SandboxClient, xsrf: str
) -> None:
    token = await request_token(client)
    body = f"oauth_token={token}&approve=Allow{xsrf}".encode()
    target = f"{client.context}{OAUTH}authorize"
    answer = await client.request("POST", target, FORM, body=body)
    assert answer.status == 403
    assert not client.sandbox.provider.request_tokens[token].decided


async def test_another_tokens_form_is_a_forgery_too(client: SandboxClient) -> None:
    first, second = await request_token(client), await request_token(client)
    other = client.sandbox.provider.request_tokens[second].xsrf_token
    body = f"oauth_token={first}&atl_token={other}&approve=Allow".encode()
    target = f"{client.context}{OAUTH}authorize"
    assert (await client.request("POST", target, FORM, body=body)).status == 403


async def test_a_form_without_a_button_shows_the_page_again(client: SandboxClient) -> None:
    token = await request_token(client)
    answer = await client.decide(token, "x=y")
    assert answer.status == 200
    assert b">Allow</button>" in answer.body


@pytest.mark.parametrize(
    ("name", "status"), [("token_expired", 401), ("token_used", 401), ("token_rejected", 401)]
)
async def test_a_token_that_is_over_gets_a_page_and_no_download(
    client: SandboxClient, name: str, status: int
) -> None:
    token = await request_token(client)
    if name == "token_expired":
        client.sandbox.provider.request_tokens[token].issued_at -= 600
    elif name == "token_used":
        await client.decide(token)
    else:
        token = "x"
    answer = await client.get(f"{client.context}{OAUTH}authorize?oauth_token={token}")
    assert (answer.status, answer["Content-Type"]) == (status, "text/html;charset=UTF-8")
    assert challenges(answer)[1]["oauth_problem"] == name
    assert b"<h1>This request" in answer.body


@pytest.mark.parametrize("endpoint", ["authorize", "request-token", "access-token"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_methods_are_not_allowed(
    client: SandboxClient, endpoint: str, method: str
) -> None:
    answer = await client.request(method, client.context + OAUTH + endpoint)
    assert (answer.status, answer["Allow"]) == (405, "GET, HEAD, POST")


async def test_there_is_no_fourth_endpoint(client: SandboxClient) -> None:
    assert (await client.get(client.context + OAUTH + "revoke")).status == 404


async def test_without_three_legged_no_request_token_is_given(client: SandboxClient) -> None:
    client.sandbox.faults.three_legged = False
    answer = await client.token_call("request-token", oauth_callback="oob")
    assert (answer.status, problem(answer)) == (401, {"oauth_problem": "permission_denied"})


@pytest.mark.parametrize("endpoint", ["request-token", "access-token"])
async def test_what_breaks_jira_at_a_token_endpoint_is_a_page(
    client: SandboxClient, endpoint: str
) -> None:
    grant = client.sandbox.grant()
    client.sandbox.public_key = None
    renewal = {"oauth_token": grant.token, "oauth_session_handle": grant.session_handle}
    changes = renewal if endpoint == "access-token" else {"oauth_callback": "oob"}
    answer = await client.token_call(endpoint, **changes)
    assert (answer.status, answer["Content-Type"]) == (500, "text/html;charset=UTF-8")
    assert answer.all("WWW-Authenticate") == []
    assert b"IllegalStateException" in answer.body
