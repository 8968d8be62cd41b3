"""The proxy from end to end: a client, the sidecar, a sandbox Jira."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidecar.files.private import write_private
from sidecar.proxy import handler
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running, store_token
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import until
from tests.support.wire import Client

FORM = ("Content-Type", "application/x-www-form-urlencoded")
MakeSandbox = Callable[..., Awaitable[Sandbox]]


def verdicts(sandbox: Sandbox) -> set[str | None]:
    """What the sandbox found of the signatures of all requests."""
    return {request.verdict for request in sandbox.log}


def say_json(content: object) -> Callable[[Exchange], Awaitable[None]]:
    """What answers every request with this."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.say(json.dumps(content).encode(), "Content-Type: application/json")

    return answer


async def test_a_body_that_turns_out_malformed_is_answered_while_jira_waits_for_it(
    edge: Running, upstream: RawUpstream
) -> None:
    async def listen(exchange: Exchange) -> None:
        await exchange.hang()

    upstream.handler = listen
    async with await edge.wire() as wire:
        head = edge.message("PUT", "/rest/api/2/issue/JJ-1", ("Transfer-Encoding", "chunked"))
        await wire.send(head + b"4\r\nbody\r\n")
        exchange = await upstream.request()
        await wire.send(b"Z\r\n")
        answer = await wire.receive(method="PUT")
        assert (answer.status, answer["Connection"]) == (400, "close")
        await exchange.over.wait()
    await until(lambda: edge.server.metrics.requests == {("PUT", 4, "sidecar"): 1})
    assert edge.server.metrics.closed_early == {}


@pytest.mark.parametrize(
    ("problem", "questions"),
    [("token_rejected", 1), ("signature_invalid", 1), ("nonce_used", 0), ("version_rejected", 1)],
)
async def test_a_refusal_that_may_be_about_us_sets_off_one_question_of_our_own(
    problem: str, questions: int, edge: Running, upstream: RawUpstream
) -> None:
    """Jira takes the question, so whatever a caller has sent, the sidecar stays ready."""
    asked: list[str] = []

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        asked.append(exchange.start_line.removesuffix(" HTTP/1.1"))
        if exchange.target.endswith("/myself"):
            body = b'{"name": "alana", "displayName": "Alana Example"}'
            await exchange.say(body, "Content-Type: application/json", "X-AUSERNAME: alana")
        else:
            challenge = f'WWW-Authenticate: OAuth oauth_problem="{problem}"'
            await exchange.say(b"", challenge, status="401 Unauthorized")

    upstream.handler = answer
    for _ in range(3):
        refused = await edge.request("POST", "/rest/api/2/issue", body=b"{}")
        assert refused.status == 401
    standing = edge.server.generations[-1].standing
    await until(lambda: len(asked) >= 3 + questions)
    assert standing.refusal is None
    assert (await edge.get("/_sidecar/ready")).status == 200
    assert len(asked) == 3 + questions


class TestSigning:
    async def test_a_request_is_signed_accepted_and_streamed_back(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        answer = await sidecar.get("/rest/api/2/issue/JJ-2")
        assert answer.status == 200
        assert answer.json()["key"] == "JJ-2"
        assert [request.verdict for request in sandbox.log] == ["ok"]

    async def test_no_nonce_is_used_twice(self, sandbox: Sandbox, sidecar: Running) -> None:
        await asyncio.gather(*(sidecar.get("/rest/api/2/myself") for _ in range(20)))
        headers = [request.fields.get("authorization") for request in sandbox.log]
        assert len(set(headers)) == 20
        assert verdicts(sandbox) == {"ok"}

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    async def test_a_form_is_accepted_on_every_method(
        self, sandbox: Sandbox, sidecar: Running, method: str
    ) -> None:
        body = b"a=1&b=%C3%BC+x&&=n&c&50%&a=0"
        answer = await sidecar.request(method, "/_sandbox/echo?q=1", FORM, body=body)
        assert answer.status == 200
        assert answer.json()["body_sha256"] == hashlib.sha256(body).hexdigest()
        assert verdicts(sandbox) == {"ok"}

    async def test_json_labelled_as_a_form_is_accepted(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        answer = await sidecar.request(
            "POST", "/_sandbox/echo", FORM, body=b'{"jql": "project = JJ", "n": "50%"}'
        )
        assert answer.status == 200
        assert verdicts(sandbox) == {"ok"}

    async def test_a_form_beyond_jiras_limit_is_413(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        answer = await sidecar.request("POST", "/x", FORM, body=b"a=" + b"x" * (2 << 20))
        assert answer.status == 413
        assert "error=http_request_error" in answer["Proxy-Status"]
        assert not sandbox.log

    @pytest.mark.parametrize(
        ("target", "body"),
        [
            ("/x?oauth_token=evil", b""),
            ("/x?%6Fauth_token=evil", b""),
            ("/x?xoauth_requestor_id=admin", b""),
            ("/x", b"a=1&oauth_token=evil"),
            ("/x", b"%78oauth_requestor_id=admin"),
            ("/x?os_username=admin", b""),
            ("/x?a=1&%6fs_p%61ssword=guess", b""),
            ("/x", b"os_username=admin&os_password=guess"),
            ("/x", b"a=1&+%6Fs_password%20=guess"),
        ],
    )
    async def test_parameters_that_could_make_us_somebody_else_are_refused(
        self, sandbox: Sandbox, sidecar: Running, target: str, body: bytes
    ) -> None:
        answer = await sidecar.request("POST", target, FORM, body=body)
        assert answer.status == 400
        assert "only the sidecar may set" in answer.message
        assert not sandbox.log


class TestTargets:
    @pytest.mark.parametrize(
        "target",
        [
            "/rest/%41pi/2/%7euser/A%2FB?q=%41+b%20c&z=%2f&e=&f",
            "/rest/a?x=2&x=1&x=&=v&y=!$'()*,;:@/?",
            "/rest/a?",
            "//evil.example/x",
            "/rest/a;v=1/b?a;b=c",
            "/rest/api/2/user?jql=" + "summary+~+%22x%22+or+" * 700 + "key=JJ-2",
        ],
    )
    async def test_bytes_arrive_as_they_were_sent(
        self, sandbox: Sandbox, sidecar: Running, target: str
    ) -> None:
        answer = await sidecar.get(target)
        assert answer.status in (200, 404)
        assert sandbox.log[0].target == "/jira" + target
        assert verdicts(sandbox) == {"ok"}

    async def test_unsafe_characters_arrive_percent_encoded(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        await sidecar.get('/rest/a[1]?q="<>^`{|}[]\\50%&r=%zz')
        assert sandbox.log[0].target == (
            "/jira/rest/a%5B1%5D?q=%22%3C%3E%5E%60%7B%7C%7D%5B%5D%5C50%25&r=%25zz"
        )
        assert verdicts(sandbox) == {"ok"}

    async def test_the_context_path_is_not_given_twice(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        for target in ("/rest/api/2/myself", "/jira/rest/api/2/myself"):
            assert (await sidecar.get(target)).status == 200
        assert [r.target for r in sandbox.log] == ["/jira/rest/api/2/myself"] * 2

    async def test_an_absolute_target_on_jira_is_taken_and_its_links_stay(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        authority = sandbox.url.partition("//")[2].partition("/")[0]
        answer = await sidecar.get(sandbox.url + "/rest/api/2/myself", ("Host", authority))
        assert answer.status == 200
        assert answer.json()["self"].startswith(sandbox.url)

    async def test_a_request_line_of_64_kib_is_431(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        answer = await sidecar.get("/" + "A" * 70_000)
        assert answer.status == 431
        assert answer.json()["errors"] == {}
        assert not sandbox.log

    async def test_a_long_target_is_looked_at_in_several_turns_of_the_loop(
        self, sidecar: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn = 0
        seen: dict[str, int] = {}

        async def count_turns() -> None:
            nonlocal turn
            while True:
                await asyncio.sleep(0)
                turn += 1

        def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
            def watch(*arguments: Any) -> Any:
                seen[name] = turn
                return work(*arguments)

            return watch

        for name in ("clean", "readings", "request_fields"):
            monkeypatch.setattr(handler, name, watched(name, getattr(handler, name)))
        counting = asyncio.create_task(count_turns())
        for target, apart in (("/x?" + "a" * 10_000, True), ("/x?a", False)):
            await sidecar.get(target)
            assert (len(set(seen.values())) == len(seen)) is apart
        counting.cancel()


class TestCallers:
    async def test_a_foreign_host_is_421_and_a_foreign_origin_403(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        for field, status in (
            (("Host", "rebind.attacker.test"), 421),
            (("Origin", "https://attacker.test"), 403),
            (("Sec-Fetch-Site", "cross-site"), 403),
        ):
            answer = await sidecar.get("/rest/api/2/myself", field)
            assert answer.status == status
            assert "error=http_request_denied" in answer["Proxy-Status"]
        assert not sandbox.log

    async def test_credentials_and_cookies_of_the_client_are_dropped(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        answer = await sidecar.get(
            "/rest/api/2/myself",
            ("Authorization", "Basic ZXZpbDpldmls"),
            ("Cookie", "JSESSIONID=evil"),
        )
        assert answer.status == 200
        assert not sandbox.log[0].fields.all("cookie")
        assert len(sandbox.log[0].fields.all("authorization")) == 1
        assert not answer.all("Set-Cookie")

    async def test_a_login_larger_than_any_form_is_413(self, make_sidecar: MakeSidecar) -> None:
        sidecar = await make_sidecar("http://127.0.0.1:9", token="t", limits__form_bytes=1000)
        chunked = ("Transfer-Encoding", "chunked")
        body = b"3e8\r\n" + bytes(1000) + b"\r\n"
        login = sidecar.message("POST", "/rest/auth/1/session", chunked) + body
        assert (await sidecar.raw(login + b"0\r\n\r\n", method="POST")).status == 200
        assert (await sidecar.raw(login + b"1\r\nx\r\n0\r\n\r\n", method="POST")).status == 413

    @pytest.mark.parametrize(
        "target",
        [
            "/rest/auth/1/session",
            "/jira/rest/auth/1/session/",
            "//rest/auth/1/session",
            "/rest/auth/latest/session;x",
            "/rest/auth/1%2e0/session.json",
            "/s/x/_/rest/auth/1/session",
        ],
    )
    async def test_a_login_is_answered_here(
        self, sandbox: Sandbox, sidecar: Running, target: str
    ) -> None:
        answer = await sidecar.post_json(target, {"username": "x", "password": "y"})
        assert answer.status == 200
        assert set(answer.json()) == {"session", "loginInfo"}
        assert (await sidecar.request("DELETE", target)).status == 204
        assert not sandbox.log
        await sidecar.get("/rest/auth/1/session")
        assert verdicts(sandbox) == {"ok"}

    @pytest.mark.parametrize(
        "target",
        ["/login.jsp", "/jira/s/x/_/login.jsp", "/rest/gadget/1.0/login", "/rest/auth/1/websudo"],
    )
    async def test_any_other_login_is_refused(
        self, sandbox: Sandbox, sidecar: Running, target: str
    ) -> None:
        for method in ("POST", "DELETE"):
            answer = await sidecar.request(method, target, FORM, body=b"username=x&password=y")
            assert answer.status == 403
            assert "leave the login out" in answer.message
        assert not sandbox.log

    async def test_with_a_key_file_callers_must_show_the_key(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        key_file = tmp_path_factory.mktemp("key") / "key"
        write_private(key_file, b"correct horse\n")
        sidecar = await make_sidecar(
            sandbox.url, token=sandbox.grant().token, access__key_file=str(key_file)
        )
        refused = await sidecar.get("/rest/api/2/myself", ("X-Sidecar-Key", "wrong"))
        assert refused.status == 401
        assert refused["WWW-Authenticate"] == 'Basic realm="sidecar"'
        assert not refused.all("Connection")
        for field in (
            ("X-Sidecar-Key", "correct horse"),
            ("Authorization", "Bearer correct horse"),
            ("Authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZQ=="),
        ):
            assert (await sidecar.get("/rest/api/2/myself", field)).status == 200
        assert (await sidecar.get("/_sidecar/health")).status == 200
        assert (await sidecar.get("/_sidecar/ready")).status == 200
        assert (await sidecar.get("/_sidecar/status")).status == 401
        assert all(not request.fields.all("x-sidecar-key") for request in sandbox.log)

    async def test_read_only_and_rules(self, sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
        sidecar = await make_sidecar(
            sandbox.url,
            token=sandbox.grant().token,
            access__read_only=True,
            access__deny=["* /rest/api/*/user/**"],
        )
        assert (await sidecar.post_json("/rest/api/2/issue", {})).status == 403
        assert (await sidecar.get("/rest/api/2/%75ser?username=x")).status == 403
        search = await sidecar.post_json("/rest/api/2/search", {"jql": "project = JJ"})
        assert search.status == 200

    async def test_an_allowed_origin_gets_its_cors_fields(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        origin = ("Origin", "https://tools.example.com")
        sidecar = await make_sidecar(
            sandbox.url, token=sandbox.grant().token, access__origins=[origin[1]]
        )
        preflight = await sidecar.request(
            "OPTIONS", "/rest/api/2/myself", origin, ("Access-Control-Request-Method", "PUT")
        )
        assert preflight.status == 204
        assert preflight["Access-Control-Allow-Origin"] == origin[1]
        answer = await sidecar.get("/rest/api/2/myself", origin)
        assert answer.status == 200
        assert answer["Access-Control-Allow-Origin"] == origin[1]
        assert (await sidecar.get("/x", ("Origin", "https://evil.example"))).status == 403

    async def test_methods_that_are_not_forwarded_are_405(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        for method in ("TRACE", "PURGE", "PROPFIND"):
            answer = await sidecar.request(method, "/rest/api/2/myself")
            assert answer.status == 405
            assert "PATCH" in answer["Allow"]
        assert not sandbox.log

    async def test_our_own_signature_coming_round_is_508(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        await sidecar.get("/rest/api/2/myself")
        ours = sandbox.log[0].fields.get("authorization")
        assert ours is not None
        answer = await sidecar.get("/rest/api/2/myself", ("Authorization", ours))
        assert answer.status == 508
        assert "error=proxy_loop_detected" in answer["Proxy-Status"]


class TestToken:
    async def test_without_a_token_503_until_one_is_stored(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(sandbox.url)
        answer = await sidecar.get("/rest/api/2/myself")
        assert answer.status == 503
        assert "run `sidecar auth`" in answer.message
        assert "error=proxy_configuration_error" in answer["Proxy-Status"]
        assert not answer.all("Retry-After")
        assert (await sidecar.get("/_sidecar/health")).status == 200
        assert (await sidecar.get("/_sidecar/ready")).status == 503
        store_token(sidecar.config, sandbox.grant().token)
        assert (await sidecar.get("/rest/api/2/myself")).status == 200
        assert (await sidecar.get("/_sidecar/ready")).status == 200

    async def test_a_token_that_others_can_read_is_not_used(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(sandbox.url)
        store_token(sidecar.config, sandbox.grant().token)
        sidecar.config.token.path.chmod(0o644)
        answer = await sidecar.get("/rest/api/2/myself")
        assert answer.status == 503
        assert "chmod" in answer.message
        sidecar.config.token.path.chmod(0o600)
        assert (await sidecar.get("/rest/api/2/myself")).status == 200

    async def test_status_tells_no_secret(self, sandbox: Sandbox, sidecar: Running) -> None:
        await sidecar.get("/rest/api/2/myself")
        answer = await sidecar.get("/_sidecar/status")
        assert list(answer.json())[:8] == [
            "version", "uptime_seconds", "base_url", "user", "token_expires_at",
            "clock_difference_seconds", "last_problem", "counters",
        ]  # fmt: skip
        for token in sandbox.provider.access_tokens:
            assert token.encode() not in answer.body
        assert (await sidecar.get("/_sidecar/nothing")).status == 404
        assert (await sidecar.request("POST", "/_sidecar/health")).status == 405


class TestLinks:
    async def test_links_lead_to_the_clients_own_host(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        for host in (f"localhost:{sidecar.port}", f"127.0.0.1:{sidecar.port}", "LocalHost"):
            answer = await sidecar.get("/rest/api/2/issue/JJ-2", ("Host", host))
            assert answer.json()["self"].startswith(f"http://{host}/jira/rest/api/")
            assert "Content-Length" not in [name.decode() for name, _ in answer.fields]

    async def test_what_jira_calls_itself_counts_too(
        self, make_sandbox: MakeSandbox, make_sidecar: MakeSidecar
    ) -> None:
        sandbox = await make_sandbox(
            context_path="/jira", base_url="https://Jira.corp.example/jira"
        )
        sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token)
        info = await sidecar.get("/rest/api/2/serverInfo", ("Accept-Encoding", "gzip"))
        ours = f"http://{sidecar.authority}/jira"
        assert info.json()["baseUrl"] == ours
        issue = await sidecar.get("/rest/api/2/issue/JJ-2")
        assert issue.json()["self"].startswith(ours)

    @pytest.mark.parametrize(
        ("target", "is_learnt"),
        [
            ("/rest/api/2/serverInfo", True),
            ("//rest/api/latest/serverInfo/", True),
            ("/rest;x/api/2/%73erverInfo", True),
            ("/s/x/_/rest/api/2/serverInfo", True),
            ("/rest/api/2/issue/serverInfo", False),
            ("/secure/attachment/1/serverInfo", False),
            ("/s/rest/api/2/serverInfo/_/secure/attachment/1/x", False),
        ],
    )
    async def test_what_jira_calls_itself_is_learnt_from_serverinfo_in_any_spelling(
        self, edge: Running, upstream: RawUpstream, target: str, is_learnt: bool
    ) -> None:
        upstream.handler = say_json({"baseUrl": "https://jira.corp.example"})
        await edge.get(target)
        upstream.handler = say_json({"self": "https://jira.corp.example/rest/1"})
        ours = f"http://{edge.authority}" if is_learnt else "https://jira.corp.example"
        assert (await edge.get("/rest/api/2/x")).json() == {"self": f"{ours}/rest/1"}

    async def test_a_base_url_that_is_no_base_url_is_not_learnt(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        """Such as one of 60 KB, which took 0.3 s to be compiled into a pattern."""
        long = f"https://jira.corp.example/{'x.' * 30_000}"
        for url in (long, "ftp://jira.corp.example", "", None, ["https://jira.corp.example"]):
            upstream.handler = say_json({"baseUrl": url})
            assert (await edge.get("/rest/api/2/serverInfo")).json() == {"baseUrl": url}
        links = {"self": f"{long}/1", "next": "https://jira.corp.example"}
        upstream.handler = say_json(links)
        assert (await edge.get("/rest/api/2/x")).json() == links

    async def test_a_gzip_answer_is_rewritten_and_sent_plain(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        answer = await sidecar.get("/rest/api/2/issue/JJ-2", ("Accept-Encoding", "gzip, br"))
        assert sandbox.log[0].fields.get("accept-encoding") == "gzip"
        assert not answer.all("Content-Encoding")
        assert answer.json()["self"].startswith(f"http://{sidecar.authority}/")

    async def test_head_looks_like_get(self, sandbox: Sandbox, sidecar: Running) -> None:
        get = await sidecar.get("/rest/api/2/issue/JJ-2")
        head = await sidecar.request("HEAD", "/rest/api/2/issue/JJ-2")
        volatile = {b"date", b"x-arequestid", b"x-ratelimit-remaining", b"x-request-id"}
        assert [f for f in head.fields if f[0].lower() not in volatile] == [
            f for f in get.fields if f[0].lower() not in volatile
        ]
        assert head["Transfer-Encoding"] == "chunked"

    async def test_off_means_untouched(self, sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
        sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token, links__rewrite=False)
        answer = await sidecar.get("/rest/api/2/issue/JJ-2", ("Accept-Encoding", "gzip"))
        assert answer["Content-Encoding"] == "gzip"
        body = gzip.decompress(answer.body)
        assert json.loads(body)["self"].startswith(sandbox.url)
        assert answer["Content-Length"] == str(len(answer.body))

    async def test_peoples_text_survives_read_modify_write(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        text = f'see {sandbox.url}/browse/JJ-2 and "self":"{sandbox.url}/x"'
        fields = {"fields": {"description": text}}
        target = "/rest/api/2/issue/JJ-2"
        body = json.dumps(fields).encode()
        content = ("Content-Type", "application/json")
        assert (await sidecar.request("PUT", target, content, body=body)).status == 204
        read = (await sidecar.get(target)).json()["fields"]["description"]
        assert read == text

    async def test_location_of_a_created_issue_leads_here(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        answer = await sidecar.post_json(
            "/rest/api/2/issue",
            {"fields": {"project": {"key": "JJ"}, "summary": "x", "issuetype": {"name": "Bug"}}},
        )
        assert answer.status == 201
        assert answer.json()["self"].startswith(f"http://{sidecar.authority}/jira/")


class TestBodies:
    async def test_an_upload_of_unknown_length_arrives_whole(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        pieces = [b"x" * 70_000, b"y", b"z" * 300_000]
        head = sidecar.message("PUT", "/_sandbox/echo", ("Transfer-Encoding", "chunked"))
        async with await sidecar.wire() as wire:
            await wire.send(head)
            for piece in pieces:
                await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await wire.send(b"0\r\n\r\n")
            answer = await wire.receive()
        assert answer.json()["body_sha256"] == hashlib.sha256(b"".join(pieces)).hexdigest()
        assert sandbox.log[0].fields.get("transfer-encoding") == "chunked"

    async def test_a_body_on_get_and_delete_arrives(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        for method in ("GET", "DELETE"):
            answer = await sidecar.request(method, "/_sandbox/echo", body=b"{}")
            assert answer.json()["body_length"] == 2

    async def test_expect_continue_is_answered_here(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        head = sidecar.message(
            "POST", "/_sandbox/echo", ("Expect", "100-continue"), ("Content-Length", "5")
        )
        async with await sidecar.wire() as wire:
            await wire.send(head)
            status, _, _ = await wire.head()
            assert status == 100
            await wire.send(b"hello")
            answer = await wire.receive()
        assert answer.json()["body_length"] == 5
        assert not sandbox.log[0].fields.all("expect")

    async def test_ranges_pass_untouched(self, sandbox: Sandbox, sidecar: Running) -> None:
        upload = await _upload(sidecar, b"0123456789" * 1000)
        target = upload["content"].partition("/jira")[2]
        part = await sidecar.get(target, ("Range", "bytes=5-9"), ("Accept-Encoding", "gzip"))
        assert (part.status, part.body) == (206, b"56789")
        assert sandbox.log[-1].fields.get("accept-encoding") == "identity"
        past = await sidecar.get(target, ("Range", "bytes=99999-"))
        assert past.status == 416
        whole = await sidecar.get(target)
        again = await sidecar.get(target, ("If-None-Match", whole["ETag"]))
        assert again.status == 304
        assert again.body == b""


async def _upload(sidecar: Client, content: bytes) -> dict[str, str]:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--b--\r\n"
    )
    answer = await sidecar.request(
        "POST",
        "/rest/api/2/issue/JJ-2/attachments",
        ("Content-Type", "multipart/form-data; boundary=b"),
        body=body,
    )
    assert answer.status == 200
    attachment: dict[str, str] = answer.json()[0]
    return attachment


class TestOverload:
    async def test_beyond_the_waiting_room_503_with_retry_after(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(
            sandbox.url,
            token=sandbox.grant().token,
            limits__connections=1,
            limits__waiting=1,
        )
        sandbox.faults.slow = 0.3
        answers = await asyncio.gather(*(sidecar.get("/rest/api/2/myself") for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 200, 503, 503]
        refused = next(answer for answer in answers if answer.status == 503)
        assert refused["Retry-After"].isdecimal()
        assert "error=connection_limit_reached" in refused["Proxy-Status"]


class TestRecord:
    """What is counted of each request, whatever becomes of it."""

    async def test_what_jira_answers_counts_with_the_bytes_of_both_bodies(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        assert (await edge.request("POST", "/x", body=b"12345")).body == b"ok"
        await until(lambda: edge.server.metrics.requests == {("POST", 2, "jira"): 1})
        metrics = edge.server.metrics
        assert (metrics.received, metrics.sent, dict(metrics.errors)) == (5, 2, {})
        assert sum(metrics.durations.counts) == sum(metrics.signings.counts) == 1

    async def test_a_login_that_is_answered_here_counts_as_ours(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        answer = await edge.post_json("/rest/auth/1/session", {})
        assert answer.json()["session"]["name"] == "JSESSIONID"
        await until(lambda: edge.server.metrics.requests == {("POST", 2, "sidecar"): 1})
        assert edge.server.metrics.received == 2
        assert edge.server.metrics.sent == len(answer.body)
        assert not upstream.exchanges

    @pytest.mark.parametrize(
        ("method", "target", "status", "error"),
        [
            ("PROPFIND", "/x", 405, "http_request_denied"),
            ("POST", "/login.jsp", 403, "http_request_denied"),
            ("GET", "/x%", 400, "http_request_error"),
        ],
    )
    async def test_a_refusal_counts_by_its_error(
        self, edge: Running, method: str, target: str, status: int, error: str
    ) -> None:
        answer = await edge.request(method, target)
        assert answer.status == status
        assert f"error={error}" in answer["Proxy-Status"]
        await until(lambda: sum(edge.server.metrics.requests.values()) == 1)
        assert edge.server.metrics.errors == {error: 1}
        assert [found[1:] for found in edge.server.metrics.requests] == [(4, "sidecar")]

    async def test_a_client_that_leaves_counts_as_gone(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        async def hang(exchange: Exchange) -> None:
            await exchange.hang()

        upstream.handler = hang
        wire = await edge.wire()
        await wire.send(edge.message("GET", "/x"))
        await upstream.request()
        wire.leave()
        await until(lambda: edge.server.metrics.closed_early == {"client": 1})
        assert edge.server.metrics.errors == {}

    async def test_what_never_became_a_request_has_an_id_of_its_own(
        self, edge: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        ids = [(await edge.raw(b"NONSENSE / HTTP/1.1\r\n\r\n"))["X-Request-Id"] for _ in range(2)]
        assert len(set(ids)) == 2
        for own_id in ids:
            assert own_id in caplog.text
