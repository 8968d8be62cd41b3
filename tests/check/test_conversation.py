"""What Jira is asked: its context path, its clock, and whom it takes us for."""

from __future__ import annotations

import pytest

from sidecar.credentials import Secret
from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import Answer as SandboxAnswer
from sidecar.sandbox.answers import answer_json
from tests.support.checking import Diagnose, MakeSandbox, diagnose, page, relay
from tests.support.dancing import answer
from tests.support.raw_server import Peer, RawServer

__all__ = ["diagnose"]


@pytest.mark.parametrize("wrong", ["", "/jira/rest", "/jira/secure/Dashboard.jspa", "/wrong"])
async def test_the_right_context_path_is_found_and_gone_on_with(
    sandbox: Sandbox, diagnose: Diagnose, wrong: str
) -> None:
    base = sandbox.url.removesuffix("/jira")
    result = await diagnose(base + wrong, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["context_path"], 78)
    assert result["context_path"].hint == f'set jira.base_url = "{sandbox.url}"'
    assert "/jira" in result["context_path"].message
    if not wrong:
        expected = "jira.base_url lacks the context path /jira."
        assert result["context_path"].message == expected


async def test_a_context_path_too_many_is_found(
    make_sandbox: MakeSandbox, diagnose: Diagnose
) -> None:
    sandbox = await make_sandbox()
    result = await diagnose(f"{sandbox.url}/jira", token=sandbox.grant().token)
    assert result.failed == ["context_path"]
    assert result["context_path"].hint == f'set jira.base_url = "{sandbox.url}"'


async def test_an_odd_context_path_is_found_by_what_jira_called_itself(
    make_sandbox: MakeSandbox, diagnose: Diagnose
) -> None:
    sandbox = await make_sandbox(context_path="/tracker")
    facts = {"server_url": "https://jira.example.com/tracker"}
    base = sandbox.url.removesuffix("/tracker")
    result = await diagnose(base, token=sandbox.grant().token, facts=facts)
    assert result["context_path"].hint == f'set jira.base_url = "{sandbox.url}"'


@pytest.mark.parametrize("where", ["/tracker/", "/tracker/secure/Dashboard.jspa?x=1", "tracker/"])
async def test_an_odd_context_path_is_found_by_a_redirect(diagnose: Diagnose, where: str) -> None:
    info = answer(200, '{"baseUrl": "https://jira.example.com/tracker"}')

    async def jira(peer: Peer) -> None:
        while True:
            target = (await peer.head()).split()[1]
            if target == b"/":
                await peer.send(page(302, "", f"Location: {where}"))
            elif target == b"/tracker/rest/api/2/serverInfo":
                await peer.send(info)
            else:
                await peer.send(page(404))

    async with RawServer(jira) as server:
        result = await diagnose(server.url)
        assert "context_path" in result.failed
        assert result["context_path"].hint == f'set jira.base_url = "{server.url}/tracker"'


async def test_what_jira_calls_itself_is_told(
    make_sandbox: MakeSandbox, diagnose: Diagnose
) -> None:
    sandbox = await make_sandbox(base_url="https://jira.example.com/jira", context_path="/jira")
    token = sandbox.grant().token
    result = await diagnose(sandbox.url, token=token)
    assert result.code == 0
    assert "Jira calls itself https://jira.example.com/jira" in result["context_path"].message
    sandbox.canned["/jira/rest/api/2/serverInfo"] = lambda: answer_json({"versionNumbers": [8]})
    assert "does not say" in (await diagnose(sandbox.url, token=token))["context_path"].message


# --- the clock ---


@pytest.mark.parametrize("offset", [7200.0, -7200.0, 400.0, -280.0])
async def test_clocks_apart_are_a_fault_and_the_rest_is_tried(
    sandbox: Sandbox, diagnose: Diagnose, offset: float
) -> None:
    sandbox.faults.clock_offset = offset
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["clock"], 77)
    assert ("ahead of" if offset > 0 else "behind") in result["clock"].message
    assert "`sidecar run` corrects for it by itself" in result["clock"].hint
    assert not [request for request in sandbox.log if request.verdict == "timestamp_refused"]


@pytest.mark.parametrize("offset", [0.0, 29.0, -60.0, 200.0])
async def test_a_drift_is_a_note_at_most(
    sandbox: Sandbox, diagnose: Diagnose, offset: float
) -> None:
    sandbox.faults.clock_offset = offset
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.code == 0
    assert ("NTP" in result["clock"].hint) == (abs(offset) > 30)


# --- whom it takes us for ---


async def test_authorization_that_is_dropped_on_the_way(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    sandbox.faults.strip_authorization = True
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["signature", "anonymous"], 69)
    for name in result.failed:
        assert "drops the Authorization field" in result[name].message


async def test_searches_that_are_answered_as_anonymous(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    """200 and nothing found, for want of Authorization below that path alone."""
    async with relay(sandbox, dropped_for=b"/search?") as base_url:
        result = await diagnose(base_url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["anonymous"], 69)
    assert "a search as anonymous" in result["anonymous"].message


async def test_authorization_that_is_dropped_below_rest_alone(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    async with relay(sandbox, dropped_for=b"/rest/") as base_url:
        result = await diagnose(base_url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["user"], 69)
    assert result["signature"].status == "pass"
    assert "drops the Authorization field" in result["user"].message


async def test_a_jira_that_tells_strangers_nothing_is_asked_signed(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    info = sandbox.canned.setdefault
    told: list[str | None] = []

    def server_info_for_users() -> SandboxAnswer:
        told.append(sandbox.log[-1].user)
        if sandbox.log[-1].user is None:
            return answer_json({}, 403)
        return answer_json({"baseUrl": "https://jira.example.com/jira", "version": "9.9"})

    info("/jira/rest/api/2/serverInfo", server_info_for_users)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.code == 0, result.text
    assert "https://jira.example.com/jira" in result["context_path"].message
    assert None in told


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        ("revoked", "does not know our token", "sidecar auth"),
        ("expired", "came to its end", "sidecar auth"),
        ("inactive_user", "does not let the user in", "administrator"),
    ],
)
async def test_a_token_or_user_that_is_not_let_in(
    sandbox: Sandbox, diagnose: Diagnose, fault: str, message: str, hint: str
) -> None:
    setattr(sandbox.faults, fault, True)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["user"], 77)
    assert message in result["user"].message
    assert hint in result["user"].hint
    assert result["signature"].status == "pass"
    assert result.of("skipped") == ["anonymous"]


async def test_a_token_that_jira_calls_expired_is_renewed_by_run(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    grant = sandbox.grant()
    sandbox.faults.expired = True
    facts = {"session_handle": Secret(grant.session_handle)}
    result = await diagnose(sandbox.url, token=grant.token, facts=facts)
    assert "`sidecar run` renews it by itself" in result["user"].hint


async def test_answers_to_signed_requests_that_make_no_sense(diagnose: Diagnose) -> None:
    info = answer(200, '{"baseUrl": "https://jira.example.com", "version": "9"}')
    for odd, code in ((page(500, "oops"), 69), (page(200, "<title>Log in</title>"), 69)):

        async def jira(peer: Peer, odd: bytes = odd) -> None:
            target = (await peer.head()).split()[1]
            await peer.send(info if target.endswith(b"/serverInfo") else odd)

        async with RawServer(jira) as server:
            for token in ("T" * 32, None):
                result = await diagnose(server.url, token=token)
                assert result["signature"].status == "fail"
                assert result["signature"].exit_code == code


async def test_answers_without_jiras_own_fields_are_enough(diagnose: Diagnose) -> None:
    """A reverse proxy may drop every X- field."""
    info = answer(200, '{"baseUrl": "https://jira.example.com/", "version": "9"}')

    async def jira(peer: Peer) -> None:
        target = (await peer.head()).split()[1]
        if target.endswith(b"/serverInfo"):
            await peer.send(info)
        elif target.endswith(b"/myself"):
            await peer.send(answer(200, '{"name": "alana\\u001b[31m"}'))
        else:
            await peer.send(answer(200, '{"issues": []}'))

    async with RawServer(jira) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert result.code == 0, result.text
    assert "\x1b" not in result.text
    assert "X-AUSERNAME" in result["anonymous"].message
