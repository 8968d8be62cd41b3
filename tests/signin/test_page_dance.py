"""The dance that a browser begins on the page: what it waits for, how long, and what ends it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError, StoreError, UpstreamError
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.jira.refusals import Denied, VerifierRefused
from sidecar.sandbox import Sandbox
from sidecar.signin.dance import ATTEMPTS
from sidecar.signin.page_dance import (
    CONFIRMATION_SECONDS,
    AnotherUser,
    Cancelled,
    NotThisDance,
    PageDance,
    SignedIn,
)
from sidecar.signin.storing import Files
from tests.conftest import make_config
from tests.support.clocks import LoopClock
from tests.support.dancing import authorizing, decide, request_token_of, seen
from tests.support.wire import turns

ORIGIN = "http://localhost:8088"


class Desk:
    """A page's dance before a Jira, and the token's file."""

    def __init__(self, dance: PageDance, files: Files) -> None:
        self.dance = dance
        self.files = files

    def stored_user(self) -> str | None:
        token = self.files.token.load()
        return None if token is None else token.user

    def store(self, user: str | None) -> None:
        self.files.token.make_folder()
        self.files.token.save(TokenCredentials(Secret("x" * 32), Secret(""), user=user))

    async def approved(self, user: str = "alana", *, deny: bool = False) -> tuple[str, str]:
        """Begin, and decide in Jira: path and query of what Jira sends the browser to."""
        url = await self.dance.begin(ORIGIN)
        answer = await decide(f"{url}&os_username={user}", deny=deny)
        path, _, query = answer["Location"].removeprefix(ORIGIN).partition("?")
        return path, query


@pytest.fixture
async def desk(sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[Desk]:
    config = make_config(sandbox.url, tmp_path, private_key)
    files = Files.of(config)
    async with authorizing(config, time.time) as authorizer:
        dance = PageDance(lambda: (authorizer, files))
        yield Desk(dance, files)
        await dance.stop()


async def test_the_callback_s_answer_signs_in(desk: Desk) -> None:
    path, query = await desk.approved()
    assert desk.dance.waits_at(path)
    assert len(path.rpartition("/")[2]) == 32, "128 bits"
    outcome = await desk.dance.called_back(query)
    assert isinstance(outcome, SignedIn)
    assert outcome.token.user == desk.stored_user() == "alana"
    assert not desk.dance.waits_at(path)


async def test_each_dance_has_a_path_of_its_own(desk: Desk) -> None:
    first, _ = await desk.approved()
    second, query = await desk.approved()
    assert first != second
    assert not desk.dance.waits_at(first)
    assert not desk.dance.waits_at("")
    await desk.dance.called_back(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "oauth_verifier=abcdef",
        "oauth_token={token}",
        "oauth_token={token}&oauth_verifier=",
        "oauth_token={token}x&oauth_verifier=abcdef",
        "oauth_token={token}&oauth_token={token}&oauth_verifier=abcdef",
        "oauth_token={token}&oauth_verifier=abcdef&oauth_verifier=denied",
        "oauth_token=%C3%A9%FF&oauth_verifier=abcdef",
    ],
)
async def test_what_is_not_its_answer_changes_nothing(
    sandbox: Sandbox, desk: Desk, query: str
) -> None:
    url = await desk.dance.begin(ORIGIN)
    with pytest.raises(NotThisDance):
        await desk.dance.called_back(query.format(token=request_token_of(url)))
    assert seen(sandbox) == ["POST request-token"]
    with pytest.raises(VerifierRefused, match="Nobody has pressed Allow"):
        await desk.dance.called_back(f"oauth_token={request_token_of(url)}&oauth_verifier=abcdef")


async def test_a_denial_ends_it(desk: Desk) -> None:
    path, query = await desk.approved(deny=True)
    with pytest.raises(Denied):
        await desk.dance.called_back(query)
    assert not desk.dance.waits_at(path)


async def test_it_waits_as_long_as_the_request_token_lives(
    desk: Desk, loop_clock: LoopClock
) -> None:
    path, query = await desk.approved()
    assert 590 < desk.dance.seconds_left <= 600
    await loop_clock.skip(590)
    assert desk.dance.waits_at(path)
    await loop_clock.skip(11)
    assert not desk.dance.waits_at(path)
    assert desk.dance.seconds_left == 0
    with pytest.raises(NotThisDance, match="No sign-in waits"):
        await desk.dance.called_back(query)


async def test_an_answer_in_the_last_second_is_still_stored(
    sandbox: Sandbox, desk: Desk, loop_clock: LoopClock
) -> None:
    _, query = await desk.approved()
    await loop_clock.skip(desk.dance.seconds_left - 5)
    finishing = asyncio.ensure_future(desk.dance.called_back(query))
    await turns(3)
    await loop_clock.skip(6)
    assert isinstance(await finishing, SignedIn)


async def test_a_browser_that_leaves_does_not_lose_the_token(desk: Desk) -> None:
    _, query = await desk.approved()
    finishing = asyncio.ensure_future(desk.dance.called_back(query))
    await turns(3)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    await desk.dance.stop()
    assert desk.stored_user() == "alana"


async def test_while_it_asks_jira_no_other_answer_is_taken(sandbox: Sandbox, desk: Desk) -> None:
    _, query = await desk.approved()
    finishing = asyncio.ensure_future(desk.dance.called_back(query))
    await turns(3)
    with pytest.raises(NotThisDance, match="being finished"):
        await desk.dance.typed("qTJkPi")
    assert isinstance(await finishing, SignedIn)
    assert seen(sandbox).count("POST access-token") == 1


async def test_another_that_begins_while_this_one_is_being_finished_stores_nothing_of_it(
    desk: Desk,
) -> None:
    _, query = await desk.approved()
    finishing = asyncio.ensure_future(desk.dance.called_back(query))
    await turns(3)
    await desk.dance.begin(ORIGIN)
    with pytest.raises(NotThisDance, match="Another sign-in has begun"):
        await finishing
    assert desk.stored_user() is None
    assert desk.dance.seconds_left > 0, "the second one waits"


async def test_two_that_begin_at_once_leave_one(desk: Desk) -> None:
    begun = await asyncio.gather(
        desk.dance.begin(ORIGIN), desk.dance.begin(ORIGIN), return_exceptions=True
    )
    assert [type(one) for one in begun if not isinstance(one, str)] == [NotThisDance]


async def test_a_jira_that_is_away_for_a_moment_is_asked_again(
    sandbox: Sandbox, desk: Desk
) -> None:
    _, query = await desk.approved()
    sandbox.faults.unavailable = True
    with pytest.raises(UpstreamError):
        await desk.dance.called_back(query)
    sandbox.faults.unavailable = False
    assert desk.dance.seconds_left > 0
    assert isinstance(await desk.dance.typed(""), SignedIn)


async def test_wrong_codes_end_it_in_the_end(desk: Desk) -> None:
    path, _ = await desk.approved()
    for _ in range(ATTEMPTS):
        assert desk.dance.waits_at(path)
        with pytest.raises(VerifierRefused):
            await desk.dance.typed("qTJkPi")
    assert not desk.dance.waits_at(path)


async def test_the_address_of_a_denial_may_be_pasted(desk: Desk) -> None:
    path, query = await desk.approved(deny=True)
    with pytest.raises(Denied):
        await desk.dance.typed(f"{ORIGIN}{path}?{query}")
    assert not desk.dance.waits_at(path)


class TestAnotherUser:
    async def test_waits_to_be_confirmed(self, desk: Desk, loop_clock: LoopClock) -> None:
        desk.store("alana")
        _, query = await desk.approved("bob")
        await loop_clock.skip(590)
        outcome = await desk.dance.called_back(query)
        assert isinstance(outcome, AnotherUser)
        assert (outcome.token.user, outcome.before) == ("bob", "alana")
        await loop_clock.skip(60)
        assert desk.stored_user() == "alana"
        assert isinstance(await desk.dance.confirm(), SignedIn)
        assert desk.stored_user() == "bob"
        kept = desk.files.token.path.with_name("token.json.bak")
        assert json.loads(kept.read_text())["user"] == "alana"

    async def test_but_not_for_ever(self, desk: Desk, loop_clock: LoopClock) -> None:
        desk.store("alana")
        _, query = await desk.approved("bob")
        await desk.dance.called_back(query)
        await loop_clock.skip(CONFIRMATION_SECONDS + 1)
        with pytest.raises(NotThisDance):
            await desk.dance.confirm()
        assert desk.stored_user() == "alana"

    async def test_is_asked_about_again_where_a_third_was_stored_meanwhile(
        self, desk: Desk
    ) -> None:
        """By `sidecar auth` at a terminal: that one was not agreed to be replaced."""
        desk.store("alana")
        _, query = await desk.approved("bob")
        await desk.dance.called_back(query)
        desk.store("carol")
        outcome = await desk.dance.confirm()
        assert isinstance(outcome, AnotherUser)
        assert outcome.before == "carol"
        assert desk.stored_user() == "carol"
        assert isinstance(await desk.dance.confirm(), SignedIn)

    async def test_is_asked_about_where_nobody_knows_whose_token_is_stored(
        self, desk: Desk
    ) -> None:
        desk.store(None)
        _, query = await desk.approved()
        assert isinstance(await desk.dance.called_back(query), AnotherUser)
        assert isinstance(await desk.dance.confirm(), SignedIn)

    async def test_is_not_confirmed_before_there_is_one(self, desk: Desk) -> None:
        await desk.approved()
        with pytest.raises(NotThisDance, match="nothing to confirm"):
            await desk.dance.confirm()

    async def test_is_forgotten_when_declined(self, desk: Desk) -> None:
        desk.store("alana")
        _, query = await desk.approved("bob")
        await desk.dance.called_back(query)
        assert isinstance(desk.dance.cancel(), Cancelled)
        with pytest.raises(NotThisDance):
            await desk.dance.confirm()


async def test_a_token_of_another_jira_is_seen_before_jira_is_asked(
    sandbox: Sandbox, desk: Desk
) -> None:
    other = TokenFile(desk.files.token.path, BaseURL.parse("https://jira.test"), "Other")
    other.make_folder()
    other.save(TokenCredentials(Secret("x" * 32), Secret(""), user="alana"))
    with pytest.raises(StoreError):
        await desk.dance.begin(ORIGIN)
    assert desk.dance.seconds_left == 0
    assert not sandbox.log


async def test_what_jira_refuses_at_the_beginning_leaves_nothing_waiting(
    sandbox: Sandbox, desk: Desk
) -> None:
    sandbox.faults.problem = "permission_denied"
    with pytest.raises(SidecarError):
        await desk.dance.begin(ORIGIN)
    with pytest.raises(NotAuthorized):
        await desk.dance.typed("qTJkPi")


async def test_stopping_waits_for_a_token_that_is_being_stored(desk: Desk) -> None:
    _, query = await desk.approved()
    finishing = asyncio.ensure_future(desk.dance.called_back(query))
    await turns(3)
    await desk.dance.stop()
    assert isinstance(await finishing, SignedIn)
    assert desk.stored_user() == "alana"
