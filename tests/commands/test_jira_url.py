"""What a user may give as Jira's URL, and what becomes of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands import jira_url
from sidecar.commands.jira_url import Looked, Meaning, configured, likely, meaning_of, settle
from sidecar.config.load import Config
from sidecar.errors import CertificateError, ConfigError, UpstreamError, UsageError
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from tests.support.dancing import Odd, answer
from tests.support.stream_server import StreamServer
from tests.support.waiting import SOON

JIRA = "https://jira.example.com"
PAGES = [
    "/secure/Dashboard.jspa", "/secure/", "/secure", "/browse/X-1", "/login.jsp",
    "/login.jsp?os_destination=%2Fdefault.jsp", "/projects/X/summary", "/issues/?jql=a%20b",
    "/plugins/servlet/oauth/users/access-tokens", "/rest/api/2/serverInfo", "/default.jsp",
    "/servicedesk/customer/portal/1", "/browse/X-1?filter=-1#comment", "/", "",
]  # fmt: skip


@pytest.mark.parametrize("context", ["", "/jira", "/tools/jira"])
@pytest.mark.parametrize("page", PAGES)
def test_the_address_of_a_page_means_the_base_url_before_it(context: str, page: str) -> None:
    meaning = meaning_of(f" {JIRA}{context}{page}\n")
    assert [str(url) for url in meaning.urls] == [JIRA + context]
    assert meaning.is_plain == (page in ("", "/"))
    without = meaning_of(f"jira.example.com{context}{page}")
    assert [str(url) for url in without.urls] == [
        JIRA + context,
        f"http://jira.example.com{context}",
    ]
    assert not without.is_plain
    assert likely(without.text) == JIRA + context


@pytest.mark.parametrize(
    "path", ["/jira", "/projects", "/issues", "/s", "/secured/x", "/browser/x", "/jira/restful/x"]
)
def test_a_context_path_that_looks_a_little_like_a_page_stays(path: str) -> None:
    assert str(meaning_of(JIRA + path).urls[0]) == JIRA + path


@pytest.mark.parametrize(
    "text", ["", " ", "ftp://jira", "https://u:hunter2@jira", "https://", "a b", "https://jira:0/x"]
)
def test_what_can_mean_no_url_says_why(text: str) -> None:
    with pytest.raises(ValueError, match="the URL") as caught:
        meaning_of(text)
    assert "hunter2" not in str(caught.value)
    assert likely(text) is None


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        meaning = meaning_of(text)
    except ValueError:
        return
    for url in meaning.urls:
        assert BaseURL.parse(str(url)) == url
        assert meaning_of(str(url)).urls == (url,)


# ── looking ─────────────────────────────────────────────────────────────────────────────────


async def look(text: str, **more: Any) -> Looked:
    def config_of(url: BaseURL) -> Config:
        return configured(None, {f"SIDECAR_{name}": value for name, value in more.items()}, url)

    return await jira_url.look(meaning_of(text), config_of)


def place(url: str) -> str:
    return url.partition("://")[2]


@pytest.mark.parametrize("page", ["", "/browse/X-1", "/login.jsp", "/secure/Dashboard.jspa"])
@pytest.mark.parametrize("context", ["", "/jira"])
async def test_jira_is_found_from_its_pages_its_host_and_without_a_scheme(
    make_sandbox: Callable[..., Awaitable[Sandbox]], context: str, page: str
) -> None:
    sandbox = await make_sandbox(context_path=context)
    root = sandbox.url.removesuffix("/jira")
    for text in (sandbox.url + page, place(sandbox.url) + page, f"{root}{page}", f"{root}/wiki"):
        looked = await look(text)
        assert (str(looked.url), looked.version, looked.is_sure) == (sandbox.url, "9.12.0", True)


@asynccontextmanager
async def redirecting(target: str) -> AsyncIterator[str]:
    """A server that sends everybody to the same path elsewhere."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        writer.write(answer(301, "", f"Location: {target}{path}"))

    async with StreamServer(serve) as server:
        yield f"http://127.0.0.1:{server.port}"


async def test_a_redirect_on_the_same_host_is_followed(sandbox: Sandbox) -> None:
    async with redirecting(sandbox.url) as url:
        looked = await look(url)
    assert (str(looked.url), looked.is_sure) == (sandbox.url, True)


async def test_a_redirect_to_another_host_over_plain_http_proves_nothing(
    sandbox: Sandbox,
) -> None:
    async with redirecting(sandbox.url.replace("127.0.0.1", "localhost")) as url:
        looked = await look(url)
    assert (str(looked.url), looked.is_sure) == (
        sandbox.url.replace("127.0.0.1", "localhost"),
        False,
    )


async def test_a_circle_of_redirects_ends() -> None:
    async with redirecting("/x") as url:
        assert (await look(url)).url is None


async def test_a_login_page_is_named(sandbox: Sandbox) -> None:
    sandbox.faults.sso_redirect = True
    looked = await look(sandbox.url)
    assert looked.url is None
    assert looked.doubt is not None
    assert "login page" in looked.doubt.message


async def test_jira_cloud_is_refused() -> None:
    with pytest.raises(ConfigError, match="Jira Cloud"):
        await look("https://x.atlassian.net/browse/X-1")
    info = '{"baseUrl": "https://jira", "deploymentType": "Cloud", "versionNumbers": [1]}'
    async with Odd(answer(200, info, "Content-Type: application/json")) as odd:
        with pytest.raises(ConfigError, match="Jira Cloud"):
            await look(odd.url)


async def test_the_proxy_of_the_environment_is_used(sandbox: Sandbox) -> None:
    async with Odd(answer(403, "no")) as proxy:
        looked = await look("https://jira.example.com", JIRA_PROXY=proxy.url)
    assert proxy.requests[0].startswith(b"CONNECT jira.example.com:443")
    assert looked.doubt is not None


async def test_an_environment_that_makes_no_sense_is_a_doubt_and_no_end(tmp_path: Path) -> None:
    looked = await look(JIRA, JIRA_CA_FILE=str(tmp_path / "none.pem"))
    assert looked.doubt is not None
    assert "none.pem" in looked.doubt.message


async def test_what_swallows_everything_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jira_url, "LOOK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connected to, and never accepted
        async with asyncio.timeout(SOON):
            looked = await look(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert looked.url is None
    assert looked.doubt is not None
    assert "did not answer within 0.2 s" in looked.doubt.message
    assert "firewall" in looked.doubt.hint


async def test_one_that_is_slow_is_not_told_of_limits_that_are_not_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jira_url, "TRY_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(SOON):
            looked = await look(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert looked.doubt is not None
    assert "within 0.2 s" in looked.doubt.message
    assert "firewall" in looked.doubt.hint


# ── deciding ────────────────────────────────────────────────────────────────────────────────


class Prompt:
    """What is told, and what is asked."""

    def __init__(self, says: bool) -> None:
        self.told: list[str] = []
        self.asked: list[str] = []
        self.says = says

    def confirm(self, said: str) -> bool:
        self.asked.append(said)
        return self.says


def found(url: str, *, is_sure: bool = True) -> Looked:
    return Looked(BaseURL.parse(url), "9.12.0", is_sure=is_sure)


NOT_FOUND = Looked(doubt=UpstreamError("The name has no address.", "see DNS"))


def decided(meaning: Meaning, looked: Looked | None, prompt: Prompt, *, asks: bool) -> str:
    return str(settle(meaning, looked, prompt.told.append, prompt.confirm if asks else None))


@pytest.mark.parametrize("asks", [False, True])
def test_what_is_right_is_taken_without_a_question(asks: bool) -> None:
    prompt = Prompt(False)
    assert decided(meaning_of(f"{JIRA}/"), found(JIRA), prompt, asks=asks) == JIRA
    assert prompt.told == [f"Jira 9.12.0 answers at {JIRA}"]


@pytest.mark.parametrize(
    "text", ["jira.example.com", f"{JIRA}/browse/X-1", "http://jira.example.com"]
)
def test_what_jira_shows_is_taken_and_said_or_asked(text: str) -> None:
    meaning, looked = meaning_of(text), found(f"{JIRA}/jira")
    prompt = Prompt(True)
    assert decided(meaning, looked, prompt, asks=False) == f"{JIRA}/jira"
    (told,) = prompt.told
    assert f"answers at {JIRA}/jira: taken in place of" in told
    assert decided(meaning, looked, prompt, asks=True) == f"{JIRA}/jira"
    assert prompt.asked == [f"Jira 9.12.0 answers at {JIRA}/jira"]
    with pytest.raises(UsageError, match="not taken"):
        decided(meaning, looked, Prompt(False), asks=True)


def test_what_is_not_sure_is_asked_and_else_named_in_the_hint() -> None:
    looked = found("http://jira.example.com", is_sure=False)
    meaning = meaning_of("jira.example.com")
    with pytest.raises(UsageError) as caught:
        decided(meaning, looked, Prompt(True), asks=False)
    assert caught.value.hint.endswith("--base-url http://jira.example.com")
    assert decided(meaning, looked, Prompt(True), asks=True) == "http://jira.example.com"


@pytest.mark.parametrize("looked", [None, NOT_FOUND])
@pytest.mark.parametrize("asks", [False, True])
def test_without_a_scheme_nothing_is_guessed_that_was_not_seen(
    looked: Looked | None, asks: bool
) -> None:
    with pytest.raises(UsageError, match="must begin with http:// or https://") as caught:
        decided(meaning_of("jira.example.com/jira"), looked, Prompt(True), asks=asks)
    assert f"--base-url {JIRA}/jira" in caught.value.hint
    assert ("see DNS" in caught.value.hint) == (looked is not None)


@pytest.mark.parametrize("asks", [False, True])
def test_a_good_url_that_cannot_be_reached_is_taken_with_a_warning(asks: bool) -> None:
    prompt = Prompt(False)
    assert decided(meaning_of(JIRA), NOT_FOUND, prompt, asks=asks) == JIRA
    assert len(prompt.told) == 2
    assert f"warning: no Jira was found at {JIRA}, which is taken as it is: The" in prompt.told[0]
    assert prompt.told[1] == "sidecar: hint: see DNS"
    assert decided(meaning_of(JIRA), None, prompt, asks=asks) == JIRA
    assert len(prompt.told) == 2


def test_the_page_that_is_offline_is_cut_off_too() -> None:
    prompt = Prompt(True)
    assert decided(meaning_of(f"{JIRA}/jira/login.jsp"), None, prompt, asks=False) == f"{JIRA}/jira"
    assert "is the base URL of that page" in prompt.told[0]


async def test_where_tls_is_not_trusted_plain_http_is_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def look_at(url: BaseURL, _: object) -> Looked:
        asked.append(str(url))
        return Looked(doubt=CertificateError("not trusted", "jira.ca_file"))

    monkeypatch.setattr(jira_url, "_look_at", look_at)
    looked = await look("jira.example.com")
    assert asked == [JIRA]
    assert isinstance(looked.doubt, CertificateError)
