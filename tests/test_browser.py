"""Web pages in a real browser: strangers' never reach Jira, an allowed origin's do.

Runs where Debian's chromium is installed.  Pages of `browser/` report what they learn to the
server that they came from; the sidecar's own log says what arrived of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.files.private import write_private
from sidecar.net.accepting import stop_accepting
from sidecar.sandbox import Sandbox
from sidecar.sandbox.connections import Connections
from tests.conftest import MakeSidecar, Running
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import PATIENCE

PAGES = Path(__file__).parent / "browser"
NAMES = ("stranger.test", "friend.test", "rebound.test", "sidecar.test")
"""All mean 127.0.0.1 in this browser; every other name means nothing."""
VECTORS = set(re.findall(r'^  "([a-z-]+)":', (PAGES / "requests.js").read_text(), re.MULTILINE))
"""The kinds of request that the hostile pages try."""
BLIND = {"get-no-cors", "form-get", "image", "script", "style", "video", "object", "iframe"}
"""Of these a browser says neither Origin nor, to a plain-http name, Sec-Fetch-Site."""
PREFLIGHTED = {"get-preflighted", "post-json", "put", "delete", "beacon-json"}

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


class PageServer:
    """Serves `browser/` at one port under any name, and takes what its pages report."""

    def __init__(self) -> None:
        self.port = 0
        self.reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.waiting = asyncio.Event()
        """Set when a page waits to be let go."""
        self.let_go = asyncio.Event()

    def origin(self, name: str) -> str:
        return f"http://{name}:{self.port}"

    async def report(self) -> dict[str, Any]:
        """The next report of a page."""
        async with asyncio.timeout(PATIENCE):
            return await self.reports.get()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[PageServer]:
        server = Connections(self._answer, access_log=None)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await stop_accepting([listener])
            await server.shutdown(0.1)
            await listener.wait_closed()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/results":
            self.reports.put_nowait(json.loads(await request.read()))
            return web.Response()
        if request.path == "/wait":
            self.waiting.set()
            await self.let_go.wait()
            return web.Response()
        if request.path == "/redirect":
            return web.Response(status=302, headers={"Location": request.query["to"]})
        page = PAGES / Path(request.path).name
        if not page.is_file():
            return web.Response(status=404)
        answer = web.FileResponse(page)
        answer.force_close()  # so that the port can change hands
        return answer


class Arrivals(logging.Handler):
    """What the sidecar's log says about requests below /rest/, as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, int]] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        method, path, status, *_ = record.getMessage().split()
        if path.startswith("/rest/") and status.isdecimal():
            self.seen.append((method, path, int(status)))
            self._more.set()

    async def of(self, paths: set[str]) -> None:
        """Wait until each of these paths was asked for."""
        async with asyncio.timeout(PATIENCE):
            while missing := paths - {path for _, path, _ in self.seen}:
                self._more.clear()
                try:
                    await self._more.wait()
                except asyncio.CancelledError:
                    raise AssertionError(f"never arrived: {sorted(missing)}") from None

    def answers(self) -> dict[str, set[str]]:
        """`{"image": {"GET 403"}, …}`: by vector, what was asked and what was answered."""
        found: dict[str, set[str]] = defaultdict(set)
        for method, path, status in self.seen:
            found[path.rpartition("/")[2]].add(f"{method} {status}")
        return dict(found)


@pytest.fixture
def arrivals() -> Iterator[Arrivals]:
    handler = Arrivals()
    logger = logging.getLogger("sidecar.telemetry.logs")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
async def pages() -> AsyncIterator[PageServer]:
    async with PageServer().serving() as server:
        yield server


@asynccontextmanager
async def browsing(url: str, profile: Path) -> AsyncIterator[None]:
    """Chromium with one page open."""
    rules = ",".join([f"MAP {name} 127.0.0.1" for name in NAMES] + ["MAP *.test ~NOTFOUND"])
    sandboxing = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        *sandboxing,
        f"--host-resolver-rules={rules}",
        f"--user-data-dir={profile}",
        url,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # its helpers end with it
    )
    try:
        yield
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        await browser.wait()


async def test_no_page_of_another_origin_reaches_jira(
    sandbox: Sandbox, sidecar: Running, pages: PageServer, arrivals: Arrivals, tmp_path: Path
) -> None:
    """By any kind of request, from another site, another port, and under a rebound name."""
    names = ("127.0.0.1", "localhost", "rebound.test")
    targets = ",".join(f"http://{name}:{sidecar.port}" for name in names)
    frames = [pages.origin(name) for name in ("localhost", "127.0.0.1")]
    page = f"{pages.origin('stranger.test')}/attack.html"
    async with browsing(f"{page}?targets={targets}&frames={','.join(frames)}", tmp_path / "p"):
        reports = [await pages.report() for _ in range(3)]
        await arrivals.of(
            {
                f"/rest/{page}/{number}/{vector}"
                for page in ("top", "frame0", "frame1")
                for number in range(len(names))
                for vector in VECTORS
            }
        )
    assert {report["origin"] for report in reports} == {pages.origin("stranger.test"), *frames}
    for report in reports:
        assert not [text for text in report["outcomes"].values() if text.startswith("read")]
    for vector, seen in arrivals.answers().items():
        method = "OPTIONS" if vector in PREFLIGHTED else seen.pop().partition(" ")[0]
        assert seen <= {f"{method} 403", f"{method} 421"}, vector
    assert targets_of(sandbox) == []


async def test_a_page_under_a_rebound_name_is_refused_though_it_is_its_own_origin(
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    pages: PageServer,
    arrivals: Arrivals,
    tmp_path: Path,
) -> None:
    """The page came from the very name and port at which the sidecar is now."""
    sidecar, reported = await rebind(sandbox, make_sidecar, pages, arrivals, tmp_path)
    assert reported["origin"] == f"http://rebound.test:{sidecar.port}"
    outcomes = {path.rpartition("/")[2]: text for path, text in reported["outcomes"].items()}
    assert outcomes["get"].startswith("read 421"), "this page may read what it is told"
    assert {status for _, _, status in arrivals.seen} == {421}
    assert targets_of(sandbox) == []


async def test_rebinding_does_work_under_a_name_in_access_hosts(
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    pages: PageServer,
    arrivals: Arrivals,
    tmp_path: Path,
) -> None:
    """So that test above proves something, and so much is a name in access.hosts worth."""
    hosts = {"access__hosts": ["rebound.test"]}
    await rebind(sandbox, make_sidecar, pages, arrivals, tmp_path, **hosts)
    assert "/jira/rest/rebound/get" in targets_of(sandbox)


async def test_a_stranger_can_ask_blindly_by_a_plain_http_name_in_access_hosts(
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    pages: PageServer,
    arrivals: Arrivals,
    tmp_path: Path,
) -> None:
    """Browsers send Sec-Fetch-Site to https and loopback alone.  SECURITY.md says so."""
    sidecar = await make_sidecar(
        sandbox.url, token=sandbox.grant().token, access__hosts=["sidecar.test"]
    )
    target = f"http://sidecar.test:{sidecar.port}"
    page = f"{pages.origin('stranger.test')}/attack.html?targets={target}"
    async with browsing(page, tmp_path / "p"):
        report = await pages.report()
        await arrivals.of({f"/rest/top/0/{vector}" for vector in VECTORS})
    assert not [text for text in report["outcomes"].values() if text.startswith("read")]
    assert {request.method for request in sandbox.log} == {"GET"}
    arrived = {target.partition("?")[0].rpartition("/")[2] for target in targets_of(sandbox)}
    assert arrived == BLIND


async def test_a_page_that_sends_its_visitor_here_is_refused(
    sandbox: Sandbox, sidecar: Running, pages: PageServer, arrivals: Arrivals, tmp_path: Path
) -> None:
    """All that a browser then asks for by itself, as for any page, is /favicon.ico."""
    url = f"http://127.0.0.1:{sidecar.port}/rest/navigate"
    async with browsing(f"{pages.origin('stranger.test')}/leave.html?to={url}", tmp_path / "p"):
        await arrivals.of({"/rest/navigate"})
    assert arrivals.answers() == {"navigate": {"GET 403"}}
    assert set(targets_of(sandbox)) <= {"/jira/favicon.ico"}


async def test_an_address_that_the_user_opens_is_the_users_even_if_it_redirects(
    sandbox: Sandbox, sidecar: Running, pages: PageServer, arrivals: Arrivals, tmp_path: Path
) -> None:
    """Browsers say `Sec-Fetch-Site: none` then.  SECURITY.md says so."""
    url = f"http://127.0.0.1:{sidecar.port}/rest/api/2/myself"
    async with browsing(f"{pages.origin('stranger.test')}/redirect?to={url}", tmp_path / "p"):
        await arrivals.of({"/rest/api/2/myself"})
    assert "/jira/rest/api/2/myself" in targets_of(sandbox)


@pytest.mark.parametrize("key", ["", "open-sesame"])
async def test_a_page_of_an_allowed_origin_reads_and_writes(
    sandbox: Sandbox, make_sidecar: MakeSidecar, pages: PageServer, tmp_path: Path, key: str
) -> None:
    """With an access key it sends that itself; the preflight needs none."""
    options: dict[str, Any] = {"access__origins": [pages.origin("friend.test")]}
    if key:
        write_private(tmp_path / "access_key", f"{key}\n".encode())
        options["access__key_file"] = str(tmp_path / "access_key")
    sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token, **options)
    target = f"http://127.0.0.1:{sidecar.port}"
    page = f"{pages.origin('friend.test')}/friend.html?target={target}&key={key}"
    async with browsing(page, tmp_path / "p"):
        report = await pages.report()
    assert report["read"]["status"] == 200
    assert report["read"]["user"] == "alana"
    assert json.loads(report["read"]["body"])["key"] == "JJ-2"
    assert report["search"]["status"] == 200
    assert report["change"]["status"] == 204
    assert report["missing"]["status"] == 404
    assert {request.verdict for request in sandbox.log} == {"ok"}


async def test_an_allowed_origin_opens_nothing_to_strangers(
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    pages: PageServer,
    arrivals: Arrivals,
    tmp_path: Path,
) -> None:
    sidecar = await make_sidecar(
        sandbox.url,
        token=sandbox.grant().token,
        access__origins=[pages.origin("friend.test")],
    )
    target = f"http://localhost:{sidecar.port}"
    page = f"{pages.origin('stranger.test')}/attack.html?targets={target}"
    async with browsing(page, tmp_path / "p"):
        await pages.report()
        await arrivals.of({f"/rest/top/0/{vector}" for vector in VECTORS})
    assert {status for _, _, status in arrivals.seen} == {403}
    assert targets_of(sandbox) == []


STEALING = """
var asked = new XMLHttpRequest();
asked.open("PUT", "/rest/from-a-script", false);
try { asked.send("{}"); } catch (error) {}
"""
DOCUMENTS = {
    "text/html": f"""<!doctype html><script>{STEALING}</script>
<noscript><img src="/rest/shown"></noscript>""",
    "application/xhtml+xml": f"""<html xmlns="http://www.w3.org/1999/xhtml"><body>
<script>{STEALING}</script><img src="/rest/shown"/></body></html>""",
    "image/svg+xml": f"""<svg xmlns="http://www.w3.org/2000/svg">
<script>{STEALING}</script><image href="/rest/shown" width="9" height="9"/></svg>""",
}
"""Files that somebody attached: a script that writes, and what loads where it has not."""


def attached(content_type: str) -> Callable[[Exchange], Awaitable[None]]:
    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        document = DOCUMENTS[content_type].encode()
        await exchange.say(document, f"Content-Type: {content_type}", "X-AUSERNAME: alana")

    return answer


@pytest.mark.parametrize("content_type", DOCUMENTS)
async def test_a_script_in_an_attachment_does_nothing_as_us(
    edge: Running,
    upstream: RawUpstream,
    arrivals: Arrivals,
    tmp_path: Path,
    content_type: str,
) -> None:
    upstream.handler = attached(content_type)
    url = f"http://127.0.0.1:{edge.port}/secure/attachment/10000/document"
    async with browsing(url, tmp_path / "p"):
        await arrivals.of({"/rest/shown"})
    assert arrivals.answers() == {"shown": {"GET 403"}}  # not even its images come from our origin
    methods = {exchange.start_line.partition(" ")[0] for exchange in upstream.exchanges}
    assert methods == {"GET"}


@pytest.mark.parametrize("content_type", DOCUMENTS)
async def test_such_a_script_does_run_where_nobody_keeps_it_from_that(
    upstream: RawUpstream, tmp_path: Path, content_type: str
) -> None:
    """So that the test above proves something."""
    upstream.handler = attached(content_type)
    async with browsing(f"{upstream.url}/document", tmp_path / "p"):
        assert (await upstream.request(1)).start_line.startswith("PUT /rest/from-a-script ")


async def rebind(
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    pages: PageServer,
    arrivals: Arrivals,
    tmp_path: Path,
    **options: Any,
) -> tuple[Running, dict[str, Any]]:
    """Give the port that a page came from to a sidecar, then let the page go on."""
    async with PageServer().serving() as before:
        page = f"{before.origin('rebound.test')}/rebound.html"
        browser = browsing(f"{page}?control={pages.origin('stranger.test')}", tmp_path / "p")
        await browser.__aenter__()
        async with asyncio.timeout(PATIENCE):
            await pages.waiting.wait()
    try:
        sidecar = await make_sidecar(
            sandbox.url,
            token=sandbox.grant().token,
            listen__addresses=[f"127.0.0.1:{before.port}"],
            **options,
        )
        pages.let_go.set()
        report = await pages.report()
        await arrivals.of({f"/rest/rebound/{vector}" for vector in VECTORS})
    finally:
        await browser.__aexit__(None, None, None)
    return sidecar, report


def targets_of(sandbox: Sandbox) -> list[str]:
    """The targets of all requests that reached Jira."""
    return [request.target for request in sandbox.log]
