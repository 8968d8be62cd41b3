from __future__ import annotations

import asyncio
import time
from dataclasses import fields
from email.utils import parsedate_to_datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Faults, Sandbox
from sidecar.sandbox.faults import ABSURD_RETRY_AFTER
from tests.support.sandbox_client import SandboxClient, challenges, problem
from tests.support.wire import Response

MYSELF = "/rest/api/2/myself"


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


@pytest.fixture
def faults(sandbox: Sandbox) -> Faults:
    return sandbox.faults


async def myself(client: SandboxClient) -> Response:
    return await client.call("GET", MYSELF)


async def test_every_fault_undone_leaves_nothing_behind(
    client: SandboxClient, faults: Faults
) -> None:
    for field in fields(faults):
        kind = str(field.type).partition(" ")[0]
        setattr(faults, field.name, {"float": 0.01, "int": 1, "bool": True, "str": "x"}[kind])
    faults.clear()
    assert faults == Faults()
    assert (await myself(client)).status == 200


@pytest.mark.parametrize("offset", [-7200.0, -302.0, 302.0, 7200.0])
async def test_a_wrong_clock_shows_in_date_and_refuses_timestamps(
    client: SandboxClient, faults: Faults, offset: float
) -> None:
    faults.clock_offset = offset
    answer = await myself(client)
    assert (answer.status, problem(answer)["oauth_problem"]) == (400, "timestamp_refused")
    earliest, latest = map(int, problem(answer)["oauth_acceptable_timestamps"].split("-"))
    assert latest - earliest == 600
    jira = time.time() + offset
    assert abs((earliest + latest) / 2 - jira) < 5
    assert abs(parsedate_to_datetime(answer["Date"]).timestamp() - jira) < 5


@pytest.mark.parametrize(
    ("switch", "value", "origin"),
    [
        ("perceived_scheme", "https", "https%3A%2F%2F127.0.0.1%3A{port}%2Fjira%2F"),
        ("perceived_host", "jira.internal", "http%3A%2F%2Fjira.internal%2Fjira%2F"),
        ("perceived_port", 8443, "http%3A%2F%2F127.0.0.1%3A8443%2Fjira%2F"),
        ("perceived_port", 80, "http%3A%2F%2F127.0.0.1%2Fjira%2F"),
        ("perceived_prefix", "", "http%3A%2F%2F127.0.0.1%3A{port}%2Frest"),
        ("perceived_prefix", "/internal", "http%3A%2F%2F127.0.0.1%3A{port}%2Finternal%2Frest"),
    ],
)
async def test_a_wrongly_perceived_url_shows_in_jiras_base_string(
    client: SandboxClient, faults: Faults, switch: str, value: object, origin: str
) -> None:
    setattr(faults, switch, value)
    said = problem(await myself(client))
    assert said["oauth_problem"] == "signature_invalid"
    expected = "GET&" + origin.format(port=client.port)
    assert said["oauth_signature_base_string"].startswith(expected)


async def test_a_signature_for_the_perceived_url_is_right(
    client: SandboxClient, faults: Faults
) -> None:
    faults.perceived_scheme, faults.perceived_host = "https", "jira.internal"
    answer = await client.call("GET", MYSELF, origin="https://jira.internal")
    assert answer.status == 200


async def test_a_dropped_parameter_is_missing_from_jiras_base_string(
    client: SandboxClient, faults: Faults
) -> None:
    faults.dropped_parameter = "jql"
    said = problem(await client.call("GET", "/rest/api/2/search?jql=a&fields=b"))
    assert said["oauth_problem"] == "signature_invalid"
    assert "fields" in said["oauth_signature_base_string"]
    assert "jql" not in said["oauth_signature_base_string"]


async def test_a_stripped_authorization_is_anonymous(client: SandboxClient, faults: Faults) -> None:
    faults.strip_authorization = True
    answer = await myself(client)
    assert (answer.status, answer["X-AUSERNAME"]) == (401, "anonymous")
    assert len(answer.all("WWW-Authenticate")) == 1
    search = await client.call("GET", "/rest/api/2/search?jql=project=JJ")
    assert (search.status, search["X-AUSERNAME"], search.json()["total"]) == (200, "anonymous", 0)


@pytest.mark.parametrize(
    ("switch", "said"),
    [("revoked", "token_rejected"), ("link_gone", "token_rejected"), ("expired", "token_expired")],
)
async def test_a_lost_token_has_its_problem(
    client: SandboxClient, faults: Faults, switch: str, said: str
) -> None:
    setattr(faults, switch, True)
    assert problem(await myself(client)) == {"oauth_problem": said}
    setattr(faults, switch, False)
    assert (await myself(client)).status == 200


async def test_a_gone_link_refuses_the_dance(client: SandboxClient, faults: Faults) -> None:
    faults.link_gone = True
    new = await client.token_call("request-token", oauth_token=None, oauth_callback="oob")
    assert problem(new) == {"oauth_problem": "consumer_key_unknown"}
    renewed = await client.token_call("access-token", oauth_session_handle="x")
    assert problem(renewed) == {"oauth_problem": "token_rejected"}


async def test_an_inactive_user_gets_401_and_nothing_else(
    client: SandboxClient, faults: Faults
) -> None:
    faults.inactive_user = True
    answer = await myself(client)
    assert (answer.status, answer.body) == (401, b"")
    realm, echo = challenges(answer)
    assert realm == {"realm": client.sandbox.url}
    assert echo["oauth_token"] == client.token
    assert "oauth_problem" not in echo


async def test_a_used_nonce_is_refused_as_often_as_asked_for(
    client: SandboxClient, faults: Faults
) -> None:
    faults.nonce_used = 2
    assert [(await myself(client)).status for _ in range(3)] == [401, 401, 200]
    assert [request.verdict for request in client.sandbox.log] == ["nonce_used"] * 2 + ["ok"]


@pytest.mark.parametrize("path", [MYSELF, "/plugins/servlet/oauth/request-token"])
async def test_an_sso_gateway_answers_everything(
    client: SandboxClient, faults: Faults, path: str
) -> None:
    faults.sso_redirect = True
    answer = await client.call("POST", path)
    assert answer.status == 302
    assert answer["Location"].startswith("https://sso.example.com/login")
    assert answer.all("X-AUSERNAME") == []
    faults.clear()
    faults.sso_html = True
    answer = await client.call("POST", path)
    assert (answer.status, answer["Content-Type"]) == (200, "text/html;charset=UTF-8")


@pytest.mark.parametrize("seconds", [0, 1, ABSURD_RETRY_AFTER])
async def test_a_rate_limit_says_when_to_retry(
    client: SandboxClient, faults: Faults, seconds: int
) -> None:
    faults.rate_limited = seconds
    answer = await myself(client)
    assert (answer.status, answer["Retry-After"]) == (429, str(seconds))
    assert answer["X-RateLimit-Remaining"] == "0"


async def test_an_unavailable_jira_is_a_503(client: SandboxClient, faults: Faults) -> None:
    faults.unavailable = True
    assert (await myself(client)).status == 503


async def test_latency_and_slowness_delay_an_answer(client: SandboxClient, faults: Faults) -> None:
    faults.latency, faults.slow = 0.05, 0.05
    before = asyncio.get_running_loop().time()
    assert (await myself(client)).status == 200
    assert asyncio.get_running_loop().time() - before >= 0.1


@pytest.mark.parametrize(
    "path", [MYSELF, "/_sandbox/bytes?n=1000", "/_sandbox/bytes?n=9&chunked=1"]
)
async def test_a_cut_off_answer_ends_early(
    client: SandboxClient, faults: Faults, path: str
) -> None:
    faults.cut_off = 3
    target = client.context + path
    async with await client.wire() as wire:
        await wire.send(
            client.message("GET", target, ("Authorization", client.sign("GET", target)))
        )
        status, _, head = await wire.head()
        rest = await wire.ends()
    named = {name.lower(): value for name, value in head}
    assert status == 200
    if b"content-length" in named:
        assert len(rest) == 3 < int(named[b"content-length"])
    else:
        assert rest.startswith(b"3\r\n")
        assert not rest.endswith(b"0\r\n\r\n")


async def test_a_reset_gives_no_answer(client: SandboxClient, faults: Faults) -> None:
    faults.reset = True
    with pytest.raises(ConnectionError):
        await myself(client)


async def test_an_encoded_slash_is_refused_where_tomcat_sees_it(
    client: SandboxClient, faults: Faults
) -> None:
    assert (await client.call("GET", "/_sandbox/echo/a%2Fb")).status == 200
    faults.refuse_encoded_slash = True
    assert (await client.call("GET", "/_sandbox/echo/a%2Fb")).status == 400


async def test_a_head_over_8_kib_is_refused_where_tomcat_sees_it(
    client: SandboxClient, faults: Faults
) -> None:
    faults.refuse_long_heads = True
    assert (await client.call("GET", MYSELF, ("X-Long", "y" * 6000))).status == 200
    assert (await client.call("GET", MYSELF, ("X-Long", "y" * 8000))).status == 400


async def test_tools_need_a_signature_unless_told_otherwise(
    client: SandboxClient, faults: Faults
) -> None:
    target = client.context + "/_sandbox/echo"
    assert (await client.get(target)).status == 401
    faults.unsigned_tools = True
    assert (await client.get(target)).json()["user"] is None


async def test_switches_can_be_thrown_over_http_whatever_is_thrown_already(
    client: SandboxClient, faults: Faults
) -> None:
    target = client.context + "/_sandbox/faults"
    json = ("Content-Type", "application/json")
    faults.cut_off, faults.reset = 0, True
    body = b'{"unavailable": true, "clock_offset": 5, "rate_limited": null}'
    answer = await client.request("PUT", target, json, body=body)
    assert answer.json()["unavailable"] is True
    assert (faults.unavailable, faults.clock_offset) == (True, 5)
    for wrong in (b'{"unavailable": 1}', b'{"nope": true}', b'{"cut_off": "x"}', b"[]"):
        assert (await client.request("PUT", target, json, body=wrong)).status == 400
    body = b'{"unavailable": false, "reset": false, "cut_off": null}'
    await client.request("PUT", target, json, body=body)
    assert (await client.get(target)).json()["clock_offset"] == 5
