from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Answer, Sandbox
from tests.support.sandbox_client import SandboxClient, challenges

SERVER_INFO = "/rest/api/2/serverInfo"
MYSELF = "/rest/api/2/myself"
JSON = ("Content-Type", "application/json")


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


@pytest.mark.parametrize(
    "path",
    [
        MYSELF, "/" + MYSELF, MYSELF + "/", MYSELF + ";a=b", "/rest;x/api/2/myself",
        "/rest/api/latest/myself", MYSELF + ".json", "/s/1/_" + MYSELF,
        "/s/en/2/x/_//rest/api/2/myself;y", "/rest/a%70i/2/myself", "/rest/./api/x/../2/myself",
    ],
)  # fmt: skip
async def test_every_reading_of_a_path_is_one_resource_and_signed_as_sent(
    client: SandboxClient, path: str
) -> None:
    answer = await client.call("GET", path)
    assert answer.json()["name"] == "alana"
    assert client.sandbox.log[-1].target == client.context + path


@pytest.mark.parametrize("path", ["/s/x/rest/api/2/myself", "/s/x/_", "/S/x/_" + MYSELF])
async def test_another_prefix_leads_nowhere(client: SandboxClient, path: str) -> None:
    assert (await client.call("GET", path)).status == 404


async def test_a_post_behind_a_static_prefix_is_checked_like_any_other(
    client: SandboxClient,
) -> None:
    path = "/s/x/_/rest/api/2/issue/JJ-2/comment"
    assert (await client.call("POST", path, body=b"{}")).status == 403
    answer = await client.call("POST", path, JSON, body=b'{"body": "x"}')
    assert answer.status == 201


async def test_a_refusal_of_a_resource_names_the_realm_once(client: SandboxClient) -> None:
    answer = await client.get(client.context + MYSELF)
    assert (answer.status, challenges(answer)) == (401, [{"realm": client.sandbox.url}])


async def test_only_an_answer_to_somebody_has_cookies(client: SandboxClient) -> None:
    assert (await client.get(client.context + SERVER_INFO)).all("Set-Cookie") == []
    assert len((await client.call("GET", SERVER_INFO)).all("Set-Cookie")) == 2


async def test_a_limit_is_checked_before_forgery_and_forgery_before_the_resource(
    client: SandboxClient,
) -> None:
    canned: list[int] = []
    target = client.context + "/rest/x"

    def act() -> Answer:
        canned.append(1)
        return Answer(200)

    client.sandbox.canned[target] = act
    client.sandbox.faults.rate_limited = 5
    assert (await client.call("POST", "/rest/x")).status == 429
    client.sandbox.faults.clear()
    assert (await client.call("POST", "/rest/x")).status == 403
    assert canned == []
    assert (await client.call("POST", "/rest/x", JSON)).status == 200
    assert canned == [1]
