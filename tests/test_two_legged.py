"""Two-legged OAuth from end to end: the application link itself signs, and nobody else does."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running
from tests.support.loading import Load
from tests.support.processes import Shell, shell
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.wire import Client, Response

__all__ = ["shell"]

MYSELF = "/rest/api/2/myself"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
MakeSandbox = Callable[..., Awaitable[Sandbox]]


def as_user(name: str) -> tuple[str, str]:
    return "X-Sidecar-Act-As", name


@pytest.fixture
async def link(make_sandbox: MakeSandbox) -> Sandbox:
    """A Jira whose application link may act by itself, and name its user."""
    return await make_sandbox(context_path="/jira", two_legged=True, impersonation=True)


@pytest.fixture
async def sidecar(link: Sandbox, make_sidecar: MakeSidecar) -> Running:
    """A sidecar that signs as the link, and whose callers may act as some users."""
    patterns = ["ci-*", "retired", "nobody-at-all"]
    return await make_sidecar(link.url, jira__two_legged=True, access__act_as=patterns)


def asked(sandbox: Sandbox) -> list[str | None]:
    """Whom Jira took each caller's request for; the sidecar's own two come first."""
    return [request.user for request in list(sandbox.log)[2:]]


def lines(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


class TestSigning:
    async def test_the_link_signs_with_an_empty_token(
        self, link: Sandbox, sidecar: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        answer = await sidecar.get(MYSELF)
        assert (answer.status, answer.json()["name"]) == (200, "builds")
        assert asked(link) == ["builds"]
        header = link.log[-1].fields.get("authorization")
        assert header.count("oauth_token=") == 1
        assert ' oauth_token="",' in header
        assert link.log[-1].target == f"/jira{MYSELF}"
        assert f"GET {MYSELF} 200 " in lines(caplog)
        assert " as=builds" in lines(caplog)

    async def test_a_thousand_hostile_targets_and_forms_are_all_accepted(
        self, link: Sandbox, sidecar: Running
    ) -> None:
        """What the sidecar itself refuses, for `..` and the like, is not counted."""
        chosen = random.Random(14)
        pieces = [*"!$'()*+,;:@-._~&=/?", *'"<>^`{|}[]', "%20", "%2B", "%25", "%26", "%C3%BC"]
        pieces += ["%41", "%2f", "%7e", "%ff", "%e2%82", "a", "Z", "9", "é", "//", "%", "x=", "&&"]

        def text(longest: int) -> str:
            return "".join(chosen.choices(pieces, k=chosen.randint(0, longest)))

        async def one() -> int:
            target = f"/_sandbox/echo/{text(12)}?{text(25)}"
            if chosen.random() < 0.5:
                return (await sidecar.get(target)).status
            body = text(40).encode()
            return (await sidecar.request("POST", target, FORM, body=body)).status

        accepted = 0
        while accepted < 1000:
            statuses = await asyncio.gather(*(one() for _ in range(40)))
            assert set(statuses) <= {200, 400, 404}
            accepted = sum(request.verdict == "ok" for request in link.log)
        assert {request.verdict for request in link.log} == {"ok"}
        assert {request.user for request in link.log} == {"builds"}

    @pytest.mark.parametrize(
        "switches",
        [
            {"clock_offset": 7200.0},
            {"nonce_used": 1},
            {"perceived_scheme": "https", "perceived_host": "jira.internal"},
            {"perceived_prefix": "/other"},
        ],
    )
    async def test_clock_nonce_and_url_are_healed(
        self, link: Sandbox, sidecar: Running, switches: dict[str, object]
    ) -> None:
        await sidecar.get(MYSELF)
        link.faults.throw(switches)
        async with Load(sidecar) as load:
            await load.more(8)
        assert load.is_flawless

    async def test_what_is_wrong_from_the_start_is_healed_too(
        self, link: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        link.faults.throw({"clock_offset": -7200.0, "perceived_scheme": "https"})
        sidecar = await make_sidecar(link.url, jira__two_legged=True)
        assert (await sidecar.get(MYSELF)).json()["name"] == "builds"
        assert sidecar.server.summary() == f"{link.url} as Build Robot (builds), two-legged"

    async def test_a_request_that_comes_round_is_known_by_its_nonce(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(upstream.url, jira__two_legged=True)
        again: list[Response] = []

        async def send_round(exchange: Exchange) -> None:
            if exchange.target == "/loop":
                (ours,) = exchange.all("authorization")
                again.append(await sidecar.get("/elsewhere", ("Authorization", ours)))
            await exchange.say(b"ok")

        upstream.handler = send_round
        assert (await sidecar.get("/loop")).status == 200
        assert again[0].status == 508
        assert "error=proxy_loop_detected" in again[0]["Proxy-Status"]
        (ours,) = upstream.exchanges[-1].all("authorization")
        assert (await sidecar.get("/later", ("Authorization", ours))).status == 200
        assert not sidecar.server.identity.in_flight


class TestRunning:
    async def test_it_is_ready_without_a_token_and_says_as_whom(
        self, link: Sandbox, sidecar: Running
    ) -> None:
        await sidecar.get(MYSELF)
        assert (await sidecar.get("/_sidecar/ready")).status == 200
        status = (await sidecar.get("/_sidecar/status")).json()
        assert (status["user"], status["token_expires_at"]) == ("builds", None)
        assert sidecar.server.summary() == f"{link.url} as Build Robot (builds), two-legged"
        metrics = (await sidecar.get("/_sidecar/metrics")).body
        assert b"sidecar_ready 1" in metrics
        assert b"builds" not in metrics

    async def test_a_token_file_is_warned_of_and_left_alone(
        self, link: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
    ) -> None:
        folder = tmp_path / "state"
        folder.mkdir(0o700)
        (folder / "token.json").write_text("neither read nor replaced")
        sidecar = await make_sidecar(link.url, jira__two_legged=True)
        link.faults.problem = "token_rejected"
        assert (await sidecar.get(MYSELF)).status == 401
        link.faults.clear()
        assert (await sidecar.get(MYSELF)).status == 200
        sidecar.server.look_after_token()
        names = {path.name for path in folder.iterdir()}
        assert {name for name in names if not name.startswith("open_")} == {"token.json"}
        assert (folder / "token.json").read_text() == "neither read nor replaced"
        (warning,) = [w for w in sidecar.server.warnings() if "token.json" in w]
        assert "is not used, and left alone" in warning

    async def test_links_lead_here_from_the_first_answer_on(
        self, make_sandbox: MakeSandbox, make_sidecar: MakeSidecar
    ) -> None:
        """Jira is asked at the start what it calls itself, and the first request waits for that."""
        link = await make_sandbox(base_url="https://jira.example.com", two_legged=True)
        sidecar = await make_sidecar(link.url, jira__two_legged=True)
        issue = (await sidecar.get("/rest/api/2/issue/JJ-2")).json()
        assert issue["self"].startswith(f"http://{sidecar.authority}/rest/api/")

    async def test_a_reload_changes_who_signs(
        self, link: Sandbox, sidecar: Running, make_sidecar: MakeSidecar
    ) -> None:
        three_legged = await make_sidecar(link.url, token=link.grant().token)
        assert (await three_legged.get(MYSELF)).json()["name"] == "alana"
        assert three_legged.server.reload(sidecar.config) == []
        assert (await three_legged.get(MYSELF)).json()["name"] == "builds"
        three_legged.server.reload(three_legged.config)
        assert (await three_legged.get(MYSELF)).json()["name"] == "alana"


EXPLAINED: dict[str, tuple[dict[str, object], str, int, str, str]] = {
    "not allowed": (
        {"two_legged": False}, "", 401, "two_legged_not_allowed",
        "tick Allow 2-Legged OAuth in the application link's",
    ),
    "may not log in": (
        {"inactive_user": True}, "", 401, "two_legged_not_allowed",
        "check that its Execute as user is active",
    ),
    "nobody": ({"execute_as": ""}, "", 200, "anonymous", "as Execute as"),
    "unknown": ({"execute_as": "gone"}, "", 200, "anonymous", "as Execute as"),
    "no impersonation": (
        {"impersonation": False}, "ci-deploy", 401, "two_legged_not_allowed",
        "tick Allow user impersonation through 2-Legged OAuth",
    ),
    "retired": ({}, "retired", 401, "two_legged_not_allowed", "check that the user is active"),
    "unknown user": ({}, "nobody-at-all", 200, "anonymous", "check the name in jira.act_as"),
    "link gone": ({"link_gone": True}, "", 401, "consumer_key_unknown", "the same"),
    "old Jira": ({"problem": "token_rejected"}, "", 401, "token_rejected", "two_legged = false"),
    "other Jira": (
        {"problem": "permission_denied"}, "", 401, "two_legged_not_allowed",
        "tick Allow 2-Legged OAuth",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("switches", "user", "status", "problem", "hint"), EXPLAINED.values(), ids=EXPLAINED.keys()
)
async def test_what_the_link_does_not_allow_is_explained(
    switches: dict[str, object],
    user: str,
    status: int,
    problem: str,
    hint: str,
    link: Sandbox,
    sidecar: Running,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await sidecar.get(MYSELF)
    link.faults.throw(switches)
    answer = await sidecar.get("/rest/api/2/serverInfo", *([as_user(user)] if user else []))
    assert answer.status == status
    assert answer["Sidecar-Problem"].startswith(f"{problem}; hint=")
    assert hint in answer["Sidecar-Problem"]
    (warning,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert hint in warning
    assert f"({problem})" in warning
    assert "access token" not in warning or problem == "token_rejected"


class TestActingAs:
    async def test_a_caller_acts_as_whom_it_may(
        self, link: Sandbox, sidecar: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        target = "/rest/api/2/search?jql=project+%3D+JJ"
        answer = await sidecar.get(target, as_user("ci-deploy"))
        assert answer["X-AUSERNAME"] == "ci-deploy"
        assert asked(link) == ["ci-deploy"]
        sent = link.log[-1]
        assert sent.target == f"/jira{target.replace('?', '?xoauth_requestor_id=ci-deploy&')}"
        assert sent.fields.all("x-sidecar-act-as") == []
        assert " as=ci-deploy" in lines(caplog)
        assert b"ci-deploy" not in (await sidecar.get("/_sidecar/metrics")).body

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
    async def test_it_does_so_by_every_method_and_with_a_form(
        self, link: Sandbox, sidecar: Running, method: str
    ) -> None:
        body = b"" if method in ("GET", "DELETE") else b"a=1&b=%C3%BC"
        fields = [as_user("ci-deploy"), FORM]
        answer = await sidecar.request(method, "/_sandbox/echo?b=0", *fields, body=body)
        assert answer.status == 200
        assert asked(link) == ["ci-deploy"]

    async def test_jira_act_as_is_for_requests_that_name_nobody(
        self, link: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(
            link.url, jira__two_legged=True, jira__act_as="william", access__act_as=["ci-*"]
        )
        assert (await sidecar.get(MYSELF)).json()["name"] == "william"
        assert (await sidecar.get(MYSELF, as_user("ci-deploy"))).json()["name"] == "ci-deploy"
        assert (await sidecar.get("/_sidecar/status")).json()["user"] == "william"

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ([as_user("alana")], 403),
            ([as_user("CI-deploy")], 403),
            ([as_user("ci%2Ddeploy")], 403),
            ([as_user("")], 400),
            ([as_user("ci-deploy, alana")], 400),
            ([as_user("ci-deploy"), as_user("alana")], 400),
            ([as_user("ci-deploy"), ("X_Sidecar_Act_As", "alana")], 400),
            ([("X_Sidecar_Act_As", "ci-deploy")], 400),
            ([as_user("ci-deploy"), ("Connection", "X-Sidecar-Act-As")], 400),
            ([as_user("ci-deploy"), ("Connection", "close,x-sidecar-act-as")], 400),
        ],
    )
    async def test_whoever_may_not_or_cannot_be_understood_is_refused(
        self, link: Sandbox, sidecar: Running, fields: list[tuple[str, str]], status: int
    ) -> None:
        answer = await sidecar.get(MYSELF, *fields)
        assert answer.status == status
        assert answer["Proxy-Status"]
        assert asked(link) == []

    @pytest.mark.parametrize(
        ("query", "form"),
        [
            ("user_id=alana", ""),
            ("%75ser_i%64=alana", ""),
            ("a=1&USER_ID", ""),
            ("xoauth_requestor_id=alana", ""),
            ("x%6Fauth_requestor_id=alana", ""),
            ("", "user_id=alana"),
            ("", "a=1&user%5Fid=alana"),
            ("", "a=" + "x" * 20_000 + "&user_id=alana"),
            ("", "xoauth_requestor_id=alana"),
        ],
    )
    async def test_a_user_in_the_parameters_is_refused_in_every_spelling(
        self, link: Sandbox, sidecar: Running, query: str, form: str
    ) -> None:
        target = f"{MYSELF}?{query}" if query else MYSELF
        answer = await sidecar.request("POST", target, FORM, body=form.encode())
        assert answer.status == 400
        assert asked(link) == []

    async def test_with_an_access_token_user_id_is_a_parameter_like_any_other(
        self, link: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(link.url, token=link.grant().token)
        assert (await sidecar.get(f"{MYSELF}?user_id=william")).json()["name"] == "alana"
        assert (await sidecar.get(MYSELF, as_user("alana"))).status == 403

    async def test_the_query_is_signed_with_the_user_in_it(
        self, upstream: RawUpstream, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(
            upstream.url, jira__two_legged=True, jira__act_as="zoë & co", links__rewrite=False
        )
        await sidecar.get("/rest?b=1&a=2&")
        query = upstream.exchanges[-1].target.partition("?")[2]
        assert query == "xoauth_requestor_id=zo%C3%AB%20%26%20co&b=1&a=2&"
        assert parse_qsl(query)[0] == ("xoauth_requestor_id", "zoë & co")

    async def test_nobody_becomes_a_user_whom_the_configuration_does_not_name(
        self, link: Sandbox, sidecar: Running
    ) -> None:
        """Whatever is sent; in this Jira, each user's password is the user's name."""
        chosen = random.Random(2)
        names = ["user_id", "%75ser_id", "USER_ID", "xoauth_requestor_id", "X%6Fauth_requestor_id",
                 "oauth_token", "os_username", "os_password", "a", "+user_id", "user_id%00",
                 "%00u%00s%00e%00r%00_%00i%00d", "user_id;x", "=user_id", "x=&user_id"]  # fmt: skip
        users = ["admin", "alana", "ci-deploy", "%61dmin", "", "ci-deploy,admin", "*"]
        fields = ["X-Sidecar-Act-As", "x-sidecar-act-as", "X_Sidecar_Act_As", "X-Act-As",
                  "X-Sidecar-Act-As-User", "xoauth_requestor_id", "user_id"]  # fmt: skip
        others = [("Authorization", "Basic YWRtaW46YWRtaW4="), ("Cookie", "JSESSIONID=x"),
                  ("Connection", "X-Sidecar-Act-As"), ("Connection", "Authorization"),
                  ("Authorization", 'OAuth xoauth_requestor_id="admin"')]  # fmt: skip
        types = ["application/x-www-form-urlencoded", "application/json", "multipart/form-data",
                 "application/x-www-form-urlencoded; charset=utf-16"]  # fmt: skip

        def parameters() -> str:
            count = chosen.randint(0, 3)
            return "&".join(f"{chosen.choice(names)}={chosen.choice(users)}" for _ in range(count))

        async def one() -> int:
            sent = [("Content-Type", chosen.choice(types))]
            count = chosen.randint(0, 2)
            sent += [(chosen.choice(fields), chosen.choice(users)) for _ in range(count)]
            if chosen.random() < 0.3:
                sent.append(chosen.choice(others))
            target = f"/_sandbox/echo?{parameters()}"
            method = chosen.choice(["GET", "POST", "PUT"])
            return (await sidecar.request(method, target, *sent, body=parameters().encode())).status

        for _ in range(20):
            statuses = await asyncio.gather(*(one() for _ in range(25)))
            assert set(statuses) <= {200, 400, 403}
        assert len(asked(link)) > 50
        assert set(asked(link)) == {"builds", "ci-deploy"}

    async def test_a_name_cannot_forge_a_log_line(
        self, link: Sandbox, make_sidecar: MakeSidecar, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        sidecar = await make_sidecar(link.url, jira__two_legged=True, access__act_as=["*"])
        await sidecar.get(MYSELF, as_user('x problem=none "y'))
        assert ' as="x problem=none \\"y"' in lines(caplog)


async def test_from_init_to_curl_no_browser_is_needed(shell: Shell, tmp_path: Path) -> None:
    words = ("--port", "0", "--context-path", "/jira", "--two-legged")
    async with shell.running(*words, module="sidecar.sandbox", until="consumer key") as sandbox:
        base_url = sandbox.said[0]
        arguments = ("--base-url", base_url, "--consumer-key", "OauthKey")
        made = await shell.run("init", "--two-legged", *arguments)
        assert (made.code, made.err.splitlines()[-1]) == (0, "Then run: sidecar check")
        key = (await shell.run("public-key")).out.encode()
        jira = Client("127.0.0.1", int(base_url.rpartition(":")[2].partition("/")[0]))
        entered = await jira.request("POST", "/jira/_sandbox/public-key", body=key)
        assert entered.status < 300
        checked = await shell.run("check")
        assert (checked.code, "✗" in checked.out) == (0, False)
        run = ("run", "--listen", "127.0.0.1:0")
        async with shell.running(*run, until="as Build Robot (builds), two-legged") as running:
            url = (await running.says("listening on ")).rpartition(" ")[2]
            answer = await Client("127.0.0.1", int(url.rpartition(":")[2])).get(MYSELF)
            assert answer.json()["name"] == "builds"
    stored = [path for path in (tmp_path / ".local").rglob("*") if path.is_file()]
    assert stored == [], "nothing stays behind"
