"""Whether the sidecar is ready, why not, and who learns how much of that."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.standing import FIRST_PAUSE, SPREAD
from sidecar.credentials import Secret
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running, make_config, store_token
from tests.support.clocks import LoopClock
from tests.support.waiting import until
from tests.support.wire import Response, turns
from tests.telemetry.test_metrics import scraped

MakeSandbox = Callable[..., Awaitable[Sandbox]]
MYSELF = "/rest/api/2/myself"
READY = "/_sidecar/ready"
STATUS = "/_sidecar/status"
NEXT = FIRST_PAUSE * (1 + SPREAD)
"""Seconds after which Jira is asked again, at the latest."""


def problem_of(sidecar: Running) -> str | None:
    """Why the sidecar is not ready."""
    why = sidecar.server.readiness.why_not()
    return None if why is None else why.problem


async def becomes(sidecar: Running, problem: str | None) -> Response:
    """Wait until that is why the sidecar is not ready; what it says then."""
    await until(lambda: problem_of(sidecar) == problem)
    return await sidecar.get(READY)


def own_questions(sandbox: Sandbox) -> int:
    """How often the sidecar has asked in its own name."""
    agents = [one.fields.get("User-Agent") for one in sandbox.log if one.status is not None]
    return len([agent for agent in agents if agent.startswith("jira-oauth-sidecar")])


async def settled(sidecar: Running, sandbox: Sandbox, clock: LoopClock) -> None:
    """Wait until Jira was asked because of what a caller met, and nothing is in doubt any more."""
    await until(lambda: own_questions(sandbox))
    await turns(50)
    await clock.skip(NEXT)
    await until(lambda: not sidecar.server.generations[-1].standing.is_in_doubt)


class TestRefused:
    async def test_every_report_says_why_and_what_to_do(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        sandbox.revoke()
        assert (await sidecar.get(READY)).status == 200, "nobody has met it"
        assert (await sidecar.get(MYSELF)).status == 401
        ready = await becomes(sidecar, "token_rejected")
        assert ready.status == 503
        assert ready.json() == {
            "ready": False,
            "problem": "token_rejected",
            "reason": "Jira does not know our token.",
            "hint": "run: sidecar auth",
        }
        status = (await sidecar.get(STATUS)).json()
        assert (status["ready"], status["problem"]) == (False, "token_rejected")
        assert status["hint"] == "run: sidecar auth"
        assert status["since"].endswith("Z")
        assert status["troubles"][0]["problem"] == "token_rejected"
        summary = f"{sandbox.url}: not ready (token_rejected): run: sidecar auth"
        assert sidecar.server.summary() == summary
        metrics = await scraped(sidecar)
        assert metrics["sidecar_ready"] == 0
        assert metrics['sidecar_not_ready{problem="token_rejected"}'] == 1

    async def test_it_comes_back_by_itself_without_a_request(
        self, sandbox: Sandbox, sidecar: Running, loop_clock: LoopClock
    ) -> None:
        sandbox.faults.inactive_user = True
        await sidecar.get(MYSELF)
        await becomes(sidecar, "user_may_not_log_in")
        await turns(50)
        sandbox.faults.clear()
        await loop_clock.skip(NEXT)
        assert (await becomes(sidecar, None)).json() == {"ready": True}
        metrics = await scraped(sidecar)
        assert metrics["sidecar_ready"] == 1
        assert not [name for name in metrics if name.startswith("sidecar_not_ready")]
        assert sidecar.server.summary().startswith(f"{sandbox.url} as ")

    async def test_a_new_token_is_tried_at_once_without_a_request(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        sandbox.revoke()
        await sidecar.get(MYSELF)
        await becomes(sidecar, "token_rejected")
        store_token(sidecar.config, sandbox.grant().token)
        sidecar.server.look_after_token()
        assert (await becomes(sidecar, None)).status == 200

    async def test_a_new_key_is_tried_at_once_without_a_request(
        self,
        sandbox: Sandbox,
        sidecar: Running,
        other_key: RSAPrivateKey,
        private_key: RSAPrivateKey,
    ) -> None:
        path = sidecar.config.jira.private_key
        write_private(path, keys.private_key_pem(other_key))
        await sidecar.get(MYSELF)
        await becomes(sidecar, "signature_invalid")
        write_private(path, keys.private_key_pem(private_key))
        sidecar.server.look_after_token()
        assert (await becomes(sidecar, None)).status == 200

    async def test_a_jira_that_is_away_has_not_refused_us(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        sandbox.faults.unavailable = True
        assert (await sidecar.get(MYSELF)).status == 503
        assert (await sidecar.get(READY)).status == 200

    async def test_while_all_is_well_nothing_is_asked(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        for target in (MYSELF, "/rest/api/2/nothing", "/rest/api/2/issue/JJ-2"):
            await sidecar.get(target)
        await turns(20)
        assert not own_questions(sandbox)

    async def test_a_problem_that_only_this_jira_knows_is_no_label_of_its_own(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        sandbox.faults.problem = "moon_in_the_wrong_phase"
        await sidecar.get(MYSELF)
        await becomes(sidecar, "moon_in_the_wrong_phase")
        assert (await scraped(sidecar))['sidecar_not_ready{problem="other"}'] == 1


class TestCallers:
    """No caller can make the sidecar unready."""

    async def test_by_a_request_whose_signature_jira_finds_wrong(
        self, sandbox: Sandbox, sidecar: Running, loop_clock: LoopClock
    ) -> None:
        sandbox.faults.dropped_parameter = "lost"
        for _ in range(20):
            answer = await sidecar.get(f"{MYSELF}?lost=1")
            assert answer["Sidecar-Problem"].startswith("signature_invalid")
        await settled(sidecar, sandbox, loop_clock)
        assert (await sidecar.get(READY)).status == 200
        assert own_questions(sandbox) <= 2

    async def test_by_acting_as_somebody_who_may_not(
        self, make_sandbox: MakeSandbox, make_sidecar: MakeSidecar, loop_clock: LoopClock
    ) -> None:
        sandbox = await make_sandbox(two_legged=True, impersonation=False)
        sidecar = await make_sidecar(
            sandbox.url, jira__two_legged=True, access__act_as=["alana", "nobody"]
        )
        for user in ("alana", "nobody"):
            answer = await sidecar.get(MYSELF, ("X-Sidecar-Act-As", user))
            assert answer["Sidecar-Problem"].startswith("two_legged_not_allowed")
        await settled(sidecar, sandbox, loop_clock)
        assert (await sidecar.get(READY)).status == 200

    async def test_by_asking_whether_it_is_ready(self, sandbox: Sandbox, sidecar: Running) -> None:
        sandbox.revoke()
        for _ in range(10):
            assert (await sidecar.get(READY)).status == 200
        assert not sandbox.log


class TestTwoLegged:
    async def test_it_is_not_ready_where_the_link_does_not_let_us_in(
        self, make_sandbox: MakeSandbox, make_sidecar: MakeSidecar, loop_clock: LoopClock
    ) -> None:
        """Nobody has sent a request: Jira was asked at the start."""
        sandbox = await make_sandbox(two_legged=False)
        sidecar = await make_sidecar(sandbox.url, jira__two_legged=True)
        ready = await becomes(sidecar, "two_legged_not_allowed")
        assert "Allow 2-Legged OAuth" in ready.json()["hint"]
        await turns(50)
        sandbox.faults.two_legged = True
        await loop_clock.skip(NEXT)
        await becomes(sidecar, None)
        assert (await sidecar.get(STATUS)).json()["user"] == "builds"


class TestWithoutToken:
    async def test_the_first_token_that_is_found_is_told_of(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sidecar.account")
        sidecar = await make_sidecar(sandbox.url)
        assert (await sidecar.get(MYSELF)).status == 503
        assert (await sidecar.get(READY)).json()["problem"] == "no_token"
        store_token(sidecar.config, sandbox.grant().token)
        sidecar.server.look_after_token()
        told = [one.getMessage() for one in caplog.records if one.name.startswith("sidecar.acc")]
        path = sidecar.config.token.path
        assert told == [f"an access token was found in {path}: requests are signed now"]
        assert (await sidecar.get(READY)).status == 200

    async def test_a_token_that_was_there_from_the_start_is_not(
        self, sidecar: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sidecar.account")
        assert (await sidecar.get(MYSELF)).status == 200
        assert not [one for one in caplog.records if one.name.startswith("sidecar.account")]


class TestPublic:
    """Who shows no access key learns neither paths nor names."""

    @pytest.fixture
    def shown(self, sandbox: Sandbox, tmp_path: Path) -> Callable[[Response], None]:
        def look(ready: Response) -> None:
            assert ready.status == 503
            said = ready.body.decode()
            for secret in (str(tmp_path), "token.json", "127.0.0.1", sandbox.url, "alana"):
                assert secret not in said

        return look

    @pytest.mark.parametrize(
        ("content", "mode", "problem"),
        [
            (None, 0o644, "token_unusable"),
            (b"{", 0o600, "token_unusable"),
            (b'{"version": 99}', 0o600, "token_unusable"),
        ],
    )
    async def test_of_a_token_file_that_cannot_be_used(
        self,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        shown: Callable[[Response], None],
        content: bytes | None,
        mode: int,
        problem: str,
    ) -> None:
        sidecar = await make_sidecar(sandbox.url)
        store_token(sidecar.config, sandbox.grant().token, user="alana")
        path = sidecar.config.token.path
        if content is not None:
            path.write_bytes(content)
        path.chmod(mode)
        ready = await becomes(sidecar, problem)
        shown(ready)
        assert "sidecar check" in ready.json()["hint"]
        assert str(path) in (await sidecar.get(STATUS)).json()["reason"]

    async def test_of_a_token_of_another_jira(
        self,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        shown: Callable[[Response], None],
        tmp_path: Path,
        private_key: RSAPrivateKey,
    ) -> None:
        store_token(make_config("http://127.0.0.1:9", tmp_path, private_key), "t" * 32)
        sidecar = await make_sidecar(sandbox.url)
        shown(await becomes(sidecar, "token_not_ours"))

    async def test_of_a_token_that_cannot_be_renewed_because_of_its_file(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar, shown: Callable[[Response], None]
    ) -> None:
        sidecar = await make_sidecar(sandbox.url)
        grant = sandbox.grant()
        assert grant.session_handle is not None
        handle = Secret(grant.session_handle)
        store_token(sidecar.config, grant.token, session_handle=handle, user="alana")
        sandbox.expire()
        path = sidecar.config.token.path
        path.with_name(f".{path.name}.lock").unlink(missing_ok=True)
        path.with_name(f".{path.name}.lock").mkdir()
        await sidecar.get(MYSELF)
        shown(await becomes(sidecar, "token_expired"))
        status = (await sidecar.get(STATUS)).json()
        assert str(path.parent) in status["reason"]
        assert (await scraped(sidecar))["sidecar_token_renewal_failing"] == 1

    async def test_of_a_url_that_jira_believes_in(
        self, sandbox: Sandbox, sidecar: Running, shown: Callable[[Response], None]
    ) -> None:
        sandbox.faults.throw({"perceived_host": "secret.internal", "problem": "signature_invalid"})
        await sidecar.get(MYSELF)
        ready = await becomes(sidecar, "signature_invalid")
        shown(ready)
        assert b"secret.internal" not in ready.body


class TestReload:
    async def test_what_was_refused_stays_so_and_is_asked_at_once(
        self, sandbox: Sandbox, sidecar: Running, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        sandbox.faults.inactive_user = True
        await sidecar.get(MYSELF)
        await becomes(sidecar, "user_may_not_log_in")
        config = self.config(sandbox, sidecar, tmp_path, private_key)
        sidecar.server.reload(config)
        assert problem_of(sidecar) == "user_may_not_log_in"
        sandbox.faults.clear()
        sidecar.server.reload(config)
        await becomes(sidecar, None)

    async def test_a_doubt_outlives_it(
        self, sandbox: Sandbox, sidecar: Running, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        sandbox.revoke()
        sidecar.server.generations[-1].standing.doubt()
        sidecar.server.reload(self.config(sandbox, sidecar, tmp_path, private_key))
        await becomes(sidecar, "token_rejected")

    async def test_another_identity_is_not_refused_before_it_was_asked_about(
        self, sandbox: Sandbox, sidecar: Running, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        sandbox.faults.problem = "consumer_key_unknown"
        await sidecar.get(MYSELF)
        await becomes(sidecar, "consumer_key_unknown")
        options = {"jira__signing_url": "https://jira.example.com/jira"}
        sidecar.server.reload(self.config(sandbox, sidecar, tmp_path, private_key, **options))
        assert problem_of(sidecar) is None
        await becomes(sidecar, "consumer_key_unknown")

    def config(
        self, sandbox: Sandbox, sidecar: Running, folder: Path, key: RSAPrivateKey, **options: Any
    ) -> Any:
        address = f"127.0.0.1:{sidecar.port}"
        return make_config(sandbox.url, folder, key, listen__addresses=[address], **options)


async def test_while_shutting_down_it_is_not_ready(sidecar: Running) -> None:
    sidecar.server.readiness.stopping = True
    ready = await sidecar.get(READY)
    assert (ready.status, ready.json()["problem"]) == (503, "shutting_down")
    assert sidecar.server.readiness.why_not() is not None


async def test_whoever_looks_first_at_a_new_token_sees_it_whole(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    """Ready, and as whom and until when: all by the same token."""
    sidecar = await make_sidecar(sandbox.url)
    assert (await sidecar.get(STATUS)).json()["problem"] == "no_token"
    facts = {"user": "alana", "expires_at": 1_900_000_000.0}
    store_token(sidecar.config, sandbox.grant().token, **facts)
    status = (await sidecar.get(STATUS)).json()
    assert (status["ready"], status["user"]) == (True, "alana")
    assert status["token_expires"] == "2030-03-17T17:46:40Z"
    store_token(sidecar.config, sandbox.grant().token, **{**facts, "expires_at": 1_900_000_001.0})
    metrics = await scraped(sidecar)
    assert metrics["sidecar_token_expiry_timestamp_seconds"] == 1_900_000_001
