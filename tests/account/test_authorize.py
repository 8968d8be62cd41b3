"""The steps of the dance, against the sandbox Jira and against servers that are none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.account.authorize import REQUEST_TOKEN_LIFE, Authorizer, parse_verifier
from sidecar.account.identity import Identity
from sidecar.config.load import Config
from sidecar.credentials import Secret, TemporaryCredentials, TokenCredentials
from sidecar.errors import (
    ConfigError,
    ConnectionLost,
    NotAuthorized,
    NotJira,
    SidecarError,
    UpstreamError,
)
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.jira.problems import Problem
from sidecar.jira.refusals import VerifierRefused
from sidecar.sandbox import Sandbox, provider
from sidecar.upstream.pool import Upstream
from tests.conftest import make_config
from tests.support.dancing import Clock, Odd, answer, approve, authorizing, decide, seen

Make = Callable[..., Awaitable[Authorizer]]
MakeSandbox = Callable[..., Awaitable[Sandbox]]

TEMPORARY = TemporaryCredentials(Secret("R" * 32), Secret("S" * 32), 0.0)
TOKEN = TokenCredentials(Secret("T" * 32), Secret("U" * 32), Secret("H" * 32))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def jira(make_sandbox: MakeSandbox, clock: Clock) -> Sandbox:
    """A sandbox Jira below /jira whose clock is the test's."""
    return await make_sandbox(context_path="/jira", clock=clock)


@pytest.fixture
async def make(private_key: RSAPrivateKey, tmp_path: Path, clock: Clock) -> AsyncIterator[Make]:
    """Make authorizers for a base URL; options as make_config's, and `key`."""
    async with AsyncExitStack() as stack:

        async def start(
            base_url: str, key: RSAPrivateKey = private_key, **options: Any
        ) -> Authorizer:
            config = make_config(base_url, tmp_path, key, **options)
            return await stack.enter_async_context(authorizing(config, clock))

        yield start


@pytest.fixture
async def authorizer(jira: Sandbox, make: Make) -> Authorizer:
    return await make(jira.url)


class Desk:
    """An authorizer, what it knows, and what it tells."""

    def __init__(self, config: Config, upstream: Upstream, clock: Clock) -> None:
        self.config = config
        self.identity = Identity(config, clock=clock)
        self.told: list[str] = []
        self.authorizer = Authorizer(
            self.identity, upstream, 60.0, clock=clock, tell=self.told.append
        )


MakeDesk = Callable[..., Desk]


@pytest.fixture
async def make_desk(
    private_key: RSAPrivateKey, tmp_path: Path, clock: Clock
) -> AsyncIterator[MakeDesk]:
    async with AsyncExitStack() as stack:

        def make(base_url: str, **options: Any) -> Desk:
            config = make_config(base_url, tmp_path, private_key, **options)
            upstream = Upstream(config)
            stack.push_async_callback(upstream.close)
            return Desk(config, upstream, clock)

        yield make


@pytest.fixture
async def desk(jira: Sandbox, make_desk: MakeDesk) -> Desk:
    return make_desk(jira.url)


async def approved(authorizer: Authorizer) -> tuple[TemporaryCredentials, Secret]:
    """A request token that the user has allowed, and its verifier."""
    temporary = await authorizer.request_token()
    return temporary, Secret(await approve(authorizer.authorize_url(temporary)))


async def granted(authorizer: Authorizer) -> TokenCredentials:
    return await authorizer.exchange(*await approved(authorizer))


# ── the three steps ─────────────────────────────────────────────────────────────────────────


async def test_an_approved_request_token_becomes_an_access_token_with_the_lives_jira_names(
    authorizer: Authorizer, clock: Clock
) -> None:
    token = await granted(authorizer)
    assert len(token.token.reveal()) == len(token.token_secret.reveal()) == 32
    assert token.session_handle
    assert token.expires_at == clock.now + 157_680_000
    assert token.session_expires_at == clock.now + 160_272_000


async def test_request_tokens_are_dated_before_they_were_asked_for(
    authorizer: Authorizer, clock: Clock
) -> None:
    assert (await authorizer.request_token()).issued_at == clock.now


async def test_without_a_callback_jira_is_to_show_the_code(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    await authorizer.request_token()
    assert 'oauth_callback="oob"' in jira.log[-1].fields.get("authorization")


async def test_the_approval_page_is_below_the_context_path(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    url = authorizer.authorize_url(TEMPORARY)
    assert url == f"{jira.url}/plugins/servlet/oauth/authorize?oauth_token={'R' * 32}"


async def test_jira_redirects_to_the_callback_of_the_request_token(authorizer: Authorizer) -> None:
    temporary = await authorizer.request_token("http://127.0.0.1:1234/cb?a=b&c")
    answer = await decide(authorizer.authorize_url(temporary))
    start = f"http://127.0.0.1:1234/cb?a=b&c&oauth_token={temporary.token.reveal()}&oauth_verifier="
    assert answer["Location"].startswith(start)
    token = await authorizer.exchange(temporary, parse_verifier(answer["Location"], temporary))
    assert await authorizer.whoami(token) == ("alana", "Alana Example")


async def test_a_new_token_is_introduced_with_its_user_and_jiras_own_url(
    make_sandbox: MakeSandbox, make: Make, clock: Clock
) -> None:
    jira = await make_sandbox(base_url="https://jira.example.com/jira", clock=clock)
    authorizer = await make(jira.url)
    token = await authorizer.introduce(await granted(authorizer))
    assert (token.user, token.display_name) == ("alana", "Alana Example")
    assert token.server_url == "https://jira.example.com/jira"


async def test_signatures_are_for_the_url_that_jira_believes_in(jira: Sandbox, make: Make) -> None:
    jira.faults.perceived_scheme, jira.faults.perceived_host = "https", "jira.example.com"
    jira.faults.perceived_port, jira.faults.perceived_prefix = 443, "/j"
    authorizer = await make(jira.url, jira__signing_url="https://jira.example.com/j")
    assert (await authorizer.introduce(await granted(authorizer))).user == "alana"


# ── what Jira refuses ───────────────────────────────────────────────────────────────────────


async def test_a_wrong_verifier_is_refused_and_the_right_one_still_works(
    authorizer: Authorizer,
) -> None:
    temporary, verifier = await approved(authorizer)
    with pytest.raises(VerifierRefused, match="rejects the verification code") as caught:
        await authorizer.exchange(temporary, Secret("wrong1"))
    assert caught.value.exit_code == 77
    assert (await authorizer.exchange(temporary, verifier)).token


async def test_a_verifier_before_allow_is_refused_and_says_so(authorizer: Authorizer) -> None:
    temporary = await authorizer.request_token()
    with pytest.raises(VerifierRefused, match="Nobody has pressed Allow yet"):
        await authorizer.exchange(temporary, Secret("abc123"))


async def test_deny_has_a_sentence_of_its_own(authorizer: Authorizer) -> None:
    temporary = await authorizer.request_token()
    await decide(authorizer.authorize_url(temporary), deny=True)
    with pytest.raises(NotAuthorized, match="denied on the approval page") as caught:
        await authorizer.exchange(temporary, Secret("abc123"))
    assert not isinstance(caught.value, VerifierRefused)


async def test_the_verifier_denied_is_not_even_sent(authorizer: Authorizer, jira: Sandbox) -> None:
    with pytest.raises(NotAuthorized, match="denied on the approval page"):
        await authorizer.exchange(TEMPORARY, Secret("denied"))
    assert seen(jira) == []


def test_we_know_how_long_jira_keeps_a_request_token() -> None:
    assert REQUEST_TOKEN_LIFE == provider.REQUEST_TOKEN_LIFE == 10 * 60


async def test_a_request_token_expires_after_ten_minutes(
    authorizer: Authorizer, clock: Clock
) -> None:
    temporary, verifier = await approved(authorizer)
    clock.now += 600
    with pytest.raises(NotAuthorized, match="has expired") as caught:
        await authorizer.exchange(temporary, verifier)
    assert not isinstance(caught.value, VerifierRefused)


async def test_an_unknown_consumer_key_is_a_matter_of_configuration(
    jira: Sandbox, make: Make
) -> None:
    authorizer = await make(jira.url, jira__consumer_key="Other")
    with pytest.raises(ConfigError, match='no application link with the consumer key "Other"') as e:
        await authorizer.request_token()
    assert e.value.exit_code == 78
    assert 'the field "Consumer key" of the application link' in e.value.hint


async def test_a_key_that_does_not_fit_the_link_is_named_by_its_fingerprint(
    jira: Sandbox, make: Make, other_key: RSAPrivateKey
) -> None:
    authorizer = await make(jira.url, key=other_key)
    with pytest.raises(ConfigError, match="does not fit the private key") as caught:
        await authorizer.request_token()
    assert "sidecar public-key" in caught.value.hint
    assert keys.fingerprint(other_key) in caught.value.hint


async def test_a_key_exchanged_during_the_dance_is_a_matter_of_configuration(
    authorizer: Authorizer, jira: Sandbox, other_key: RSAPrivateKey
) -> None:
    temporary, verifier = await approved(authorizer)
    jira.public_key = other_key.public_key()
    with pytest.raises(ConfigError, match="does not fit"):
        await authorizer.exchange(temporary, verifier)


async def test_a_jira_that_believes_in_another_url_is_told_from_a_wrong_key(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    jira.faults.perceived_scheme, jira.faults.perceived_host = "https", "jira.example.com"
    with pytest.raises(ConfigError, match="believes that its URL is") as caught:
        await authorizer.request_token()
    assert 'jira.signing_url = "https://jira.example.com/jira"' in caught.value.hint


async def test_authorization_that_something_drops_is_not_jiras_fault(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    jira.faults.strip_authorization = True
    with pytest.raises(UpstreamError, match="drops the Authorization field") as caught:
        await authorizer.request_token()
    assert caught.value.exit_code == 69


async def test_a_link_that_is_gone_is_unknown_at_once(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    jira.faults.link_gone = True
    with pytest.raises(ConfigError, match="no application link"):
        await authorizer.request_token()


async def test_a_user_who_may_not_log_in_is_not_signed_in(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    token = await granted(authorizer)
    jira.faults.inactive_user = True
    with pytest.raises(NotAuthorized) as caught:
        await authorizer.introduce(token)
    assert "active" in caught.value.hint


async def test_a_callback_that_jira_does_not_take_is_explained(authorizer: Authorizer) -> None:
    with pytest.raises(NotAuthorized, match="as a callback"):
        await authorizer.request_token("ftp://example.com/")


async def test_a_problem_nobody_knows_is_named(make: Make) -> None:
    refusal = answer(401, b"", 'WWW-Authenticate: OAuth realm="x", oauth_problem="out_of_tea"')
    async with Odd(refusal) as odd:
        with pytest.raises(NotAuthorized, match="out_of_tea"):
            await (await make(odd.url)).request_token()


# ── what heals ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("offset", [400, -400, 7200, -7200])
async def test_a_clock_that_is_off_is_corrected_by_jiras(
    offset: int, authorizer: Authorizer, jira: Sandbox, clock: Clock
) -> None:
    jira.faults.clock_offset = offset
    token = await authorizer.introduce(await granted(authorizer))
    assert token.user == "alana"
    assert token.expires_at == clock.now + 157_680_000, "by our clock, not by Jira's"
    assert [r.verdict for r in jira.log].count("timestamp_refused") == 1, "learnt once, for all"


async def test_without_acceptable_timestamps_the_date_tells_jiras_clock(make: Make) -> None:
    refused = answer(400, b"oauth_problem=timestamp_refused", "Date: Mon, 10 Nov 2025 00:00:00 GMT")
    async with Odd(refused, answer(200, "oauth_token=a&oauth_token_secret=b")) as odd:
        await (await make(odd.url)).request_token()
        assert b'oauth_timestamp="1762732800"' in odd.requests[1]


async def test_a_clock_that_cannot_be_learnt_is_explained(make: Make) -> None:
    refused = answer(400, b"oauth_problem=timestamp_refused")
    async with Odd(refused) as odd:
        with pytest.raises(NotAuthorized, match="more than five minutes apart"):
            await (await make(odd.url)).request_token()


async def test_a_clock_is_learnt_only_once_for_a_request(make: Make) -> None:
    refused = answer(400, b"oauth_problem=timestamp_refused&oauth_acceptable_timestamps=100-700")
    async with Odd(refused, refused) as odd:
        with pytest.raises(NotAuthorized, match="five minutes apart"):
            await (await make(odd.url)).request_token()
        assert b'oauth_timestamp="400"' in odd.requests[1]


async def test_a_used_nonce_is_replaced_once(authorizer: Authorizer, jira: Sandbox) -> None:
    jira.faults.nonce_used = 1
    assert (await authorizer.request_token()).token
    jira.faults.nonce_used = 2
    with pytest.raises(NotAuthorized, match="seen this very request"):
        await authorizer.request_token()


@pytest.mark.parametrize("step", ["exchange", "renewal"])
async def test_what_gives_a_token_is_not_asked_again_where_a_copy_came_before(
    make: Make, step: str
) -> None:
    """The copy may have used up what there was to exchange: a second try would hide that."""
    async with Odd(answer(401, b"oauth_problem=nonce_used")) as odd:
        authorizer = await make(odd.url)
        asking = {
            "exchange": authorizer.exchange(TEMPORARY, Secret("V")),
            "renewal": authorizer.renew(TokenCredentials(Secret("T"), Secret("S"), Secret("H"))),
        }
        with pytest.raises(NotAuthorized, match="seen this very"):
            await asking.pop(step)
        asking.popitem()[1].close()
        assert len(odd.requests) == 1


async def test_at_a_sign_in_a_url_is_healed_only_where_that_is_asked_for(
    desk: Desk, jira: Sandbox
) -> None:
    """There a user can mend the configuration; and the URL has to last."""
    token = TokenCredentials(Secret(jira.grant().token), Secret(""))
    jira.faults.throw({"perceived_scheme": "https", "clock_offset": 7200.0})
    for step in (desk.authorizer.whoami, desk.authorizer.introduce):
        with pytest.raises(ConfigError, match="believes that its URL is"):
            await step(token)
    assert await desk.authorizer.server_url(token) is None
    assert desk.identity.signing_url.url.scheme == "http"
    desk.identity.clock.believe(0.0)
    assert (await desk.authorizer.whoami(token, heals_url=True))[0] == "alana"
    assert desk.identity.signing_url.url.scheme == "https"
    jira.faults.perceived_scheme = None
    introduced = await desk.authorizer.introduce(token, heals_url=True)
    assert (introduced.user, introduced.server_url) == ("alana", jira.url)


async def test_what_heals_the_url_as_well_has_one_try_more(desk: Desk, jira: Sandbox) -> None:
    token = TokenCredentials(Secret(jira.grant().token), Secret(""))
    jira.faults.nonce_used = 2
    assert (await desk.authorizer.whoami(token, heals_url=True))[0] == "alana"
    jira.faults.nonce_used = 3
    with pytest.raises(NotAuthorized):
        await desk.authorizer.whoami(token, heals_url=True)
    assert jira.faults.nonce_used == 0


async def test_a_renewal_heals_the_url_for_good(desk: Desk, jira: Sandbox) -> None:
    grant = jira.grant()
    old = TokenCredentials(Secret(grant.token), Secret(""), Secret(grant.session_handle))
    jira.faults.perceived_scheme = "https"
    assert (await desk.authorizer.renew(old)).token != old.token
    assert desk.identity.signing_url.url.scheme == "https"


# ── who we are, as far as Jira is concerned ─────────────────────────────────────────────────


async def test_the_short_question_heals_clock_and_url_and_no_more(
    desk: Desk, jira: Sandbox, clock: Clock
) -> None:
    token = TokenCredentials(Secret(jira.grant().token), Secret(""))
    jira.faults.throw({"perceived_scheme": "https", "clock_offset": 7200.0})
    asked = await desk.authorizer.ask_myself(token)
    assert desk.authorizer.names(asked) == ("alana", "Alana Example")
    assert clock.now - 60 < asked.answered_at <= clock.now
    assert desk.identity.signing_url.url.scheme == "https"
    seen_before = len(jira.log)
    jira.faults.nonce_used = 10
    asked = await desk.authorizer.ask_myself(token)
    assert asked.problem is not None
    assert len(jira.log) == seen_before + 3


async def test_a_name_in_an_answer_that_is_no_200_is_nobodys(make: Make) -> None:
    async with Odd(answer(503, '{"name": "alana"}')) as odd:
        authorizer = await make(odd.url)
        asked = await authorizer.ask_myself(TOKEN)
        with pytest.raises(UpstreamError, match="with 503"):
            authorizer.names(asked)


async def test_a_probe_tells_of_wrong_signatures_alone(desk: Desk, jira: Sandbox) -> None:
    token = TokenCredentials(Secret(jira.grant().token), Secret(""))
    assert await desk.authorizer.probe(token) is None
    jira.faults.clock_offset = 7200.0
    assert await desk.authorizer.probe(token) is None
    jira.faults.perceived_scheme = "https"
    assert await desk.authorizer.probe(token) == Problem("signature_invalid"), "it is healed now"
    assert await desk.authorizer.probe(token) is None
    jira.revoke()
    assert await desk.authorizer.probe(token) is None


async def test_two_legged_each_question_names_the_user_of_the_configuration(
    make_desk: MakeDesk, make_sandbox: MakeSandbox, clock: Clock
) -> None:
    jira = await make_sandbox(impersonation=True, clock=clock)
    desk = make_desk(jira.url, jira__two_legged=True, jira__act_as="william")
    token = desk.identity.refresh()
    assert (await desk.authorizer.introduce(token)).user == "william"
    assert desk.authorizer.names(await desk.authorizer.ask_myself(token))[0] == "william"
    assert [request.target for request in jira.log] == [
        "/rest/api/2/myself?xoauth_requestor_id=william",
        "/rest/api/2/serverInfo?xoauth_requestor_id=william",
        "/rest/api/2/myself?xoauth_requestor_id=william",
    ]


# ── the key that is to follow ───────────────────────────────────────────────────────────────


async def test_without_another_key_jira_is_not_asked(desk: Desk, jira: Sandbox) -> None:
    assert await desk.authorizer.take_next_key() is False
    assert (len(jira.log), desk.told) == (0, [])


async def test_a_key_that_jira_does_not_accept_yet_goes_on_waiting(
    desk: Desk, jira: Sandbox, other_key: RSAPrivateKey
) -> None:
    assert desk.identity.next_key.add(other_key)
    assert await desk.authorizer.take_next_key() is False
    assert seen(jira) == ["POST request-token"]
    assert desk.told == []
    assert desk.identity.next_key.is_there()


async def test_a_key_that_jira_accepts_is_used_and_that_is_told(
    desk: Desk, jira: Sandbox, other_key: RSAPrivateKey
) -> None:
    assert desk.identity.next_key.add(other_key)
    jira.public_key = other_key.public_key()
    assert await desk.authorizer.take_next_key() is True
    assert desk.identity.fingerprint == keys.fingerprint(other_key)
    (told,) = desk.told
    assert told.startswith("Jira accepts the new private key: it has taken the old one's place")
    assert await desk.authorizer.take_next_key() is True, "it was a moment ago"
    assert len(jira.log) == 1


async def test_a_key_that_was_exchanged_on_disk_is_another_without_a_question(
    desk: Desk, jira: Sandbox, other_key: RSAPrivateKey
) -> None:
    write_private(desk.config.jira.private_key, keys.private_key_pem(other_key))
    assert await desk.authorizer.take_next_key() is True
    assert seen(jira) == []


async def test_a_key_of_no_use_is_told_of_and_not_tried(desk: Desk, jira: Sandbox) -> None:
    write_private(desk.identity.next_key.path, b"nonsense")
    assert await desk.authorizer.take_next_key() is False
    (told,) = desk.told
    assert told.startswith(f"{desk.identity.next_key.path}: ")
    assert "; the new key is not tried (" in told
    assert seen(jira) == []


async def test_two_legged_a_key_is_accepted_where_jira_says_who_we_are(
    make_desk: MakeDesk, make_sandbox: MakeSandbox, clock: Clock, other_key: RSAPrivateKey
) -> None:
    jira = await make_sandbox(two_legged=True, clock=clock)
    desk = make_desk(jira.url, jira__two_legged=True)
    assert desk.identity.next_key.add(other_key)
    jira.public_key = other_key.public_key()
    assert await desk.authorizer.take_next_key() is True
    assert seen(jira) == ["GET myself"]


async def test_a_step_that_the_key_fails_is_taken_again_with_the_next_one(
    desk: Desk, jira: Sandbox, other_key: RSAPrivateKey
) -> None:
    assert desk.identity.next_key.add(other_key)
    await desk.authorizer.request_token()
    assert len(jira.log) == 1, "the key in use is good"
    jira.faults.problem = "consumer_key_refused"
    with pytest.raises(SidecarError):
        await desk.authorizer.request_token()
    assert len(jira.log) == 2, "the key is not to blame"
    jira.faults.clear()
    jira.public_key = other_key.public_key()
    assert (await desk.authorizer.request_token()).token
    assert [request.verdict for request in jira.log][2:] == ["signature_invalid", "ok", "ok"]


# ── renewal ─────────────────────────────────────────────────────────────────────────────────


async def test_renewal_gives_a_new_token_and_handle_for_the_same_user(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    old = await authorizer.introduce(await granted(authorizer))
    jira.expire(old.token.reveal())
    new = await authorizer.renew(old)
    assert new.token != old.token
    assert new.session_handle != old.session_handle
    assert (new.user, new.display_name, new.server_url) == (
        old.user,
        old.display_name,
        old.server_url,
    )
    assert (await authorizer.whoami(new))[0] == "alana"
    with pytest.raises(NotAuthorized, match="revoked, or renewed elsewhere"):
        await authorizer.renew(old)


async def test_a_session_that_is_over_is_not_renewed(authorizer: Authorizer, jira: Sandbox) -> None:
    old = await granted(authorizer)
    jira.expire(session=True)
    with pytest.raises(NotAuthorized, match="its session is over"):
        await authorizer.renew(old)


async def test_a_token_without_a_session_handle_is_not_sent_for_renewal(
    authorizer: Authorizer, jira: Sandbox
) -> None:
    with pytest.raises(NotAuthorized, match="its session is over"):
        await authorizer.renew(TokenCredentials(Secret("T"), Secret("")))
    assert seen(jira) == []


# ── what is not Jira ────────────────────────────────────────────────────────────────────────

STEPS: list[Callable[[Authorizer], Awaitable[object]]] = [
    lambda authorizer: authorizer.request_token(),
    lambda authorizer: authorizer.exchange(TEMPORARY, Secret("abc123")),
    lambda authorizer: authorizer.renew(TOKEN),
    lambda authorizer: authorizer.whoami(TOKEN),
]
HTML = "<!DOCTYPE html><title>Log in</title><form><input name=oauth_token></form>"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (answer(200, HTML, "Content-Type: text/html"), NotJira, "a page (HTML)"),
        (answer(200), NotJira, "with nothing"),
        (answer(200, "oauth_token=a"), NotJira, "something that is not Jira's"),
        (answer(200, "oauth_token=&oauth_token_secret="), NotJira, "not Jira's"),
        (answer(200, "\xff\x00" * 99), NotJira, "not Jira's"),
        (answer(200, "[" * 60000), NotJira, "not Jira's"),
        (answer(204), NotJira, "status 204"),
        (answer(302, "", "Location: https://sso.example.com/?x"), NotJira, "sso.example.com"),
        (answer(302, "", "Location: https://[bad"), NotJira, "redirects"),
        (answer(302), NotJira, "redirects"),
        (answer(404, HTML), NotJira, "404"),
        (answer(403, HTML), NotJira, "status 403"),
        (answer(500, HTML), UpstreamError, "with 500"),
        (answer(503, "busy"), UpstreamError, "with 503"),
        (answer(429, "slow down"), UpstreamError, "with 429"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", ConnectionLost, "closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UpstreamError, "not valid HTTP"),
        (b"", ConnectionLost, "without an answer"),
    ],
)  # fmt: skip
async def test_whatever_is_not_jira_ends_with_69_and_two_plain_sentences(
    step: Callable[[Authorizer], Awaitable[object]],
    wrong: bytes,
    kind: type[SidecarError],
    said: str,
    make: Make,
) -> None:
    async with Odd(wrong) as odd:
        authorizer = await make(odd.url)
        with pytest.raises(kind) as caught:
            await step(authorizer)
    assert said in caught.value.message
    assert caught.value.exit_code == 69
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("switch", ["sso_redirect", "sso_html", "unavailable", "reset"])
async def test_a_gateway_in_front_of_jira_ends_with_69(
    switch: str, authorizer: Authorizer, jira: Sandbox
) -> None:
    jira.faults.throw({switch: True})
    with pytest.raises(UpstreamError) as caught:
        await authorizer.request_token()
    assert caught.value.exit_code == 69
    assert isinstance(caught.value, NotJira) == switch.startswith("sso")


async def test_a_wrong_context_path_is_hinted_at(jira: Sandbox, make: Make) -> None:
    authorizer = await make(jira.url.removesuffix("/jira") + "/wrong")
    with pytest.raises(NotJira, match="There is no Jira with OAuth at") as caught:
        await authorizer.request_token()
    assert "context path" in caught.value.hint


async def test_a_redirect_to_the_same_endpoint_elsewhere_names_the_base_url(make: Make) -> None:
    target = "https://jira.example.com/jira/plugins/servlet/oauth/request-token"
    async with Odd(answer(301, "", f"Location: {target}")) as odd:
        with pytest.raises(NotJira) as caught:
            await (await make(odd.url)).request_token()
    assert caught.value.hint == 'is it jira.base_url = "https://jira.example.com/jira"?'


async def test_controls_in_what_a_server_says_do_not_reach_the_terminal(make: Make) -> None:
    myself = '{"name": "al\\u001b[2Jana", "displayName": "A\\nB\\u202e\\u009b"}'
    async with Odd(answer(200, myself)) as odd:
        user, display_name = await (await make(odd.url)).whoami(TOKEN)
    assert user == "al\ufffd[2Jana"
    assert display_name is not None
    assert display_name.isprintable()


@pytest.mark.parametrize(
    "name", ["oauth_token", "oauth_token_secret", "oauth_session_handle", "oauth_x"]
)
async def test_a_token_that_no_head_could_hold_is_none_of_jiras(make: Make, name: str) -> None:
    reply = {"oauth_token": "T", "oauth_token_secret": "S", name: "x" * 1025}
    async with Odd(answer(200, urlencode(reply))) as odd:
        with pytest.raises(NotJira):
            await (await make(odd.url)).request_token()
    reply[name] = "x" * 1024
    async with Odd(answer(200, urlencode(reply))) as odd:
        assert await (await make(odd.url)).request_token()


@pytest.mark.parametrize(("length", "is_taken"), [(1024, True), (1025, False)])
async def test_a_url_of_any_length_does_not_keep_a_token_from_being_stored(
    make: Make, length: int, is_taken: bool
) -> None:
    url = "http://jira/".ljust(length, "x")
    async with Odd(answer(200, json.dumps({"baseUrl": url}))) as odd:
        found = await (await make(odd.url)).server_url(TOKEN)
    assert (found == url) == is_taken
    assert found is not None or not is_taken


@pytest.mark.parametrize("info", ["{}", "[]", "no", '{"baseUrl": 1}', '{"baseUrl": "ftp://x"}'])
async def test_a_jira_that_does_not_name_its_url_is_taken_all_the_same(
    info: str, make: Make
) -> None:
    async with Odd(answer(200, '{"name": "a"}'), answer(200, info)) as odd:
        token = await (await make(odd.url)).introduce(TOKEN)
    assert (token.user, token.display_name, token.server_url) == ("a", None, None)


@pytest.mark.parametrize("myself", ['{"key": "x"}', '{"name": ""}', '{"name": 1}'])
async def test_a_user_without_a_name_is_none_of_jiras(myself: str, make: Make) -> None:
    async with Odd(answer(200, myself)) as odd:
        with pytest.raises(NotJira, match="did not say who we are"):
            await (await make(odd.url)).whoami(TOKEN)


@pytest.mark.parametrize(
    ("text", "life"),
    [
        ("604800", 604800),
        ("1", 1),
        (None, None),
        ("", None),
        ("0", None),
        ("-5", None),
        ("1e3", None),
        ("12.5", None),
        ("soon", None),
        ("10000000000", 10**10),
        ("10000000001", None),
        ("9223372036854775807", None),
        ("٣", None),
    ],
)
async def test_lives_are_believed_where_they_are_numbers(
    text: str | None, life: int | None, make: Make, clock: Clock
) -> None:
    body = "oauth_token=a&oauth_token_secret="
    if text is not None:
        body += f"&oauth_expires_in={quote(text)}&oauth_authorization_expires_in={quote(text)}"
    async with Odd(answer(200, body)) as odd:
        token = await (await make(odd.url)).exchange(TEMPORARY, Secret("abc123"))
    expected = None if life is None else clock.now + life
    assert (token.expires_at, token.session_expires_at) == (expected, expected)
    assert token.session_handle is None


async def test_no_secret_is_in_an_error_or_a_repr(authorizer: Authorizer, jira: Sandbox) -> None:
    temporary, verifier = await approved(authorizer)
    token = await authorizer.exchange(temporary, verifier)
    jira.public_key = None
    texts = [repr(temporary), repr(token)]
    for step in STEPS[:1], [lambda a: a.renew(token), lambda a: a.whoami(token)]:
        for call in step:
            with pytest.raises(SidecarError) as caught:
                await call(authorizer)
            texts += [repr(caught.value), caught.value.message, caught.value.hint]
    assert token.session_handle is not None
    for secret in (
        temporary.token,
        token.token,
        token.token_secret,
        token.session_handle,
        verifier,
    ):
        assert secret.reveal() not in "\n".join(texts)


# ── what a user gives as the verifier ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "qTJkPi",
        "  qTJkPi\r\n",
        "'qTJkPi'.",
        "“qTJkPi”",
        f"http://127.0.0.1:1/x?oauth_token={'R' * 32}&oauth_verifier=qTJkPi",
        f' "https://tool.example.com/cb?a=b&oauth_verifier=qTJkPi&oauth_token={"R" * 32}#top" ',
        f"?oauth_token={'R' * 32}&oauth_verifier=qTJkPi",
        "oauth_verifier=qTJkPi",
        "http://127.0.0.1:1/x?oauth_verifier=qTJkPi#?oauth_verifier=other",
    ],
)
def test_a_code_or_a_url_is_understood(text: str) -> None:
    assert parse_verifier(text, TEMPORARY) == Secret("qTJkPi")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither"),
        ("  ''  ", "neither"),
        ("two words", "neither"),
        ("é", "neither"),
        ("http://127.0.0.1:1/x", "neither"),
        ("http://127.0.0.1:1/x?oauth_verifier=\u00e9", "neither"),
        (f"http://127.0.0.1:1/x?oauth_token={'R' * 32}", "neither"),
        (f"http://127.0.0.1:1/x?oauth_token={'R' * 32}&oauth_verifier=", "neither"),
        (f"http://127.0.0.1:1/x?oauth_token={'Q' * 32}&oauth_verifier=qTJkPi", "another sign-in"),
        (f"http://127.0.0.1:1/x?oauth_token={'Q' * 32}&oauth_verifier=denied", "another sign-in"),
        (f"oauth_token={'Q' * 32}", "another sign-in"),
        (f"http://x?oauth_token={'Q' * 32}&a=?&oauth_verifier=qTJkPi", "another sign-in"),
        ("a" * 257, "neither"),
        ("a" * 300, "neither"),
    ],
)
def test_anything_else_is_refused_and_may_be_given_again(text: str, said: str) -> None:
    with pytest.raises(VerifierRefused, match=said):
        parse_verifier(text, TEMPORARY)


@pytest.mark.parametrize(
    "text", ["denied", f"http://127.0.0.1:1/x?oauth_token={'R' * 32}&oauth_verifier=denied"]
)
def test_a_url_that_says_denied_is_a_denial(text: str) -> None:
    with pytest.raises(NotAuthorized, match="denied") as caught:
        parse_verifier(text, TEMPORARY)
    assert not isinstance(caught.value, VerifierRefused)


@given(
    st.from_regex(r"[A-Za-z0-9]{1,40}", fullmatch=True),
    st.sampled_from(["", " ", "'", '"', "\t", "“"]),
    st.sampled_from(["{}", "http://127.0.0.1:9/p?oauth_token={token}&oauth_verifier={}"]),
)
def test_every_code_survives_whatever_stands_around_it(code: str, around: str, form: str) -> None:
    text = around + form.format(code, token="R" * 32) + around
    if code == "denied":
        return
    assert parse_verifier(text, TEMPORARY) == Secret(code)


@given(st.one_of(st.text(), st.text().map(lambda text: "http://x?oauth_token=" + text)))
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(NotAuthorized):
        assert parse_verifier(text, TEMPORARY).reveal().isascii()
