"""The sidecar's own pages, and the listener that serves nothing else."""

from __future__ import annotations

import pytest

from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from sidecar.telemetry.metrics import Metrics
from tests.conftest import MakeSidecar, Running
from tests.support.wire import Client

PAGES = ["health", "ready", "status", "metrics"]


async def admin_of(sidecar: Running) -> Client:
    """A client of the admin listener."""
    port = next(one for one in sidecar.server.listening if one.is_admin).socket.getsockname()[1]
    return Client("127.0.0.1", port)


@pytest.fixture
async def admin(sandbox: Sandbox, make_sidecar: MakeSidecar) -> Client:
    """The admin listener of a sidecar with a good token."""
    sidecar = await make_sidecar(
        sandbox.url, token=sandbox.grant().token, admin__address="127.0.0.1:0"
    )
    return await admin_of(sidecar)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_read_with_get_and_head_alone(sidecar: Running, page: str) -> None:
    target = f"/_sidecar/{page}"
    get = await sidecar.get(target + "?x=1")
    assert get.status == 200
    assert get["Cache-Control"] == "no-store"
    head = await sidecar.request("HEAD", target)
    assert (head.status, head.body) == (200, b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = await sidecar.request(method, target)
        assert refused.status == 405
        assert refused["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("name", ["nothing", "health/", "HEALTH", "status/x", "page", "page/x"])
async def test_other_names_are_404_and_never_forwarded(
    sandbox: Sandbox, sidecar: Running, name: str
) -> None:
    answer = await sidecar.get(f"/_sidecar/{name}")
    assert answer.status == 404
    assert "error=http_request_denied" in answer["Proxy-Status"]
    assert not sandbox.log


async def test_with_an_access_key_health_and_ready_need_none_and_the_others_do(
    sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = tmp_path_factory.mktemp("key") / "key"
    write_private(key, b"correct horse")
    sidecar = await make_sidecar(
        sandbox.url, token=sandbox.grant().token, access__key_file=str(key)
    )
    statuses = {page: (await sidecar.get(f"/_sidecar/{page}")).status for page in PAGES}
    assert statuses == {"health": 200, "ready": 200, "status": 401, "metrics": 401}
    for page in PAGES:
        shown = await sidecar.get(f"/_sidecar/{page}", ("X-Sidecar-Key", "correct horse"))
        assert shown.status == 200


async def test_ready_says_what_is_missing(sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    sidecar = await make_sidecar(sandbox.url)
    ready = await sidecar.get("/_sidecar/ready")
    assert ready.status == 503
    assert ready.json()["ready"] is False
    assert "sidecar auth" in ready.json()["hint"]
    assert (await sidecar.get("/_sidecar/health")).status == 200


async def test_jira_is_not_asked(sandbox: Sandbox, sidecar: Running) -> None:
    for page in PAGES:
        await sidecar.get(f"/_sidecar/{page}")
    assert not sandbox.log


class TestAdmin:
    async def test_a_bug_is_answered_and_logged(
        self,
        admin: Client,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(_: Metrics) -> bytes:
            raise ZeroDivisionError

        monkeypatch.setattr(Metrics, "exposition", fail)
        answer = await admin.get("/_sidecar/metrics")
        assert answer.status == 500
        assert "proxy_internal_error" in answer["Proxy-Status"]
        (logged,) = [record for record in caplog.records if record.exc_info]
        assert "a bug while answering GET" in logged.getMessage()

    @pytest.mark.parametrize("page", PAGES)
    async def test_every_page_is_served_whatever_the_host(self, admin: Client, page: str) -> None:
        for host in ("sidecar.internal", "10.1.2.3:9", "evil.example"):
            assert (await admin.get(f"/_sidecar/{page}", ("Host", host))).status == 200

    async def test_no_access_key_is_asked_for(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        key = tmp_path_factory.mktemp("key") / "key"
        write_private(key, b"correct horse")
        sidecar = await make_sidecar(
            sandbox.url, access__key_file=str(key), admin__address="127.0.0.1:0"
        )
        assert (await (await admin_of(sidecar)).get("/_sidecar/status")).status == 200

    @pytest.mark.parametrize(
        "field",
        [
            ("Origin", "http://localhost"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
    )
    async def test_a_web_page_is_refused(self, admin: Client, field: tuple[str, str]) -> None:
        answer = await admin.get("/_sidecar/status", field)
        assert answer.status == 403
        assert "error=http_request_denied" in answer["Proxy-Status"]
        assert answer["X-Request-Id"]

    async def test_typed_into_a_browser_it_is_served(self, admin: Client) -> None:
        assert (await admin.get("/_sidecar/status", ("Sec-Fetch-Site", "none"))).status == 200

    @pytest.mark.parametrize(
        "target", ["/", "/rest/api/2/myself", "/_sidecar/", "http://x/_sidecar/health", "//x"]
    )
    async def test_nothing_else_is_there(
        self, sandbox: Sandbox, admin: Client, target: str
    ) -> None:
        assert (await admin.get(target)).status == 404
        assert not sandbox.log

    async def test_garbage_is_refused_in_our_own_words(self, admin: Client) -> None:
        answer = await admin.raw(b"GET / HTTP/1.1\r\nHost: x\r\nbad field: x\r\n\r\n")
        assert answer.status == 400
        assert answer.message.startswith("sidecar: ")

    async def test_a_connection_serves_many_requests(self, admin: Client) -> None:
        async with await admin.wire() as wire:
            for _ in range(3):
                await wire.send(admin.message("GET", "/_sidecar/health"))
                assert (await wire.receive()).status == 200
