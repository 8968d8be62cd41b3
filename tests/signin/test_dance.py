"""Signing in with a user in it, against the sandbox Jira: browser, typed codes, files, time."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.account.authorize import Authorizer
from sidecar.config.load import Config
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, StoreError, UpstreamError
from sidecar.files.request_token import RequestTokenFile
from sidecar.files.tokens import TokenFile
from sidecar.jira.refusals import VerifierRefused
from sidecar.sandbox import Sandbox
from sidecar.signin import callback, dance
from sidecar.signin.dance import Files, User, lifetime, signed_in_line
from sidecar.signin.prompt import TypedLines
from tests.conftest import make_config
from tests.support.dancing import Clock, approve, authorizing, decide, request_token_of, seen, visit
from tests.support.disks import unplaceable
from tests.support.waiting import PATIENCE


class Typist:
    """A user at the prompt: types when a test says so, and waits until a text is shown."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._shown = asyncio.Event()
        self.screen = ""
        self.opened: list[str] = []
        self.can_open = True

    async def line(self) -> str | None:
        return await self._lines.get()

    def types(self, *lines: str | None) -> None:
        for line in lines:
            self._lines.put_nowait(line)

    def tell(self, text: str) -> None:
        self.screen += text + "\n"
        self._shown.set()

    def open_browser(self, url: str) -> bool:
        self.opened.append(url)
        return self.can_open

    async def sees(self, pattern: str) -> re.Match[str]:
        """Wait until something is shown, and give the match."""
        async with asyncio.timeout(PATIENCE):
            while not (match := re.search(pattern, self.screen)):
                self._shown.clear()
                await self._shown.wait()
        return match

    async def url(self) -> str:
        return (await self.sees(r"http://\S+oauth_token=\w+"))[0]


class Desk:
    """One user before one Jira, and what lies in the token's folder."""

    def __init__(self, config: Config, authorizer: Authorizer, clock: Clock) -> None:
        jira = config.jira
        self.authorizer = authorizer
        self.clock = clock
        self.user = Typist()
        self.files = Files(
            TokenFile(config.token.path, jira.base_url, jira.consumer_key),
            RequestTokenFile(config.token.path, jira.base_url, jira.consumer_key),
        )

    def dance(self, *, browser: bool = False) -> asyncio.Task[TokenCredentials]:
        user = User(self.user.tell, self.user, self.user.open_browser if browser else None)
        return asyncio.create_task(dance.dance(self.authorizer, self.files, user, clock=self.clock))

    async def begin(self) -> str:
        return await dance.begin(self.authorizer, self.files)

    async def finish_with(self, text: str) -> TokenCredentials:
        return await dance.finish_with(self.authorizer, self.files, text, clock=self.clock)

    @property
    def stored(self) -> TokenCredentials | None:
        return self.files.token.load()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def jira(make_sandbox: Callable[..., Awaitable[Sandbox]], clock: Clock) -> Sandbox:
    return await make_sandbox(context_path="/jira", clock=clock)


@pytest.fixture
async def make_desk(
    private_key: RSAPrivateKey, tmp_path: Path, clock: Clock
) -> AsyncIterator[Callable[..., Awaitable[Desk]]]:
    async with AsyncExitStack() as stack:

        async def make(base_url: str, **options: Any) -> Desk:
            config = make_config(base_url, tmp_path, private_key, **options)
            authorizer = await stack.enter_async_context(authorizing(config, clock))
            return Desk(config, authorizer, clock)

        yield make


@pytest.fixture
async def desk(jira: Sandbox, make_desk: Callable[..., Awaitable[Desk]]) -> Desk:
    return await make_desk(jira.url)


@pytest.fixture
def no_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine doesn't let us listen: an address that is none of ours (RFC 5737)."""
    monkeypatch.setattr(callback, "HOST", "192.0.2.1")


OLD = TokenCredentials(Secret("old"), Secret(""), user="alana")


# ── in one go ───────────────────────────────────────────────────────────────────────────────


async def test_allow_in_the_browser_signs_in(desk: Desk) -> None:
    dancing = desk.dance()
    allowed = await decide(await desk.user.url())
    page = await visit(allowed["Location"])
    token = await dancing
    assert "You can close this tab" in page.body.decode()
    assert (token.user, token.display_name) == ("alana", "Alana Example")
    assert desk.stored == token
    assert token.server_url is not None


async def test_the_url_is_opened_in_the_browser_and_shown(desk: Desk) -> None:
    dancing = desk.dance(browser=True)
    url = await desk.user.url()
    await visit((await decide(url))["Location"])
    await dancing
    assert desk.user.opened == [url]


@pytest.mark.usefixtures("no_callback")
async def test_without_a_callback_the_code_is_typed(desk: Desk) -> None:
    dancing = desk.dance()
    url = await desk.user.url()
    assert "Cannot wait for the browser here" in desk.user.screen
    desk.user.types(f" '{await approve(url)}' ")
    assert (await dancing).user == "alana"


async def test_the_whole_url_may_be_pasted_where_the_browser_is_elsewhere(desk: Desk) -> None:
    dancing = desk.dance()
    desk.user.types((await decide(await desk.user.url()))["Location"])
    assert (await dancing).user == "alana"


async def test_a_mistyped_code_may_be_typed_again(desk: Desk) -> None:
    dancing = desk.dance()
    location = (await decide(await desk.user.url()))["Location"]
    desk.user.types("wrong1")
    await desk.user.sees("rejects the verification code")
    desk.user.types("no code at all")
    await desk.user.sees("neither a verification code nor a URL")
    desk.user.types(location.replace("oauth_token=", "oauth_token=x"))
    await desk.user.sees("belongs to another sign-in")
    desk.user.types(location)
    assert (await dancing).user == "alana"


async def test_after_a_mistyped_code_the_browser_still_counts(desk: Desk) -> None:
    dancing = desk.dance()
    url = await desk.user.url()
    desk.user.types("wrong1")
    await desk.user.sees("Nobody has pressed Allow yet")
    await visit((await decide(url))["Location"])
    assert (await dancing).user == "alana"


async def test_the_end_of_input_does_not_end_the_wait_for_the_browser(desk: Desk) -> None:
    dancing = desk.dance()
    desk.user.types(None)
    await visit((await decide(await desk.user.url()))["Location"])
    assert (await dancing).user == "alana"


@pytest.mark.usefixtures("no_callback")
async def test_without_callback_and_input_there_is_nothing_to_wait_for(desk: Desk) -> None:
    desk.user.types(None)
    with pytest.raises(NotAuthorized, match="no input to read") as caught:
        await desk.dance()
    assert "--begin" in caught.value.hint


async def test_typing_without_end_is_stopped(desk: Desk, jira: Sandbox) -> None:
    desk.user.types(*["y"] * 1000)
    with pytest.raises(VerifierRefused):
        await desk.dance()
    assert seen(jira).count("POST access-token") == dance.ATTEMPTS


async def test_deny_in_the_browser_is_an_end_with_a_page(desk: Desk) -> None:
    dancing = desk.dance()
    denied = await decide(await desk.user.url(), deny=True)
    assert "Access denied" in (await visit(denied["Location"])).body.decode()
    with pytest.raises(NotAuthorized, match="denied on the approval page"):
        await dancing


async def test_a_pasted_url_that_says_denied_is_the_same_end(desk: Desk) -> None:
    dancing = desk.dance()
    desk.user.types((await decide(await desk.user.url(), deny=True))["Location"])
    with pytest.raises(NotAuthorized, match="denied on the approval page"):
        await dancing


async def test_a_verifier_from_the_browser_that_jira_rejects_ends_it(
    desk: Desk, jira: Sandbox
) -> None:
    dancing = desk.dance()
    url = await desk.user.url()
    location = (await decide(url))["Location"]
    jira.provider.request_tokens.clear()
    await visit(location)
    with pytest.raises(VerifierRefused):
        await dancing


async def test_favicons_and_strangers_do_not_disturb_the_wait(desk: Desk) -> None:
    dancing = desk.dance()
    location = (await decide(await desk.user.url()))["Location"]
    origin = location.partition("?")[0].rpartition("/")[0]
    assert (await visit(f"{origin}/favicon.ico?")).status == 404
    assert (await visit(location.replace("oauth_token=", "oauth_token=x"))).status == 400
    await visit(location)
    assert (await dancing).user == "alana"


@pytest.mark.parametrize("failure", [None, OSError("no display")])
async def test_a_browser_that_does_not_open_is_told(failure: OSError | None, desk: Desk) -> None:
    def fail(_: str) -> bool:
        if failure:
            raise failure
        return False

    user = User(desk.user.tell, desk.user, fail)
    dancing = asyncio.create_task(dance.dance(desk.authorizer, desk.files, user, clock=desk.clock))
    await desk.user.sees("No browser could be opened")
    await visit((await decide(await desk.user.url()))["Location"])
    assert (await dancing).user == "alana"


async def test_a_browser_that_returns_only_when_closed_holds_nothing_up(desk: Desk) -> None:
    closed = threading.Event()
    user = User(desk.user.tell, desk.user, lambda _: closed.wait(10))
    dancing = asyncio.create_task(dance.dance(desk.authorizer, desk.files, user, clock=desk.clock))
    await visit((await decide(await desk.user.url()))["Location"])
    assert (await dancing).user == "alana"
    closed.set()


def test_a_browser_that_fails_after_the_end_says_nothing() -> None:
    ended = threading.Event()
    said: list[str] = []

    async def open_and_end() -> list[threading.Thread]:
        before = threading.enumerate()
        dance._open_browser(lambda _: not ended.wait(10), "http://localhost/", said.append)
        return [thread for thread in threading.enumerate() if thread not in before]

    (thread,) = asyncio.run(open_and_end())
    ended.set()
    thread.join()
    assert said == []


async def test_a_real_pipe_is_typed_into(desk: Desk) -> None:
    reading, writing = os.pipe()
    with TypedLines(reading) as lines:
        user = User(desk.user.tell, lines, None)
        dancing = asyncio.create_task(
            dance.dance(desk.authorizer, desk.files, user, clock=desk.clock)
        )
        location = (await decide(await desk.user.url()))["Location"]
        os.write(writing, b"wrong1\n" + location.encode() + b"\n")
        assert (await dancing).user == "alana"
    os.close(writing)
    os.close(reading)


# ── time ────────────────────────────────────────────────────────────────────────────────────


async def test_it_says_how_long_the_request_token_lives(desk: Desk, clock: Clock) -> None:
    dancing = desk.dance()
    await desk.user.sees(r"The request token lives for another 10 min\.")
    clock.now += 2
    desk.user.types("")
    await desk.user.sees(r"The request token lives for another 9 min 58 s\.")
    clock.now += 500
    desk.user.types("wrong1")
    await desk.user.sees(r"The request token lives for another 1 min 38 s\.")
    dancing.cancel()
    await asyncio.gather(dancing, return_exceptions=True)


async def test_it_says_so_again_when_time_runs_short(desk: Desk, clock: Clock) -> None:
    dancing = desk.dance()
    url = await desk.user.url()
    clock.now += 299.999
    desk.user.types("")  # after which it waits for a millisecond until the next reminder
    await desk.user.sees(r"another 5 min\.")
    clock.now += 0.002
    await desk.user.sees(r"another 5 min\.\n(?:.*\n)*?.*another 5 min\.")
    await visit((await decide(url))["Location"])
    await dancing


async def test_a_request_token_that_nobody_approves_in_time_is_an_end(
    desk: Desk, clock: Clock
) -> None:
    dancing = desk.dance()
    await desk.user.url()
    clock.now += 600
    desk.user.types("")
    with pytest.raises(NotAuthorized, match="has expired"):
        await dancing


async def test_an_approval_that_comes_too_late_is_an_end(
    desk: Desk, jira: Sandbox, clock: Clock
) -> None:
    dancing = desk.dance()
    location = (await decide(await desk.user.url()))["Location"]
    jira.faults.clock_offset = 600
    await visit(location)
    with pytest.raises(NotAuthorized, match="has expired"):
        await dancing


# ── what is stored, and when ────────────────────────────────────────────────────────────────


async def test_the_old_token_stays_until_the_new_one_has_been_tried(
    desk: Desk, jira: Sandbox
) -> None:
    desk.files.token.save(OLD)
    dancing = desk.dance()
    location = (await decide(await desk.user.url()))["Location"]
    jira.faults.inactive_user = True
    await visit(location)
    with pytest.raises(NotAuthorized):
        await dancing
    assert desk.stored == OLD


async def test_the_new_token_replaces_the_old_one(desk: Desk) -> None:
    desk.files.token.save(OLD)
    dancing = desk.dance()
    await visit((await decide(await desk.user.url()))["Location"])
    new = await dancing
    assert desk.stored == new != OLD


async def test_it_is_not_stored_into_a_renewal_of_the_old_one(desk: Desk, jira: Sandbox) -> None:
    desk.files.token.save(OLD)
    dancing = desk.dance()
    location = (await decide(await desk.user.url()))["Location"]
    async with desk.files.token.locked():
        browser = asyncio.ensure_future(visit(location))
        async with asyncio.timeout(PATIENCE):
            while "GET serverInfo" not in seen(jira):
                await asyncio.wait([dancing], timeout=0.01)
        await asyncio.wait([dancing, browser], timeout=0.1)
        assert desk.stored == OLD
        assert not browser.done(), "nothing is approved before the token is stored"
    new = await dancing
    assert desk.stored == new
    assert "Access approved" in (await browser).body.decode()


async def test_a_token_that_cannot_be_stored_is_not_said_to_be_approved(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    dancing = desk.dance()
    location = (await decide(await desk.user.url()))["Location"]

    def fail(*_: object) -> None:
        raise StoreError("The disk is full.", "free some space")

    monkeypatch.setattr(TokenFile, "save", fail)
    page = (await visit(location)).body.decode()
    with pytest.raises(StoreError):
        await dancing
    assert "Not signed in" in page
    assert "The disk is full." in page
    assert "Access approved" not in page


async def test_while_the_terminal_asks_the_browser_says_so(desk: Desk) -> None:
    desk.files.token.save(replace(OLD, user="bob"))
    dancing = desk.dance()
    page = await visit((await decide(await desk.user.url()))["Location"])
    assert "Go back to the terminal" in page.body.decode()
    desk.user.types("y")
    assert (await dancing).user == "alana"


async def test_it_is_tried_before_it_is_stored_and_then_the_request_token_goes(
    desk: Desk, jira: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await approve(await desk.begin())
    save, remove = TokenFile.save, RequestTokenFile.remove
    order: list[str] = []

    def noting_save(file: TokenFile, token: TokenCredentials) -> None:
        order.extend(seen(jira)[-3:])
        save(file, token)
        order.append("stored" if desk.files.request_token.path.exists() else "too early")

    def noting_remove(file: RequestTokenFile) -> None:
        remove(file)
        order.append("removed")

    monkeypatch.setattr(TokenFile, "save", noting_save)
    monkeypatch.setattr(RequestTokenFile, "remove", noting_remove)
    await desk.finish_with(code)
    assert order == ["POST access-token", "GET myself", "GET serverInfo", "stored", "removed"]


async def test_where_no_token_could_be_stored_nobody_is_asked_for_one(
    desk: Desk, jira: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.files.token.save(OLD)
    code = await approve(await desk.begin())
    jira.log.clear()
    before = folder_of(desk)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for signing_in in (desk.dance(), desk.begin(), desk.finish_with(code)):
            with pytest.raises(StoreError) as caught:
                await signing_in
            message = f"{desk.files.token.path}: cannot be written: No space left on device"
            assert str(caught.value) == message
    assert seen(jira) == []
    assert desk.user.screen == ""
    assert folder_of(desk) == before
    assert (await desk.finish_with(code)).user == "alana"


async def test_where_the_token_cannot_be_renamed_over_nobody_is_asked_for_one(
    desk: Desk, jira: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.files.token.save(OLD)
    code = await approve(await desk.begin())
    jira.log.clear()
    with monkeypatch.context() as patch:
        unplaceable(patch)
        for signing_in in (desk.dance(), desk.begin(), desk.finish_with(code)):
            with pytest.raises(StoreError, match="Device or resource busy") as caught:
                await signing_in
            assert "mount the folder" in caught.value.hint
    assert seen(jira) == []
    assert (await desk.finish_with(code)).user == "alana"


@pytest.mark.parametrize("name", [".token.json.lock", ".token.json.renewal"])
async def test_what_a_renewal_will_need_is_proved_by_the_sign_in(
    desk: Desk, jira: Sandbox, name: str
) -> None:
    desk.files.token.save(OLD)
    desk.files.token.path.with_name(name).mkdir()
    for signing_in in (desk.dance(), desk.begin(), desk.finish_with("abc123")):
        with pytest.raises(StoreError, match=re.escape(name)):
            await signing_in
    assert seen(jira) == []


async def test_a_new_token_that_cannot_be_put_in_place_after_all_counts_beside_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.files.token.save(OLD)
    code = await approve(await desk.begin())
    introduce = Authorizer.introduce

    async def introducing(authorizer: Authorizer, token: TokenCredentials) -> TokenCredentials:
        unplaceable(monkeypatch)
        return await introduce(authorizer, token)

    monkeypatch.setattr(Authorizer, "introduce", introducing)
    with pytest.raises(StoreError, match="it counts") as caught:
        await desk.finish_with(code)
    assert "lost" not in caught.value.hint
    assert desk.stored is not None
    assert desk.stored.user == "alana"
    assert desk.stored != OLD


async def test_where_only_the_request_token_could_not_be_stored_nobody_is_asked_either(
    desk: Desk, jira: Sandbox
) -> None:
    link = desk.files.request_token.path
    link.parent.mkdir()
    link.symlink_to("/proc/nowhere/request_token.json")
    with pytest.raises(StoreError, match=r"request_token\.json: cannot be written"):
        await desk.begin()
    assert seen(jira) == []


async def test_the_proof_that_a_token_can_be_stored_leaves_the_lock_alone(desk: Desk) -> None:
    await desk.begin()
    assert sorted(folder_of(desk)) == [".token.json.lock", "request_token.json"]


def folder_of(desk: Desk) -> dict[str, bytes]:
    """The files beside the token's, with their content."""
    return {path.name: path.read_bytes() for path in desk.files.token.path.parent.iterdir()}


async def test_a_new_token_that_cannot_be_stored_after_all_is_lost_with_its_code(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.files.token.save(OLD)
    code = await approve(await desk.begin())

    def full(*_: object) -> None:
        raise StoreError("token.json: cannot be written: No space left", "free some space")

    with monkeypatch.context() as patch:
        patch.setattr(TokenFile, "save", full)
        with pytest.raises(StoreError) as caught:
            await desk.finish_with(code)
    assert caught.value.hint.startswith("free some space; then begin again with `sidecar auth`")
    assert desk.stored == OLD
    with pytest.raises(NotAuthorized, match="no sign-in has begun") as caught_again:
        await desk.finish_with(code)
    assert "`sidecar auth --begin`" in caught_again.value.hint


async def test_a_new_token_that_jira_does_not_take_is_lost_with_its_code(
    desk: Desk, jira: Sandbox
) -> None:
    code = await approve(await desk.begin())
    jira.faults.inactive_user = True
    with pytest.raises(NotAuthorized):
        await desk.finish_with(code)
    with pytest.raises(NotAuthorized, match="no sign-in has begun"):
        await desk.finish_with(code)


async def test_another_jiras_token_is_not_replaced_and_nobody_is_asked(
    desk: Desk, make_desk: Callable[..., Awaitable[Desk]], jira: Sandbox
) -> None:
    desk.files.token.save(OLD)
    other = await make_desk("http://127.0.0.1:9/")
    for signing_in in (other.dance(), other.begin(), other.finish_with("abc123")):
        with pytest.raises(StoreError) as caught:
            await signing_in
        assert "token.path" in caught.value.hint
    assert desk.stored == OLD
    assert seen(jira) == []


async def test_interrupted_it_stores_nothing_and_listens_no_more(desk: Desk) -> None:
    desk.files.token.save(OLD)
    dancing = desk.dance()
    location = (await decide(await desk.user.url()))["Location"]
    dancing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dancing
    with pytest.raises(ConnectionRefusedError):
        await visit(location)
    assert desk.stored == OLD
    assert dance.interrupted().exit_code == 77


@pytest.mark.parametrize(
    ("switch", "code"), [("sso_html", 69), ("unavailable", 69), ("link_gone", 78)]
)
async def test_what_goes_wrong_at_once_ends_it_before_anything_is_shown(
    switch: str, code: int, desk: Desk, jira: Sandbox
) -> None:
    jira.faults.throw({switch: True})
    with pytest.raises((UpstreamError, ConfigError)) as caught:
        await desk.dance()
    assert caught.value.exit_code == code
    assert desk.user.screen == ""


# ── as two commands ─────────────────────────────────────────────────────────────────────────


async def test_begin_and_finish_sign_in_without_a_terminal(desk: Desk, jira: Sandbox) -> None:
    url = await desk.begin()
    path = desk.files.request_token.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert url == f"{jira.url}/plugins/servlet/oauth/authorize?oauth_token={request_token_of(url)}"
    token = await desk.finish_with(await approve(url))
    assert desk.stored == token
    assert token.user == "alana"
    assert not path.exists()


async def test_the_links_own_callback_counts_for_begin_and_its_url_finishes(
    make_sandbox: Callable[..., Awaitable[Sandbox]],
    make_desk: Callable[..., Awaitable[Desk]],
    clock: Clock,
) -> None:
    jira = await make_sandbox(callback_url="https://tool.example.com/done?x=y", clock=clock)
    desk = await make_desk(jira.url)
    location = (await decide(await desk.begin()))["Location"]
    assert location.startswith("https://tool.example.com/done?x=y&oauth_token=")
    assert (await desk.finish_with(location)).user == "alana"


async def test_nothing_begun_is_nothing_to_finish(desk: Desk, jira: Sandbox) -> None:
    with pytest.raises(NotAuthorized, match="no sign-in has begun") as caught:
        await desk.finish_with("abc123")
    assert caught.value.exit_code == 77
    assert seen(jira) == []


async def test_what_was_finished_is_not_finished_twice(desk: Desk) -> None:
    code = await approve(await desk.begin())
    await desk.finish_with(code)
    with pytest.raises(NotAuthorized, match="no sign-in has begun"):
        await desk.finish_with(code)


async def test_a_dance_begun_too_long_ago_has_expired(
    desk: Desk, jira: Sandbox, clock: Clock
) -> None:
    code = await approve(await desk.begin())
    clock.now += 601
    with pytest.raises(NotAuthorized, match="has expired"):
        await desk.finish_with(code)
    assert "POST access-token" not in seen(jira)


@pytest.mark.parametrize("text", ["wrong1", "no code", ""])
async def test_after_a_wrong_code_the_right_one_finishes(text: str, desk: Desk) -> None:
    code = await approve(await desk.begin())
    with pytest.raises(VerifierRefused):
        await desk.finish_with(text)
    assert (await desk.finish_with(code)).user == "alana"


async def test_after_an_outage_the_same_code_finishes(desk: Desk, jira: Sandbox) -> None:
    code = await approve(await desk.begin())
    jira.faults.unavailable = True
    with pytest.raises(UpstreamError):
        await desk.finish_with(code)
    jira.faults.unavailable = False
    assert (await desk.finish_with(code)).user == "alana"


async def test_beginning_again_replaces_what_was_begun(desk: Desk) -> None:
    first = await approve(await desk.begin())
    second = await approve(await desk.begin())
    with pytest.raises(VerifierRefused):
        await desk.finish_with(first)
    assert (await desk.finish_with(second)).user == "alana"


# ── words ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", 22), ("Pacific/Kiritimati", 23), ("America/Los_Angeles", 22)]
)
def test_the_last_line_says_who_and_until_when_by_the_local_calendar(
    zone: str, day: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = datetime(2031, 11, 22, 18, 0, tzinfo=UTC).timestamp()
    token = TokenCredentials(
        Secret("T"), Secret(""), user="alana", display_name="Alana Example", expires_at=end
    )
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        line = signed_in_line(token)
    time.tzset()
    assert line == f"Signed in as Alana Example (alana) until 2031-11-{day}"


@pytest.mark.parametrize(
    ("display_name", "line"),
    [
        ("Alana Example", "Signed in as Alana Example (alana)"),
        ("alana", "Signed in as alana"),
        (None, "Signed in as alana"),
    ],
)
def test_without_an_expiry_there_is_no_until(display_name: str | None, line: str) -> None:
    token = TokenCredentials(Secret("T"), Secret(""), user="alana", display_name=display_name)
    assert signed_in_line(token) == line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (598, "9 min 58 s"),
        (600.4, "10 min"),
        (120, "2 min"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (0.2, "0 s"),
        (-5, "0 s"),
    ],
)
def test_a_life_in_words(seconds: float, words: str) -> None:
    assert lifetime(seconds) == words


@given(st.integers(0, 10**6))
def test_a_life_in_words_adds_up(seconds: int) -> None:
    numbers = {unit: int(number) for number, unit in re.findall(r"(\d+) (\w+)", lifetime(seconds))}
    assert numbers.get("min", 0) * 60 + numbers.get("s", 0) == seconds
