"""Which address is which page, who gets it, and what a browser may do with it."""

from __future__ import annotations

import gc
import weakref
from html.parser import HTMLParser
from typing import Any

import pytest

from sidecar.access.callers import Caller
from sidecar.files.private import write_private
from sidecar.html.answers import page_fields
from sidecar.page.view import View
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running
from tests.support.wire import Client

PARTS = {
    "page/style.css": "text/css; charset=utf-8",
    "page/script.js": "text/javascript; charset=utf-8",
    "page/sign-in.js": "text/javascript; charset=utf-8",
    "page/icon.svg": "image/svg+xml",
}


class Addresses(HTMLParser):
    """Everything that a page links to, loads or posts to."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "action") and value and not value.startswith("#"):
                self.found.add(value)


async def test_the_page_is_html_and_protected(sandbox: Sandbox, sidecar: Running) -> None:
    answer = await sidecar.get("/_sidecar/")
    assert answer.status == 200
    for name, value in page_fields():
        assert answer[name.decode()] == value.decode()
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert not answer.all("Set-Cookie")
    assert not sandbox.log, "the page asks Jira nothing"


async def test_what_was_shown_is_let_go_at_once(
    sidecar: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector of a sidecar that serves is rare."""

    class Shown:
        def __str__(self) -> str:
            return "shown"

    shown: list[weakref.ref[Shown]] = []
    overview = View.overview

    def with_shown(self: View, caller: Caller) -> dict[str, Any]:
        purpose = Shown()
        shown.append(weakref.ref(purpose))
        return {**overview(self, caller), "purpose": purpose}

    monkeypatch.setattr(View, "overview", with_shown)
    gc.disable()
    try:
        assert b">shown<" in (await sidecar.get("/_sidecar/")).body
        assert [one() for one in shown] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("path", PARTS)
async def test_its_parts_are_ours(sidecar: Running, path: str) -> None:
    answer = await sidecar.get(f"/_sidecar/{path}")
    assert (answer.status, answer["Content-Type"]) == (200, PARTS[path])
    assert answer["Cache-Control"] == "no-store"
    head = await sidecar.request("HEAD", f"/_sidecar/{path}")
    assert (head.status, head.body) == (200, b"")
    assert head["Content-Length"] == str(len(answer.body))


async def test_every_address_on_the_page_is_ours_and_answers(sidecar: Running) -> None:
    found = Addresses((await sidecar.get("/_sidecar/")).body).found
    assert {f"/_sidecar/{path}" for path in PARTS} <= found
    for address in found:
        assert address.startswith(("/_sidecar/", str(sidecar.config.jira.base_url)))
        if address.startswith("/_sidecar/"):
            # What a form is posted to leads back to the page: somebody may load it again.
            assert (await sidecar.get(address)).status in (200, 303), address


@pytest.mark.parametrize("target", ["/_sidecar", "/_sidecar?x=1"])
async def test_the_address_without_a_slash_leads_to_it(
    sandbox: Sandbox, sidecar: Running, target: str
) -> None:
    answer = await sidecar.get(target)
    assert (answer.status, answer["Location"]) == (308, "/_sidecar/")
    assert not sandbox.log


@pytest.mark.parametrize("target", ["/_sidecars", "/_sidecarx/", "//_sidecar/", "/jira/_sidecar/"])
async def test_what_only_looks_like_it_is_jiras(
    sandbox: Sandbox, sidecar: Running, target: str
) -> None:
    await sidecar.get(target)
    assert len(sandbox.log) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["", *PARTS])
async def test_they_are_only_read(sidecar: Running, method: str, path: str) -> None:
    answer = await sidecar.request(method, f"/_sidecar/{path}")
    assert (answer.status, answer["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["page/", "page/nothing", "page/../page/style.css", "callback/x"])
async def test_there_is_nothing_else(sidecar: Running, path: str) -> None:
    answer = await sidecar.get(f"/_sidecar/{path}")
    assert answer.status == 404
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (("Host", "evil.test"), 421),
        (("Origin", "http://evil.test"), 403),
        (("Origin", "null"), 403),
        (("Sec-Fetch-Site", "cross-site"), 403),
        (("Sec-Fetch-Site", "same-site"), 403),
    ],
)
@pytest.mark.parametrize("path", ["", *PARTS])
async def test_no_other_web_page_gets_it(
    sidecar: Running, path: str, field: tuple[str, str], status: int
) -> None:
    assert (await sidecar.get(f"/_sidecar/{path}", field)).status == status


@pytest.mark.parametrize("path", ["", *PARTS])
async def test_not_even_one_that_may_use_the_sidecar(
    sandbox: Sandbox, make_sidecar: MakeSidecar, path: str
) -> None:
    sidecar = await make_sidecar(sandbox.url, access__origins=["https://friend.test"])
    answer = await sidecar.get(f"/_sidecar/{path}", ("Origin", "https://friend.test"))
    assert answer.status == 403


async def test_with_an_access_key_a_browser_asks_for_it(
    sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = tmp_path_factory.mktemp("key") / "key"
    write_private(key, b"correct horse")
    sidecar = await make_sidecar(sandbox.url, access__key_file=str(key))
    for path in ("", *PARTS):
        refused = await sidecar.get(f"/_sidecar/{path}")
        assert refused.status == 401
        assert refused["WWW-Authenticate"] == 'Basic realm="sidecar"'
        typed = ("Authorization", "Basic YW55Ym9keTpjb3JyZWN0IGhvcnNl")  # anybody:correct horse
        assert (await sidecar.get(f"/_sidecar/{path}", typed)).status == 200


@pytest.mark.parametrize(
    ("path", "field", "status"),
    [
        ("/_sidecar/page/nothing", ("Accept", "text/html"), 404),
        ("/_sidecar/", ("Sec-Fetch-Site", "cross-site"), 403),
        ("/_sidecar", ("Origin", "http://evil.test"), 403),
        ("/_sidecar/page/events", ("Accept", "text/html"), 403),
    ],
)
async def test_a_browser_that_is_refused_is_shown_a_page(
    sidecar: Running, path: str, field: tuple[str, str], status: int
) -> None:
    answer = await sidecar.get(path, ("Accept", "text/html"), field)
    assert (answer.status, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert b"To the sidecar" in answer.body
    assert answer["Proxy-Status"].startswith("sidecar; error=http_request_denied")
    plain = await sidecar.get(path, field if field[0] != "Accept" else ("Accept", "*/*"))
    assert (plain.status, plain["Content-Type"]) == (status, "application/json")


@pytest.mark.parametrize("path", ["/_sidecar/nothing", "/_sidecar/status/x", "/rest/api/2/%00"])
async def test_what_is_for_programs_stays_json(sidecar: Running, path: str) -> None:
    answer = await sidecar.get(path, ("Accept", "text/html"))
    assert answer["Content-Type"] == "application/json"


async def test_by_another_name_there_is_no_page(sidecar: Running) -> None:
    answer = await sidecar.get("/_sidecar/", ("Host", "evil.test"), ("Accept", "text/html"))
    assert (answer.status, answer["Content-Type"]) == (421, "application/json")


async def test_rules_do_not_hide_it(sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    """It shows what the rules refused."""
    sidecar = await make_sidecar(sandbox.url, access__allow=["GET /rest/api/2/myself"])
    assert (await sidecar.get("/_sidecar/")).status == 200


async def test_the_admin_listener_has_none_of_it(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url, admin__address="127.0.0.1:0")
    port = next(one for one in sidecar.server.listening if one.is_admin).socket.getsockname()[1]
    for path in ("", *PARTS):
        assert (await Client("127.0.0.1", port).get(f"/_sidecar/{path}")).status == 404
    assert (await Client("127.0.0.1", port).get("/_sidecar")).status == 404
