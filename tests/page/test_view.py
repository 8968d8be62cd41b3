"""What the page shows of requests and facts, and what it never shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.access.callers import Caller
from sidecar.files.private import write_private
from sidecar.page.view import View
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running, store_token
from tests.support.page_states import service_of, standing

CALLER = Caller("http", "localhost:8088")
HARM = "<script>alert(1)</script>'\"&\x1b[31m\u202e"


async def page_of(sidecar: Running) -> str:
    return (await sidecar.get("/_sidecar/")).body.decode()


async def test_it_says_what_it_does_for_whom_until_when(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    async with standing("busy", tmp_path, private_key) as stand:
        shown = View(service_of(stand.sidecar)).overview(CALLER)
        facts = {fact.name: fact.value for fact in shown["facts"]}
        fingerprint = stand.sidecar.server.identity.fingerprint
        url = stand.sandbox.url
        page = await page_of(stand.sidecar)
    assert shown["purpose"] == (
        f"Signs requests to http://localhost:8088 as Alana Example (alana) and passes them on to"
        f" Jira at {url}."
    )
    assert facts["user"] == "Alana Example (alana)"
    assert facts["jira"] == url
    assert facts["signing_url"] == "the same address"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \(in 1,81[45] days\)", facts["token_end"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \(in 1,84[45] days\)", facts["session_end"])
    assert facts["clock"] == "agrees with this machine’s"
    assert facts["fingerprint"] == fingerprint
    for value in facts.values():
        assert value.replace("'", "&#39;") in page


async def test_the_button_on_the_page_is_named_where_its_reader_can_use_it(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url)
    await sidecar.get("/rest/api/2/myself")  # a trouble whose hint names the command, too
    for caller, begins in (
        (CALLER, "Press “Sign in” below, or run sidecar"),
        (Caller("https", "sidecar.internal"), "Press “Sign in” below, or run sidecar"),
        (Caller("http", "sidecar.internal"), "Run sidecar"),
    ):
        shown = view_of(sidecar).overview(caller)
        assert shown["notices"][0]["to_do"].startswith(begins)
        assert ("press “Sign in”" in shown["troubles"][0]["hint"]) is begins.startswith("Press")


async def test_a_page_of_two_legged_oauth_names_no_button(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url, jira__two_legged=True)
    assert view_of(sidecar)._button(CALLER) == ""


async def test_a_token_that_nobody_has_read_yet_is_read(sidecar: Running) -> None:
    shown = view_of(sidecar).overview(CALLER)
    assert shown["sign_in"] == "none"
    assert shown["purpose"] == view_of(sidecar).changes(CALLER, 0)["purpose"]


async def test_another_signing_url_is_shown(sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    sidecar = await make_sidecar(sandbox.url, jira__signing_url="https://jira.internal/jira")
    assert "https://jira.internal/jira" in await page_of(sidecar)


async def test_a_request_is_shown_with_its_times_and_nothing_that_its_caller_hid(
    sandbox: Sandbox, sidecar: Running
) -> None:
    await sidecar.request(
        "POST",
        "/rest/api/2/search?jql=covert-query",
        ("X-Request-Id", "id-of-the-caller"),
        ("User-Agent", "covert-agent"),
        ("X-Covert", "covert-field"),
        ("Content-Type", "application/json"),
        body=b'{"jql": "covert-body"}',
    )
    page = await page_of(sidecar)
    for word in ("POST", "/rest/api/2/search", "id-of-the-caller", "Jira’s answer", "Signature"):
        assert word in page
    assert "covert" not in page.lower()
    assert "curl -X POST http://127.0.0.1" in page
    assert "without the query and the body" in page


async def test_its_own_requests_are_not_listed(sidecar: Running) -> None:
    for path in ("", "page/style.css", "status", "nothing"):
        await sidecar.get(f"/_sidecar/{path}")
    assert sidecar.server.history.latest() == []
    assert "None yet since the start." in await page_of(sidecar)


async def test_what_was_healed_and_what_was_refused_is_told_in_the_row(
    sandbox: Sandbox, sidecar: Running
) -> None:
    sandbox.faults.clock_offset = 4000.0
    await sidecar.get("/rest/api/2/myself")
    await sidecar.get("/rest/api/2/myself", ("Host", "<b>evil</b>.test"))
    await sidecar.get("/rest/api/2/myself", ("Host", "evil.test"))
    misdirected, malformed, healed = view_of(sidecar).overview(CALLER)["requests"]
    assert (healed["level"], healed["remark"]) == ("good", "healed: timestamp_refused")
    assert "The client saw nothing of it." in healed["words"]
    assert (misdirected["status"], misdirected["level"]) == ("421", "note")
    assert "access.hosts" in misdirected["words"]
    assert malformed["status"] == "400"
    assert "evil" not in await page_of(sidecar)


def view_of(sidecar: Running) -> View:
    return View(service_of(sidecar))


async def test_the_callers_name_is_shown_and_the_key_asked_for(
    sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    write_private(keys / "build-bot", b"correct horse")
    sidecar = await make_sidecar(
        sandbox.url, token=sandbox.grant().token, access__key_file=str(keys)
    )
    key = ("X-Sidecar-Key", "correct horse")
    await sidecar.get("/rest/api/2/myself", key)
    page = (await sidecar.get("/_sidecar/", key)).body.decode()
    assert "build-bot" in page
    assert "curl -u sidecar http://" in page
    assert "correct horse" not in page


async def test_what_callers_and_jira_say_is_text(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url)
    store_token(sidecar.config, sandbox.grant().token, user=HARM, display_name=HARM + "2")
    await sidecar.get("/rest/<script>alert(1)</script>'\"&")
    await sidecar.get("/rest/api/2/myself", ("X-Request-Id", "<script>alert(1)</script>"))
    page = await page_of(sidecar)
    assert page.count("<script") == page.count('<script src="/_sidecar/page/'), "our own"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", page)
    changes = view_of(sidecar).changes(CALLER, 0)
    assert "\x1b" not in json.dumps(changes["purpose"], ensure_ascii=False)


async def test_changes_are_those_since(sidecar: Running) -> None:
    for _ in range(3):
        await sidecar.get("/rest/api/2/myself")

    view = view_of(sidecar)
    assert [one["number"] for one in view.changes(CALLER, 1)["requests"]] == [3, 2]
    assert set(view.changes(CALLER, 3)) == {
        "sign_in", "purpose", "notices", "charts", "troubles", "facts", "requests",
    }  # fmt: skip


@pytest.mark.parametrize("state", ["not-signed-in", "away", "refused"])
async def test_troubles_are_listed_with_what_to_do(
    tmp_path: Path, private_key: RSAPrivateKey, state: str
) -> None:
    async with standing(state, tmp_path, private_key) as stand:
        (trouble, *_) = View(service_of(stand.sidecar)).overview(CALLER)["troubles"]
    assert trouble["problem"]
    assert trouble["hint"]
