"""The proxy from end to end: a client, the sidecar, a sandbox Jira."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sidecar.account.healing import SEND_AGAIN
from sidecar.files.private import write_private
from sidecar.jira.problems import Problem, explain
from sidecar.proxy import handler
from sidecar.sandbox import Sandbox
from sidecar.signing.signatures import Signatures
from tests.conftest import MakeSidecar, Running, store_token
from tests.support.clocks import LoopClock
from tests.support.loading import store_grant
from tests.support.owning import Owner
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import until
from tests.support.wire import Client, turns

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
        self, upstream: RawUpstream, make_sidecar: MakeSidecar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sidecar = await make_sidecar(upstream.url, jira__two_legged=True)
        assert (await sidecar.get("/x")).status == 200  # for it Jira was asked who we are
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

        for name in ("clean", "refuse_requestor", "readings", "request_fields"):
            monkeypatch.setattr(handler, name, watched(name, getattr(handler, name)))
        counting = asyncio.create_task(count_turns())
        for size, apart in ((8 * 1024, False), (8 * 1024 + 1, True), (10_000, True)):
            await sidecar.get("/x?".ljust(size, "a"))
            assert len(set(seen.values())) == (4 if apart else 1)
            assert max(seen.values()) - min(seen.values()) < 10, "nobody sleeps in between"
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
        assert answer.json() == {
            "session": {"name": "JSESSIONID", "value": "signed-by-the-sidecar"},
            "loginInfo": {"failedLoginCount": 0, "loginCount": 1},
        }
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
            allow = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
            assert allow in answer.fields
        assert not sandbox.log

    @pytest.mark.parametrize("scheme", ["OAuth", "oauth", "OAUTH"])
    async def test_our_own_signature_coming_round_is_508(
        self, sandbox: Sandbox, sidecar: Running, scheme: str
    ) -> None:
        await sidecar.get("/rest/api/2/myself")
        ours = sandbox.log[0].fields.get("authorization")
        assert ours is not None
        ours = ours.replace("OAuth", scheme, 1)
        answer = await sidecar.get("/rest/api/2/myself", ("Authorization", ours))
        assert answer.status == 508
        assert "error=proxy_loop_detected" in answer["Proxy-Status"]
        assert "it has come round in a loop" in answer.message
        assert "jira.base_url leads back to the sidecar" in answer.message

    async def test_what_is_not_signed_by_us_or_not_signed_at_all_is_no_loop(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        await sidecar.get("/rest/api/2/myself")
        ours = sandbox.log[0].fields.get("authorization")
        assert ours is not None
        for value in ('OAuth oauth_token="another"', ours.replace("OAuth", "Bearer", 1)):
            answer = await sidecar.get("/rest/api/2/myself", ("Authorization", value))
            assert answer.status == 200

    async def test_no_expectation_but_100_continue_is_met(self, sidecar: Running) -> None:
        answer = await sidecar.get("/rest/api/2/myself", ("Expect", "a-miracle"))
        assert answer.status == 417

    async def test_a_refusal_too_may_be_read_by_an_allowed_origin(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        origin = ("Origin", "https://tools.example.com")
        sidecar = await make_sidecar(sandbox.url, access__origins=[origin[1]])
        answer = await sidecar.get("/rest/api/2/myself", origin)
        assert answer.status == 503
        assert answer["Access-Control-Allow-Origin"] == origin[1]
        assert not (await sidecar.get("/x")).all("Access-Control-Allow-Origin")

    async def test_a_refusal_of_head_has_no_body(self, make_sidecar: MakeSidecar) -> None:
        sidecar = await make_sidecar("http://127.0.0.1:9")
        async with await sidecar.wire() as wire:
            for method, target, status in (("HEAD", "/x", 503), ("GET", "/_sidecar/health", 200)):
                await wire.send(sidecar.message(method, target))
                assert (await wire.receive(method=method)).status == status

    async def test_a_wrong_key_alone_is_answered_after_a_while(
        self, make_sidecar: MakeSidecar, tmp_path: Path, loop_clock: LoopClock
    ) -> None:
        write_private(tmp_path / "key", b"right\n")
        sidecar = await make_sidecar("http://127.0.0.1:9", access__key_file=str(tmp_path / "key"))
        loop_clock.stand_still()
        assert (await sidecar.get("/x")).status == 401
        wrong = asyncio.create_task(sidecar.get("/x", ("X-Sidecar-Key", "wrong")))
        assert (await sidecar.get("/x", ("X-Sidecar-Key", "right"))).status == 503
        assert not wrong.done()
        await loop_clock.skip(1)
        answer = await wrong
        assert (answer.status, answer.all("Connection")) == (401, [])

    async def test_the_holder_of_a_key_is_told_in_the_log_and_nobody_else(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar, tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        caplog.set_level(logging.INFO)
        (tmp_path / "keys").mkdir(0o700)
        write_private(tmp_path / "keys" / "ci", b"right\n")
        sidecar = await make_sidecar(
            upstream.url, token="t", access__key_file=str(tmp_path / "keys")
        )
        assert (await sidecar.get("/x", ("X-Sidecar-Key", "right"))).status == 200
        await until(lambda: [line for line in lines(caplog) if " caller=ci" in line])
        assert (await sidecar.get("/_sidecar/health")).status == 200
        assert (await sidecar.get("/x")).status == 401
        await until(lambda: [line for line in lines(caplog) if "GET /x 401" in line])
        assert [" caller=" in line for line in lines(caplog) if "GET /x 401" in line] == [False]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged."""
    return [record.getMessage() for record in caplog.records]


class TestTheSidecarItself:
    """Which requests are for the sidecar itself, and who may ask."""

    @pytest.mark.parametrize(
        ("target", "is_ours"),
        [
            ("/_sidecar", True),
            ("/_sidecar?x", True),
            ("/_sidecar/", True),
            ("/_sidecar/nothing", True),
            ("/_sidecars", False),
            ("/_sidecar.html", False),
            ("/x/_sidecar/health", False),
            ("/", False),
        ],
    )
    async def test_what_lies_below_its_own_path_is_never_forwarded(
        self, edge: Running, upstream: RawUpstream, target: str, is_ours: bool
    ) -> None:
        await edge.get(target)
        assert len(upstream.exchanges) == (0 if is_ours else 1)

    @pytest.mark.parametrize(
        ("target", "is_open"),
        [
            ("/_sidecar/health", True),
            ("/_sidecar/ready", True),
            ("/_sidecar/health?a?b", True),
            ("/_sidecar/ready?/_sidecar/status", True),
            ("/_sidecar/status", False),
            ("/_sidecar/status?/_sidecar/health", False),
            ("/_sidecar/healthy", False),
        ],
    )
    async def test_only_health_and_ready_are_told_to_who_shows_no_key(
        self, make_sidecar: MakeSidecar, tmp_path: Path, target: str, is_open: bool
    ) -> None:
        write_private(tmp_path / "key", b"right\n")
        sidecar = await make_sidecar(
            "http://127.0.0.1:9", token="t", access__key_file=str(tmp_path / "key")
        )
        assert ((await sidecar.get(target)).status == 401) is not is_open

    async def test_another_site_leads_here_only_where_a_sign_in_waits_for_that(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        owner = Owner(sidecar)
        location = await owner.decide(await owner.begin())
        elsewhere = location.replace("/callback/", "/callback/x")
        assert (await owner.arrive(elsewhere)).status == 403
        assert (await owner.arrive(location)).status == 200


class TestActing:
    """Whom a two-legged request acts as."""

    @pytest.fixture
    async def acting(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar, tmp_path: Path
    ) -> Running:
        (tmp_path / "keys").mkdir(0o700)
        write_private(tmp_path / "keys" / "ci", b"right\n")
        return await make_sidecar(
            upstream.url,
            jira__two_legged=True,
            jira__act_as="alana",
            access__act_as=["ci: william"],
            access__key_file=str(tmp_path / "keys"),
        )

    @pytest.mark.parametrize(
        ("field", "user"), [((), "alana"), ((("X-Sidecar-Act-As", "william"),), "william")]
    )
    async def test_it_names_who_is_configured_or_whom_its_caller_may_name(
        self, acting: Running, upstream: RawUpstream, caplog: pytest.LogCaptureFixture,
        field: tuple[tuple[str, str], ...], user: str,
    ) -> None:  # fmt: skip
        caplog.set_level(logging.INFO)
        answer = await acting.get("/x", ("X-Sidecar-Key", "right"), *field)
        assert answer.status == 200
        assert upstream.exchanges[-1].target == f"/x?xoauth_requestor_id={user}"
        await until(lambda: [line for line in lines(caplog) if f" as={user}" in line])

    async def test_it_names_nobody_else(self, acting: Running, upstream: RawUpstream) -> None:
        key = ("X-Sidecar-Key", "right")
        refused = await acting.get("/x", key, ("X-Sidecar-Act-As", "eve"))
        assert refused.status == 403
        refused = await acting.get("/x?user_id=eve", key)
        assert refused.status == 400
        assert "The query has a parameter user_id" in refused.message
        assert "/x" not in {exchange.target.partition("?")[0] for exchange in upstream.exchanges}

    async def test_it_waits_until_jira_was_asked_once_and_then_acts_as_whom_jira_has_named(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        go_on = asyncio.Event()

        async def answer(exchange: Exchange) -> None:
            if exchange.target.endswith("/myself"):
                await go_on.wait()
            body = b'{"name": "alana", "displayName": "Alana Example"}'
            await exchange.say(body, "Content-Type: application/json", "X-AUSERNAME: alana")

        upstream.handler = answer
        sidecar = await make_sidecar(upstream.url, jira__two_legged=True)
        asked = asyncio.create_task(sidecar.get("/x"))
        await upstream.request()
        await until(lambda: sidecar.server.listener.connections)
        await turns(50)
        assert len(upstream.exchanges) == 1
        go_on.set()
        assert (await asked).status == 200
        await until(lambda: [line for line in lines(caplog) if "GET /x 200" in line])
        assert [" as=alana" in line for line in lines(caplog) if "GET /x 200" in line] == [True]

    async def test_an_access_token_acts_as_its_own_user_whatever_a_query_says(
        self, edge: Running, upstream: RawUpstream, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        assert (await edge.get("/x?user_id=eve")).status == 200
        await until(lambda: [line for line in lines(caplog) if "GET /x 200" in line])
        assert [" as=" in line for line in lines(caplog) if "GET /x 200" in line] == [False]


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

    async def test_the_commands_in_hints_are_completed(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar
    ) -> None:
        def named(hint: str) -> str:
            return hint.replace("sidecar auth", "sidecar --config x auth")

        sidecar = await make_sidecar(upstream.url, named=named)
        assert "run `sidecar --config x auth`" in (await sidecar.get("/x")).message
        store_token(sidecar.config, "t")

        async def refuse(exchange: Exchange) -> None:
            challenge = 'WWW-Authenticate: OAuth oauth_problem="token_rejected"'
            await exchange.say(b"", challenge, status="401 Unauthorized")

        upstream.handler = refuse
        answer = await sidecar.get("/x")
        problem = dict(answer.fields)[b"Sidecar-Problem"]
        assert b"sidecar --config x auth" in problem

    async def test_a_token_that_comes_to_its_end_is_renewed(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        store_grant(sidecar, sandbox.grant(), expires_at=time.time() - 1)
        before = sidecar.token_file.load()
        assert (await sidecar.get("/rest/api/2/myself")).status == 200
        await until(lambda: sidecar.token_file.load() != before)

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

    @pytest.mark.parametrize(
        ("method", "status"), [("GET", 404), ("GET", 201), ("POST", 200), ("OPTIONS", 200)]
    )
    async def test_what_jira_calls_itself_is_learnt_from_a_good_answer_to_get_alone(
        self, edge: Running, upstream: RawUpstream, method: str, status: int
    ) -> None:
        async def answer(exchange: Exchange) -> None:
            await exchange.say(
                b'{"baseUrl": "https://jira.corp.example"}', "Content-Type: application/json",
                status=f"{status} X",
            )  # fmt: skip

        upstream.handler = answer
        assert (await edge.request(method, "/rest/api/2/serverInfo")).status == status
        upstream.handler = say_json({"self": "https://jira.corp.example/rest/1"})
        assert (await edge.get("/x")).json() == {"self": "https://jira.corp.example/rest/1"}

    async def test_what_jira_was_called_when_somebody_signed_in_is_known_at_once(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(upstream.url)
        store_token(sidecar.config, "t", server_url="https://jira.corp.example")
        upstream.handler = say_json({"self": "https://jira.corp.example/rest/1"})
        answer = await sidecar.get("/rest/api/2/x")
        assert answer.json() == {"self": f"http://{sidecar.authority}/rest/1"}

    @pytest.mark.parametrize(
        "content", [["https://jira.corp.example"], "https://jira.corp.example", 1, None]
    )
    async def test_a_server_info_that_is_no_object_passes(
        self, edge: Running, upstream: RawUpstream, content: object,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        caplog.set_level(logging.DEBUG)
        upstream.handler = say_json(content)
        assert (await edge.get("/rest/api/2/serverInfo")).json() == content
        assert "a serverInfo answer names no usable baseUrl" in caplog.text

    @pytest.mark.parametrize("body", [b"", b"no JSON", b"[" * 60_000])
    async def test_a_server_info_that_is_not_understood_passes(
        self, edge: Running, upstream: RawUpstream, body: bytes
    ) -> None:
        async def answer(exchange: Exchange) -> None:
            await exchange.say(body, "Content-Type: application/json")

        upstream.handler = answer
        assert (await edge.get("/rest/api/2/serverInfo")).body == body

    async def test_of_a_server_info_64_kib_are_looked_at_and_no_more_is_waited_for(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        seen = asyncio.Event()
        beginning = b'{"x": "'.ljust(64 * 1024, b"x")

        async def answer(exchange: Exchange) -> None:
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            )
            await exchange.answer(head % (len(beginning) + 2) + beginning)
            await seen.wait()
            await exchange.answer(b'"}')

        upstream.handler = answer
        async with await edge.wire(limit=1 << 20) as wire:
            await wire.send(edge.message("GET", "/rest/api/2/serverInfo"))
            assert (await wire.head())[0] == 200
            seen.set()
            assert await wire.reader.readuntil(b'"}')

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

    async def test_who_speaks_http_1_0_is_asked_for_no_body(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        fields = ("Expect", "100-continue"), ("Content-Length", "5")
        head = edge.message("POST", "/x", *fields).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        async with await edge.wire() as wire:
            await wire.send(head)
            await upstream.request()  # which waits for the body
            await wire.send(b"hello")
            assert (await wire.receive()).status == 200
            assert wire.interim == []

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
        started = time.perf_counter()
        assert (await edge.request("POST", "/x", body=b"12345")).body == b"ok"
        await until(lambda: edge.server.metrics.requests == {("POST", 2, "jira"): 1})
        metrics = edge.server.metrics
        assert (metrics.received, metrics.sent, dict(metrics.errors)) == (5, 2, {})
        assert sum(metrics.durations.counts) == sum(metrics.signings.counts) == 1
        assert 0 < metrics.durations.sum < time.perf_counter() - started

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
        answers = [await edge.raw(b"NONSENSE / HTTP/1.1\r\n\r\n") for _ in range(2)]
        ids = [dict(answer.fields)[b"X-Request-Id"].decode() for answer in answers]
        assert len(set(ids)) == 2
        for own_id in ids:
            assert own_id in caplog.text
        for answer in answers:
            assert answer.message.startswith("sidecar: ")

    async def test_an_answer_that_jira_cuts_short_counts_as_ended_by_jira(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        async def cut(exchange: Exchange) -> None:
            await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            exchange.writer.close()

        upstream.handler = cut
        async with await edge.wire() as wire:
            await wire.send(edge.message("GET", "/x"))
            assert b"half" in await wire.ends()
        await until(lambda: edge.server.metrics.closed_early == {"jira": 1})

    async def test_only_what_is_wrong_on_the_way_to_jira_is_remembered_as_a_trouble(
        self, edge: Running, upstream: RawUpstream
    ) -> None:
        assert (await edge.get("/x%")).status == 400
        assert (await edge.get("/_sidecar/status")).json()["last_problem"] is None

        async def reset(exchange: Exchange) -> None:
            exchange.reset()

        upstream.handler = reset
        assert (await edge.get("/x")).status == 502
        trouble = (await edge.get("/_sidecar/status")).json()["last_problem"]
        assert trouble["problem"] == "connection_terminated"

    async def test_a_problem_is_counted_by_its_name_and_a_healed_one_is_told_with_its_sentence(
        self, edge: Running, upstream: RawUpstream, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)

        async def refuse(exchange: Exchange) -> None:
            challenge = "oauth_problem=timestamp_refused&oauth_acceptable_timestamps=100-700"
            form = "Content-Type: application/x-www-form-urlencoded"
            await exchange.say(challenge.encode(), form, status="400 Bad Request")
            await exchange.hang()

        upstream.handler = refuse
        assert (await edge.request("POST", "/x", body=bytes(300_000))).status == 400
        await until(
            lambda: [line for line in lines(caplog) if " problem=timestamp_refused" in line]
        )
        (told,) = [line for line in lines(caplog) if line.endswith("(timestamp_refused)")]
        assert told.startswith(explain(Problem("timestamp_refused")).sentence)
        assert SEND_AGAIN.partition(":")[2] in told
        problems = (await edge.get("/_sidecar/status")).json()["counters"]["problems"]
        assert problems == {"timestamp_refused": 1}

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_that_a_first_copy_may_have_acted_is_told_of_what_does_something(
        self, sandbox: Sandbox, sidecar: Running, method: str
    ) -> None:
        sandbox.faults.nonce_used = 2
        problem = (await sidecar.request(method, "/_sandbox/echo"))["Sidecar-Problem"]
        assert problem.startswith("nonce_used; ")
        assert ("the first copy" in problem) is (method == "POST")

    async def test_a_bug_is_500_and_stands_in_the_log(
        self, edge: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise LookupError("of our own")

        monkeypatch.setattr(handler, "request_fields", fail)
        answer = await edge.request("POST", "/x")
        assert answer.status == 500
        assert "of our own" not in answer.message
        (logged,) = [record for record in caplog.records if record.exc_info]
        assert logged.getMessage() == "a bug while answering POST"


class Signing(Signatures):
    """Signatures that remember what they were told."""

    made: ClassVar[list[Signing]] = []

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        super().__init__(is_busy)
        self.is_busy = is_busy
        self.is_closed = False
        self.made.append(self)

    async def close(self) -> None:
        self.is_closed = True
        await super().close()


async def test_signing_is_told_whether_there_is_more_than_one_request_and_when_it_is_over(
    upstream: RawUpstream, make_sidecar: MakeSidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "Signatures", Signing)
    monkeypatch.setattr(Signing, "made", [])
    go_on, busy = asyncio.Event(), list[bool]()

    async def answer(exchange: Exchange) -> None:
        busy.append(Signing.made[0].is_busy())
        await go_on.wait()
        await exchange.say(b"ok")

    upstream.handler = answer
    sidecar = await make_sidecar(upstream.url, token="t")
    asked = []
    for number in range(2):
        asked.append(asyncio.create_task(sidecar.get("/x")))
        await until(lambda: len(busy) > number)  # noqa: B023 - it is awaited
    assert busy == [False, True]
    go_on.set()
    assert [(await one).status for one in asked] == [200, 200]
    await sidecar.server.stop(1.0)
    assert Signing.made[0].is_closed


async def test_requests_go_by_the_connection_of_those_before_them(
    edge: Running, upstream: RawUpstream
) -> None:
    for _ in range(3):
        assert (await edge.get("/x")).status == 200
    assert upstream.connections == 1


async def test_where_others_wait_for_a_rate_limit_what_jira_told_them_is_the_answer(
    upstream: RawUpstream, make_sidecar: MakeSidecar
) -> None:
    async def refuse(exchange: Exchange) -> None:
        bucket = [f"X-RateLimit-{name}: 1" for name in ("Limit", "FillRate")]
        fields = (*bucket, "X-RateLimit-Interval-Seconds: 20", "Retry-After: 20")
        await exchange.say(b"slower", *fields, status="429 Too Many Requests")

    upstream.handler = refuse
    origin = ("Origin", "https://tools.example.com")
    sidecar = await make_sidecar(upstream.url, token="t", access__origins=[origin[1]])
    first = asyncio.create_task(sidecar.get("/x"))
    await until(lambda: sidecar.server.generations[-1].lines.waiting)
    answer = await sidecar.get("/x", origin)
    assert (answer.status, answer.body, answer["Retry-After"]) == (429, b"slower", "20")
    assert answer["Access-Control-Allow-Origin"] == origin[1]
    assert len(upstream.exchanges) == 1
    first.cancel()
