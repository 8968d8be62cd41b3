"""`sidecar check` as a whole: each thing that can be wrong is named once, and nothing else is."""

from __future__ import annotations

import time

import pytest

from sidecar.check import local
from sidecar.check.step import summary
from sidecar.credentials import LATEST, Secret
from sidecar.sandbox import Sandbox
from tests.support.checking import DAY, NAMES, NOW, Diagnose, diagnose

__all__ = ["diagnose"]


async def test_everything_passes_with_a_good_token(sandbox: Sandbox, diagnose: Diagnose) -> None:
    token = sandbox.grant().token
    facts = {"user": "alana", "display_name": "Alana Example", "expires_at": NOW}
    result = await diagnose(sandbox.url, token=token, facts=facts)
    assert result.of("pass") == NAMES
    assert result.code == 0
    assert "Alana Example (alana), until 2030-03-1" in result["token"].message
    assert "Jira 9.12" in result["jira"].message
    assert "Jira takes us for Alana Example (alana)" in result["user"].message
    assert "as alana" in result["anonymous"].message
    assert "the right context path, /jira" in result["context_path"].message
    assert all(request.verdict in ("", "ok", None) for request in sandbox.log)


async def test_the_token_on_disk_and_in_jira_stay_as_they_are(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    """An expired token is not renewed: that is `run`'s affair, and check says so."""
    grant = sandbox.grant(expires_in=0)
    facts = {
        "session_handle": Secret(grant.session_handle),
        "expires_at": 1.7e9,
        "session_expires_at": NOW,
    }
    result = await diagnose(sandbox.url, token=grant.token, facts=facts)
    assert (result.failed, result.code) == (["token"], 77)
    assert "`sidecar run` renews it by itself" in result["token"].hint
    assert "until 2030-" in result["token"].hint
    assert "request token" in result["signature"].message
    assert grant.token in sandbox.provider.access_tokens
    assert not any("access-token" in request.target for request in sandbox.log)


async def test_an_expired_token_without_a_session_needs_a_dance(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    token = sandbox.grant().token
    result = await diagnose(sandbox.url, token=token, facts={"expires_at": 1.7e9})
    assert result.failed == ["token"]
    assert result["token"].hint == "run `sidecar auth`"
    assert result.of("skipped") == ["user", "anonymous"]
    assert result["signature"].status == "pass"


@pytest.mark.parametrize("zone", ["X-14", "X11"])
def test_a_time_beyond_the_calendar_has_no_day_in_any_time_zone(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """RFC 5280 §4.1.2.5: a certificate without an end has 99991231235959Z."""
    endless = 253402300799
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        days = [local.day(when) for when in (endless, LATEST, LATEST - 1)]
    time.tzset()
    assert days[:2] == ["forever", "forever"]
    assert days[2].startswith("9999-12-3")


@pytest.mark.parametrize(
    ("days", "noted"), [(31, ""), (29, "in 29 days"), (1.5, "in 1 day."), (0.5, "within a day")]
)
async def test_a_token_is_warned_of_from_30_days_before_its_end(
    diagnose: Diagnose, days: float, noted: str
) -> None:
    facts = {"expires_at": NOW + days * DAY}
    result = await diagnose("http://127.0.0.1:1", token="T" * 32, facts=facts, now=NOW)
    step = result["token"]
    assert step.status == "pass"
    assert noted in step.message
    assert ("sidecar auth" in step.hint) == bool(noted)


@pytest.mark.parametrize("ended", [False, True])
async def test_before_anything_is_entered_in_jira_that_is_what_is_to_be_done_first(
    sandbox: Sandbox, diagnose: Diagnose, *, ended: bool
) -> None:
    sandbox.faults.problem = "consumer_key_unknown"
    facts: dict[str, object] = {"expires_at": 1.7e9} if ended else {}
    result = await diagnose(sandbox.url, token="T" * 32 if ended else None, facts=facts)
    assert (result.failed, result.code) == (["token", "signature"], 77)
    said = result["signature"].message
    assert "consumer key" in said
    assert summary([*result.steps.values()]) == f"2 problems, first of all: {said}"


async def test_without_a_token_the_key_is_tried_all_the_same(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    result = await diagnose(sandbox.url)
    assert result.failed == ["token"]
    assert (result.code, result["token"].hint) == (77, "run `sidecar auth`")
    assert result.of("skipped") == ["user", "anonymous"]
    assert "Jira accepts our signature" in result["signature"].message
