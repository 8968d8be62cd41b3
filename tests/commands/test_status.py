"""What the running sidecar says of itself, as people read it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.status import exit_code, lines, running_status
from sidecar.errors import NotAuthorized, UpstreamError
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running, make_config, store_token
from tests.support.checking import always
from tests.support.dancing import answer
from tests.support.raw_server import RawServer
from tests.support.waiting import until

NOW = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "version": "1.2.3",
    "base_url": "https://jira.example.com/jira",
    "ready": True,
    "user": "alana",
    "display_name": "Alana Example",
    "two_legged": False,
    "token_expires": "2031-11-22T10:00:00Z",
    "started": "2026-11-28T09:00:00Z",
    "counters": {"requests": {"2xx": 1200, "4xx": 34}, "in_flight": 2, "waiting": 0},
    "troubles": [],
}


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Times are shown by the clock of the machine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(**facts: Any) -> list[str]:
    return list(lines({**STATUS, **facts}, NOW))


class TestLines:
    def test_the_answers_to_what_people_ask(self) -> None:
        assert shown() == [
            "Ready     yes",
            "Jira      https://jira.example.com/jira",
            "As        Alana Example (alana)",
            "Until     2031-11-22 (in 1,819 days)",
            "Running   since 2026-11-28 09:00 (3 hours), version 1.2.3",
            "Requests  1,234 (1,200 2xx, 34 4xx); 2 in flight, 0 waiting",
            "Troubles  none",
        ]

    def test_what_is_wrong_comes_first_with_what_to_do(self) -> None:
        found = shown(
            ready=False,
            problem="token_rejected",
            reason="Jira does not know our token.",
            hint="run: sidecar auth",
            since="2026-11-28T11:59:00Z",
        )
        assert found[:3] == [
            "Ready     no, since 2026-11-28 11:59 (token_rejected)",
            "          Jira does not know our token.",
            "          What to do: run: sidecar auth.",
        ]

    def test_the_last_troubles_newest_first_and_not_too_many(self) -> None:
        trouble = {"problem": "nonce_used", "hint": "", "count": 1, "last": "2026-11-28T08:00:00Z"}
        often = {**trouble, "problem": "token_rejected", "count": 1200, "hint": "run: sidecar auth"}
        found = shown(troubles=[often, *[trouble] * 9])
        assert found[6:] == [
            "Troubles  2026-11-28 08:00  token_rejected, 1,200 times: run: sidecar auth",
            *["          2026-11-28 08:00  nonce_used"] * 4,
        ]

    @pytest.mark.parametrize(
        ("facts", "line"),
        [
            ({"token_expires": None}, "Until     no end is known"),
            ({"token_expires": "2026-11-29T12:00:29Z"}, "Until     2026-11-29 (in 23 hours)"),
            ({"token_expires": "2026-11-28T11:59:29Z"}, "Until     2026-11-28 (61 seconds ago)"),
            ({"two_legged": True}, "Until     for good: two-legged OAuth needs no token"),
            ({"two_legged": True}, "As        Alana Example (alana), two-legged"),
            ({"user": None}, "As        nobody known"),
            ({"started": "2026-11-28T12:00:29Z"}, "Running   since 2026-11-28 12:00 (1 second),"),
        ],
    )
    def test_cases(self, facts: dict[str, Any], line: str) -> None:
        assert [one for one in shown(**facts) if one.startswith(line)]

    @pytest.mark.parametrize("name", ["base_url", "user", "display_name", "version", "problem"])
    def test_no_text_of_it_acts_on_the_terminal(self, name: str) -> None:
        trouble = {"problem": "\x1b[31m", "hint": "\r\n", "count": 1, "last": "\x07"}
        found = shown(**{name: "x\x1b[2J"}, ready=False, hint="\x1b]0;", troubles=[trouble])
        assert all(line.isprintable() for line in found)

    @given(st.dictionaries(st.sampled_from([*STATUS, "hint", "since"]), st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5,
    )))  # fmt: skip
    def test_whatever_answers_nothing_acts_on_the_terminal(self, document: dict[str, Any]) -> None:
        assert all(line.isprintable() for line in lines(document, NOW))


async def test_it_is_read_from_the_running_sidecar(
    sandbox: Sandbox, sidecar: Running, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    store_token(sidecar.config, sandbox.grant().token, user="alana", expires_at=time.time() + 1e8)
    sandbox.faults.inactive_user = True
    await sidecar.get("/rest/api/2/myself")
    await until(lambda: sidecar.server.readiness.why_not())
    config = make_config(sandbox.url, tmp_path, private_key, listen__addresses=[sidecar.authority])
    status = await asyncio.to_thread(running_status, config)
    assert exit_code(status) == 77
    found = list(lines(status, datetime.now(UTC)))
    assert found[0].endswith("(user_may_not_log_in)")
    assert "let an administrator check" in found[2]
    assert f"Jira      {sandbox.url}" in found
    assert "(in 1,157 days)" in "".join(found)
    assert any(line.startswith("Requests  1 (1 4xx)") for line in found)


def test_the_exit_code_is_that_of_what_is_wrong() -> None:
    assert exit_code(STATUS) == 0
    assert exit_code({**STATUS, "ready": False, "problem": "signature_invalid"}) == 78
    assert exit_code({"ready": "yes"}) == 77


async def test_another_key_than_the_running_sidecars_is_told(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    write_private(tmp_path / "right", b"right key")
    write_private(tmp_path / "wrong", b"wrong key")
    running = await make_sidecar("http://127.0.0.1:1", access__key_file=str(tmp_path / "right"))
    config = make_config(
        "http://127.0.0.1:1",
        tmp_path,
        private_key,
        listen__addresses=[running.authority],
        access__key_file=str(tmp_path / "wrong"),
    )
    with pytest.raises(NotAuthorized, match="does not take the key"):
        await asyncio.to_thread(running_status, config)


@pytest.mark.parametrize("raw", [answer(404, "{}"), answer(200, "[]"), answer(200, '{"a": 1}')])
async def test_it_is_not_taken_in_by_something_else(
    tmp_path: Path, private_key: RSAPrivateKey, raw: bytes
) -> None:
    async with RawServer(always(raw)) as server:
        address = server.url.removeprefix("http://")
        config = make_config(
            "http://127.0.0.1:1", tmp_path, private_key, listen__addresses=[address]
        )
        with pytest.raises(UpstreamError, match="as the sidecar would not"):
            await asyncio.to_thread(running_status, config)
