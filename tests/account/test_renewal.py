"""The access token's renewal: once, safely, and never in a hurry."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account import renewal as renewing
from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.account.renewal import Renewal
from sidecar.config.load import Config
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import (
    CertificateError,
    ConfigError,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    NotAuthorized,
    NotJira,
    ResponseTimeout,
    SidecarError,
    StoreError,
    TLSError,
)
from sidecar.files import keys
from sidecar.files.tokens import TokenFile
from sidecar.jira.refusals import RenewedUnseen
from sidecar.sandbox import Sandbox
from sidecar.telemetry.troubles import Troubles
from sidecar.upstream.pool import Upstream
from tests.conftest import MakeSidecar, Running, make_config, store_token
from tests.support.clocks import LoopClock
from tests.support.disks import unplaceable
from tests.support.loading import MYSELF, Load, renewals, store_grant
from tests.support.waiting import PATIENCE, SOON, until
from tests.support.wire import turns


class Desk:
    """A token that can be renewed, and who renews it, without a sidecar around."""

    def __init__(self, sandbox: Sandbox, config: Config) -> None:
        self.sandbox = sandbox
        self.config = config
        self.now = 1000.0
        self.identity = Identity(config)
        self.upstream = Upstream(config)
        authorizer = Authorizer(self.identity, self.upstream, config.timeouts.response)
        self.troubles = Troubles()
        self.renewal = Renewal(self.identity, authorizer, self.troubles, clock=lambda: self.now)

    def grant(self, **facts: Any) -> TokenCredentials:
        """Store a new token."""
        grant = self.sandbox.grant()
        facts = {"session_handle": Secret(grant.session_handle), **facts}
        store_token(self.config, grant.token, **facts)
        return self.identity.token.current()

    def grant_at(self, obstacle: Obstacle) -> TokenCredentials:
        """Store a new token all the same."""
        obstacle.is_there = False
        try:
            return self.grant()
        finally:
            obstacle.is_there = True

    @property
    def stored(self) -> str:
        """The token on disk."""
        return str(json.loads(self.config.token.path.read_bytes())["token"])

    def is_alive(self, token: TokenCredentials) -> bool:
        """Whether Jira knows it."""
        return token.token.reveal() in self.sandbox.provider.access_tokens

    async def close(self) -> None:
        await self.renewal.close(60)
        await self.upstream.close()


@pytest.fixture
async def desk(sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[Desk]:
    desk = Desk(sandbox, make_config(sandbox.url, tmp_path, private_key))
    yield desk
    await desk.close()


@pytest.fixture
def renewable(sidecar: Running, sandbox: Sandbox) -> Running:
    """A sidecar whose token can be renewed."""
    store_grant(sidecar, sandbox.grant())
    return sidecar


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sidecar") and record.levelno >= level
    ]


# ── one renewal for all ─────────────────────────────────────────────────────────────────────


async def test_200_requests_that_meet_an_expired_token_cause_one_renewal(
    renewable: Running, sandbox: Sandbox
) -> None:
    sandbox.expire()
    answers = await asyncio.gather(*(renewable.get(MYSELF) for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert renewals(sandbox) == 1


async def test_two_sidecars_with_one_token_file_renew_once(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    one, two = await make_sidecar(sandbox.url), await make_sidecar(sandbox.url)
    store_grant(one, sandbox.grant())
    for _ in range(3):
        before = renewals(sandbox)
        sandbox.expire()
        answers = await asyncio.gather(*(s.get(MYSELF) for _ in range(20) for s in (one, two)))
        assert {answer.status for answer in answers} == {200}
        assert renewals(sandbox) == before + 1


async def test_the_new_token_is_on_disk_before_anybody_uses_it(
    renewable: Running, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = TokenFile.save
    seen = len(sandbox.log)

    def saving(file: TokenFile, credentials: TokenCredentials) -> None:
        assert [request.verdict for request in list(sandbox.log)[seen:]][-1] == "ok"
        users = [
            r for r in sandbox.log if credentials.token.reveal() in r.fields.get("authorization")
        ]
        assert users == []
        save(file, credentials)

    monkeypatch.setattr(TokenFile, "save", saving)
    sandbox.expire()
    assert (await renewable.get(MYSELF)).status == 200


async def test_a_client_that_goes_away_does_not_stop_a_renewal(
    renewable: Running, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gone, stored = asyncio.Event(), asyncio.Event(), asyncio.Event()
    renew, save = Authorizer.renew, TokenFile.save

    async def renewing(authorizer: Authorizer, old: TokenCredentials) -> TokenCredentials:
        asked.set()
        await gone.wait()
        return await renew(authorizer, old)

    def saving(file: TokenFile, credentials: TokenCredentials) -> None:
        save(file, credentials)
        stored.set()

    monkeypatch.setattr(Authorizer, "renew", renewing)
    sandbox.expire()
    async with asyncio.timeout(SOON):
        async with await renewable.wire() as wire:
            await wire.send(renewable.message("GET", MYSELF))
            await asked.wait()
            wire.writer.transport.abort()
        monkeypatch.setattr(TokenFile, "save", saving)
        gone.set()
        await stored.wait()
    assert (await renewable.get(MYSELF)).status == 200
    assert renewals(sandbox) == 1


async def test_a_renewal_is_logged_and_nothing_of_the_tokens(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = desk.grant()
    assert await desk.renewal.replace(old)
    assert logged(caplog, logging.INFO) == ["the access token was renewed"]
    assert desk.troubles.last is None


async def test_stopping_waits_for_a_renewal_under_way(desk: Desk) -> None:
    old = desk.grant()
    desk.sandbox.faults.slow = 0.05
    waiting = asyncio.create_task(desk.renewal.replace(old))
    await asyncio.sleep(0)
    waiting.cancel()
    await desk.renewal.close(60)
    assert desk.stored != old.token.reveal()
    assert not desk.is_alive(old)


# ── before the end ──────────────────────────────────────────────────────────────────────────


async def test_a_token_whose_end_is_near_is_renewed_while_requests_run(
    renewable: Running, sandbox: Sandbox
) -> None:
    sandbox.faults.latency = 0.03  # so that many requests are on their way with the old token
    async with Load(renewable) as done:
        await done.more(5)
        store_grant(renewable, sandbox.grant(), expires_at=time.time() - 1)
        await done.more(25)
    assert done.is_flawless
    assert renewals(sandbox) == 1
    verdicts = [request.verdict for request in sandbox.log]
    assert "token_expired" not in verdicts


async def test_two_sidecars_renew_a_token_whose_end_is_near_once_and_without_a_failure(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    one, two = await make_sidecar(sandbox.url), await make_sidecar(sandbox.url)
    store_grant(one, sandbox.grant())
    sandbox.faults.latency = 0.03
    async with Load(one) as first, Load(two) as second:
        await first.more(5)
        store_grant(one, sandbox.grant(), expires_at=time.time() - 1)
        await asyncio.gather(first.more(15), second.more(15))
    assert first.is_flawless
    assert second.is_flawless
    assert renewals(sandbox) == 1


@pytest.mark.parametrize(
    ("left", "whole", "is_near"),
    [
        (86401.0, 157_680_000.0, False),
        (86400.0, 157_680_000.0, True),
        (86399.0, 157_680_000.0, True),
        (361.0, 3600.0, False),
        (360.0, 3600.0, True),
        (359.0, 3600.0, True),
        (-1.0, -1.0, True),
    ],
)
async def test_near_is_the_last_day_or_the_last_tenth(
    desk: Desk, left: float, whole: float, is_near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = desk.grant(expires_at=1.0)
    monkeypatch.setattr(desk.identity.token, "lifetime", lambda: (left, whole))
    desk.renewal.renew_if_near_end()
    await desk.renewal.wait_idle()
    assert (desk.identity.token.current().token != old.token) == is_near


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"session_handle": None}, "run `sidecar auth` before that"),
        ({"session_expires_at": 1.0}, "run `sidecar auth` before that"),
        ({}, "it is renewed before that"),
    ],
)
async def test_the_end_of_a_token_is_warned_of_once_a_day(
    desk: Desk, caplog: pytest.LogCaptureFixture, facts: dict[str, Any], said: str
) -> None:
    desk.grant(expires_at=time.time() + 29 * 86400, **facts)
    for _ in range(50):
        desk.renewal.renew_if_near_end()
    (warning,) = logged(caplog)
    assert "ends on" in warning
    assert said in warning
    assert renewals(desk.sandbox) == 0


async def test_a_day_later_the_end_is_warned_of_again(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.grant(expires_at=time.time() + 29 * 86400)
    told = []
    for later in (0.0, 86_399.0, 1.0):
        desk.now += later
        desk.renewal.renew_if_near_end()
        told.append(len(logged(caplog)))
    assert told == [1, 1, 2]
    assert logged(caplog) == [desk.identity.token.expiry_warning()] * 2


@pytest.mark.parametrize(("left", "is_told"), [(30 * 86400.0, True), (30 * 86400.0 + 1, False)])
async def test_the_end_is_warned_of_from_30_days_before_it(
    desk: Desk,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    left: float,
    is_told: bool,
) -> None:
    desk.grant(expires_at=1.0)
    monkeypatch.setattr(desk.identity.token, "lifetime", lambda: (left, 10 * left))
    desk.renewal.renew_if_near_end()
    assert bool(logged(caplog)) == is_told
    monkeypatch.setattr(desk.identity.token, "lifetime", lambda: (30 * 86400.0, 10 * left))
    desk.renewal.renew_if_near_end()
    assert len(logged(caplog)) == 1, "what was not said yet is said when it is due"


async def test_near_its_end_a_token_is_tried_to_be_renewed_no_more_often_than_at_its_end(
    desk: Desk,
) -> None:
    old = desk.grant(expires_at=time.time() - 1)
    desk.sandbox.faults.link_gone = True
    counted = []
    for later in (0.0, 0.5, 0.5, 1.0, 1.0):
        desk.now += later
        desk.identity.token.current()
        desk.renewal.renew_if_near_end()
        await desk.renewal.wait_idle()
        counted.append(renewals(desk.sandbox))
    assert counted == [1, 1, 2, 2, 3]
    assert desk.identity.token.current() == old
    assert desk.troubles.last is not None
    assert desk.troubles.last.problem == "token_not_renewed"


async def test_a_token_with_nothing_to_renew_it_is_not_tried_near_its_end(desk: Desk) -> None:
    desk.grant(expires_at=time.time() - 1, session_handle=None)
    desk.identity.token.current()
    desk.renewal.renew_if_near_end()
    await desk.renewal.wait_idle()
    assert renewals(desk.sandbox) == 0
    assert desk.renewal.error is None


async def test_a_token_without_an_end_is_left_alone(desk: Desk) -> None:
    desk.renewal.renew_if_near_end()
    desk.grant()
    desk.renewal.renew_if_near_end()
    await desk.renewal.wait_idle()
    assert renewals(desk.sandbox) == 0


# ── when it fails ───────────────────────────────────────────────────────────────────────────


async def test_a_session_that_is_over_is_explained_and_jira_is_not_pestered(
    renewable: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    before = renewable.config.token.path.read_bytes()
    sandbox.expire(session=True)
    async with Load(renewable) as done:
        await done.more(30)
    assert done.statuses == {401: done.sent}
    assert renewals(sandbox) <= 2
    assert done.problems == {'token_expired; hint="run `sidecar auth`"'}
    assert renewable.config.token.path.read_bytes() == before
    assert len([line for line in logged(caplog) if "session is over" in line]) == 2
    store_token(renewable.config, sandbox.grant().token)
    assert (await renewable.get(MYSELF)).status == 200


async def test_a_token_without_a_handle_is_explained(
    renewable: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    store_token(renewable.config, sandbox.grant().token)
    sandbox.expire()
    answer = await renewable.get(MYSELF)
    assert answer.status == 401
    assert "sidecar auth" in answer["Sidecar-Problem"]
    assert "Jira gave nothing to renew it with" in logged(caplog)[-1]
    assert renewals(sandbox) == 0


async def test_a_failed_renewal_is_tried_again_after_pauses_that_double(desk: Desk) -> None:
    old = desk.grant()
    desk.sandbox.faults.link_gone = True
    tries = []
    for second in range(200):
        before = renewals(desk.sandbox)
        assert not await desk.renewal.replace(old)
        if renewals(desk.sandbox) > before:
            tries.append(second)
        desk.now += 1
    assert tries == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    desk.sandbox.faults.clear()
    desk.now += 60
    assert await desk.renewal.replace(old)
    desk.renewal.confirm()
    assert desk.renewal.error is None


async def test_the_pauses_begin_anew_once_a_new_token_is_proved(desk: Desk) -> None:
    token = desk.grant()
    for pause in (1, 2):
        assert await desk.renewal.replace(token)
        token = desk.identity.token.current()
        desk.renewal.report_in_vain(token)
        assert desk.renewal.error is not None
        assert not await desk.renewal.replace(token)
        desk.now += pause
    assert await desk.renewal.replace(token)
    desk.renewal.confirm()
    assert desk.renewal.error is None
    token = desk.identity.token.current()
    desk.renewal.report_in_vain(token)
    desk.now += 1
    assert await desk.renewal.replace(token)


async def test_that_an_older_token_was_in_vain_says_nothing_of_the_new_one(desk: Desk) -> None:
    old = desk.grant()
    assert await desk.renewal.replace(old)
    desk.renewal.report_in_vain(old)
    assert desk.renewal.error is None


async def test_while_jira_is_down_the_old_token_stays_and_afterwards_it_is_renewed(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    old = desk.grant()
    port = desk.config.jira.base_url.port
    await desk.sandbox.stop()
    assert not await desk.renewal.replace(old)
    assert "cannot be renewed: Cannot connect" in logged(caplog)[0]
    assert desk.stored == old.token.reveal()
    assert not desk.identity.renewal_mark.is_about(old)
    await desk.sandbox.start(port=port)
    desk.now += 1
    assert await desk.renewal.replace(old)


@pytest.mark.parametrize(("hint", "shown"), [("wait a little", " (wait a little)"), ("", "")])
async def test_a_failed_renewal_is_logged_with_what_to_do_if_there_is_something(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    hint: str,
    shown: str,
) -> None:
    async def fail(*_: object) -> TokenCredentials:
        raise ConnectionLost("Jira went away.", hint)

    monkeypatch.setattr(Authorizer, "renew", fail)
    assert not await desk.renewal.replace(desk.grant())
    assert logged(caplog) == [f"the access token cannot be renewed: Jira went away.{shown}"]


async def test_a_renewal_whose_answer_is_lost_is_remembered(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    old = desk.grant()
    desk.sandbox.faults.reset = True  # after Jira has made the new token
    assert not await desk.renewal.replace(old)
    desk.sandbox.faults.clear()
    assert not desk.is_alive(old)
    assert desk.stored == old.token.reveal()
    assert desk.identity.renewal_mark.is_about(old)
    desk.now += 1
    assert not await desk.renewal.replace(old)  # Jira does not know the old one any more
    assert desk.identity.renewal_mark.is_about(old)
    assert "was cut short" in Identity(desk.config).warnings()[0]
    await desk.renewal.close(60)
    assert not logged(caplog, logging.CRITICAL), "it was not stopped by the end"


async def test_a_token_that_a_renewal_cut_short_has_cost_is_explained(
    renewable: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    identity = renewable.server.identity
    identity.renewal_mark.set(identity.token.current())
    sandbox.revoke()
    answer = await renewable.get(MYSELF)
    assert answer.status == 401
    assert "sidecar auth" in answer["Sidecar-Problem"]
    (line,) = logged(caplog)
    assert "its renewal was cut short" in line


@pytest.mark.parametrize(
    ("error", "is_marked"),
    [
        (RenewedUnseen("a copy came before", ""), True),
        (TLSError("it broke while the answer came", ""), True),
        (ResponseTimeout("silent", ""), True),
        (ConnectionLost("reset", ""), True),
        (NotJira("a page", ""), True),
        (NotAuthorized("the session is over", ""), False),
        (ConfigError("another key", ""), False),
        (ConnectTimeout("no connection", ""), False),
        (ConnectionRefused("nobody listens", ""), False),
        (NameNotResolved("no such name", ""), False),
        (CertificateError("not trusted", ""), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_the_mark_stays_unless_it_is_sure_that_jira_has_kept_the_old_token(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: SidecarError, is_marked: bool
) -> None:
    async def fail(*_: object) -> TokenCredentials:
        raise error

    monkeypatch.setattr(Authorizer, "renew", fail)
    old = desk.grant()
    assert not await desk.renewal.replace(old)
    assert desk.identity.renewal_mark.is_about(old) == is_marked


@pytest.mark.parametrize(
    ("fault", "is_marked"), [({"nonce_used": 1}, True), ({"revoked": True}, True), ({}, False)]
)
async def test_what_jira_answers_to_a_repeated_renewal_leaves_the_mark(
    desk: Desk, fault: dict[str, object], is_marked: bool
) -> None:
    """The first copy may have been answered, and something on the way has the new token."""
    old = desk.grant()
    desk.sandbox.faults.throw(fault)
    assert await desk.renewal.replace(old) != is_marked
    assert desk.identity.renewal_mark.is_about(old) == is_marked
    assert renewals(desk.sandbox) == 1


async def test_two_faults_at_once_do_not_stop_a_renewal(
    renewable: Running, sandbox: Sandbox
) -> None:
    sandbox.expire()
    sandbox.faults.throw({"perceived_scheme": "https", "perceived_port": 443})
    assert (await renewable.get(MYSELF)).status == 200
    sandbox.expire()
    sandbox.faults.throw({"clock_offset": 7200.0})
    assert (await renewable.get(MYSELF)).status == 200
    assert str(renewable.server.identity.signing_url.url).startswith("https://")


async def test_a_token_file_that_was_removed_is_not_brought_back(desk: Desk) -> None:
    old = desk.grant()
    desk.config.token.path.unlink()
    assert not await desk.renewal.replace(old)
    assert renewals(desk.sandbox) == 0
    assert not desk.config.token.path.exists()
    assert desk.renewal.error is None, "there is nothing that could be renewed"


async def test_what_is_no_error_of_ours_reaches_whoever_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*_: object) -> TokenCredentials:
        raise RuntimeError("a fault")

    monkeypatch.setattr(Authorizer, "renew", break_down)
    with pytest.raises(RuntimeError, match="a fault"):
        await desk.renewal.replace(desk.grant())


async def test_a_trouble_is_that_of_the_token_in_use(desk: Desk) -> None:
    old = desk.grant()
    desk.sandbox.faults.link_gone = True
    assert not await desk.renewal.replace(old)
    assert desk.renewal.trouble is desk.renewal.error is not None
    desk.grant()
    assert desk.renewal.trouble is None


# ── storing ─────────────────────────────────────────────────────────────────────────────────


def disk_full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_with_a_full_disk_no_new_token_is_asked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = desk.grant()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk_full)
        assert not await desk.renewal.replace(old)
    assert renewals(desk.sandbox) == 0
    assert desk.stored == old.token.reveal()
    assert desk.is_alive(old)
    assert "the disk is full" in logged(caplog)[0]
    desk.now += 1
    assert await desk.renewal.replace(old)


@pytest.mark.parametrize("obstacle", ["open", "foreign", "read-only"])
async def test_where_the_new_token_could_not_be_stored_none_is_asked_for(
    desk: Desk, obstacle: str
) -> None:
    old = desk.grant()
    path = desk.config.token.path
    if obstacle == "open":
        path.chmod(0o644)
    elif obstacle == "foreign":
        path.write_bytes(path.read_bytes().replace(b"OauthKey", b"OtherKey"))
    else:
        path.with_name(f".{path.name}.lock").mkdir()
    before = path.read_bytes()
    assert not await desk.renewal.replace(old)
    assert renewals(desk.sandbox) == 0
    assert path.read_bytes() == before


async def test_a_token_that_cannot_be_renamed_over_is_not_renewed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one that is mounted by itself: Jira would drop it, and no other could be stored."""
    old = desk.grant()
    with monkeypatch.context() as patch:
        unplaceable(patch)
        assert not await desk.renewal.replace(old)
    assert renewals(desk.sandbox) == 0
    assert desk.is_alive(old)
    assert desk.identity.token.current() == old
    assert "Device or resource busy" in logged(caplog)[0]
    assert "mounted by itself" in logged(caplog)[0]
    assert not desk.identity.renewal_mark.is_about(old)
    desk.now += 1
    assert await desk.renewal.replace(old)


async def test_a_new_token_that_cannot_be_put_in_place_is_kept_beside_it_and_counts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Something is mounted, or made read-only, while Jira is asked."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(renewing, "FIRST_PAUSE", 0.01)
    renew = Authorizer.renew
    old = desk.grant()
    with monkeypatch.context() as patch:

        async def renewing_late(authorizer: Authorizer, used: TokenCredentials) -> TokenCredentials:
            new = await renew(authorizer, used)
            unplaceable(patch)
            return new

        patch.setattr(Authorizer, "renew", renewing_late)
        assert await desk.renewal.replace(old)
        new = desk.identity.token.current()
        assert desk.is_alive(new)
        assert desk.stored == old.token.reveal()
        assert desk.identity.token.unsaved() is None
        restarted = Identity(desk.config)
        assert restarted.token.current() == new
        assert not any("cut short" in warning for warning in restarted.warnings())
        (told,) = logged(caplog, logging.INFO)
        assert told.startswith("the access token was renewed: ")
        assert "is kept in" in told
        assert "tried again and again (" in told
        assert "None" not in told
        assert desk.renewal.trouble is not None
        assert desk.troubles.last is not None
        assert desk.troubles.last.problem == "token_not_renewed"
    await asyncio.wait_for(desk.renewal.wait_saved(), 10)
    assert desk.renewal.trouble is None
    assert desk.stored == new.token.reveal()
    assert desk.identity.token.current() == new
    assert not logged(caplog, logging.CRITICAL)


async def test_a_token_kept_beside_its_place_is_not_said_to_be_lost_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renew = Authorizer.renew
    old = desk.grant()

    async def renewing_late(authorizer: Authorizer, used: TokenCredentials) -> TokenCredentials:
        new = await renew(authorizer, used)
        unplaceable(monkeypatch)
        return new

    monkeypatch.setattr(Authorizer, "renew", renewing_late)
    assert await desk.renewal.replace(old)
    await desk.renewal.close(60)
    assert not logged(caplog, logging.CRITICAL)
    assert desk.is_alive(Identity(desk.config).token.current())


class Obstacle:
    """Lets no token be saved until it is removed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_there = True
        self.tries = 0
        self.tried_often = asyncio.Event()
        """Set by the fourth try."""
        self._saved = asyncio.Event()
        self._save = TokenFile.save
        monkeypatch.setattr(TokenFile, "save", lambda *arguments: self._saving(*arguments))
        monkeypatch.setattr(renewing, "FIRST_PAUSE", 0.01)
        monkeypatch.setattr(renewing, "LONGEST_PAUSE", 0.01)

    def _saving(self, file: TokenFile, credentials: TokenCredentials) -> None:
        self.tries += 1
        if self.tries == 4:
            self.tried_often.set()
        if self.is_there:
            raise StoreError("the disk is broken", "replace it")
        self._save(file, credentials)
        self._saved.set()

    async def remove(self) -> None:
        """Let the next try succeed, and wait for it."""
        self.is_there = False
        await asyncio.wait_for(self._saved.wait(), 5)


async def test_a_new_token_that_cannot_be_stored_is_used_and_stored_as_soon_as_it_can_be(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = desk.grant()
    obstacle = Obstacle(monkeypatch)
    assert await desk.renewal.replace(old)
    new = desk.identity.token.current()
    assert desk.is_alive(new)
    assert desk.stored == old.token.reveal()
    assert "cannot be stored: the disk is broken" in logged(caplog, logging.ERROR)[0]
    assert desk.troubles.last is not None
    assert (desk.troubles.last.problem, desk.troubles.last.hint) == (
        "token_not_renewed",
        "replace it",
    )
    assert desk.renewal.trouble is not None
    await asyncio.wait_for(obstacle.tried_often.wait(), 5)
    assert desk.troubles.last.count > 1, "it still cannot be stored"
    assert "still not stored: the disk is broken" in logged(caplog, logging.ERROR)[1]
    assert desk.identity.token.current() == new
    await obstacle.remove()
    assert desk.stored == new.token.reveal()
    assert desk.renewal.trouble is None
    assert not desk.identity.renewal_mark.is_about(old)
    assert len(logged(caplog, logging.ERROR)) == 2
    assert "stored now" in logged(caplog, logging.INFO)[-1]
    assert not any(new.token.reveal() in line for line in logged(caplog, logging.DEBUG))


async def test_an_error_that_stops_storing_is_told_with_what_to_do(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = desk.grant()
    obstacle = Obstacle(monkeypatch)
    assert await desk.renewal.replace(old)
    (told,) = logged(caplog)
    assert told == (
        "the access token was renewed and cannot be stored: the disk is broken.  It is lost if the"
        " sidecar ends before that; storing it is tried again and again (replace it)"
    )
    await asyncio.wait_for(obstacle.tried_often.wait(), 5)
    assert logged(caplog)[1:] == [
        "the renewed access token is still not stored: the disk is broken"
    ]


async def test_what_is_stored_at_last_is_no_longer_unsaved_though_the_next_renewal_fails(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstacle = Obstacle(monkeypatch)
    monkeypatch.setattr(renewing, "FIRST_PAUSE", 3600.0)
    old = desk.grant_at(obstacle)
    assert await desk.renewal.replace(old)
    first = desk.identity.token.current()
    assert desk.identity.token.unsaved() == first
    obstacle.is_there = False
    desk.sandbox.faults.link_gone = True
    assert not await desk.renewal.replace(first)
    assert desk.stored == first.token.reveal()
    assert desk.identity.token.unsaved() is None


async def test_storing_is_tried_again_after_pauses_that_double_up_to_the_longest(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, loop_clock: LoopClock
) -> None:
    obstacle = Obstacle(monkeypatch)
    obstacle.is_there = False
    old = desk.grant()
    obstacle.is_there = True
    monkeypatch.setattr(renewing, "FIRST_PAUSE", 1000.0)
    monkeypatch.setattr(renewing, "LONGEST_PAUSE", 3000.0)
    assert await desk.renewal.replace(old)
    await turns(5)
    tried_at = []
    for passed in range(500, 12_001, 500):
        before = obstacle.tries
        await loop_clock.skip(500.0)
        if obstacle.tries > before:
            tried_at.append(passed)
    assert tried_at == [1000, 3000, 6000, 9000, 12_000]


async def test_until_it_is_stored_the_next_start_would_know(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = desk.grant()
    obstacle = Obstacle(monkeypatch)
    await desk.renewal.replace(old)
    assert "was cut short" in Identity(desk.config).warnings()[0]
    await obstacle.remove()
    assert Identity(desk.config).warnings() == []


async def test_a_sign_in_in_the_meantime_counts_more_than_an_unstored_token(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = desk.grant()
    obstacle = Obstacle(monkeypatch)
    await desk.renewal.replace(old)
    obstacle.is_there = False
    signed_in = desk.grant()
    await desk.renewal.close(60)
    assert desk.stored == signed_in.token.reveal()
    assert desk.identity.token.current() == signed_in


async def test_no_second_token_is_asked_for_while_the_first_is_not_stored(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstacle = Obstacle(monkeypatch)
    obstacle.is_there = False
    old = desk.grant()
    obstacle.is_there = True
    assert await desk.renewal.replace(old)
    first = desk.identity.token.current()
    assert not await desk.renewal.replace(first)
    assert renewals(desk.sandbox) == 1
    obstacle.is_there = False
    desk.now += 1
    assert await desk.renewal.replace(first)
    assert desk.stored == desk.identity.token.current().token.reveal() != first.token.reveal()


async def test_an_unstored_token_is_stored_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = desk.grant()
    obstacle = Obstacle(monkeypatch)
    monkeypatch.setattr(renewing, "FIRST_PAUSE", 3600.0)
    await desk.renewal.replace(old)
    obstacle.is_there = False
    tasks = asyncio.all_tasks()
    await desk.renewal.close(60)
    assert desk.stored == desk.identity.token.current().token.reveal() != old.token.reveal()
    assert len(asyncio.all_tasks()) == len(tasks) - 1, "nobody goes on trying"


async def test_a_token_that_is_lost_at_the_end_is_said_to_be(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = desk.grant()
    Obstacle(monkeypatch)
    await desk.renewal.replace(old)
    await desk.renewal.close(60)
    (line,) = logged(caplog, logging.CRITICAL)
    assert "could not be stored" in line
    assert "sidecar auth" in line
    assert desk.stored == old.token.reveal()


# ── at the end of the process ───────────────────────────────────────────────────────────────


class Answering:
    """A Jira whose answer to a renewal waits until a test lets it go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self._renew = Authorizer.renew
        monkeypatch.setattr(Authorizer, "renew", lambda *given: self._wait(*given))

    async def _wait(self, authorizer: Authorizer, old: TokenCredentials) -> TokenCredentials:
        self.asked.set()
        await self.go.wait()
        return await self._renew(authorizer, old)


async def test_the_end_waits_for_a_renewal_and_stores_what_it_brings(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = desk.grant()
    jira = Answering(monkeypatch)
    renewing_it = asyncio.create_task(desk.renewal.replace(old))
    await jira.asked.wait()
    closing = asyncio.create_task(desk.renewal.close(PATIENCE))
    await turns(10)
    assert not closing.done()
    jira.go.set()
    await closing
    assert await renewing_it
    assert desk.stored == desk.identity.token.current().token.reveal() != old.token.reveal()
    assert not desk.identity.renewal_mark.is_about(old)


async def test_the_end_does_not_wait_for_ever_and_the_next_start_knows(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = desk.grant()
    jira = Answering(monkeypatch)
    desk.identity.token.current()
    renewing_it = asyncio.create_task(desk.renewal.replace(old))
    await jira.asked.wait()
    await desk.renewal.close(0)
    assert sorted(os.listdir(desk.config.token.path.parent)) == [
        ".token.json.lock",
        ".token.json.renewal",
        "token.json",
    ], "the room that was reserved is given back"
    assert not await renewing_it
    (line,) = logged(caplog, logging.CRITICAL)
    assert "stopped while Jira was asked" in line
    assert desk.stored == old.token.reveal()
    assert desk.identity.renewal_mark.is_about(old)
    async with desk.identity.token_file.locked(0):
        pass
    assert "was cut short" in Identity(desk.config).warnings()[0]


async def test_a_renewal_that_only_waits_for_another_process_costs_nothing_at_the_end(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    old = desk.grant(expires_at=time.time() - 1)
    async with desk.identity.token_file.locked():
        desk.renewal.renew_if_near_end()
        await turns(5)
        await desk.renewal.close(0)
    assert not logged(caplog, logging.CRITICAL)
    assert not desk.identity.renewal_mark.is_about(old)


async def test_an_upload_waits_for_a_renewal_only_while_that_is_new(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = desk.grant(expires_at=time.time() - 1)
    jira = Answering(monkeypatch)
    assert not desk.renewal.has_just_begun
    desk.renewal.renew_if_near_end()
    await jira.asked.wait()
    assert desk.renewal.has_just_begun
    waiting = asyncio.create_task(desk.renewal.wait_while_new())
    await turns(5)
    assert not waiting.done()
    desk.now += 4.5
    assert desk.renewal.has_just_begun
    desk.now += 0.5
    assert not desk.renewal.has_just_begun
    await desk.renewal.wait_while_new()  # at once
    jira.go.set()
    await waiting
    assert desk.identity.token.current().token != old.token
    assert not desk.renewal.has_just_begun


async def test_whoever_waits_for_a_renewal_has_what_it_brought_on_disk(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock's patience counts for other processes alone."""
    await desk.renewal.wait_saved()  # at once: there is nothing to wait for
    monkeypatch.setattr(renewing, "LOCK_PATIENCE", 0.0)
    obstacle = Obstacle(monkeypatch)
    old = desk.grant_at(obstacle)
    jira = Answering(monkeypatch)
    replacing = asyncio.create_task(desk.renewal.replace(old))
    await jira.asked.wait()
    replaced = asyncio.create_task(desk.renewal.wait_replaced(old))
    saved = asyncio.create_task(desk.renewal.wait_saved())
    await turns(10)
    assert not replaced.done()
    jira.go.set()
    assert await replacing
    assert await replaced
    assert not saved.done()
    obstacle.is_there = False
    await asyncio.wait_for(saved, 5)
    assert desk.stored == desk.identity.token.current().token.reveal() != old.token.reveal()


# ── another process ─────────────────────────────────────────────────────────────────────────


async def test_a_rejected_token_waits_for_the_process_that_is_renewing_it(
    desk: Desk, sandbox: Sandbox
) -> None:
    old = desk.grant()
    other = Desk(sandbox, desk.config)
    async with other.identity.token_file.locked():
        waiting = asyncio.create_task(desk.renewal.wait_replaced(old))
        done, _ = await asyncio.wait([waiting], timeout=0.02)
        assert not done
        store_token(desk.config, "NEW")
    assert await waiting
    await other.close()


async def test_a_lock_that_is_never_given_up_holds_nobody_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = desk.grant()
    monkeypatch.setattr(renewing, "LOCK_PATIENCE", 0.02)
    async with TokenFile(
        desk.config.token.path, desk.config.jira.base_url, desk.config.jira.consumer_key
    ).locked():
        assert not await desk.renewal.wait_replaced(old)


async def test_each_waits_for_another_process_as_long_as_it_can(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, loop_clock: LoopClock
) -> None:
    """A request waits for seconds, the background for a minute, the end for one second."""
    waited: list[float] = []
    locked = TokenFile.locked

    def noting(file: TokenFile, patience: float = 60) -> AbstractAsyncContextManager[None]:
        waited.append(patience)
        return locked(file, patience)

    monkeypatch.setattr(TokenFile, "locked", noting)
    old = desk.grant()
    assert not await desk.renewal.wait_replaced(old)
    assert waited == [10.0]
    obstacle = Obstacle(monkeypatch)
    assert await desk.renewal.replace(old)
    await turns(5)
    tries = len(waited), obstacle.tries
    await loop_clock.skip(1.0)
    await until(lambda: obstacle.tries > tries[1])
    assert {*waited[tries[0] :]} == {60.0}
    await desk.renewal.close(60)
    assert waited[-1] == 1.0


# ── killed ──────────────────────────────────────────────────────────────────────────────────

MOST_STEPS = 100


async def test_killed_at_any_step_it_leaves_the_old_or_the_new_token_whole(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Where the old one is on disk and Jira has dropped it, the next start says so."""
    key = keys.generate_private_key(1024)  # read in a tenth of the time of one of 2048 bits
    sandbox.public_key = key.public_key()
    configs, old = [], []
    for number in range(MOST_STEPS):
        configs.append(make_config(sandbox.url, tmp_path / str(number), key))
        grant = sandbox.grant()
        store_token(configs[-1], grant.token, session_handle=Secret(grant.session_handle))
        old.append(grant.token)
    steps = await killed(configs)
    assert steps[-1] == "done"
    outcomes: list[str] = []
    for config, token in zip(configs[: len(steps)], old, strict=False):
        identity = Identity(config)
        stored = identity.token.current().token.reveal()
        is_alive = stored in sandbox.provider.access_tokens
        if stored == token:
            outcomes.append("old" if is_alive else "dead")
        else:
            outcomes.append("new")
            assert is_alive
        is_said = any("was cut short" in warning for warning in identity.warnings())
        assert is_said or outcomes[-1] != "dead"
        assert not is_said or outcomes[-1] != "new"
    told = list(zip(steps, outcomes, strict=True))
    assert {"old", "dead", "new"} == set(outcomes), told
    assert outcomes == sorted(outcomes, key=["old", "dead", "new"].index), told


async def killed(configs: list[Config]) -> list[str]:
    """Renew in processes that kill themselves a step later each; the steps in their order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.renewing",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    values = [
        {
            "jira.base_url": str(config.jira.base_url),
            "jira.consumer_key": config.jira.consumer_key,
            "jira.private_key": str(config.jira.private_key),
            "token.path": str(config.token.path),
        }
        for config in configs
    ]
    out, _ = await process.communicate(json.dumps(values).encode())
    assert process.returncode == 0
    return out.decode().splitlines()


# ── one file on shared storage ──────────────────────────────────────────────────────────────


def swap_unseen(path: Path, token: TokenCredentials, grant: Any) -> None:
    """Store another token so that the file looks as before, as NFS shows it for up to a minute."""
    document = json.loads(path.read_bytes())
    document |= {"token": grant.token, "session_handle": grant.session_handle}
    before, data = os.stat(path), json.dumps(document, indent=2).encode() + b"\n"
    assert len(data) == before.st_size
    with path.open("r+b") as stream:
        stream.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert token.token.reveal() not in path.read_text()


@pytest.mark.parametrize("refusal", ["token_rejected", "token_expired"])
async def test_after_a_refusal_the_file_is_read_again_whatever_its_times_say(
    renewable: Running, sandbox: Sandbox, refusal: str
) -> None:
    assert (await renewable.get(MYSELF)).status == 200
    token = renewable.server.identity.token.current()
    sandbox.expire()
    if refusal == "token_rejected":
        sandbox.revoke()
    swap_unseen(renewable.config.token.path, token, sandbox.grant())
    assert renewable.server.identity.token.current() == token  # nothing is to be seen
    before = renewals(sandbox)
    assert (await renewable.get(MYSELF)).status == 200
    assert renewals(sandbox) == before


async def test_under_the_lock_a_token_of_another_machine_is_seen_before_jira_is_asked(
    desk: Desk,
) -> None:
    used = desk.grant()
    swap_unseen(desk.config.token.path, used, desk.sandbox.grant())
    before = renewals(desk.sandbox)
    desk.renewal._start(used)
    await desk.renewal.wait_idle()
    assert renewals(desk.sandbox) == before
    assert desk.identity.token.current().token.reveal() == desk.stored


async def test_a_file_that_is_broken_is_reported_once_however_many_are_refused(
    renewable: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await renewable.get(MYSELF)).status == 200
    sandbox.revoke()
    renewable.config.token.path.write_bytes(b"{}")
    for _ in range(3):
        assert (await renewable.get(MYSELF)).status == 401
    assert caplog.text.count("going on with the token from before") == 1
