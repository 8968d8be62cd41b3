"""`sidecar check` where the application link itself signs."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.files import keys
from sidecar.sandbox import Sandbox
from tests.conftest import make_config
from tests.support.checking import Diagnose, MakeSandbox, Result, check, diagnose, relay

__all__ = ["diagnose"]


@pytest.fixture
async def link(make_sandbox: MakeSandbox) -> Sandbox:
    return await make_sandbox(context_path="/jira", two_legged=True, impersonation=True)


async def two_legged(diagnose: Diagnose, url: str, **options: object) -> Result:
    return await diagnose(url, jira__two_legged=True, **options)


async def test_no_token_is_asked_for(link: Sandbox, diagnose: Diagnose) -> None:
    result = await two_legged(diagnose, link.url)
    assert result.code == 0
    assert "No access token is needed" in result["token"].message
    assert result["user"].message == "Jira takes us for Build Robot (builds)."
    assert "as builds" in result["anonymous"].message
    assert {"/plugins/servlet/oauth/request-token" in one.target for one in link.log} == {False}


async def test_another_user_is_the_one_that_jira_act_as_names(
    link: Sandbox, diagnose: Diagnose
) -> None:
    result = await two_legged(diagnose, link.url, jira__act_as="ci-deploy")
    assert (result.code, "(ci-deploy)" in result["user"].message) == (0, True)


async def test_a_token_file_is_noted_and_left_alone(
    link: Sandbox, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = make_config(link.url, tmp_path, private_key, jira__two_legged=True)
    config.token.path.parent.mkdir(0o700)
    config.token.path.write_text("open to all, and no token")
    config.token.path.chmod(0o666)
    result = await check(config)
    assert result.code == 0
    assert f"{config.token.path} is not used, and left alone" in result["token"].message
    assert [path.name for path in config.token.path.parent.iterdir()] == ["token.json"]


@pytest.mark.parametrize(
    ("switches", "act_as", "first", "second", "hint"),
    [
        (
            {"two_legged": False}, None,
            "does not allow 2-Legged OAuth", "may not log in", "tick Allow 2-Legged OAuth",
        ),
        (
            {"inactive_user": True}, None,
            "does not allow 2-Legged OAuth", "may not log in", "user is active",
        ),
        (
            {"impersonation": False}, "ci-deploy",
            "does not allow user impersonation", "may not log in", "tick Allow user impersonation",
        ),
        (
            {"execute_as": ""}, None,
            "no Execute as user, or one that Jira does not know", "drops", "as Execute as",
        ),
        ({}, "gone", "no user of that name", "drops", "jira.act_as"),
    ],
)  # fmt: skip
async def test_a_link_that_lets_nobody_in_is_explained_by_its_likely_causes_in_order(
    link: Sandbox,
    diagnose: Diagnose,
    switches: dict[str, object],
    act_as: str | None,
    first: str,
    second: str,
    hint: str,
) -> None:
    link.faults.throw(switches)
    options = {"jira__act_as": act_as} if act_as else {}
    result = await two_legged(diagnose, link.url, **options)
    assert (result.failed, result.code) == (["user"], 78)
    assert result["signature"].message == "Jira accepts our signature."
    message = result["user"].message
    assert 0 < message.index(first) < message.index(second)
    assert hint in result["user"].hint
    assert result.of("skipped") == ["anonymous"]


async def test_a_dropped_authorization_is_told_from_a_link_without_a_user(
    link: Sandbox, diagnose: Diagnose
) -> None:
    link.faults.strip_authorization = True
    result = await two_legged(diagnose, link.url)
    assert (result.failed, result.code) == (["signature", "anonymous"], 69)
    assert "drops the Authorization field" in result["signature"].message


async def test_an_unknown_consumer_key_is_the_configurations_fault(
    link: Sandbox, diagnose: Diagnose
) -> None:
    link.link.consumer_key = "other"
    result = await two_legged(diagnose, link.url)
    assert (result.failed, result.code) == (["signature"], 78)
    assert "consumer key" in result["signature"].message


async def test_a_jira_that_wants_a_token_is_explained(link: Sandbox, diagnose: Diagnose) -> None:
    link.faults.problem = "token_rejected"
    result = await two_legged(diagnose, link.url)
    assert (result.failed, result.code) == (["signature"], 78)
    assert "looks for an access token" in result["signature"].message
    assert "jira.two_legged = false" in result["signature"].hint


async def test_clock_and_url_are_told(link: Sandbox, diagnose: Diagnose) -> None:
    link.faults.throw({"perceived_scheme": "https"})
    result = await two_legged(diagnose, link.url)
    assert (result.failed, result.code) == (["signature"], 78)
    assert "Jira believes that its URL is https://" in result["signature"].message
    async with relay(link, instead_of_date=b"X-Date:") as url:
        link.faults.clear()
        link.faults.clock_offset = 1000.0
        result = await two_legged(diagnose, url)
    assert (result.failed, result.code) == (["signature"], 77)
    assert "refuses the time of a request" in result["signature"].message


@pytest.mark.parametrize("is_two_legged", [True, False])
async def test_a_key_of_another_size_is_the_links_fault_and_both_sizes_are_told(
    link: Sandbox, diagnose: Diagnose, is_two_legged: bool
) -> None:
    link.public_key = keys.generate_private_key(1024).public_key()
    token = None if is_two_legged else link.grant().token
    result = await diagnose(link.url, token=token, jira__two_legged=is_two_legged)
    assert (result.failed[0], result.code) == ("signature", 78)
    assert "1024 bits there, 2048 here" in result["signature"].message
    assert "sidecar public-key" in result["signature"].hint


async def test_without_a_token_the_request_token_tells_of_the_key(
    link: Sandbox, diagnose: Diagnose
) -> None:
    link.public_key = None
    result = await diagnose(link.url)
    assert result.failed == ["token", "signature"]
    assert result["signature"].exit_code == 78
    assert "the application link has no public key" in result["signature"].message


async def test_three_legged_oauth_that_is_not_allowed_is_no_matter_of_a_denied_approval(
    link: Sandbox, diagnose: Diagnose
) -> None:
    token = link.grant().token
    link.faults.three_legged = False
    result = await diagnose(link.url, token=token)
    assert (result.failed, result.code) == (["user"], 78)
    for step in (result["user"], (await diagnose(link.url))["signature"]):
        assert "does not allow our consumer to act for users" in step.message
        assert "jira.two_legged = true" in step.hint
        assert "Allow" not in step.hint
        assert step.exit_code == 78
