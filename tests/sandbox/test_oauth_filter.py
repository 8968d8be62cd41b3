from __future__ import annotations

import random
from urllib.parse import quote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sidecar.sandbox import Sandbox
from sidecar.sandbox.tomcat import read_parameters
from tests.support.sandbox_client import OAUTH, SandboxClient, challenges, problem
from tests.support.wire import Response

MYSELF = "/rest/api/2/myself"
SERVER_INFO = "/rest/api/2/serverInfo"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
NASTY = [*"aZ09-._~!$'()*,:@;=+/ %\"<>^`{|}[]\\#&é\u0000", "ü", "🖍", "%2F", "%", "//", "\r\n"]
PIECES = ["a", "//", ";v=1", "%7e", "%C3%BC", "/./", "~", "@", ":"]


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


@pytest.fixture
def robot(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    """Signs two-legged: with an empty token."""
    sandbox.link.two_legged = True
    return SandboxClient(sandbox, private_key, "")


async def ask(client: SandboxClient, path: str = SERVER_INFO, **changes: str | None) -> Response:
    parameters = client.protocol_parameters(**changes)
    return await client.call("GET", path, parameters=parameters)


# ── what is looked at ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("agent", ["WebDAVFS/1", "WebDAVLib/3", "Microsoft-WebDAV-MiniRedir/6"])
async def test_a_webdav_client_is_anonymous(client: SandboxClient, agent: str) -> None:
    answer = await client.call("GET", SERVER_INFO, ("User-Agent", agent + ".0 (x)"))
    assert (answer.status, answer["X-AUSERNAME"]) == (200, "anonymous")
    inside = ("User-Agent", f"x {agent}")
    assert (await client.call("GET", SERVER_INFO, inside))["X-AUSERNAME"] == "alana"


async def test_a_token_sent_to_request_token_makes_it_a_resource(client: SandboxClient) -> None:
    target = "request-token"
    answer = await client.token_call(target, oauth_token="x", oauth_callback="oob")
    assert problem(answer) == {"oauth_problem": "token_rejected"}
    answer = await client.token_call(target, oauth_callback="oob")
    assert problem(answer) == {"oauth_problem": "nonce_used"}  # used up by the filter before
    answer = await client.token_call(target, oauth_token="", oauth_callback="oob")
    assert answer.status == 200


async def test_an_empty_token_at_access_token_is_two_legged_and_then_unknown(
    client: SandboxClient,
) -> None:
    answer = await client.token_call("access-token", oauth_token="")
    assert (answer.status, answer.body) == (401, b"")  # the link does not allow it
    client.sandbox.faults.two_legged = True
    answer = await client.token_call("access-token", oauth_token="")
    assert problem(answer) == {"oauth_problem": "token_rejected"}


@pytest.mark.parametrize("token", [None, ""])
async def test_oauth_may_stand_wholly_in_the_query(
    client: SandboxClient, token: str | None
) -> None:
    client.sandbox.faults.two_legged = True
    client.token = client.token if token is None else token
    path = client.context + MYSELF
    header = client.sign("GET", path).removeprefix("OAuth ")
    query = "&".join(part.replace('"', "") for part in header.split(", "))
    answer = await client.get(f"{path}?{query}")
    assert answer.json()["name"] == ("alana" if token is None else "builds")


# ── 500 and 401 without a problem ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("two_legged", [False, True])
@pytest.mark.parametrize(
    "changes", [{"oauth_timestamp": "now"}, {"oauth_version": "one"}, {"key": "1024"}]
)
async def test_what_breaks_jira_echoes_what_was_sent(
    client: SandboxClient, changes: dict[str, str], two_legged: bool
) -> None:
    if "key" in changes:
        client.key = generate_private_key(65537, 1024)
        changes = {}
    if two_legged:
        client.token = ""
    answer = await ask(client, **changes)
    assert (answer.status, answer.body) == (500, b"")
    (echo,) = challenges(answer)
    assert {"oauth_signature", "oauth_nonce", "oauth_token"} <= set(echo)
    assert "oauth_problem" not in echo


@pytest.mark.parametrize("user", ["retired", "alana"])
async def test_who_may_not_log_in_gets_a_401_without_a_name(
    client: SandboxClient, user: str
) -> None:
    client.sandbox.faults.inactive_user = user == "alana"
    client.token = client.sandbox.grant(user).token
    answer = await ask(client)
    assert (answer.status, answer.body, answer["X-AUSERNAME"]) == (401, b"", "anonymous")
    realm, echo = challenges(answer)
    assert realm == {"realm": client.sandbox.url}
    assert echo["oauth_token"] == client.token
    assert "oauth_problem" not in echo


async def test_three_legged_is_allowed_or_not_after_the_signature(
    client: SandboxClient, other_key: RSAPrivateKey
) -> None:
    client.sandbox.faults.three_legged = False
    assert problem(await ask(client)) == {"oauth_problem": "permission_denied"}
    client.key = other_key
    assert problem(await ask(client))["oauth_problem"] == "signature_invalid"


async def test_more_parameters_than_tomcat_reads_make_the_signature_wrong(
    client: SandboxClient,
) -> None:
    client.sandbox.faults.parameter_limit = 10
    for number, status in ((10, 200), (11, 401)):
        query = "&".join(f"p{index}=x" for index in range(number))
        assert (await ask(client, f"{SERVER_INFO}?{query}")).status == status
    also = [(f"p{index}", "x") for index in range(8)]
    body = "&".join(f"{name}={value}" for name, value in also).encode()
    for query, status in (("?a=1&=&%zz&b=2", 200), ("?a=1&b=2&c=3", 401)):
        path = "/_sandbox/echo" + query
        pairs = read_parameters(query[1:].encode())
        origin = f"http://{client.authority}"
        signed = client.sign(
            "POST", client.context + "/_sandbox/echo", also=[*pairs, *also], origin=origin
        )
        fields = FORM, ("Authorization", signed)
        answer = await client.request("POST", client.context + path, *fields, body=body)
        assert answer.status == status, query


async def test_ten_thousand_parameters_are_read_at_first(client: SandboxClient) -> None:
    # A wrong signature of so long a request is a bare 500.
    for number, status in ((10_000, 200), (10_001, 500)):
        also = [(f"{index}", "") for index in range(number)]
        body = "&".join(name for name, _ in also).encode()
        answer = await client.call("POST", "/_sandbox/echo", FORM, body=body, also=also)
        assert answer.status == status


# ── two-legged ──────────────────────────────────────────────────────────────────────────────


async def test_a_two_legged_request_acts_as_the_links_user(robot: SandboxClient) -> None:
    answer = await ask(robot, MYSELF)
    assert answer.json()["displayName"] == "Build Robot"
    assert answer["X-AUSERNAME"] == "builds"


async def test_without_a_token_at_all_it_is_anonymous(robot: SandboxClient) -> None:
    answer = await ask(robot, oauth_token=None)
    assert (answer.status, answer["X-AUSERNAME"]) == (200, "anonymous")


@pytest.mark.parametrize(
    ("switches", "path", "status", "user"),
    [
        ({}, SERVER_INFO, 200, "builds"),
        ({"two_legged": False}, SERVER_INFO, 401, "anonymous"),
        ({}, SERVER_INFO + "?user_id=alana", 401, "anonymous"),
        ({"impersonation": True}, SERVER_INFO + "?user_id=alana", 200, "alana"),
        ({"impersonation": True}, SERVER_INFO + "?xoauth_requestor_id=", 200, "anonymous"),
        ({"impersonation": True}, SERVER_INFO + "?user%5Fid=nobody", 200, "anonymous"),
        ({"execute_as": ""}, SERVER_INFO, 200, "anonymous"),
        ({"execute_as": "gone"}, SERVER_INFO, 200, "anonymous"),
        ({"execute_as": "retired"}, SERVER_INFO, 401, "anonymous"),
        ({"execute_as": ""}, MYSELF, 401, "anonymous"),
        ({"inactive_user": True}, SERVER_INFO, 401, "anonymous"),
    ],
)
async def test_the_link_says_who_a_two_legged_request_acts_as(
    robot: SandboxClient, switches: dict[str, object], path: str, status: int, user: str
) -> None:
    robot.sandbox.faults.throw(switches)
    answer = await ask(robot, path)
    assert (answer.status, answer["X-AUSERNAME"]) == (status, user)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_requestor_counts_in_a_post_form_alone(robot: SandboxClient, method: str) -> None:
    robot.sandbox.faults.impersonation = True
    also = [("xoauth_requestor_id", "alana")] if method == "POST" else []
    body = b"xoauth_requestor_id=alana"
    answer = await robot.call(method, "/_sandbox/echo", FORM, body=body, also=also)
    assert answer.json()["user"] == ("alana" if method == "POST" else "builds")


async def test_an_unknown_consumer_comes_before_everything(robot: SandboxClient) -> None:
    answer = await ask(robot, oauth_consumer_key="x", oauth_signature_method="x")
    assert (answer.status, problem(answer)) == (401, {"oauth_problem": "consumer_key_unknown"})
    robot.sandbox.faults.link_gone = True
    assert problem(await ask(robot)) == {"oauth_problem": "consumer_key_unknown"}


async def test_an_empty_token_in_header_and_query_is_one_too_many(robot: SandboxClient) -> None:
    answer = await ask(robot, SERVER_INFO + "?oauth_token=")
    assert (answer.status, problem(answer)) == (
        400,
        {
            "oauth_problem": "parameter_rejected",
            "oauth_parameters_rejected": "oauth_token=&oauth_token=",
        },
    )


def nasty_pairs(dice: random.Random) -> list[tuple[str, str]]:
    def text() -> str:
        return "".join(dice.choices(NASTY, k=dice.randrange(6)))

    # A name that is not empty, and none that Jira would take for the user.
    return [(dice.choice(NASTY) + text(), text()) for _ in range(dice.randrange(4))]


def written(dice: random.Random, pairs: list[tuple[str, str]]) -> str:
    """One of the ways in which clients write parameters in a query or form."""

    def encoded(text: str) -> str:
        plus = quote_plus(text, safe=dice.choice(["", "~!*'()", ",:@/?$;"]))
        return plus if dice.random() < 0.5 else plus.replace("+", "%20")

    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in pairs)


async def test_hostile_targets_and_forms_signed_two_legged_by_oauthlib_are_accepted(
    robot: SandboxClient,
) -> None:
    dice = random.Random(20)
    async with await robot.wire() as wire:
        for number in range(1000):
            method = "POST" if number % 2 else "GET"
            query, form = nasty_pairs(dice), nasty_pairs(dice) if number % 2 else []
            path = robot.context + "/_sandbox/echo/" + "".join(dice.choices(PIECES, k=4))
            # oauthlib's signer is given what was meant; the sandbox reads what was written.
            signed = ("Authorization", robot.sign(method, path, also=[*query, *form]))
            target = path + ("?" + written(dice, query) if query else "")
            body = written(dice, form).encode()
            await wire.send(robot.message(method, target, FORM, signed, body=body))
            answer = await wire.receive()
            assert answer.status == 200, (target, body, answer.body)
            assert answer.json()["user"] == "builds"
            assert answer.json()["parameters"] == [list(pair) for pair in (*query, *form)]


async def test_a_two_legged_base_string_holds_the_empty_token(
    robot: SandboxClient, other_key: RSAPrivateKey
) -> None:
    robot.key = other_key
    said = problem(await ask(robot))
    assert said["oauth_problem"] == "signature_invalid"
    assert "%26oauth_token%3D%26oauth_version" in said["oauth_signature_base_string"]


async def test_the_token_endpoints_stay_three_legged(robot: SandboxClient) -> None:
    answer = await robot.token_call("request-token", oauth_token=None, oauth_callback="oob")
    assert answer.status == 200
    page = await robot.get(f"{robot.context}{OAUTH}authorize?oauth_token=x")
    assert page.status == 401
