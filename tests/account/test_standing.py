"""Whether Jira takes us: when it is asked, by whom, and what its answers change."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.authorize import Authorizer
from sidecar.account.healing import Healer
from sidecar.account.identity import Identity
from sidecar.account.standing import FIRST_PAUSE, LONGEST_PAUSE, SPREAD, Refusal, Standing
from sidecar.credentials import Secret
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.jira.problems import Problem, explain
from sidecar.sandbox import Sandbox
from sidecar.telemetry.troubles import Troubles
from sidecar.upstream.pool import Upstream
from tests.conftest import make_config, store_token
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import until
from tests.support.wire import turns

MakeSandbox = Callable[..., Awaitable[Sandbox]]
MYSELF = "/rest/api/2/myself"
READY = "/_sidecar/ready"


class Pauses:
    """Sleeps that end when the test says so."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[float] = asyncio.Queue()
        self._ends: list[asyncio.Future[None]] = []

    def __call__(self, seconds: float) -> asyncio.Future[None]:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        self._asked.put_nowait(seconds)
        return end

    async def begun(self) -> float:
        """Wait for the next pause; how long it is to be."""
        return await self._asked.get()

    @property
    def none_begins(self) -> bool:
        return self._asked.empty()

    @property
    def given_up(self) -> int:
        """How many nobody waits for any more."""
        return sum(end.cancelled() for end in self._ends)

    def end(self) -> None:
        self._ends.pop().set_result(None)


class Desk:
    """A standing without a sidecar around."""

    def __init__(
        self, base_url: str, folder: Path, key: RSAPrivateKey, *, chance: float, **options: Any
    ) -> None:
        self.config = make_config(base_url, folder, key, **options)
        self.identity = Identity(self.config)
        self.upstream = Upstream(self.config)
        self.pauses = Pauses()
        self.troubles = Troubles()
        self.time = 1000.0
        authorizer = Authorizer(self.identity, self.upstream, self.config.timeouts.response)
        self.healer = Healer(self.identity, authorizer, self.troubles)
        self.standing = Standing(
            self.identity,
            authorizer,
            self.healer,
            self.troubles,
            clock=lambda: self.time,
            sleep=self.pauses,
            chance=lambda: chance,
        )

    @property
    def problem(self) -> str | None:
        refusal = self.standing.refusal
        return None if refusal is None else refusal.problem.name

    async def doubted(self) -> str | None:
        """Why Jira refuses us, once it was asked."""
        self.standing.doubt()
        await self.pauses.begun()
        return self.problem

    async def close(self) -> None:
        await self.standing.close()
        await self.healer.close(60)
        await self.upstream.close()


@pytest.fixture
async def make_desk(tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[Any]:
    """Make a desk for a Jira at this URL."""
    made: list[Desk] = []

    def make(base_url: str, *, chance: float = 0.0, **options: Any) -> Desk:
        made.append(Desk(base_url, tmp_path, private_key, chance=chance, **options))
        return made[-1]

    yield make
    for desk in made:
        await desk.close()


MakeDesk = Callable[..., Desk]


@pytest.fixture
async def desk(sandbox: Sandbox, make_desk: MakeDesk) -> Desk:
    """With a good token, in front of `sandbox`."""
    desk = make_desk(sandbox.url)
    store_token(desk.config, sandbox.grant().token)
    desk.standing.start()
    return desk


async def is_let_through(desk: Desk) -> bool:
    """Whether a request that comes now does not wait for Jira's first answer."""
    waiting = asyncio.create_task(desk.standing.wait_tried())
    await turns(2)
    is_through = waiting.done()
    waiting.cancel()
    return is_through


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    ours = [record for record in caplog.records if record.name.startswith("sidecar")]
    return [(record.levelno, record.getMessage()) for record in ours]


class TestAsking:
    async def test_nobody_asks_before_somebody_doubts(self, sandbox: Sandbox, desk: Desk) -> None:
        assert await is_let_through(desk), "nor does anybody wait"
        assert not desk.standing.is_in_doubt
        assert not sandbox.log

    async def test_a_doubt_from_before_the_start_is_settled_at_once(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        desk.standing.start(is_doubted=True)
        await desk.pauses.begun()
        assert len(sandbox.log) == 1

    async def test_a_refusal_from_before_a_reload_holds_until_jira_is_asked(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        before = Refusal(Problem("token_rejected"), "No token.", "sign in", 500.0)
        desk.standing.start(before)
        assert desk.standing.refusal is before
        await desk.pauses.begun()
        assert len(sandbox.log) == 1
        assert desk.problem is None

    async def test_the_question_is_our_own_and_its_answer_decides(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        assert await desk.doubted() is None
        (asked,) = sandbox.log
        assert (asked.method, asked.target) == ("GET", f"/jira{MYSELF}")
        assert asked.fields.get("User-Agent").startswith("jira-oauth-sidecar")

    async def test_however_often_it_is_doubted_jira_is_asked_once_and_later_once_more(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        for _ in range(50):
            desk.standing.doubt()
        assert await desk.pauses.begun() == FIRST_PAUSE
        for _ in range(50):
            desk.standing.doubt()
            await turns(1)
        assert len(sandbox.log) == 1
        desk.pauses.end()
        assert await desk.pauses.begun() == FIRST_PAUSE
        assert len(sandbox.log) == 2
        desk.pauses.end()
        await until(lambda: not desk.standing.is_in_doubt)
        assert len(sandbox.log) == 2

    async def test_while_jira_refuses_us_it_is_asked_at_growing_pauses(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        sandbox.revoke()
        assert await desk.doubted() == "token_rejected"
        seen = [FIRST_PAUSE]
        for _ in range(7):
            desk.pauses.end()
            seen.append(await desk.pauses.begun())
        assert seen == [10.0, 20.0, 40.0, 80.0, 160.0, 240.0, 240.0, 240.0]

    async def test_once_jira_takes_us_again_a_new_doubt_waits_for_the_shortest_pause(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        sandbox.faults.inactive_user = True
        await desk.doubted()
        for _ in range(3):
            desk.pauses.end()
            await desk.pauses.begun()
        sandbox.faults.clear()
        desk.pauses.end()
        assert await desk.pauses.begun() == FIRST_PAUSE
        assert desk.problem is None

    @pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
    async def test_pauses_differ_from_machine_to_machine_and_keep_their_bounds(
        self, sandbox: Sandbox, make_desk: MakeDesk, chance: float
    ) -> None:
        desk = make_desk(sandbox.url, chance=chance)
        store_token(desk.config, "dead" * 8)
        desk.standing.doubt()
        seen = [await desk.pauses.begun()]
        for _ in range(6):
            desk.pauses.end()
            seen.append(await desk.pauses.begun())
        assert seen[0] == FIRST_PAUSE * (1 + SPREAD * chance)
        assert all(FIRST_PAUSE <= pause <= LONGEST_PAUSE for pause in seen)
        assert seen == sorted(seen)

    async def test_after_the_end_nobody_asks(self, sandbox: Sandbox, desk: Desk) -> None:
        sandbox.revoke()
        await desk.doubted()
        await desk.standing.close()
        assert not desk.standing.is_in_doubt
        desk.standing.doubt()
        await turns(3)
        assert not desk.standing.is_in_doubt
        assert len(sandbox.log) == 1


class TestRefused:
    @pytest.mark.parametrize(
        ("switches", "problem"),
        [
            ({"revoked": True}, "token_rejected"),
            ({"link_gone": True}, "token_rejected"),
            ({"expired": True}, "token_expired"),
            ({"inactive_user": True}, "user_may_not_log_in"),
            ({"three_legged": False}, "three_legged_not_allowed"),
            ({"strip_authorization": True}, "anonymous"),
            ({"problem": "consumer_key_unknown"}, "consumer_key_unknown"),
            ({"problem": "consumer_key_refused"}, "consumer_key_refused"),
            ({"problem": "signature_invalid"}, "signature_invalid"),
            ({"problem": "something_new"}, "something_new"),
        ],
    )
    async def test_whatever_jira_calls_it(
        self, sandbox: Sandbox, desk: Desk, switches: dict[str, object], problem: str
    ) -> None:
        sandbox.faults.throw(switches)
        assert await desk.doubted() == problem
        refusal = desk.standing.refusal
        assert refusal is not None
        assert refusal.sentence
        assert refusal.hint
        assert refusal.since == 1000.0
        assert desk.troubles.last is not None
        assert (desk.troubles.last.problem, desk.troubles.last.hint) == (problem, refusal.hint)
        assert not desk.troubles.counts, "no client has seen it"
        sandbox.faults.clear()
        desk.pauses.end()
        await desk.pauses.begun()
        assert desk.problem is None

    async def test_for_a_key_of_another_size(
        self, make_sandbox: MakeSandbox, make_desk: MakeDesk, tmp_path: Path
    ) -> None:
        sandbox = await make_sandbox()
        desk = make_desk(sandbox.url)
        other = keys.generate_private_key(3072)
        write_private(desk.config.jira.private_key, keys.private_key_pem(other))
        store_token(desk.config, sandbox.grant().token)
        assert await desk.doubted() == "key_size_mismatch"

    async def test_what_is_remembered_holds_no_secret(self, sandbox: Sandbox, desk: Desk) -> None:
        """Jira quotes the base string, and the access token is in that."""
        sandbox.faults.problem = "signature_invalid"
        await desk.doubted()
        assert desk.standing.refusal is not None
        assert desk.standing.refusal.problem.parameters == {}
        (token,) = sandbox.provider.access_tokens
        assert token not in repr(desk.standing.refusal)

    async def test_it_holds_since_the_first_refusal_and_says_what_is_wrong_now(
        self, sandbox: Sandbox, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        sandbox.revoke()
        await desk.doubted()
        store_token(desk.config, sandbox.grant().token)
        for problem in ("token_rejected", "consumer_key_unknown"):
            desk.time += 10
            sandbox.faults.problem = problem
            desk.pauses.end()
            await desk.pauses.begun()
            assert desk.standing.refusal is not None
            assert (desk.problem, desk.standing.refusal.since) == (problem, 1000.0)
        sandbox.faults.clear()
        desk.pauses.end()
        await desk.pauses.begun()
        told = said(caplog)
        assert [level for level, _ in told].count(logging.WARNING) == 2, "each problem once"
        rejected = explain(Problem("token_rejected"))
        assert told[0][1].startswith(f"{rejected.sentence} What to do: {rejected.hint}.")
        assert told[1][1] == (
            "not ready: Jira refuses the sidecar's own question, too (token_rejected)"
        )
        assert told[-1] == (logging.INFO, "ready again: Jira takes the sidecar's own question")

    async def test_what_is_known_of_the_token_says_more_than_the_problems_name(
        self, sandbox: Sandbox, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(desk.identity.token_file, "other_machine", lambda: "there")
        sandbox.revoke()
        await desk.doubted()
        assert desk.standing.refusal is not None
        assert "it was stored on there, another machine" in desk.standing.refusal.sentence
        assert "each machine needs a token of its own" in desk.standing.refusal.hint

    async def test_the_question_does_no_harm_if_a_copy_of_it_came_before(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        sandbox.faults.nonce_used = 10
        assert await desk.doubted() == "nonce_used"
        assert len(sandbox.log) == 3
        assert desk.standing.refusal is not None
        assert "acted upon" not in desk.standing.refusal.sentence

    async def test_what_can_be_healed_is_no_refusal(self, sandbox: Sandbox, desk: Desk) -> None:
        sandbox.faults.throw({"clock_offset": 7200.0, "perceived_scheme": "https"})
        assert await desk.doubted() is None

    async def test_a_token_that_has_ended_is_renewed_first(
        self, make_sandbox: MakeSandbox, make_desk: MakeDesk
    ) -> None:
        sandbox = await make_sandbox()
        desk = make_desk(sandbox.url)
        grant = sandbox.grant()
        assert grant.session_handle
        store_token(desk.config, grant.token, session_handle=Secret(grant.session_handle))
        sandbox.expire()
        assert await desk.doubted() is None
        assert desk.identity.token.current().token.reveal() != grant.token
        assert desk.troubles.heals == {"token_expired": 1}

    async def test_where_jira_calls_each_new_token_expired_it_is_not_asked_for_ever(
        self, make_sandbox: MakeSandbox, make_desk: MakeDesk
    ) -> None:
        sandbox = await make_sandbox()
        desk = make_desk(sandbox.url)
        grant = sandbox.grant()
        assert grant.session_handle
        store_token(desk.config, grant.token, session_handle=Secret(grant.session_handle))
        sandbox.faults.expired = True
        assert await desk.doubted() == "token_expired"
        assert len([one for one in sandbox.log if one.method == "POST"]) == 1
        assert not desk.troubles.heals
        assert desk.healer.renewal.error is not None, "the next renewal has to wait"


class TestAway:
    @pytest.mark.parametrize("switch", ["unavailable", "reset", "sso_redirect", "sso_html"])
    async def test_a_jira_that_does_not_answer_has_not_refused_us(
        self, sandbox: Sandbox, desk: Desk, switch: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.faults.throw({switch: True})
        assert await desk.doubted() is None
        assert not said(caplog), "whoever met it has been told"
        sandbox.faults.clear()
        sandbox.revoke()
        desk.pauses.end()
        await desk.pauses.begun()
        assert desk.problem == "token_rejected", "the doubt has stayed"
        sandbox.faults.throw({switch: True})
        desk.pauses.end()
        await desk.pauses.begun()
        assert desk.problem == "token_rejected", "nothing has shown that it is mended"

    async def test_too_many_requests_say_nothing_of_us(self, sandbox: Sandbox, desk: Desk) -> None:
        sandbox.faults.rate_limited = 10
        assert await desk.doubted() is None


class TestMended:
    async def test_a_new_token_asks_at_once(
        self, sandbox: Sandbox, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.revoke()
        await desk.doubted()
        for _ in range(3):
            desk.pauses.end()
            await desk.pauses.begun()
        store_token(desk.config, "still-dead" * 3)
        desk.identity.refresh()
        assert await desk.pauses.begun() == FIRST_PAUSE, "and the pauses begin anew"
        tasks = len(asyncio.all_tasks())
        for _ in range(3):
            desk.pauses.end()
            await desk.pauses.begun()
        assert len(asyncio.all_tasks()) == tasks, "nothing is left of a pause"
        store_token(desk.config, sandbox.grant().token)
        desk.identity.refresh()
        await desk.pauses.begun()
        assert desk.problem is None
        assert desk.pauses.given_up >= 1, "no pause is left that would end later"

    async def test_a_new_key_asks_at_once(
        self, sandbox: Sandbox, desk: Desk, other_key: RSAPrivateKey, private_key: RSAPrivateKey
    ) -> None:
        write_private(desk.config.jira.private_key, keys.private_key_pem(other_key))
        assert await desk.doubted() == "signature_invalid"
        write_private(desk.config.jira.private_key, keys.private_key_pem(private_key))
        desk.identity.refresh()
        await desk.pauses.begun()
        assert desk.problem is None

    async def test_a_key_that_waits_is_tried_and_taken(
        self,
        make_sandbox: MakeSandbox,
        make_desk: MakeDesk,
        other_key: RSAPrivateKey,
        tmp_path: Path,
    ) -> None:
        """As init --rotate-key has left it, and an administrator has entered it in Jira."""
        sandbox = await make_sandbox()
        desk = make_desk(sandbox.url)
        store_token(desk.config, sandbox.grant().token)
        sandbox.public_key = other_key.public_key()
        assert await desk.doubted() == "signature_invalid"
        path = desk.config.jira.private_key
        write_private(path.with_name(f"{path.name}.new"), keys.private_key_pem(other_key))
        desk.pauses.end()
        await desk.pauses.begun()
        assert desk.problem is None

    async def test_another_key_that_a_request_has_brought_asks_at_once(
        self, sandbox: Sandbox, desk: Desk, private_key: RSAPrivateKey
    ) -> None:
        sandbox.faults.inactive_user = True
        await desk.doubted()
        sandbox.faults.clear()
        desk.identity.adopt(private_key)
        await desk.pauses.begun()
        assert desk.problem is None

    async def test_an_answer_about_the_token_from_before_does_not_count(
        self, upstream: RawUpstream, make_desk: MakeDesk
    ) -> None:
        desk = make_desk(upstream.url)
        store_token(desk.config, "old" * 10)
        asked: list[str] = []

        async def replace_meanwhile(exchange: Exchange) -> None:
            (authorization,) = exchange.all("authorization")
            asked.append(authorization)
            if len(asked) == 1:
                store_token(desk.config, "new" * 10)
                desk.identity.refresh()
                refusal = 'WWW-Authenticate: OAuth oauth_problem="consumer_key_unknown"'
                await exchange.say(b"", refusal, status="401 ")
            else:
                await exchange.say(b'{"name": "alana"}', "Content-Type: application/json")

        upstream.handler = replace_meanwhile
        desk.standing.start()
        assert await desk.doubted() is None
        assert len(asked) == 1
        await desk.pauses.begun()
        assert "new" * 10 in asked[1]
        assert desk.problem is None
        assert not desk.troubles.recent

    async def test_without_a_token_nobody_is_asked_until_there_is_one(
        self, sandbox: Sandbox, desk: Desk
    ) -> None:
        sandbox.revoke()
        await desk.doubted()
        desk.config.token.path.unlink()
        desk.pauses.end()
        await desk.pauses.begun()
        await desk.pauses.begun()
        await turns(20)
        assert desk.pauses.none_begins
        assert len(sandbox.log) == 1
        store_token(desk.config, sandbox.grant().token)
        desk.identity.refresh()
        await desk.pauses.begun()
        assert desk.problem is None


class TestTwoLegged:
    """Nobody has signed in, so Jira is asked at the start whom the link acts as."""

    async def test_jira_is_asked_until_it_says_who_we_are(
        self, make_sandbox: MakeSandbox, make_desk: MakeDesk, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        sandbox = await make_sandbox(two_legged=False)
        desk = make_desk(sandbox.url, jira__two_legged=True)
        desk.standing.start()
        await desk.pauses.begun()
        assert desk.problem == "two_legged_not_allowed"
        for _ in range(3):
            desk.pauses.end()
            await desk.pauses.begun()
        sandbox.faults.two_legged = True
        desk.pauses.end()
        await desk.pauses.begun()
        token = desk.identity.token.current()
        assert (token.user, token.display_name) == ("builds", "Build Robot")
        assert token.server_url == sandbox.url
        assert desk.problem is None
        told = said(caplog)
        assert [level for level, _ in told] == [logging.WARNING, *[logging.INFO] * 3]
        assert "does not allow 2-Legged OAuth" in told[0][1]
        assert told[3] == (logging.INFO, f"{sandbox.url} as Build Robot (builds), two-legged")

    async def test_a_jira_that_is_away_at_the_start_is_told_of_once(
        self, make_sandbox: MakeSandbox, make_desk: MakeDesk, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox = await make_sandbox()
        sandbox.faults.unavailable = True
        desk = make_desk(sandbox.url, jira__two_legged=True)
        desk.standing.start()
        for _ in range(3):
            await desk.pauses.begun()
            desk.pauses.end()
        await desk.pauses.begun()
        ((level, text),) = said(caplog)
        assert level == logging.WARNING
        assert "with 503" in text
        assert re.search(r" What to do: \w.*[^.]\.$", text)
        assert "None" not in text
        assert desk.standing.refusal is None

    async def test_the_question_names_the_user_of_the_configuration(
        self, make_sandbox: MakeSandbox, make_desk: MakeDesk
    ) -> None:
        sandbox = await make_sandbox(impersonation=True)
        desk = make_desk(sandbox.url, jira__two_legged=True, jira__act_as="alana")
        desk.standing.start()
        await desk.pauses.begun()
        assert desk.identity.token.current().user == "alana"
        asked = len(sandbox.log)
        assert await self.again(desk) is None
        assert len(sandbox.log) == asked + 1, "what Jira calls itself is known"
        sandbox.faults.impersonation = False
        assert await self.again(desk) == "two_legged_not_allowed"
        assert desk.standing.refusal is not None
        assert "impersonation" in desk.standing.refusal.hint

    async def again(self, desk: Desk) -> str | None:
        desk.standing.doubt()
        desk.pauses.end()
        await desk.pauses.begun()
        return desk.problem

    async def test_requests_wait_for_the_first_answer_but_not_for_ever(
        self, make_desk: MakeDesk, loop_clock: LoopClock
    ) -> None:
        async def say_nothing(exchange: Exchange) -> None:
            arrived.set()
            await exchange.hang()

        arrived = asyncio.Event()
        async with RawUpstream(say_nothing) as upstream:
            desk = make_desk(upstream.url, jira__two_legged=True)
            desk.standing.start()
            await arrived.wait()
            waiting = asyncio.create_task(desk.standing.wait_tried())
            await turns(2)
            await loop_clock.skip(4.9)
            assert not waiting.done()
            await loop_clock.skip(0.2)
            assert waiting.done()
            assert await is_let_through(desk), "nobody waits for the same a second time"
            await desk.standing.close()

    async def test_nobody_waits_once_there_is_an_answer(
        self, make_sandbox: MakeSandbox, make_desk: MakeDesk
    ) -> None:
        sandbox = await make_sandbox(two_legged=True)
        desk = make_desk(sandbox.url, jira__two_legged=True)
        desk.standing.start()
        assert not await is_let_through(desk)
        await desk.pauses.begun()
        assert await is_let_through(desk)

    async def test_nobody_waits_after_the_end(self, make_desk: MakeDesk) -> None:
        async with RawUpstream(Exchange.hang) as upstream:
            desk = make_desk(upstream.url, jira__two_legged=True)
            desk.standing.start()
            waiting = asyncio.create_task(desk.standing.wait_tried())
            await upstream.request()
            await desk.standing.close()
            await turns(3)
            assert waiting.done()
