from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox import Sandbox
from sidecar.sandbox.faults import Faults
from sidecar.sandbox.rate_limits import UNLIMITED, RateLimits
from tests.support.sandbox_client import SandboxClient
from tests.support.wire import Response

SERVER_INFO = "/rest/api/2/serverInfo"
NAMES = ("Limit", "Remaining", "FillRate", "Interval-Seconds")


def limits(capacity: int | None, fill: int = 1, interval: int = 10) -> RateLimits:
    return RateLimits(Faults(rate_capacity=capacity, rate_fill=fill, rate_interval=interval))


def test_nobody_is_limited_at_first() -> None:
    nobody = limits(None)
    assert {nobody.take(0, "alana", 1.0) for _ in range(5000)} == {UNLIMITED}


def test_a_bucket_is_emptied_and_filled_again() -> None:
    limited = limits(2, fill=3)
    first, second, third = (limited.take(0, "alana", 100.0) for _ in range(3))
    assert (first.allowed, first.remaining, first.retry_after) == (True, 1, 0)
    assert (second.allowed, second.remaining, second.retry_after) == (True, 0, 10)
    assert (third.allowed, third.remaining, third.retry_after) == (False, 0, 10)
    assert limited.take(0, "alana", 107.5).retry_after == 3
    again = limited.take(0, "alana", 110.0)
    assert (again.allowed, again.remaining) == (True, 1)


def test_users_and_nodes_have_buckets_of_their_own() -> None:
    limited = limits(1)
    assert limited.take(0, "alana", 1.0).allowed
    assert not limited.take(0, "alana", 1.0).allowed
    assert limited.take(1, "alana", 1.0).allowed
    assert limited.take(0, "builds", 1.0).allowed


def test_a_clock_that_is_set_back_starves_nobody() -> None:
    limited = limits(1, interval=1)
    assert limited.take(0, "alana", 10_000.0).allowed
    assert limited.take(0, "alana", 10.0).retry_after == 1
    assert limited.take(0, "alana", 11.0).allowed


@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(1, 5),
    st.lists(st.floats(0, 20), max_size=50),
)  # fmt: skip
def test_no_more_is_allowed_than_the_intervals_bring(
    capacity: int, fill: int, interval: int, pauses: list[float]
) -> None:
    limited, now, allowed = limits(capacity, fill, interval), 1000.0, 0
    for pause in pauses:
        now += pause
        said = limited.take(0, "alana", now)
        allowed += said.allowed
        assert (said.retry_after == 0) is (said.remaining > 0)
        assert said.retry_after <= interval
    assert allowed <= capacity + fill * ((now - 1000) // interval + 1)


# ── on the wire ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


def said(answer: Response) -> list[str]:
    return [answer[f"X-RateLimit-{name}"] for name in NAMES] + [answer["Retry-After"]]


async def test_a_refused_request_was_not_acted_on(client: SandboxClient) -> None:
    client.sandbox.faults.throw({"rate_capacity": 2, "rate_fill": 5, "rate_interval": 3600})
    target, json = "/rest/api/2/issue/JJ-2/comment", ("Content-Type", "application/json")
    answers = [await client.call("POST", target, json, body=b'{"body":"x"}') for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 429]
    assert said(answers[0]) == ["2", "1", "5", "3600", "0"]
    assert said(answers[2])[:4] == ["2", "0", "5", "3600"]
    assert 3590 <= int(answers[2]["Retry-After"]) <= 3600
    client.sandbox.faults.clear()
    assert (await client.call("GET", target)).json()["total"] == 3  # one is of the documentation


async def test_only_rest_requests_of_somebody_count(client: SandboxClient) -> None:
    client.sandbox.faults.rate_capacity = 1
    for _ in range(3):
        assert (await client.get(client.context + SERVER_INFO)).status == 200
        assert (await client.call("GET", "/_sandbox/echo")).status == 200
    assert [(await client.call("GET", SERVER_INFO)).status for _ in range(2)] == [200, 429]


async def test_nodes_take_turns_and_count_for_themselves(client: SandboxClient) -> None:
    client.sandbox.faults.throw({"rate_capacity": 3, "rate_interval": 3600, "nodes": 2})
    answers = [await client.call("GET", SERVER_INFO) for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 6 + [429] * 2
    remaining = [answer["X-RateLimit-Remaining"] for answer in answers[:6]]
    assert remaining == ["2", "2", "1", "1", "0", "0"]
