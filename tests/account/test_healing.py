"""What is learnt from a problem, and when a request may be sent again because of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.authorize import Authorizer
from sidecar.account.healing import SEND_AGAIN, Healer
from sidecar.account.identity import Identity
from sidecar.account.renewal import IN_VAIN
from sidecar.account.request_signer import Signed
from sidecar.config.load import Config
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import SidecarError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.http.target import BaseURL
from sidecar.jira.problems import Problem
from sidecar.sandbox import Sandbox
from sidecar.signing.signature import percent_encode
from sidecar.telemetry.troubles import Troubles
from sidecar.upstream.pool import Upstream
from tests.conftest import MakeSidecar, Running, make_config, store_token
from tests.support.loading import MYSELF, renewals, store_grant
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import SOON, until
from tests.support.wire import turns

UPLOAD = 300_000
FORM = ("Content-Type", "application/x-www-form-urlencoded")
STATUS = "/_sidecar/status"


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sidecar") and record.levelno >= logging.WARNING
    ]


# ── what is learnt ──────────────────────────────────────────────────────────────────────────


class Desk:
    """A healer without a sidecar around."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.identity = Identity(config)
        self.upstream = Upstream(config)
        self.troubles = Troubles()
        authorizer = Authorizer(self.identity, self.upstream, config.timeouts.response)
        self.now = 1000.0
        self.healer = Healer(self.identity, authorizer, self.troubles, clock=lambda: self.now)
        self.is_safe = False

    def sign(self, url: BaseURL | None = None) -> Signed:
        return self.identity.sign("GET", "/jira/rest/api/2/myself", [], url)

    async def heals(self, name: str, signed: Signed | None = None, **parameters: str) -> bool:
        problem = Problem(name, parameters)
        url = await self.healer.heal(problem, signed or self.sign(), [], is_safe=self.is_safe)
        return url is not None


@pytest.fixture
async def desk(sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[Desk]:
    config = make_config(sandbox.url, tmp_path, private_key)
    store_token(config, sandbox.grant().token)
    desk = Desk(config)
    yield desk
    await desk.healer.close(60)
    await desk.upstream.close()


async def test_jiras_time_is_learnt(desk: Desk) -> None:
    assert not await desk.heals("timestamp_refused")
    now = int(time.time()) + 4000
    span = f"{now - 300}-{now + 300}"
    assert await desk.heals("timestamp_refused", oauth_acceptable_timestamps=span)
    assert desk.identity.clock_difference == pytest.approx(4000, abs=2)
    date = [(b"date", formatdate(now + 1000, usegmt=True).encode())]
    assert await desk.healer.heal(Problem("timestamp_refused"), desk.sign(), date, is_safe=False)
    assert desk.identity.clock_difference == pytest.approx(5000, abs=2)


async def test_a_used_nonce_is_replaced_where_doing_it_twice_does_no_harm(desk: Desk) -> None:
    assert not await desk.heals("nonce_used")
    desk.is_safe = True
    assert await desk.heals("nonce_used")


@pytest.mark.parametrize("offset", [-400, -301, -299, 0, 299, 302, 400])
async def test_a_time_proves_nothing_if_it_was_right_when_the_request_was_signed(
    desk: Desk, offset: int
) -> None:
    """Then the request came late, and a copy of it may have come in time before."""
    signed = desk.sign()
    middle = int(time.time()) + offset
    span = f"{middle - 300}-{middle + 300}"
    is_proved = abs(offset) > 300
    assert await desk.heals("timestamp_refused", signed, oauth_acceptable_timestamps=span) == (
        is_proved
    )
    problem = Problem("timestamp_refused")
    sentence, hint = desk.healer.explanation(problem, signed, is_safe=False)
    assert ("may have been acted upon" in sentence) != is_proved
    assert ("may have been acted upon" in hint) != is_proved
    assert desk.healer.explanation(problem, signed, is_safe=True) == ("", "")
    desk.is_safe = True
    assert await desk.heals("timestamp_refused", signed, oauth_acceptable_timestamps=span)


@pytest.mark.parametrize("name", ["token_rejected", "token_revoked"])
async def test_a_rejected_token_is_healed_by_a_newer_one_on_disk(desk: Desk, name: str) -> None:
    signed = desk.sign()
    assert not await desk.heals(name, signed)
    store_token(desk.config, "NEWER")
    assert await desk.heals(name, signed)
    token = desk.sign().token
    assert token is not None
    assert token.token == Secret("NEWER")
    assert not await desk.heals(name)


async def test_an_expired_token_is_healed_by_a_newer_one_on_disk_too(
    desk: Desk, sandbox: Sandbox
) -> None:
    signed = desk.sign()
    store_token(desk.config, "NEWER")
    assert await desk.heals("token_expired", signed)
    assert renewals(sandbox) == 0


@pytest.mark.parametrize(
    "name",
    [
        "parameter_absent",
        "parameter_rejected",
        "version_rejected",
        "signature_method_rejected",
        "consumer_key_unknown",
        "consumer_key_refused",
        "permission_denied",
        "additional_authorization_required",
        "anonymous",
        "user_may_not_log_in",
        "not_jira",
        "unreadable",
        "what_nobody_knows",
    ],
)
async def test_nothing_else_is_sent_again(desk: Desk, name: str) -> None:
    assert not await desk.heals(name)
    assert desk.healer.explanation(Problem(name), desk.sign(), is_safe=True) == ("", "")


async def test_a_url_is_believed_only_after_the_second_try(desk: Desk) -> None:
    inside = BaseURL.parse("http://inside:8080/jira")
    signed = desk.sign()
    problem = invalid_at(inside, signed)
    assert await desk.healer.heal(problem, signed, [], is_safe=False) == inside
    assert desk.identity.signing_url.url == desk.config.jira.base_url
    desk.healer.tried(problem, desk.sign(inside), problem)
    assert desk.identity.signing_url.url == desk.config.jira.base_url
    assert not desk.troubles.heals
    desk.healer.tried(problem, desk.sign(inside), None)
    assert desk.identity.signing_url.url == inside
    assert desk.troubles.heals == {"signature_invalid": 1}


async def test_a_second_try_that_meets_another_problem_has_healed_the_first(desk: Desk) -> None:
    inside = BaseURL.parse("http://inside:8080/jira")
    first, second = Problem("signature_invalid"), Problem("anonymous")
    desk.healer.tried(first, desk.sign(inside), second)
    assert desk.identity.signing_url.url == inside
    assert not desk.troubles.heals


async def test_a_second_try_for_another_reason_says_nothing_about_the_url(desk: Desk) -> None:
    signed = desk.sign()
    inside = BaseURL.parse("http://inside:8080/jira")
    desk.healer.believe(inside)  # learnt by another request in the meantime
    desk.healer.tried(Problem("nonce_used"), signed, Problem("signature_invalid"))
    assert desk.identity.signing_url.url == inside


async def test_nor_does_it_say_anything_about_the_token(desk: Desk) -> None:
    desk.healer.tried(Problem("nonce_used"), desk.sign(), Problem("nonce_used"))
    assert desk.healer.renewal.error is None
    desk.healer.renewal.error = error = SidecarError("failed before")
    desk.healer.tried(Problem("nonce_used"), desk.sign(), None)
    assert desk.healer.renewal.error is error
    assert desk.troubles.heals == {"nonce_used": 1}


@pytest.mark.parametrize("second", [None, Problem("anonymous")])
async def test_a_renewed_token_that_jira_takes_ends_the_pauses(
    desk: Desk, second: Problem | None
) -> None:
    """Whatever else is wrong with the second try: it is not the token's end any more."""
    desk.healer.renewal.error = SidecarError("failed before")
    desk.healer.tried(Problem("token_expired"), desk.sign(), second)
    assert desk.healer.renewal.error is None
    assert desk.troubles.heals == ({"token_expired": 1} if second is None else {})


async def test_a_renewed_token_that_jira_calls_expired_was_in_vain(
    desk: Desk, sandbox: Sandbox
) -> None:
    """No other is made for every request: the next try has to wait."""
    grant = sandbox.grant()
    store_token(desk.config, grant.token, session_handle=Secret(grant.session_handle))
    expired = Problem("token_expired")
    first = desk.sign()
    assert await desk.heals("token_expired", first)
    second = desk.sign()
    assert second.token != first.token
    desk.healer.tried(expired, second, expired)
    assert desk.healer.renewal.error is IN_VAIN
    assert desk.healer.explanation(expired, second, is_safe=True)[1] == IN_VAIN.hint
    assert not await desk.heals("token_expired", second)
    assert renewals(sandbox) == 1
    assert not desk.troubles.heals


async def test_that_a_token_which_was_replaced_since_is_expired_says_nothing_of_the_new_one(
    desk: Desk,
) -> None:
    old = desk.sign()
    store_token(desk.config, "NEWER")
    desk.healer.tried(Problem("token_expired"), old, Problem("token_expired"))
    assert desk.healer.renewal.error is None


async def test_a_renewal_that_was_cut_short_explains_why_a_token_is_not_known(desk: Desk) -> None:
    signed = desk.sign()
    assert desk.healer.explanation(Problem("token_rejected"), signed, is_safe=True) == ("", "")
    desk.identity.renewal_mark.set(desk.identity.token.current())
    for name in ("token_rejected", "token_revoked"):
        sentence, hint = desk.healer.explanation(Problem(name), signed, is_safe=True)
        assert "its renewal was cut short" in sentence
        assert "sidecar auth" in hint
    assert desk.healer.explanation(Problem("anonymous"), signed, is_safe=True) == ("", "")


async def test_a_token_that_another_machine_stored_was_most_likely_renewed_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = desk.sign()
    monkeypatch.setattr(desk.identity.token_file, "other_machine", lambda: "there")
    sentence, hint = desk.healer.explanation(Problem("token_rejected"), signed, is_safe=True)
    assert "it was stored on there, another machine" in sentence
    assert "run `sidecar auth` here" in hint
    assert desk.healer.explanation(Problem("anonymous"), signed, is_safe=True) == ("", "")
    desk.identity.renewal_mark.set(desk.identity.token.current())
    sentence, _ = desk.healer.explanation(Problem("token_rejected"), signed, is_safe=True)
    assert "its renewal was cut short" in sentence, "of two causes the one that is sure"


async def test_a_token_that_is_not_renewed_is_explained_by_why(desk: Desk) -> None:
    expired = Problem("token_expired")
    said = "Our token has come to its end and cannot be renewed."
    explained = desk.healer.explanation(expired, desk.sign(), is_safe=True)
    assert explained == (f"{said} {IN_VAIN.message}", IN_VAIN.hint)
    desk.healer.renewal.error = SidecarError("The disk is broken.", "replace it")
    explained = desk.healer.explanation(expired, desk.sign(), is_safe=True)
    assert explained == (f"{said} The disk is broken.", "replace it")


@pytest.mark.parametrize("name", ["token_rejected", "token_expired"])
async def test_only_what_is_wrong_with_the_token_takes_time(desk: Desk, name: str) -> None:
    assert desk.healer.takes_time(Problem(name))
    for other in ("nonce_used", "timestamp_refused", "signature_invalid", "anonymous"):
        assert not desk.healer.takes_time(Problem(other))


async def test_jira_is_asked_about_a_key_that_is_to_follow_once_in_ten_seconds(
    desk: Desk, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    """However many requests are refused meanwhile, and for as long as Jira does not take it."""
    invalid = Problem("signature_invalid")
    assert not desk.healer.takes_time(invalid)
    assert not await desk.heals("signature_invalid")
    assert len(sandbox.log) == 0, "there is no such key"
    assert desk.identity.next_key.add(other_key)
    assert desk.healer.takes_time(invalid)
    healed = await asyncio.gather(*(desk.heals("signature_invalid") for _ in range(5)))
    assert (healed, len(sandbox.log)) == ([False] * 5, 1)
    desk.now += 9.9
    assert not await desk.heals("signature_invalid")
    assert len(sandbox.log) == 1
    sandbox.public_key = other_key.public_key()
    desk.now += 0.1
    healed = await asyncio.gather(*(desk.heals("signature_invalid") for _ in range(5)))
    assert (healed, len(sandbox.log)) == ([True] * 5, 2)
    assert desk.identity.fingerprint == keys.fingerprint(other_key)
    assert desk.healer.has_new_key
    assert not desk.healer.takes_time(invalid), "it is in use"


async def test_jira_that_cannot_be_asked_about_the_key_has_not_taken_it(
    desk: Desk, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    assert desk.identity.next_key.add(other_key)
    sandbox.faults.unavailable = True
    assert not await desk.heals("signature_invalid")
    assert len(sandbox.log) == 1
    assert not await desk.heals("signature_invalid")
    assert len(sandbox.log) == 1, "after a pause, too"
    assert not desk.healer.has_new_key


async def test_what_the_key_from_before_has_signed_is_signed_again_by_the_new_one(
    desk: Desk, other_key: RSAPrivateKey
) -> None:
    before = desk.sign()
    assert not await desk.heals("signature_invalid", before)
    assert desk.identity.next_key.add(other_key)
    desk.identity.adopt(other_key)
    assert await desk.heals("signature_invalid", before)
    assert await desk.heals("key_size_mismatch", before)
    assert not await desk.heals("permission_denied", before), "this is no matter of the key"
    inside = BaseURL.parse("http://inside:8080/jira")
    assert await desk.healer.heal(invalid_at(inside, before), before, [], is_safe=False) == inside


def invalid_at(url: BaseURL, signed: Signed) -> Problem:
    """What a Jira says that believes in another URL than a request was signed for."""
    ours, theirs = (percent_encode(str(one)) for one in (signed.url, url))
    base_string = signed.base_string.decode().replace(ours, theirs)
    return Problem("signature_invalid", {"oauth_signature_base_string": base_string})


async def test_a_key_that_was_exchanged_on_disk_heals_what_was_signed_before(
    desk: Desk, other_key: RSAPrivateKey
) -> None:
    before = desk.sign()
    write_private(desk.config.jira.private_key, keys.private_key_pem(other_key))
    assert await desk.heals("signature_invalid", before)
    assert desk.identity.fingerprint == keys.fingerprint(other_key)


@pytest.mark.parametrize("name", ["token_rejected", "token_expired"])
async def test_what_is_signed_without_a_token_has_none_to_be_healed(desk: Desk, name: str) -> None:
    signed = desk.identity.request_signer.prepare("GET", "/jira/x", [], None).sign()
    assert not await desk.heals(name, signed)
    desk.healer.tried(Problem(name), signed, Problem(name))
    assert desk.healer.renewal.error is None


async def test_a_short_request_shows_whether_a_long_ones_signature_was_wrong(
    desk: Desk, sandbox: Sandbox
) -> None:
    assert await desk.healer.probe(desk.sign()) is None
    sandbox.faults.perceived_port = 1
    assert await desk.healer.probe(desk.sign()) == Problem("signature_invalid")
    assert desk.identity.signing_url.url.port == 1
    assert await desk.healer.probe(desk.sign()) is None


async def test_a_key_that_is_to_follow_is_tried_where_the_short_request_is_refused(
    desk: Desk, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    assert desk.identity.next_key.add(other_key)
    assert await desk.healer.probe(desk.sign()) is None
    assert len(sandbox.log) == 1, "the key in use is good"
    sandbox.public_key = other_key.public_key()
    assert await desk.healer.probe(desk.sign()) == Problem("signature_invalid")
    assert desk.identity.fingerprint == keys.fingerprint(other_key)
    assert await desk.healer.probe(desk.sign()) is None


async def test_nothing_is_asked_about_a_request_without_a_token(
    desk: Desk, sandbox: Sandbox
) -> None:
    sandbox.faults.perceived_port = 1
    unsigned = desk.identity.request_signer.prepare("GET", "/jira/x", [], None).sign()
    assert await desk.healer.probe(unsigned) is None
    assert not sandbox.log


async def test_a_jira_that_does_not_answer_leaves_the_long_requests_answer_as_it_is(
    desk: Desk, sandbox: Sandbox
) -> None:
    sandbox.faults.reset = True
    assert await desk.healer.probe(desk.sign()) is None
    assert sandbox.log


async def test_the_end_waits_for_a_renewal_under_way(
    desk: Desk, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    renew = Authorizer.renew

    async def renewing(authorizer: Authorizer, old: TokenCredentials) -> TokenCredentials:
        asked.set()
        await go.wait()
        return await renew(authorizer, old)

    monkeypatch.setattr(Authorizer, "renew", renewing)
    grant = sandbox.grant()
    store_token(desk.config, grant.token, session_handle=Secret(grant.session_handle))
    healing = asyncio.create_task(desk.heals("token_expired"))
    await asked.wait()
    closing = asyncio.create_task(desk.healer.close(60))
    await turns(5)
    assert not closing.done()
    go.set()
    await closing
    assert await healing
    assert desk.identity.token.current().token != Secret(grant.token)


# ── what is sent again ──────────────────────────────────────────────────────────────────────

HEALABLE: dict[str, dict[str, object]] = {
    "clock": {"clock_offset": 7200.0},
    "URL": {"perceived_scheme": "https", "perceived_port": 443},
}


@pytest.mark.parametrize("switches", HEALABLE.values(), ids=HEALABLE.keys())
async def test_a_post_that_jira_refused_is_sent_again_and_acts_once(
    sidecar: Running, sandbox: Sandbox, switches: dict[str, object]
) -> None:
    sandbox.faults.throw(switches)
    answer = await sidecar.post_json("/rest/api/2/issue/JJ-2/comment", {"body": "once"})
    assert answer.status == 201
    comments = (await sidecar.get("/rest/api/2/issue/JJ-2/comment")).json()["comments"]
    assert [comment["body"] for comment in comments].count("once") == 1
    assert [r.verdict == "ok" for r in sandbox.log] == [False, True, True]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
async def test_what_a_gateway_has_repeated_is_sent_again_only_if_it_is_safe(
    sidecar: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """Jira answers the second copy with nonce_used, whatever it did for the first."""
    sandbox.faults.nonce_used = 1
    body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
    answer = await sidecar.request(method, "/_sandbox/echo", body=body)
    if method in ("GET", "HEAD", "OPTIONS"):
        assert (answer.status, len(sandbox.log)) == (200, 2)
        return
    assert (answer.status, len(sandbox.log)) == (401, 1)
    assert answer["Sidecar-Problem"].startswith('nonce_used; hint="the first copy may have been')
    assert "is not sent again" in logged(caplog)[0]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_so_are_the_other_methods(sidecar: Running, sandbox: Sandbox, method: str) -> None:
    sandbox.faults.clock_offset = 7200.0
    answer = await sidecar.request(method, "/_sandbox/echo", body=b"x" * 1000)
    assert (answer.status, answer.json()["body_length"]) == (200, 1000)


async def test_a_form_of_any_size_is_sent_again(sidecar: Running, sandbox: Sandbox) -> None:
    sandbox.faults.clock_offset = 7200.0
    answer = await sidecar.request("POST", "/_sandbox/echo", FORM, body=b"a=" + b"x" * UPLOAD)
    assert (answer.status, answer.json()["body_length"]) == (200, UPLOAD + 2)


@pytest.mark.parametrize("switches", HEALABLE.values(), ids=HEALABLE.keys())
async def test_of_streamed_uploads_at_most_the_first_fails(
    sidecar: Running, sandbox: Sandbox, switches: dict[str, object]
) -> None:
    sandbox.faults.throw(switches)
    first = await sidecar.request("POST", "/_sandbox/echo", body=b"x" * UPLOAD)
    assert first.status in (400, 401)
    assert SEND_AGAIN in first["Sidecar-Problem"]
    for _ in range(2):
        answer = await sidecar.request("POST", "/_sandbox/echo", body=b"x" * UPLOAD)
        assert (answer.status, answer.json()["body_length"]) == (200, UPLOAD)


async def test_of_streamed_uploads_at_most_the_first_meets_an_expired_token(
    sidecar: Running, sandbox: Sandbox
) -> None:
    store_grant(sidecar, sandbox.grant())
    await sidecar.get(MYSELF)
    sandbox.expire()
    first = await sidecar.request("POST", "/_sandbox/echo", body=b"x" * UPLOAD)
    assert SEND_AGAIN in first["Sidecar-Problem"]
    answer = await sidecar.request("POST", "/_sandbox/echo", body=b"x" * UPLOAD)
    assert (answer.status, answer.json()["body_length"]) == (200, UPLOAD)


async def test_an_upload_waits_for_a_renewal_under_way(
    sidecar: Running, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped, go = asyncio.Event(), asyncio.Event()
    renew = Authorizer.renew

    async def renewing(authorizer: Authorizer, old: TokenCredentials) -> TokenCredentials:
        new = await renew(authorizer, old)
        dropped.set()
        await go.wait()
        return new

    monkeypatch.setattr(Authorizer, "renew", renewing)
    store_grant(sidecar, sandbox.grant(), expires_at=time.time() - 1)
    get = asyncio.create_task(sidecar.get(MYSELF))
    async with asyncio.timeout(SOON), await sidecar.wire() as wire:
        await dropped.wait()
        await wire.send(sidecar.message("POST", "/_sandbox/echo", body=b"x" * UPLOAD))
        await sidecar.get(STATUS)  # the upload has come by now
        go.set()
        answer = await wire.receive()
        assert (answer.status, answer.json()["body_length"]) == (200, UPLOAD)
        assert (await get).status == 200


async def test_what_waits_for_a_renewal_leaves_its_slot_to_others(
    make_sidecar: MakeSidecar, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads that come while Jira is silent about a renewal, and requests that need it."""
    sidecar = await make_sidecar(sandbox.url, limits__connections=1, limits__waiting=5)
    asked, go = asyncio.Event(), asyncio.Event()
    renew = Authorizer.renew

    async def renewing(authorizer: Authorizer, old: TokenCredentials) -> TokenCredentials:
        asked.set()
        await go.wait()
        return await renew(authorizer, old)

    monkeypatch.setattr(Authorizer, "renew", renewing)
    store_grant(sidecar, sandbox.grant(), expires_at=time.time() - 1)
    assert (await sidecar.get(MYSELF)).status == 200
    await asked.wait()
    async with await sidecar.wire() as wire:
        await wire.send(sidecar.message("POST", "/_sandbox/echo", body=b"x" * UPLOAD))
        await until(lambda: sidecar.server.generations[-1].waiting == 1)
        assert (await sidecar.get(MYSELF)).status == 200, "the upload has left it the only slot"
        sandbox.expire()
        expired = [asyncio.create_task(sidecar.get(MYSELF)) for _ in range(3)]
        slots = sidecar.server.generations[-1]._proxy.slots
        await until(lambda: (slots.waiting, slots.in_use) == (4, 0))
        go.set()
        answer = await wire.receive()
        assert (answer.status, answer.json()["body_length"]) == (200, UPLOAD)
        assert {(await get).status for get in expired} == {200}


@pytest.mark.parametrize(
    ("method", "tries"), [("GET", 2), ("HEAD", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1)]
)
async def test_a_lost_connection_is_no_reason_to_act_twice(
    sidecar: Running, sandbox: Sandbox, method: str, tries: int
) -> None:
    sandbox.faults.reset = True
    body = b"{}" if method in ("POST", "PUT") else b""
    answer = await sidecar.request(method, "/_sandbox/echo", body=body)
    assert answer.status == 502
    assert len(sandbox.log) == tries


async def test_a_second_try_is_the_last(sidecar: Running, sandbox: Sandbox) -> None:
    sandbox.faults.nonce_used = 2
    answer = await sidecar.get(MYSELF)
    assert answer.status == 401
    assert answer["Sidecar-Problem"].startswith("nonce_used; ")
    assert len(sandbox.log) == 2
    nonces = {r.fields.get("authorization").partition("oauth_nonce=")[2][:40] for r in sandbox.log}
    assert len(nonces) == 2


# ── what is said ────────────────────────────────────────────────────────────────────────────


async def test_a_wrongly_perceived_url_is_said_once_and_forgotten_when_it_is_mended(
    sidecar: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults.throw({"perceived_scheme": "https", "perceived_host": "jira.corp"})
    for _ in range(10):
        assert (await sidecar.get(MYSELF)).status == 200
    (line,) = logged(caplog)
    port = sidecar.config.jira.base_url.port
    assert f'scheme="http" secure="false" proxyName="127.0.0.1" proxyPort="{port}"' in line
    assert 'jira.signing_url = "https://jira.corp/jira"' in line
    assert [request.verdict for request in sandbox.log].count("signature_invalid") == 1
    sandbox.faults.clear()
    for _ in range(10):
        assert (await sidecar.get(MYSELF)).status == 200
    assert [request.verdict for request in sandbox.log].count("signature_invalid") == 2
    assert sidecar.server.identity.signing_url.url == sidecar.config.jira.base_url
    assert len(logged(caplog)) == 1


async def test_concurrent_requests_learn_a_url_together(
    sidecar: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    for sandbox.faults.perceived_port in (1, 2, None):
        answers = await asyncio.gather(*(sidecar.get(MYSELF) for _ in range(30)))
        assert {answer.status for answer in answers} == {200}
    assert len(logged(caplog)) == 2


async def test_a_parameter_that_is_lost_on_the_way_is_named(
    sidecar: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults.dropped_parameter = "maxResults"
    answer = await sidecar.get("/rest/api/2/search?jql=&maxResults=50")
    assert answer.status == 401
    assert "parameters were lost: maxResults" in logged(caplog)[0]
    assert len(sandbox.log) == 1
    assert sidecar.server.identity.signing_url.url == sidecar.config.jira.base_url


async def test_a_key_that_does_not_fit_is_said_to_be_that(
    sidecar: Running,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    other_key: RSAPrivateKey,
) -> None:
    sandbox.public_key = other_key.public_key()
    answer = await sidecar.get(MYSELF)
    assert "sidecar public-key" in answer["Sidecar-Problem"]
    assert "is not that of our private key" in logged(caplog)[0]
    assert len(sandbox.log) == 1


async def test_a_wrong_key_and_a_wrong_url_together_change_nothing_for_good(
    sidecar: Running, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    sandbox.public_key = other_key.public_key()
    sandbox.faults.perceived_scheme = "https"
    answer = await sidecar.get(MYSELF)
    assert "sidecar public-key" in answer["Sidecar-Problem"]
    assert len(sandbox.log) == 2
    assert sidecar.server.identity.signing_url.url == sidecar.config.jira.base_url


async def test_what_was_healed_counts_as_healed(sidecar: Running, sandbox: Sandbox) -> None:
    sandbox.faults.nonce_used = 1
    await sidecar.get(MYSELF)
    status = (await sidecar.get(STATUS)).json()
    assert status["last_problem"] is None
    assert "nonce_used" in json.dumps(status["counters"])


async def test_no_secret_is_told(
    sidecar: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = sandbox.grant()
    store_grant(sidecar, token)
    told = ""
    faults: list[dict[str, object]] = [
        {"dropped_parameter": "jql"},
        {"perceived_port": 1},
        {"revoked": True},
    ]
    for switches in faults:
        sandbox.faults.throw(switches)
        answer = await sidecar.get("/rest/api/2/search?jql=secret")
        told += "".join(answer.all("Sidecar-Problem"))
        sandbox.faults.clear()
    sandbox.expire()
    await sidecar.get(MYSELF)
    told += (await sidecar.get(STATUS)).body.decode() + "".join(logged(caplog))
    told += "".join(r.getMessage() for r in caplog.records if r.name.startswith("sidecar"))
    new = sidecar.server.identity.token.current()
    assert new.session_handle is not None
    for secret in (
        token.token,
        token.session_handle,
        new.token.reveal(),
        new.session_handle.reveal(),
    ):
        assert secret not in told


# ── clocks in front of Jira ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("proxy", [-90_000.0, 0.0, 90_000.0])
async def test_a_reverse_proxy_with_a_clock_of_its_own_costs_one_refusal(
    edge: Running, upstream: RawUpstream, proxy: float
) -> None:
    """So do caches in front of Jira, whose answers are old, with `Age` and without."""
    jira = 7200
    refused = 0

    async def judge(exchange: Exchange) -> None:
        nonlocal refused
        await exchange.read_body()
        now = int(time.time()) + jira
        date = formatdate(time.time() + proxy, usegmt=True)
        timestamp = re.search(r'oauth_timestamp="(\d+)"', exchange.all("Authorization")[0])
        assert timestamp is not None
        if abs(int(timestamp[1]) - now) > 300:
            refused += 1
            problem = {
                "oauth_problem": "timestamp_refused",
                "oauth_acceptable_timestamps": f"{now - 300}-{now + 300}",
            }
            body = urlencode(problem).encode()
            await exchange.say(body, f"Date: {date}", status="400 Bad Request")
        elif "cached" in exchange.target:
            age = ["Age: 9999"] if "with-age" in exchange.target else []
            old = formatdate(time.time() - 99_999, usegmt=True)
            await exchange.say(b"", f"Date: {old}", *age)
        else:
            await exchange.say(b"", f"Date: {date}")

    upstream.handler = judge
    for target in ("/a", "/b", "/cached/with-age", "/c", "/cached", "/d", "/cached", "/e"):
        assert (await edge.get(target)).status == 200
    assert refused == 1
    jira += 200
    assert (await edge.get("/f")).status == 200
    assert refused == 1
