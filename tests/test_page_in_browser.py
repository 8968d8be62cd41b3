"""The page in a real browser: what it shows and does there, for whom, and from whom it is kept.

Runs where Debian's chromium is installed; what looks at accessibility where npm's axe-core is, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running, store_token
from tests.support.chromium import AXE, CHROMIUM, Tab, driving
from tests.support.page_states import STATES, standing
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import PATIENCE, until
from tests.test_browser import NAMES, PageServer

RULES = ",".join([f"MAP {name} 127.0.0.1" for name in NAMES] + ["MAP *.test ~NOTFOUND"])
PAGE = "/_sidecar/"
PARTS = [PAGE, "/_sidecar/page/style.css", "/_sidecar/page/script.js", "/_sidecar/page/events"]
ROWS = "document.querySelectorAll('#requests > li').length"
HARM = "<img src=x onerror=alert(1)>'\"$(id)\x1b[31m"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


class Seen(logging.Handler):
    """What the sidecar's log says about requests for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[str, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        method, path, status, *_ = record.getMessage().split()
        if path.startswith("/_sidecar"):
            self.answers.append((method, path, status))

    def of(self, path: str) -> set[str]:
        """Every status that a path was answered with."""
        return {status for _, asked, status in self.answers if asked == path}


@pytest.fixture
def seen() -> Iterator[Seen]:
    handler = Seen()
    logger = logging.getLogger("sidecar.telemetry.logs")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
async def pages() -> AsyncIterator[PageServer]:
    async with PageServer().serving() as server:
        yield server


@pytest.fixture
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tab]:
    profile = tmp_path_factory.mktemp("profile")
    async with driving(profile, f"--host-resolver-rules={RULES}") as tab:
        yield tab


def url_of(sidecar: Running, path: str = PAGE, name: str = "127.0.0.1") -> str:
    return f"http://{name}:{sidecar.port}{path}"


class TestShown:
    async def test_it_is_live_and_what_comes_is_text(self, tab: Tab, sidecar: Running) -> None:
        store_token(sidecar.config, "t" * 32, user="<b>alana", display_name=HARM)
        await tab.open(url_of(sidecar))
        await tab.until("document.getElementById('live-state').textContent === 'Live'")
        assert await tab.evaluate(ROWS) == 0
        await sidecar.get("/rest/" + HARM.replace("\x1b", "").replace(" ", "%20"))
        await sidecar.get("/rest/api/2/issue/JJ-2?covert=1")
        await tab.until(f"{ROWS} === 2")
        text = await tab.evaluate("document.body.innerText")
        assert "/rest/<img%20src=x%20onerror=alert(1)>'\"$(id)" in text
        assert "<img src=x onerror=alert(1)>'\"$(id)\N{REPLACEMENT CHARACTER}[31m (<b>" in text
        assert "covert" not in await tab.evaluate("document.documentElement.outerHTML")
        assert await tab.evaluate("document.images.length") == 0
        assert tab.complaints == []

    async def test_a_row_opens_to_what_happened_and_a_line_to_copy(
        self, tab: Tab, sidecar: Running
    ) -> None:
        await tab.open(url_of(sidecar))
        await tab.until("document.getElementById('live-state').textContent === 'Live'")
        await sidecar.get("/rest/api/2/it's")
        await tab.until(f"{ROWS} === 1")
        await tab.evaluate("document.querySelector('#requests summary').click()")
        shown = await tab.until("document.querySelector('#requests .inside').innerText")
        assert "Jira has no such thing" in shown
        line = await tab.until("document.querySelector('#requests code').textContent")
        assert line == f"curl 'http://127.0.0.1:{sidecar.port}/rest/api/2/it'\"'\"'s'"
        await tab.until("document.querySelector('#requests .copy button') !== null")
        assert tab.complaints == []

    async def test_it_says_at_once_that_something_is_wrong(
        self, tab: Tab, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        async with standing("busy", tmp_path, private_key) as stand:
            await tab.open(url_of(stand.sidecar))
            assert await tab.evaluate("document.querySelector('h1').textContent") == "Ready"
            await tab.until("document.getElementById('live-state').textContent === 'Live'")
            await stand.sandbox.stop()
            await stand.ask("/rest/api/2/myself")
            away = "Jira cannot be reached"
            await tab.until(f"document.querySelector('h1').textContent === {json.dumps(away)}")
            await tab.until(f"document.title.startsWith({json.dumps(away)})")
            assert await tab.evaluate("document.querySelector('.state').className") == "state bad"

    async def test_where_jira_refuses_the_token_it_offers_to_sign_in_again(
        self, tab: Tab, sandbox: Sandbox, sidecar: Running
    ) -> None:
        await tab.open(url_of(sidecar))
        await tab.until("document.getElementById('live-state').textContent === 'Live'")
        sandbox.faults.revoked = True
        await sidecar.get("/rest/api/2/myself")
        button = (
            "[...document.querySelectorAll('button')].find(b => b.textContent === 'Sign in again')"
        )
        requests = "document.getElementById('requests')"
        follows = "Node.DOCUMENT_POSITION_FOLLOWING"
        await tab.until(f"{button}.compareDocumentPosition({requests}) & {follows}")

    async def test_the_guide_goes_once_somebody_has_signed_in(
        self, tab: Tab, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(sandbox.url)
        await tab.open(url_of(sidecar))
        await tab.until("document.getElementById('live-state').textContent === 'Live'")
        assert await tab.evaluate("document.querySelector('h1').textContent") == "Not signed in yet"
        store_token(sidecar.config, sandbox.grant().token, user="alana")
        await sidecar.get("/rest/api/2/myself")
        await tab.until("document.querySelector('h1').textContent === 'Ready'")
        assert await tab.evaluate("document.getElementById('live').dataset.signIn") == "none"
        await tab.until("document.getElementById('live-state').textContent === 'Live'")

    async def test_it_can_be_paused(self, tab: Tab, sidecar: Running) -> None:
        button = "document.querySelector('#live-state + button')"
        await tab.open(url_of(sidecar))
        await tab.until("document.getElementById('live-state').textContent === 'Live'")
        await tab.evaluate(f"{button}.click()")
        await until(lambda: sidecar.server._local.visits == 0)
        await sidecar.get("/rest/api/2/myself")
        assert await tab.evaluate(ROWS) == 0
        await tab.evaluate(f"{button}.click()")
        await tab.until(f"{ROWS} === 1")

    async def test_it_finds_the_sidecar_again_after_a_restart(
        self, tab: Tab, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        token = sandbox.grant().token
        first = await make_sidecar(sandbox.url, token=token)
        await tab.open(url_of(first))
        await tab.until("document.getElementById('live-state').textContent === 'Live'")
        made = await tab.evaluate("document.getElementById('live').dataset.page")
        await first.server.stop(1.0)
        await tab.until("document.getElementById('live-state').textContent.startsWith('Not live')")
        address = f"127.0.0.1:{first.port}"
        await make_sidecar(sandbox.url, token=token, listen__addresses=[address])
        again = f"document.getElementById('live').dataset.page !== {json.dumps(made)}"
        await tab.until(f"document.readyState === 'complete' && {again}")

    async def test_without_script_everything_is_there(
        self, tab: Tab, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        async with standing("busy", tmp_path, private_key) as stand:
            await tab.call("Emulation.setScriptExecutionDisabled", value=True)
            await tab.open(url_of(stand.sidecar))
            assert await tab.evaluate(ROWS) == 100
            assert (
                await tab.evaluate("document.querySelectorAll('button:not(form button)').length")
                == 0
            )
            last = "document.querySelector('#requests details')"
            assert await tab.evaluate(f"({last}.open = true, {last}.innerText)")
            assert await tab.evaluate(f"{last}.querySelector('code').textContent")

    async def test_no_line_to_copy_breaks_within_a_word_on_a_phone(
        self, tab: Tab, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        """What the server has written, and what came later."""
        async with standing("not-signed-in", tmp_path, private_key) as stand:
            await tab.look(390, dark=False)
            await tab.open(url_of(stand.sidecar))
            await tab.until("document.getElementById('live-state').textContent === 'Live'")
            await stand.ask("/rest/api/2/project/ANOTHER/components/and/versions/of/it")
            await tab.until("document.querySelector('#requests').textContent.includes('versions')")
            await tab.evaluate(
                "document.querySelectorAll('details').forEach(one => { one.open = true; })"
            )
            lines = await tab.evaluate(_LINES_OF_WORDS)
        assert any("myself" in line for line in lines)
        assert any("versions" in line for line in lines)
        assert any(line["versions"] > line["project"] for line in lines if "versions" in line)
        assert {found for line in lines for found in line.values() if found < 0} == set()

    async def test_every_link_works(
        self, tab: Tab, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        async with standing("busy", tmp_path, private_key) as stand:
            await tab.open(url_of(stand.sidecar))
            links = await tab.evaluate("[...document.querySelectorAll('a')].map(a => a.href)")
            assert len(links) >= 4
            for link in links:
                target, _, fragment = link.partition("#")
                status = await tab.evaluate(f"fetch({json.dumps(target)}).then(a => a.status)")
                assert status == 200, link
                assert not fragment or await tab.evaluate(
                    f"document.getElementById({json.dumps(fragment)}) !== null"
                )


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (tests/clients/install)")
class TestForEverybody:
    @pytest.mark.parametrize("state", STATES)
    async def test_axe_finds_nothing(
        self, tab: Tab, tmp_path: Path, private_key: RSAPrivateKey, state: str
    ) -> None:
        """Light and dark, on a screen and on a phone, rows open and closed."""
        async with standing(state, tmp_path, private_key) as stand:
            for width in (1280, 390):
                for dark in (False, True):
                    await tab.look(width, dark=dark)
                    await tab.open(url_of(stand.sidecar))
                    await tab.until("document.getElementById('live-state').textContent === 'Live'")
                    await tab.evaluate(
                        "document.querySelectorAll('details').forEach((d, n) => {"
                        " if (n < 3) d.open = true; })"
                    )
                    await tab.evaluate(AXE.read_text() + ";0")
                    found = await tab.evaluate("axe.run()")
                    assert _told(found["violations"]) == []
                    assert len(found["passes"]) > 20
        assert tab.complaints == []

    async def test_nothing_is_wider_than_a_phone(
        self, tab: Tab, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        async with standing("busy", tmp_path, private_key) as stand:
            await stand.ask("/rest/" + "x" * 900)
            await tab.look(390, dark=False)
            await tab.open(url_of(stand.sidecar))
            await tab.evaluate("document.querySelector('#requests details').open = true")
            assert await tab.evaluate("document.documentElement.scrollWidth") == 390


_LINES_OF_WORDS = """
[...document.querySelectorAll('.copy code')].map(code => {
  const words = {}, walk = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) for (const match of walk.currentNode.data.matchAll(/[^\\s\\/]+/g)) {
    const range = document.createRange();
    range.setStart(walk.currentNode, match.index);
    range.setEnd(walk.currentNode, match.index + match[0].length);
    const tops = [...new Set([...range.getClientRects()].map(one => one.top))];
    words[match[0]] = tops.length > 1 ? -1 : tops[0] ?? 0;
  }
  return words;
})
"""
"""For each line to copy where on the screen each of its words is; -1 where it is on two lines."""


def _told(violations: list[dict[str, Any]]) -> list[str]:
    return [f"{one['id']}: {node['html']}" for one in violations for node in one["nodes"]]


class TestKeyboard:
    async def test_all_of_it_can_be_used_by_keyboard(
        self, tab: Tab, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        async with standing("busy", tmp_path, private_key) as stand:
            await tab.open(url_of(stand.sidecar))
            await tab.until("document.getElementById('live-state').textContent === 'Live'")
            reached = []
            for _ in range(9):
                await tab.press("Tab", 9)
                reached.append(
                    await tab.evaluate(
                        "(e => [e.tagName, e.matches(':focus-visible')"
                        " && getComputedStyle(e).outlineStyle])(document.activeElement)"
                    )
                )
            assert [name for name, _ in reached[:6]] == [
                "A", "A", "BUTTON", "BUTTON", "BUTTON", "SUMMARY",
            ]  # fmt: skip
            assert all(outline == "solid" for _, outline in reached)
            await tab.press("Enter", 13, "\r")
            assert await tab.until("document.activeElement.parentElement.open")

    async def test_the_first_stop_leads_past_the_head(self, tab: Tab, sidecar: Running) -> None:
        await tab.open(url_of(sidecar))
        await tab.press("Tab", 9)
        await tab.press("Enter", 13, "\r")
        assert await tab.until("document.activeElement.id === 'main'")


class TestKept:
    """From other pages, whatever they try; from frames; from who comes without the key."""

    async def test_no_page_of_another_origin_reads_it(
        self, tab: Tab, sidecar: Running, pages: PageServer, seen: Seen
    ) -> None:
        """By any kind of request, from another site, another port, and a rebound name."""
        targets = [url_of(sidecar, "", name) for name in ("127.0.0.1", "localhost", "rebound.test")]
        frames = [pages.origin(name) for name in ("localhost", "127.0.0.1")]
        query = f"targets={','.join(targets)}&frames={','.join(frames)}&paths={','.join(PARTS)}"
        await tab.open(f"{pages.origin('stranger.test')}/attack.html?{query}")
        reports = [await pages.report() for _ in range(3)]
        for report in reports:
            assert len(report["outcomes"]) > 100
            read = {text for text in report["outcomes"].values() if text.startswith("read")}
            assert read <= {"read 403", "read 421"}
        for path in PARTS:
            assert seen.of(path) == {"403", "421"}
        assert await cookies(tab) == []

    async def test_a_page_whose_name_now_means_the_sidecar_does_not_read_it(
        self, tab: Tab, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        async with PageServer().serving() as before:
            await tab.open(f"{before.origin('rebound.test')}/rebound.html?control=")
        await make_sidecar(sandbox.url, listen__addresses=[f"127.0.0.1:{before.port}"])
        for path in PARTS:
            asked = f"fetch({json.dumps(path)}).then(a => a.status)"
            assert await tab.evaluate(asked) == 421, path

    async def test_no_page_frames_it(
        self,
        tab: Tab,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        pages: PageServer,
        seen: Seen,
    ) -> None:
        """By a plain-http name that is no loopback, browsers do not say who asks."""
        sidecar = await make_sidecar(sandbox.url, access__hosts=["sidecar.test"])
        await tab.open(f"{pages.origin('stranger.test')}/friend.html")
        for name in ("sidecar.test", "127.0.0.1"):
            await tab.evaluate(
                "new Promise(done => { const frame = document.createElement('iframe');"
                f" frame.onload = done; frame.src = {json.dumps(url_of(sidecar, name=name))};"
                " document.body.append(frame); })"
            )
        assert seen.of(PAGE) == {"200", "403"}
        assert seen.of("/_sidecar/page/style.css") == set(), "it was not shown"
        assert [text for text in tab.complaints if "frame-ancestors 'none'" in text]

    async def test_strangers_who_ask_blindly_take_no_streams(
        self,
        tab: Tab,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        pages: PageServer,
        seen: Seen,
    ) -> None:
        sidecar = await make_sidecar(sandbox.url, access__hosts=["sidecar.test"])
        target = url_of(sidecar, "/_sidecar/page/events", "sidecar.test")
        await tab.open(f"{pages.origin('stranger.test')}/friend.html")
        asked = f"fetch({json.dumps(target)}, {{mode: 'no-cors'}}).then(a => a.type)"
        assert await tab.evaluate(asked) == "opaque"
        assert seen.of("/_sidecar/page/events") == {"403"}

    @pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml"])
    async def test_a_script_in_an_attachment_neither_reads_it_nor_acts_through_it(
        self, tab: Tab, edge: Running, upstream: RawUpstream, seen: Seen, kind: str
    ) -> None:
        upstream.handler = attached(kind)
        await tab.open(url_of(edge, "/secure/attachment/10000/document"))
        await until(lambda: seen.of(PAGE) or seen.of("/_sidecar/page/icon.svg"))
        assert {status for _, _, status in seen.answers} == {"403"}
        assert {method for method, _, _ in seen.answers} == {"GET"}

    async def test_it_has_no_cookie_and_takes_none(
        self, tab: Tab, edge: Running, upstream: RawUpstream
    ) -> None:
        await tab.open(url_of(edge))
        assert await tab.evaluate("document.cookie") == ""
        assert await cookies(tab) == []


def attached(kind: str) -> Any:
    """A document that does all it can to read the page, or to act through it."""
    script = """
        for (const method of ["GET", "POST"])
            fetch("/_sidecar/", {method}).then(a => a.text());
        new EventSource("/_sidecar/page/events");
    """
    parts = """<img src="/_sidecar/page/icon.svg"/><iframe src="/_sidecar/"></iframe>
        <form id="f" action="/_sidecar/" method="post"></form>"""
    space = 'xmlns="http://www.w3.org/1999/xhtml"'
    documents = {
        "text/html": f"<!doctype html><body>{parts}<script>{script};f.submit()</script>",
        "application/xhtml+xml": f"<html {space}><body>{parts}<script>{script}</script></body>"
        "</html>",
        "image/svg+xml": f"""<svg xmlns="http://www.w3.org/2000/svg"><script>{script}</script>
            <image href="/_sidecar/page/icon.svg" width="9" height="9"/></svg>""",
    }
    body = documents[kind].replace("=>", "=&gt;") if kind != "text/html" else documents[kind]

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.say(body.encode(), f"Content-Type: {kind}", "X-AUSERNAME: alana")

    return answer


async def cookies(tab: Tab) -> list[Any]:
    found: list[Any] = (await tab.call("Network.getAllCookies"))["cookies"]
    return found


def curl(user: str, *arguments: str) -> str:
    """The status that another account of this machine gets."""
    form = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    done = subprocess.run(
        [*form, "--max-time", str(PATIENCE), *arguments],
        user=pwd.getpwnam(user).pw_uid,
        extra_groups=[],
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
class TestAnotherAccount:
    async def test_with_an_access_key_it_reads_nothing_whatever_it_sends(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
    ) -> None:
        key = tmp_path / "key"
        write_private(key, b"correct horse")
        sidecar = await make_sidecar(sandbox.url, access__key_file=str(key))
        own = f"http://127.0.0.1:{sidecar.port}"
        for path in PARTS:
            for fields in (
                (),
                ("-H", f"Origin: {own}", "-H", "Sec-Fetch-Site: same-origin"),
                ("-u", "sidecar:guess"),
            ):
                status = await asyncio.to_thread(curl, "nobody", *fields, own + path)
                assert status == "401", (path, fields)
        assert await asyncio.to_thread(curl, "nobody", "-H", f"@{key}", own + PAGE) != "200"

    async def test_a_socket_of_ours_it_cannot_even_open(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
    ) -> None:
        address = tmp_path / "s"
        await make_sidecar(sandbox.url, listen__addresses=["127.0.0.1:0", f"unix:{address}"])
        form = ("--unix-socket", str(address), "http://localhost/_sidecar/")
        assert await asyncio.to_thread(curl, "nobody", *form) == "000"
        assert await asyncio.to_thread(curl, "root", *form) == "200"
