"""What a sign-in replaces: another Jira's or user's token only where that is wanted."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.authorize import Authorizer
from sidecar.config.load import Config
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError, StoreError
from sidecar.files.private import write_private
from sidecar.files.successor import digest
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from sidecar.signin import dance
from sidecar.signin.dance import Files, User
from sidecar.signin.storing import try_and_store
from tests.conftest import CONSUMER_KEY, make_config
from tests.support.dancing import approve, authorizing, decide, seen
from tests.support.waiting import PATIENCE

FORMER = TokenCredentials(Secret("FORMER"), Secret(""), user="alana")
BOBS = TokenCredentials(Secret("BOBS"), Secret(""), user="bob", display_name="Bob Example")


class Desk:
    """A user at the prompt of a sign-in to one Jira."""

    def __init__(self, config: Config, authorizer: Authorizer) -> None:
        self.config = config
        self.authorizer = authorizer
        self.files = Files.of(config)
        self.said: list[str] = []
        self.typed: asyncio.Queue[str | None] = asyncio.Queue()
        self.answer: str | None = None

    def put(self, token: TokenCredentials, url: str | None = None) -> TokenFile:
        """Store a token of this Jira's, or of the one at `url`."""
        base = self.config.jira.base_url if url is None else BaseURL.parse(url)
        file = TokenFile(self.config.token.path, base, CONSUMER_KEY)
        file.save(token)
        return file

    async def line(self) -> str | None:
        return await self.typed.get()

    async def dance(self, *, replace: bool = False) -> TokenCredentials:
        """Sign in by a typed URL; `answer` is typed when a question comes."""
        approving: list[asyncio.Future[None]] = []

        def tell(text: str) -> None:
            self.said.append(text)
            if "oauth_token=" in text:
                url = next(word for word in text.split() if "oauth_token=" in word)
                approving.append(asyncio.ensure_future(self._approve(url)))
            if text.endswith("Replace it? [y/N]"):
                self.typed.put_nowait(self.answer)

        user = User(tell, self, None)
        async with asyncio.timeout(PATIENCE):
            return await dance.dance(self.authorizer, self.files, user, replace=replace)

    async def _approve(self, url: str) -> None:
        self.typed.put_nowait((await decide(url))["Location"])

    async def in_two_commands(self, *, replace: bool) -> TokenCredentials:
        url = await dance.begin(self.authorizer, self.files, replace=replace)
        code = await approve(url)
        return await dance.finish_with(self.authorizer, self.files, code, replace=replace)


@pytest.fixture
async def desk(sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[Desk]:
    config = make_config(sandbox.url, tmp_path, private_key)
    async with authorizing(config, time.time) as authorizer:
        yield Desk(config, authorizer)


def kept(desk: Desk) -> bytes:
    """What is kept of the token before, and that nobody else can read it."""
    former = desk.files.token.former
    assert stat.S_IMODE(former.stat().st_mode) == 0o600
    return former.read_bytes()


OTHER_JIRA = "https://old.example.com"


@pytest.mark.parametrize("two_commands", [False, True])
async def test_jira_has_moved(desk: Desk, two_commands: bool) -> None:
    old = desk.put(FORMER, OTHER_JIRA)
    if two_commands:
        token = await desk.in_two_commands(replace=True)
    else:
        token = await desk.dance(replace=True)
    assert desk.files.token.load() == token
    assert token.user == "alana"
    assert kept(desk) == old.encode(FORMER)


@pytest.mark.parametrize("two_commands", [False, True])
async def test_without_the_wish_another_jiras_token_stays_and_jira_is_not_asked(
    desk: Desk, sandbox: Sandbox, two_commands: bool
) -> None:
    old = desk.put(FORMER, OTHER_JIRA)
    with pytest.raises(StoreError) as caught:
        await (desk.in_two_commands(replace=False) if two_commands else desk.dance())
    assert "token.path" in caught.value.hint
    assert "sidecar auth --replace" in caught.value.hint
    assert old.load() == FORMER
    assert seen(sandbox) == []


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 99}'])
async def test_what_nobody_understands_is_replaced_and_kept_too(desk: Desk, content: bytes) -> None:
    write_private(desk.config.token.path, content)
    with pytest.raises(SidecarError):
        await desk.dance()
    await desk.dance(replace=True)
    assert kept(desk) == content


async def test_the_next_replacement_replaces_what_is_kept(desk: Desk) -> None:
    desk.put(FORMER, OTHER_JIRA)
    first = await desk.dance(replace=True)
    await desk.dance(replace=True)
    assert kept(desk) == desk.files.token.encode(first)


async def test_of_two_replacements_at_the_same_time_neither_loses_the_old_token(desk: Desk) -> None:
    """Both begin while the old one is there; who ends last has the token that is stored."""
    old = desk.put(FORMER, OTHER_JIRA)
    other = Desk(desk.config, desk.authorizer)
    first, second = await asyncio.gather(desk.dance(replace=True), other.dance(replace=True))
    assert first.token != second.token
    assert Files.of(desk.config).token.load() in (first, second)
    assert kept(desk) == old.encode(FORMER)


async def test_a_replacement_that_was_begun_later_keeps_what_the_first_has_stored(
    desk: Desk,
) -> None:
    desk.put(FORMER, OTHER_JIRA)
    first = await desk.dance(replace=True)
    await Desk(desk.config, desk.authorizer).dance(replace=True)
    assert kept(desk) == desk.files.token.encode(first)


async def test_another_user_whom_another_sign_in_has_just_stored_is_not_replaced(
    desk: Desk,
) -> None:
    """It was nobody's when this one looked: what counts is what is there under the lock."""
    desk.files.token.make_folder()
    async with desk.files.token.locked():
        storing = asyncio.ensure_future(desk.files.store(FORMER))
        await asyncio.sleep(0)
        desk.put(BOBS)
    with pytest.raises(StoreError, match="that of bob, and Jira has signed in alana") as caught:
        await storing
    assert "the new token is lost" not in caught.value.hint
    assert desk.files.token.load() == BOBS


async def test_where_there_is_no_token_nothing_is_kept(desk: Desk) -> None:
    await desk.dance(replace=True)
    assert not desk.files.token.former.exists()


async def test_a_token_that_another_jira_renewed_and_could_not_put_in_place_is_kept(
    desk: Desk,
) -> None:
    old = desk.put(FORMER, OTHER_JIRA)
    renewed = TokenCredentials(Secret("RENEWED"), Secret(""), user="alana")
    with old.reserved():
        old._successor.keep(old._to_keep(renewed, digest(FORMER.token)))
    assert old.load() == renewed
    await desk.dance(replace=True)
    assert kept(desk) == old.encode(renewed)


async def test_the_old_token_stays_where_the_new_one_is_not_accepted(
    desk: Desk, sandbox: Sandbox
) -> None:
    old = desk.put(FORMER, OTHER_JIRA)
    sandbox.faults.inactive_user = True
    with pytest.raises(NotAuthorized):
        await desk.dance(replace=True)
    assert old.load() == FORMER
    assert not desk.files.token.former.exists()


# ── another user ────────────────────────────────────────────────────────────────────────────


async def test_another_users_token_is_replaced_if_the_user_says_so(desk: Desk) -> None:
    file = desk.put(BOBS)
    desk.answer = " Yes"
    token = await desk.dance()
    assert token.user == "alana"
    assert desk.files.token.load() == token
    assert kept(desk) == file.encode(BOBS)
    assert any(
        "signed in Alana Example (alana)" in text and "that of Bob Example (bob)" in text
        for text in desk.said
    )


@pytest.mark.parametrize("answer", ["", "n", "bob", None])
async def test_it_stays_if_the_user_does_not(desk: Desk, answer: str | None) -> None:
    desk.put(BOBS)
    desk.answer = answer
    with pytest.raises(StoreError) as caught:
        await desk.dance()
    assert "that of bob, and Jira has signed in alana" in caught.value.message
    assert "sidecar auth --replace" in caught.value.hint
    assert desk.files.token.load() == BOBS


async def test_without_a_prompt_it_stays(desk: Desk) -> None:
    desk.put(BOBS)
    with pytest.raises(StoreError):
        await desk.in_two_commands(replace=False)
    assert desk.files.token.load() == BOBS
    assert not desk.files.request_token.path.exists()


async def test_the_same_user_is_not_asked(desk: Desk) -> None:
    desk.put(FORMER)
    assert (await desk.dance()).user == "alana"
    assert not desk.files.token.former.exists()


async def test_nobody_is_compared_with_a_token_that_names_no_user(
    desk: Desk, sandbox: Sandbox
) -> None:
    """As `init --from` stores one."""
    desk.put(TokenCredentials(Secret("IMPORTED"), Secret("")))
    token = TokenCredentials(Secret(sandbox.grant("bob").token), Secret(""))
    assert (await try_and_store(desk.authorizer, desk.files, token)).user == "bob"
