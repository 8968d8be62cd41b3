"""Signing in from the page in a real browser: its owner can, and nobody does it for its owner.

Runs where Debian's chromium is installed.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running, store_token
from tests.support.chromium import AXE, CHROMIUM, Tab
from tests.support.owning import SIGN_IN, Owner, link_to_jira, title
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import PATIENCE, until
from tests.test_browser import PageServer
from tests.test_page_in_browser import Seen, cookies, pages, seen, tab, url_of

__all__ = ["pages", "seen", "tab"]

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")

HEADING = "document.querySelector('h1').textContent"
OWN = "/_sidecar/page/owner"
FORMS = [OWN, SIGN_IN, f"{SIGN_IN}/answer", f"{SIGN_IN}/confirm"]


@pytest.fixture
async def owner(sandbox: Sandbox, make_sidecar: MakeSidecar) -> Owner:
    """An owner whose sidecar has no token yet."""
    return Owner(await make_sidecar(sandbox.url))


def stored_user(owner: Owner) -> str | None:
    token = owner.sidecar.token_file.load()
    return None if token is None else token.user


async def open_page(tab: Tab, owner: Owner) -> None:
    """Do what `sidecar open` does."""
    await tab.open(url_of(owner.sidecar) + f"#code={await owner.code()}")


async def click(tab: Tab, selector: str, then: str) -> None:
    """Click, and wait for the page with that heading."""
    await tab.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
    await reaches(tab, then)


async def reaches(tab: Tab, heading: str) -> None:
    """Wait for the page with that heading, whatever pages come before it."""
    async with asyncio.timeout(PATIENCE):
        while await heading_of(tab) != heading:  # noqa: ASYNC110 — nothing tells of it
            await asyncio.sleep(0.05)


async def heading_of(tab: Tab) -> str:
    """The heading of the page that has loaded; none between two pages."""
    try:
        return str(await tab.evaluate("document.readyState === 'complete' && " + HEADING))
    except AssertionError:
        return ""


async def approve(tab: Tab, user: str = "alana", *, deny: bool = False, then: str) -> None:
    """Go to Jira, and press a button there."""
    await click(tab, "a.button", "Allow access to your Jira data?")
    await tab.evaluate(f"document.querySelector('select').value = {json.dumps(user)}")
    await click(tab, f"button[name={'deny' if deny else 'approve'}]", then)


class TestItsOwner:
    async def test_signs_in(self, tab: Tab, owner: Owner) -> None:
        await open_page(tab, owner)
        await tab.until("document.querySelector('form.owner .one-time').hidden")
        assert await tab.evaluate("location.href") == url_of(owner.sidecar), "the code is gone"
        await click(tab, "form.owner button", "Approve the access in Jira")
        await approve(tab, then="Signed in")
        assert "Signed in as Alana Example (alana)" in await tab.evaluate("document.body.innerText")
        assert await tab.evaluate("location.href") == url_of(owner.sidecar), "so is Jira's answer"
        assert stored_user(owner) == "alana"
        assert await cookies(tab) == []
        assert tab.complaints == []
        await click(tab, "main a", "Ready")

    async def test_confirms_another_user(self, tab: Tab, sandbox: Sandbox, owner: Owner) -> None:
        """What lets this browser do so has come with it over Jira's pages."""
        store_token(owner.sidecar.config, sandbox.grant().token, user="alana")
        await open_page(tab, owner)
        await tab.evaluate("document.querySelector('details.guide').open = true")
        await tab.until("document.querySelector('form.owner .one-time').hidden")
        await click(tab, "form.owner button", "Approve the access in Jira")
        await approve(tab, "william", then="Another user than before")
        assert stored_user(owner) == "alana"
        await click(tab, "button[value=yes]", "Signed in")
        assert stored_user(owner) == "william"
        assert tab.complaints == []

    async def test_pastes_the_address_that_the_browser_could_not_show(
        self, tab: Tab, owner: Owner
    ) -> None:
        await open_page(tab, owner)
        await tab.until("document.querySelector('form.owner .one-time').hidden")
        await click(tab, "form.owner button", "Approve the access in Jira")
        url = await tab.evaluate("document.querySelector('a.button').href")
        location = await owner.decide(url)
        await tab.open(url_of(owner.sidecar))
        await tab.evaluate(f"document.getElementById('answer').value = {json.dumps(location)}")
        await click(tab, "form[action$=answer] button", "Signed in")
        assert stored_user(owner) == "alana"

    async def test_signs_in_without_a_script(
        self, tab: Tab, sandbox: Sandbox, owner: Owner
    ) -> None:
        store_token(owner.sidecar.config, sandbox.grant().token, user="alana")
        await tab.call("Emulation.setScriptExecutionDisabled", value=True)
        await open_page(tab, owner)
        await tab.evaluate("document.querySelector('details.guide').open = true")
        address = url_of(owner.sidecar) + f"#code={await owner.code()}"
        await tab.evaluate(f"document.querySelector('[name=code]').value = {json.dumps(address)}")
        await click(tab, "form.owner button", "Approve the access in Jira")
        await approve(tab, "william", then="Another user than before")
        code = json.dumps(await owner.code())
        await tab.evaluate(f"document.querySelector('[name=code]').value = {code}")
        await click(tab, "button[value=yes]", "Signed in")
        assert stored_user(owner) == "william"

    async def test_denies(self, tab: Tab, owner: Owner) -> None:
        await open_page(tab, owner)
        await tab.until("document.querySelector('form.owner .one-time').hidden")
        await click(tab, "form.owner button", "Approve the access in Jira")
        await approve(tab, deny=True, then="Access denied")
        assert await tab.evaluate("document.querySelector('.state').className") == "state bad"
        assert stored_user(owner) is None
        await click(tab, "main a", "Not signed in yet")

    async def test_is_told_that_a_code_is_used_up(self, tab: Tab, owner: Owner) -> None:
        address = url_of(owner.sidecar) + f"#code={await owner.code()}"
        await tab.open(address)
        await tab.until("document.querySelector('form.owner .one-time').hidden")
        await tab.open("about:blank")
        await tab.evaluate("1")
        await tab.open(address)
        notice = "document.querySelector('form.owner .notice').textContent"
        assert "was used before" in await tab.until(f"{notice} && {notice}")

    async def test_a_terminal_s_sign_in_looks_the_same(
        self, tab: Tab, sandbox: Sandbox, owner: Owner
    ) -> None:
        await open_page(tab, owner)
        await tab.until("document.querySelector('form.owner .one-time').hidden")
        page = await tab.evaluate("getComputedStyle(document.body).fontFamily")
        assert "system-ui" in page


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (tests/clients/install)")
async def test_axe_finds_nothing_on_the_way(tab: Tab, sandbox: Sandbox, owner: Owner) -> None:
    async def look() -> None:
        for dark in (False, True):
            await tab.look(390 if dark else 1280, dark=dark)
            await tab.evaluate(AXE.read_text() + ";0")
            found = await tab.evaluate("axe.run()")
            assert [one["id"] for one in found["violations"]] == []
            assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

    store_token(owner.sidecar.config, sandbox.grant().token, user="alana")
    await open_page(tab, owner)
    await tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    await tab.until("document.querySelector('form.owner .one-time').hidden")
    await look()
    await click(tab, "form.owner button", "Approve the access in Jira")
    await look()
    await approve(tab, "william", then="Another user than before")
    await look()
    await click(tab, "button[value=yes]", "Signed in")
    await look()


ATTACK = """
async (target, fields) => {
  const body = () => new URLSearchParams(fields);
  const ways = [
    () => fetch(target, {method: "POST", body: body(), mode: "no-cors", credentials: "include"}),
    () => fetch(target, {method: "POST", body: body(), credentials: "include"}),
    () => new Promise(done => {
      const asked = new XMLHttpRequest();
      asked.onloadend = done;
      asked.open("POST", target);
      asked.withCredentials = true;
      asked.send(body());
    }),
    async () => navigator.sendBeacon(target, body()),
    async () => {
      const frame = document.createElement("iframe");
      frame.name = "f" + Math.random();
      const form = document.createElement("form");
      form.action = target; form.method = "post"; form.target = frame.name;
      for (const [name, value] of Object.entries(fields)) {
        const input = document.createElement("input");
        input.name = name; input.value = value; form.append(input);
      }
      document.body.append(frame, form);
      form.submit();
    },
    async () => {
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts allow-forms";
      frame.srcdoc = `<form method=post action="${target}">` + Object.entries(fields).map(
        ([name, value]) => `<input name="${name}" value="${value}">`).join("") +
        `</form><script>document.forms[0].submit()<${"/"}script>`;
      document.body.append(frame);
    },
  ];
  for (const way of ways) await way().catch(() => 0);
  return ways.length;
}
"""


class TestAStranger:
    """Knows even what only the owner's browser knows, and has it send that from another origin."""

    @pytest.mark.parametrize("name", ["stranger.test", "127.0.0.1", "localhost"])
    async def test_does_nothing_from_another_origin(
        self, tab: Tab, sandbox: Sandbox, owner: Owner, pages: PageServer, seen: Seen, name: str
    ) -> None:
        """By scripts, by forms, from frames without an origin."""
        await owner.own()
        sent = {"process": owner.process, "grant": owner.grant, "code": await owner.code()}
        sent |= {"answer": "qTJkPi", "decision": "yes"}
        await tab.open(f"{pages.origin(name)}/friend.html")
        for path in FORMS:
            seen.answers.clear()
            arguments = f"{json.dumps(url_of(owner.sidecar, path))}, {json.dumps(sent)}"
            ways = await tab.evaluate(f"({ATTACK})({arguments})")
            await until(lambda: len(seen.answers) >= ways)  # noqa: B023 — at once
            assert set(seen.answers) == {("POST", path, "403")}
        assert not sandbox.log
        assert await cookies(tab) == []

    async def test_does_nothing_by_a_name_that_comes_to_mean_the_sidecar(
        self, tab: Tab, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        """Its page is of the same origin as the sidecar then; even a name in access.hosts."""
        for hosts, status in (([], 421), (["rebound.test"], 403)):
            async with PageServer().serving() as before:
                await tab.open(f"{before.origin('rebound.test')}/rebound.html?control=")
            sidecar = await make_sidecar(
                sandbox.url, listen__addresses=[f"127.0.0.1:{before.port}"], access__hosts=hosts
            )
            owner = Owner(sidecar)
            await owner.own()
            sent = {"process": owner.process, "grant": owner.grant}
            for path in FORMS:
                asked = (
                    f"fetch({json.dumps(path)}, {{method: 'POST', body: new URLSearchParams("
                    f"{json.dumps(sent)})}}).then(a => a.status)"
                )
                assert await tab.evaluate(asked) == status, path
            await sidecar.server.stop(0)
        assert not sandbox.log

    async def test_does_not_use_up_the_callback(
        self, tab: Tab, owner: Owner, pages: PageServer, seen: Seen
    ) -> None:
        """Somebody has seen the address that Jira sends the browser to."""
        location = await owner.decide(await owner.begin())
        seen.answers.clear()
        await tab.open(f"{pages.origin('stranger.test')}/friend.html")
        await tab.evaluate(f"""(async url => {{
            await fetch(url, {{mode: "no-cors", credentials: "include"}}).catch(() => 0);
            await fetch(url).catch(() => 0);
            for (const name of ["img", "iframe", "script", "embed", "object", "link"]) {{
                const node = document.createElement(name);
                if (name === "link") {{ node.rel = "prefetch"; node.href = url; }}
                else if (name === "object") node.data = url;
                else node.src = url;
                document.body.append(node);
            }}
        }})({json.dumps(location)})""")
        await until(lambda: len(seen.answers) >= 7)
        assert "200" not in {status for _, _, status in seen.answers}
        assert stored_user(owner) is None
        assert title(await owner.arrive(location)) == "Signed in"

    async def test_signs_its_visitor_in_as_nobody_else(
        self, tab: Tab, owner: Owner, pages: PageServer
    ) -> None:
        """Login CSRF: an own approval, sent to a callback that waits, in its visitor's browser."""
        attacker = Owner(owner.sidecar)
        await attacker.own()
        theirs = await attacker.decide(await attacker.begin(), user="william")
        mine = await owner.decide(await owner.begin())
        mixed = f"{mine.partition('?')[0]}?{theirs.partition('?')[2]}"
        for url, heading in ((theirs, ""), (mixed, "Not this sign-in")):
            await tab.open(f"{pages.origin('stranger.test')}/leave.html?{urlencode({'to': url})}")
            if heading:
                await reaches(tab, heading)
            assert stored_user(owner) is None
        assert title(await owner.arrive(mine)) == "Signed in"
        assert stored_user(owner) == "alana"

    async def test_sees_no_grant_at_another_port_of_the_same_host(
        self, tab: Tab, owner: Owner, pages: PageServer
    ) -> None:
        """Cookies would go there."""
        await open_page(tab, owner)
        await tab.until("document.querySelector('form.owner .one-time').hidden")
        await tab.open(f"{pages.origin('127.0.0.1')}/friend.html")
        assert await tab.evaluate("sessionStorage.length + localStorage.length") == 0
        assert await tab.evaluate("document.cookie") == ""

    @pytest.mark.parametrize("kind", ["text/html", "application/xhtml+xml"])
    async def test_in_an_attachment_does_nothing(
        self, tab: Tab, edge: Running, upstream: RawUpstream, seen: Seen, kind: str
    ) -> None:
        """Opened through the sidecar it is on the sidecar's own origin, but for its sandbox."""
        owner = Owner(edge)
        await owner.own()
        upstream.handler = attached(kind, {"process": owner.process, "grant": owner.grant})
        seen.answers.clear()
        await tab.open(url_of(edge, "/secure/attachment/10000/document"))
        await until(lambda: ("GET", "/_sidecar/page/icon.svg", "403") in seen.answers)
        assert {status for _, _, status in seen.answers} <= {"403"}
        exchanges = [exchange.start_line for exchange in upstream.exchanges]
        assert not [line for line in exchanges if "request-token" in line]


def attached(kind: str, sent: dict[str, str]) -> Callable[[Exchange], Any]:
    """A document that tries to sign in, by a form and by a script."""
    inputs = "".join(f'<input name="{name}" value="{value}"/>' for name, value in sent.items())
    script = (
        f"document.forms[0].submit();"
        f'fetch("{SIGN_IN}", {{method: "POST", body: new URLSearchParams({json.dumps(sent)})}})'
    )
    space = ' xmlns="http://www.w3.org/1999/xhtml"' if "xml" in kind else ""
    document = (
        f'<html{space}><body><form method="post" action="{SIGN_IN}">{inputs}</form>'
        f'<img src="/_sidecar/page/icon.svg"/><script>{script}</script></body></html>'
    )

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.say(document.encode(), f"Content-Type: {kind}", "X-AUSERNAME: alana")

    return answer


def curl(*arguments: str) -> tuple[int, str]:
    """The status that another account of this machine gets, and what it is told."""
    done = subprocess.run(
        ["curl", "--silent", "--write-out", "\n%{http_code}", "--max-time", "60", *arguments],
        user=pwd.getpwnam("nobody").pw_uid,
        extra_groups=[],
        capture_output=True,
        text=True,
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
class TestAnotherAccount:
    """It can connect, read the page, and send any field that it likes."""

    def fields(self, owner: Owner) -> list[str]:
        fields = [*owner.fields(), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
        return [word for name, value in fields for word in ("-H", f"{name}: {value}")]

    async def test_neither_reads_the_code_nor_signs_in_without(
        self, sandbox: Sandbox, owner: Owner
    ) -> None:
        await owner.own()
        (file,) = owner.sidecar.config.token.path.parent.glob("open_*.json")
        for folder in (*file.parents[:-1],):
            folder.chmod(folder.stat().st_mode | 0o011)  # it may come that far, and no further
        status, text = await asyncio.to_thread(curl, f"file://{file}")
        assert (status, text) == (0, "")
        page = (await asyncio.to_thread(curl, url_of(owner.sidecar)))[1]
        assert owner.process in page, "it has read the page"
        for path in FORMS:
            for code in ("", "0-" + "0" * 32, owner.process):
                form = [
                    "-d",
                    f"process={owner.process}",
                    "-d",
                    f"grant={code}",
                    "-d",
                    f"code={code}",
                ]
                words = [*self.fields(owner), *form, url_of(owner.sidecar, path)]
                assert (await asyncio.to_thread(curl, *words))[0] == 403, (path, code)
        assert not sandbox.log

    async def test_neither_finds_the_callback_nor_confirms_for_its_owner(
        self, sandbox: Sandbox, owner: Owner
    ) -> None:
        store_token(owner.sidecar.config, sandbox.grant().token, user="alana")
        await owner.own()
        url = link_to_jira(await owner.post(SIGN_IN))
        location = await owner.decide(url, user="william")
        page = (await asyncio.to_thread(curl, url_of(owner.sidecar)))[1]
        assert "A sign-in waits" in page
        for secret in (owner.grant, location.rpartition("/")[2], url.rpartition("=")[2]):
            assert secret not in page
        assert title(await owner.arrive(location)) == "Another user than before"
        form = ["-d", f"process={owner.process}", "-d", "decision=yes"]
        words = [*self.fields(owner), *form, url_of(owner.sidecar, f"{SIGN_IN}/confirm")]
        assert (await asyncio.to_thread(curl, *words))[0] == 403
        assert stored_user(owner) == "alana"

    async def test_gains_nothing_by_a_callback_s_address_that_it_has_stolen(
        self, sandbox: Sandbox, owner: Owner
    ) -> None:
        """Before its owner comes it is shown a name; afterwards not even that."""
        store_token(owner.sidecar.config, sandbox.grant().token, user="alana")
        location = await owner.decide(await owner.begin(), user="william")
        status, page = await asyncio.to_thread(curl, *self.fields(owner), location)
        assert status == 200
        assert owner.grant not in page
        form = ["-d", f"process={owner.process}", "-d", "grant=", "-d", "decision=yes"]
        words = [*self.fields(owner), *form, url_of(owner.sidecar, f"{SIGN_IN}/confirm")]
        assert (await asyncio.to_thread(curl, *words))[0] == 403
        assert stored_user(owner) == "alana"
        assert (await owner.post(f"{SIGN_IN}/confirm", decision="yes")).status == 200
        assert (await asyncio.to_thread(curl, *self.fields(owner), location))[0] == 404
        assert stored_user(owner) == "william"
