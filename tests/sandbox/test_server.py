from __future__ import annotations

import gzip
import hashlib
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Answer, Sandbox
from tests.support.sandbox_client import OAUTH, SandboxClient, challenges, problem
from tests.support.wire import Wire

MYSELF = "/rest/api/2/myself"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
MakeSandbox = Callable[..., Awaitable[Sandbox]]


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


# ── the dance ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("context_path", ["", "/jira", "/a/b/"])
async def test_the_dance_ends_with_a_request_that_is_somebodys(
    make_sandbox: MakeSandbox, private_key: RSAPrivateKey, context_path: str
) -> None:
    sandbox = await make_sandbox(context_path=context_path)
    client = SandboxClient(sandbox, private_key)
    reply = await client.token_call("request-token", oauth_callback="oob")
    assert reply["Content-Type"].startswith("text/plain")
    token = dict(parse_qsl(reply.body.decode()))["oauth_token"]
    page = await client.get(f"{client.context}{OAUTH}authorize?oauth_token={token}")
    assert b'name="approve" value="Allow"' in page.body
    assert b'name="deny" value="Deny"' in page.body
    approved = (await client.decide(token, "approve=Authorize")).body.decode()
    assert "Access Approved" in approved
    verifier = approved.partition("Your verification code is '")[2].partition("'")[0]
    reply = await client.token_call("access-token", oauth_token=token, oauth_verifier=verifier)
    client.token = dict(parse_qsl(reply.body.decode()))["oauth_token"]
    assert (await client.call("GET", MYSELF)).json()["name"] == "alana"


async def test_the_approval_page_leads_to_the_callback(client: SandboxClient) -> None:
    reply = await client.token_call(
        "request-token", oauth_token=None, oauth_callback="http://127.0.0.1:9/cb"
    )
    token = dict(parse_qsl(reply.body.decode()))["oauth_token"]
    answer = await client.decide(token, "deny=Deny")
    assert answer.status == 302
    assert answer["Location"] == f"http://127.0.0.1:9/cb?oauth_token={token}&oauth_verifier=denied"
    again = await client.decide(token)
    assert (again.status, again["Content-Type"]) == (401, "text/html;charset=UTF-8")
    assert challenges(again)[1]["oauth_problem"] == "token_used"


async def test_denying_without_a_callback_is_a_page(client: SandboxClient) -> None:
    reply = await client.token_call("request-token", oauth_token=None, oauth_callback="oob")
    token = dict(parse_qsl(reply.body.decode()))["oauth_token"]
    assert b"Access Denied" in (await client.decide(token, "deny=Deny")).body
    answer = await client.token_call("access-token", oauth_token=token, oauth_verifier="x")
    assert problem(answer) == {"oauth_problem": "permission_denied"}


async def test_another_user_can_log_in_on_the_page(client: SandboxClient) -> None:
    reply = await client.token_call("request-token", oauth_token=None, oauth_callback="oob")
    token = dict(parse_qsl(reply.body.decode()))["oauth_token"]
    await client.decide(token, "approve=Allow&os_username=admin")
    assert client.sandbox.provider.request_tokens[token].user == "admin"


@pytest.mark.parametrize("endpoint", ["request-token", "access-token"])
async def test_a_token_endpoint_answers_get_with_nothing(
    client: SandboxClient, endpoint: str
) -> None:
    answer = await client.get(client.context + OAUTH + endpoint)
    assert (answer.status, answer.body) == (200, b"")


async def test_an_unknown_token_is_refused_before_any_login(client: SandboxClient) -> None:
    answer = await client.get(f"{client.context}{OAUTH}authorize?oauth_token=x")
    assert answer.status == 401
    assert challenges(answer) == [
        {"realm": client.sandbox.url},
        {"realm": client.sandbox.url, "oauth_problem": "token_rejected"},
    ]


# ── what is verified ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "target",
    [
        "/_sandbox/echo/a?b=1&a=2&a=1&empty=",
        "/_sandbox/echo/%C3%A9?q=%C3%A9+x%20y",
        "/_sandbox/echo//a;v=1/./b/%7e?x=~*%2A",
    ],
)
async def test_a_signature_over_the_target_as_sent_is_accepted(
    client: SandboxClient, target: str
) -> None:
    answer = await client.call("GET", target)
    assert answer.json()["target"] == client.context + target
    assert client.sandbox.log[-1].target == client.context + target
    assert client.sandbox.log[-1].verdict == "ok"


async def test_a_form_counts_on_post_alone(client: SandboxClient) -> None:
    also = [("a", "1 2"), ("b", "é")]
    body = b"a=1+2&b=%C3%A9&=x&c=%zz"
    for method, parameters in (("POST", also), ("PUT", [])):
        target = "/_sandbox/echo/form"
        answer = await client.call(method, target, FORM, body=body, also=parameters)
        assert answer.status == 200, method
        assert answer.json()["body_sha256"] == hashlib.sha256(body).hexdigest()


async def test_a_form_over_2_mib_is_not_parsed(client: SandboxClient) -> None:
    for size, counts in ((2 << 20, True), ((2 << 20) + 1, False)):
        body = b"a=" + b"x" * (size - 2)
        also = [("a", "x" * (size - 2))] if counts else []
        answer = await client.call("POST", "/_sandbox/echo", FORM, body=body, also=also)
        assert answer.status == 200, size
        assert answer.json()["body_length"] == size


async def test_a_changed_query_is_shown_jiras_base_string(client: SandboxClient) -> None:
    path = client.context + MYSELF
    authorization = client.sign("GET", path + "?a=1")
    answer = await client.get(path + "?a=2", ("Authorization", authorization))
    assert answer.status == 401
    said = problem(answer)
    assert said["oauth_problem"] == "signature_invalid"
    assert said["oauth_signature_base_string"].startswith("GET&http%3A%2F%2F127.0.0.1")
    assert "a%3D2%26oauth_consumer_key" in said["oauth_signature_base_string"]
    assert client.sandbox.log[-1].verdict == "signature_invalid"


async def test_a_parameter_in_header_and_query_is_rejected(client: SandboxClient) -> None:
    target = "/rest/api/2/myself?oauth_nonce=again"
    answer = await client.call("GET", target)
    assert answer.status == 400
    assert problem(answer)["oauth_problem"] == "parameter_rejected"


async def test_all_of_oauth_may_be_in_the_query(client: SandboxClient) -> None:
    path = client.context + MYSELF
    header = client.sign("GET", path).removeprefix("OAuth ")
    query = "&".join(part.replace('"', "") for part in header.split(", "))
    assert (await client.get(f"{path}?{query}")).json()["name"] == "alana"


async def test_five_parameters_of_six_are_anonymous(client: SandboxClient) -> None:
    parameters = client.protocol_parameters(oauth_token=None)
    answer = await client.call("GET", MYSELF, parameters=parameters)
    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == [
        f'OAuth realm="{client.sandbox.url.replace(":", "%3A").replace("/", "%2F")}"'
    ]
    assert answer["X-AUSERNAME"] == "anonymous"
    assert client.sandbox.log[-1].verdict is None
    search = await client.get(client.context + "/rest/api/2/search?jql=project=JJ")
    assert (search.status, search["X-AUSERNAME"]) == (200, "anonymous")
    assert search.json()["issues"] == []


async def test_a_clients_session_goes_before_its_signature(client: SandboxClient) -> None:
    answer = await client.call("GET", MYSELF, ("Cookie", "a=b; JSESSIONID=1234"))
    assert (answer.status, answer["X-AUSERNAME"]) == (401, "anonymous")
    assert (await client.call("GET", MYSELF, ("Cookie", ""))).status == 200


async def test_a_made_up_password_is_refused(client: SandboxClient) -> None:
    basic = ("Authorization", "Basic YTpi")
    answer = await client.get(client.context + "/rest/api/2/serverInfo", basic)
    assert (answer.status, answer["X-Seraph-LoginReason"]) == (401, "AUTHENTICATED_FAILED")


async def test_a_context_path_is_needed(client: SandboxClient) -> None:
    assert (await client.get("/rest/api/2/serverInfo")).status == 404
    assert (await client.get("/jiraffe/rest/api/2/serverInfo")).status == 404


# ── around it ───────────────────────────────────────────────────────────────────────────────


async def test_every_signed_answer_says_whose_it_is_and_what_is_left(
    client: SandboxClient,
) -> None:
    answer = await client.call("GET", MYSELF)
    assert answer["X-AUSERNAME"] == "alana"
    assert answer["Retry-After"] == "0"
    assert answer["X-RateLimit-Limit"] == "1000"
    assert answer.reason == b""
    session, secure = answer.all("Set-Cookie")
    assert session.startswith("JSESSIONID=")
    assert "Path=/jira" in session
    assert secure.endswith("; Secure")
    assert "Secure" not in session


@pytest.mark.parametrize("coding", ["gzip", "deflate, gzip;q=0.5", "br, x-gzip"])
async def test_text_is_compressed_when_asked_for(client: SandboxClient, coding: str) -> None:
    answer = await client.call("GET", MYSELF, ("Accept-Encoding", coding))
    assert answer["Content-Encoding"] == "gzip"
    assert b'"alana"' in gzip.decompress(answer.body)


@pytest.mark.parametrize("coding", ["identity", "gzip;q=0", "gzip;q=0.0, br", "gzipped", ""])
async def test_text_is_plain_otherwise(client: SandboxClient, coding: str) -> None:
    answer = await client.call("GET", MYSELF, ("Accept-Encoding", coding))
    assert answer.all("Content-Encoding") == []
    assert answer.json()["name"] == "alana"


async def test_head_has_the_length_of_get(client: SandboxClient) -> None:
    get = await client.call("GET", MYSELF)
    head = await client.call("HEAD", MYSELF)
    assert (head.status, head.body) == (200, b"")
    assert head["Content-Length"] == get["Content-Length"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([JSON], 201),
        ([FORM], 403),
        ([("Content-Type", "text/plain; charset=utf-8")], 403),
        ([("Content-Type", "multipart/form-data; boundary=x")], 403),
        ([], 403),
        ([("X-Atlassian-Token", "no-check")], 201),
        ([("X-Atlassian-Token", "nocheck")], 201),
        ([JSON, ("User-Agent", "Mozilla/5.0"), ("X-Atlassian-Token", "no-check")], 403),
    ],
)
async def test_a_post_that_a_browser_could_forge_is_refused(
    client: SandboxClient, fields: list[tuple[str, str]], status: int
) -> None:
    body = b'{"body":"hello"}'
    also = [('{"body":"hello"}', "")] if FORM in fields else []
    target = "/rest/api/2/issue/JJ-2/comment"
    answer = await client.call("POST", target, *fields, body=body, also=also)
    assert answer.status == status
    if status == 403:
        assert answer.body == b"XSRF check failed"


async def test_a_head_of_64_kib_gets_through(client: SandboxClient) -> None:
    target = "/_sandbox/echo?q=" + "x" * 30_000
    answer = await client.call("GET", target, ("X-Long", "y" * 30_000))
    assert answer.status == 200


@pytest.mark.parametrize("target", ["/jira/rest/a[b]", "/jira/rest/a|b"])
async def test_raw_brackets_in_the_path_are_a_500(client: SandboxClient, target: str) -> None:
    assert (await client.get(target)).status == 500


@pytest.mark.parametrize("target", ["/jira/a{b", "/jira/a?\udcc3\udca9", "/jira/..;/../x"])
async def test_tomcat_refuses_by_itself(client: SandboxClient, target: str) -> None:
    answer = await client.get(target)
    assert answer.status == 400


async def test_an_http_1_1_request_names_one_host(client: SandboxClient) -> None:
    two = (("Host", client.authority), ("Host", "evil"))
    assert (await client.get("/jira/rest/api/2/serverInfo", *two)).status == 400
    none = b"GET /jira/rest/api/2/serverInfo HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert (await client.raw(none)).status == 400
    old = b"GET /jira/rest/api/2/serverInfo HTTP/1.0\r\n\r\n"
    assert (await client.raw(old)).status == 200


async def test_a_body_is_asked_for_when_it_is_wanted(client: SandboxClient) -> None:
    target = client.context + "/rest/api/2/issue/JJ-2/comment"
    expect = ("Expect", "100-continue")
    body = b'{"body":"hello"}'
    signed = ("Authorization", client.sign("POST", target))
    length = ("Content-Length", str(len(body)))
    async with await client.wire() as wire:
        await wire.send(client.message("POST", target, signed, JSON, expect, length))
        status, _, _ = await wire.head()
        assert status == 100
        await wire.send(body)
        assert (await wire.receive()).status == 201
    async with await client.wire() as wire:
        await wire.send(client.message("POST", target, JSON, expect, length))
        assert (await wire.head())[0] == 401


async def test_a_large_upload_is_hashed_and_not_held(client: SandboxClient) -> None:
    target = client.context + "/_sandbox/echo/upload"
    signed = ("Authorization", client.sign("PUT", target))
    digest = hashlib.sha256()
    piece = bytes(1 << 20)
    async with await client.wire() as wire:
        length = ("Content-Length", str(20 * len(piece)))
        await wire.send(client.message("PUT", target, signed, length))
        for _ in range(20):
            digest.update(piece)
            await wire.send(piece)
        said = (await wire.receive()).json()
    assert said["body_length"] == 20 << 20
    assert said["body_sha256"] == digest.hexdigest() == client.sandbox.log[-1].body_sha256
    assert client.sandbox.log[-1].body_complete


async def test_a_refusal_does_not_wait_for_a_large_body(client: SandboxClient) -> None:
    async with await client.wire() as wire:
        length = ("Content-Length", str(1 << 30))
        await wire.send(client.message("PUT", client.context + MYSELF, length), b"x")
        assert (await wire.head())[0] == 401


async def test_a_body_that_ends_early_is_noted(client: SandboxClient) -> None:
    target = client.context + "/_sandbox/echo"
    signed = ("Authorization", client.sign("POST", target))
    async with await client.wire() as wire:
        chunked = ("Transfer-Encoding", "chunked")
        await wire.send(client.message("POST", target, signed, chunked), b"3\r\nabc\r\n")
        wire.writer.write_eof()
        await wire.ends()
    record = client.sandbox.log[-1]
    assert (record.body_length, record.body_complete, record.status) == (3, False, None)


# ── the sandbox itself ──────────────────────────────────────────────────────────────────────


async def test_the_log_has_the_fields_as_they_came(client: SandboxClient) -> None:
    await client.request("GET", "/jira/x", ("X-A", "1"), ("x-a", "2"))
    record = client.sandbox.log[-1]
    assert record.fields[1:] == [(b"X-A", b"1"), (b"x-a", b"2")]
    assert (record.method, record.status, record.user) == ("GET", 404, None)


async def test_a_stopped_sandbox_can_be_started_again(client: SandboxClient) -> None:
    sandbox, port = client.sandbox, client.port
    await sandbox.stop()
    with pytest.raises(ConnectionError):
        await client.get("/jira/rest/api/2/serverInfo")
    await sandbox.start(port=port)
    assert (await client.call("GET", MYSELF)).status == 200


async def test_stopping_ends_connections_that_are_in_use(client: SandboxClient) -> None:
    target = client.context + "/_sandbox/drip?gate=g&pieces=2"
    signed = ("Authorization", client.sign("GET", target))
    async with await client.wire() as wire:
        await wire.send(client.message("GET", target, signed))
        client.sandbox.release("g")
        assert (await wire.head())[0] == 200
        await client.sandbox.stop()
        assert b"0\r\n\r\n" not in await wire.ends()


async def test_jira_may_call_itself_something_else(
    make_sandbox: MakeSandbox, private_key: RSAPrivateKey
) -> None:
    sandbox = await make_sandbox(context_path="/jira", base_url="https://jira.example.com")
    client = SandboxClient(sandbox, private_key, sandbox.grant().token)
    info = (await client.call("GET", "/rest/api/2/serverInfo")).json()
    assert info["baseUrl"] == "https://jira.example.com"
    issue = (await client.call("GET", "/rest/api/2/issue/JJ-2")).json()
    assert issue["self"] == "https://jira.example.com/rest/api/latest/issue/10300"


async def test_tokens_can_be_granted_expired_and_revoked(client: SandboxClient) -> None:
    sandbox = client.sandbox
    first, second = sandbox.grant("admin"), sandbox.grant()
    client.token = first.token
    assert (await client.call("GET", MYSELF)).json()["name"] == "admin"
    sandbox.expire(first.token)
    assert problem(await client.call("GET", MYSELF)) == {"oauth_problem": "token_expired"}
    client.token = second.token
    assert (await client.call("GET", MYSELF)).status == 200
    sandbox.revoke()
    assert problem(await client.call("GET", MYSELF)) == {"oauth_problem": "token_rejected"}


async def test_a_session_can_be_over_too(client: SandboxClient) -> None:
    grant = client.sandbox.grant()
    client.sandbox.expire(grant.token, session=True)
    renewal = {"oauth_token": grant.token, "oauth_session_handle": grant.session_handle}
    answer = await client.token_call("access-token", **renewal)
    assert problem(answer) == {"oauth_problem": "permission_denied"}


async def test_an_answer_can_be_canned(client: SandboxClient) -> None:
    canned = client.sandbox.canned
    canned["/jira/a"] = lambda: Answer(299, b"hi", "text/x", [("ETag", '"e"')])
    canned["/jira/b"] = lambda: Answer(raw=b"HTTP/1.1 200 OK\r\nX: \xff\r\n\r\nraw")
    for _ in range(2):
        answer = await client.call("GET", "/a")
        assert (answer.status, answer.body, answer["ETag"]) == (299, b"hi", '"e"')
    raw = await client.get("/jira/b")
    assert (raw.fields, raw.body) == ([(b"X", b"\xff")], b"raw")


async def test_it_can_speak_tls(private_key: RSAPrivateKey) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with Sandbox(public_key=private_key.public_key(), ssl=served) as sandbox:
        client = SandboxClient(sandbox, private_key, sandbox.grant().token)
        assert urlsplit(sandbox.url).scheme == "https"
        signed = client.sign("GET", MYSELF, origin=f"https://{client.authority}")
        fields = {"Authorization": signed}
        async with (
            aiohttp.ClientSession() as session,
            session.get(sandbox.url + MYSELF, headers=fields, ssl=trusting) as answer,
        ):
            assert (await answer.json())["name"] == "alana"


async def test_ipv6_will_do(make_sandbox: MakeSandbox, private_key: RSAPrivateKey) -> None:
    sandbox = Sandbox(public_key=private_key.public_key())
    try:
        await sandbox.start("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    client = SandboxClient(sandbox, private_key, sandbox.grant().token)
    host = ("Host", f"[::1]:{client.port}")
    signed = client.sign("GET", MYSELF, origin=f"http://[::1]:{client.port}")
    answer = await client.request("GET", MYSELF, host, ("Authorization", signed))
    await sandbox.stop()
    assert answer.status == 200


async def test_pipelined_requests_are_answered_in_order(client: SandboxClient) -> None:
    targets = [f"{client.context}/_sandbox/echo/{number}" for number in range(20)]
    signed = [
        client.message("GET", each, ("Authorization", client.sign("GET", each))) for each in targets
    ]
    async with await client.wire() as wire:
        await wire.send(b"".join(signed))
        answers = [(await wire.receive()).json()["target"] for _ in targets]
    assert answers == targets


async def test_wire_is_closed_after_a_bad_request(client: SandboxClient) -> None:
    async with await Wire.open(client.host, client.port) as wire:
        await wire.send(client.message("GET", "/jira/%zz"))
        assert (await wire.receive())["Connection"] == "close"
        assert await wire.ends() == b""
