"""How the sidecar fares, as the page says it first."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.page.state import (
    Notice,
    by_button,
    clock_difference,
    clock_time,
    is_near,
    left,
    notices,
)
from tests.conftest import store_token
from tests.support.page_states import DAY, Stand, service_of, standing


def found(stand: Stand) -> list[Notice]:
    return notices(service_of(stand.sidecar), time.time())


@pytest.mark.parametrize(
    ("state", "level", "title", "to_do", "command"),
    [
        ("busy", "good", "Ready", "", ""),
        ("not-signed-in", "bad", "Not signed in yet", "Run sidecar", "sidecar --config /x auth"),
        ("refused", "bad", "Jira refuses the sidecar", "Run", "sidecar --config /x auth"),
        ("away", "bad", "Jira cannot be reached", "See whether Jira is up", ""),
        ("clock-off", "note", "The clocks differ", "Set this machine’s clock", ""),
        (
            "ends-soon",
            "note",
            "The token ends in 5 days",
            "Run sidecar",
            "sidecar --config /x auth",
        ),
    ],
)
async def test_the_first_notice_says_what_counts(
    tmp_path: Path,
    private_key: RSAPrivateKey,
    state: str,
    level: str,
    title: str,
    to_do: str,
    command: str,
) -> None:
    async with standing(state, tmp_path, private_key) as stand:
        first, *_ = found(stand)
    assert (first.level, first.title, first.command) == (level, title, command)
    assert first.to_do.startswith(to_do)
    assert first.text


@pytest.mark.parametrize(
    ("state", "to_do"),
    [
        ("not-signed-in", "Press “Sign in” below, or run sidecar --config /x auth."),
        ("refused", "Press “Sign in” below, or run: sidecar --config /x auth."),
        ("ends-soon", "Press “Sign in” below, or run sidecar --config /x auth before that."),
        ("away", "See whether Jira is up"),
    ],
)
async def test_who_can_sign_in_on_the_page_is_told_so_first(
    tmp_path: Path, private_key: RSAPrivateKey, state: str, to_do: str
) -> None:
    async with standing(state, tmp_path, private_key) as stand:
        first, *_ = notices(service_of(stand.sidecar), time.time(), "Sign in")
    assert first.to_do.replace(": sidecar", " sidecar").startswith(to_do.replace(": s", " s"))


@pytest.mark.parametrize(
    "hint", ["run `sidecar auth --replace`", "run `sidecar check`", "see why", "run sidecar authx"]
)
def test_no_other_command_gives_way_to_the_button(hint: str) -> None:
    assert by_button(hint, "Sign in") == hint


async def test_a_token_of_another_jira_is_told_as_that(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    async with standing("not-signed-in", tmp_path, private_key) as stand:
        store_token(stand.sidecar.config, "t" * 32)
        file = stand.sidecar.config.token.path
        file.write_text(file.read_text().replace("OauthKey", "AnotherKey"))
        first, *_ = found(stand)
    assert first.title == "The token is another Jira’s"
    assert "AnotherKey" in first.text


@pytest.mark.parametrize(
    ("held", "text"),
    [(1, "1 request waits for its turn."), (1200, "1,200 requests wait for their turn.")],
)
async def test_waiting_for_jiras_rate_limit_is_said(
    tmp_path: Path, private_key: RSAPrivateKey, held: int, text: str
) -> None:
    async with standing("busy", tmp_path, private_key) as stand:
        service = dataclasses.replace(service_of(stand.sidecar), held=lambda: held)
        (notice,) = notices(service, time.time())
    assert (notice.level, notice.title, notice.text) == (
        "note", "Jira’s rate limit is used up", text,
    )  # fmt: skip


async def test_the_worst_comes_first(tmp_path: Path, private_key: RSAPrivateKey) -> None:
    async with standing("ends-soon", tmp_path, private_key) as stand:
        stand.sandbox.faults.clock_offset = -427.0
        await stand.ask("/rest/api/2/myself")
        await stand.sandbox.stop()
        await stand.ask("/rest/api/2/myself")
        assert [one.level for one in found(stand)] == ["bad", "note", "note"]


async def test_jira_is_back_with_its_next_answer(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    async with standing("ends-soon", tmp_path, private_key) as stand:
        port = int(stand.sandbox.url.split(":")[2].partition("/")[0])
        await stand.sandbox.stop()
        await stand.ask("/rest/api/2/myself")
        assert found(stand)[0].title == "Jira cannot be reached"
        await stand.sandbox.start(port=port)
        await stand.ask("/_sidecar/status", "/_sidecar/nothing")
        assert found(stand)[0].title == "Jira cannot be reached"
        await stand.ask("/rest/api/2/myself")
        assert found(stand)[0].title == "The token ends in 5 days"


async def test_a_token_that_has_ended_is_bad(tmp_path: Path, private_key: RSAPrivateKey) -> None:
    async with standing("busy", tmp_path, private_key) as stand:
        service = service_of(stand.sidecar)
        token = stand.sidecar.server.identity.token.last_read
        assert token is not None
        assert token.expires_at is not None
        assert [one.title for one in notices(service, token.expires_at - 40 * DAY)] == ["Ready"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "agrees with this machine’s"),
        (-45.0, "45 seconds behind this machine’s"),
        (60.0, "1 minute ahead of this machine’s"),
        (427.0, "7 minutes ahead of this machine’s"),
        (-3700.0, "1 hour behind this machine’s"),
    ],
)
def test_a_clock_difference_in_words(seconds: float, text: str) -> None:
    assert clock_difference(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "in 0 seconds"),
        (1, "in 1 second"),
        (90, "in 1 minute"),
        (7200, "in 2 hours"),
        (1.9 * DAY, "in 45 hours"),
        (2 * DAY, "in 2 days"),
        (1815 * DAY, "in 1,815 days"),
        (-3 * DAY, "3 days ago"),
    ],
)
def test_time_left_in_words(seconds: float, text: str) -> None:
    assert left(seconds) == text


def test_a_moment_of_another_day_has_its_date() -> None:
    now = time.time()
    assert len(clock_time(now)) == len("12:00:00")
    assert len(clock_time(now - 3 * DAY)) == len("2026-11-28 12:00:00")


def test_an_end_is_near_from_thirty_days_before() -> None:
    assert is_near(30 * DAY, 0)
    assert not is_near(30 * DAY + 1, 0)
    assert not is_near(None, 0)
