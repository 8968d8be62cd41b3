"""How Jira is asked: signed, with what can be healed healed, and what is left named."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from tests.support.checking import Diagnose, always, diagnose, relay
from tests.support.dancing import answer
from tests.support.raw_server import RawServer

__all__ = ["diagnose"]


@pytest.mark.parametrize("shown", [b"X-Date:", b"Age: 4000\r\nDate:"])
async def test_a_clock_that_date_does_not_tell_is_known_by_what_jira_refuses(
    sandbox: Sandbox, diagnose: Diagnose, shown: bytes
) -> None:
    """A reverse proxy that sets, or keeps, a `Date` of its own."""
    sandbox.faults.clock_offset = 1000.0
    async with relay(sandbox, instead_of_date=shown) as base_url:
        result = await diagnose(base_url, token=sandbox.grant().token)
    assert "have no Date" in result["clock"].message
    assert "signature" in result.failed
    assert re.search("16 min (39|40) s ahead of", result["signature"].message)
    assert result["user"].status == "pass"


async def test_a_key_that_does_not_fit_the_application_link(
    sandbox: Sandbox, diagnose: Diagnose, other_key: RSAPrivateKey
) -> None:
    sandbox.public_key = other_key.public_key()
    for token in (sandbox.grant().token, None):
        result = await diagnose(sandbox.url, token=token)
        step = result["signature"]
        assert (step.status, step.exit_code) == ("fail", 78)
        assert "does not belong to our private key" in step.message
        fingerprint = result["private_key"].message.rpartition(" ")[2].rstrip(".")
        assert fingerprint in step.hint
        assert "`sidecar public-key`" in step.hint
        assert {"user", "anonymous"} <= set(result.of("skipped"))


async def test_a_consumer_key_that_jira_does_not_know(sandbox: Sandbox, diagnose: Diagnose) -> None:
    result = await diagnose(sandbox.url, jira__consumer_key="Other", token=sandbox.grant().token)
    assert (result.failed, result.code) == (["signature"], 78)
    assert '"Other"' in result["signature"].message
    sandbox.faults.link_gone = True
    result = await diagnose(sandbox.url, token=sandbox.grant().token, jira__consumer_key="Other")
    assert result["signature"].exit_code == 78


PERCEIVED = {
    "perceived_scheme": ("https", 'scheme="http"'),
    "perceived_host": ("tomcat.internal", "proxyName="),
    "perceived_port": (1234, "proxyPort="),
    "perceived_prefix": ("/internal", "jira.signing_url"),
}


@pytest.mark.parametrize("fault", PERCEIVED)
async def test_a_url_that_jira_does_not_believe_in_is_named_and_gone_on_from(
    sandbox: Sandbox, diagnose: Diagnose, fault: str
) -> None:
    value, hint = PERCEIVED[fault]
    setattr(sandbox.faults, fault, value)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["signature"], 78)
    assert "Jira believes that its URL is" in result["signature"].message
    assert hint in result["signature"].hint
    assert "jira.signing_url" in result["signature"].hint


async def test_a_parameter_that_is_lost_on_the_way_is_named(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    sandbox.faults.dropped_parameter = "jql"
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.failed == ["anonymous"]
    assert "parameters were lost: jql" in result["anonymous"].message


async def test_a_rate_limit_is_no_fault_of_the_signature(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    sandbox.faults.rate_limited = 5
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["user"], 69)
    assert "rate limit" in result["user"].message


@pytest.mark.parametrize("times", [1, 2])
async def test_a_nonce_that_was_seen_is_tried_again(
    sandbox: Sandbox, diagnose: Diagnose, times: int
) -> None:
    sandbox.faults.nonce_used = times
    assert (await diagnose(sandbox.url, token=sandbox.grant().token)).code == 0


async def test_another_method_than_ours_is_the_fault_of_what_stands_between(
    diagnose: Diagnose,
) -> None:
    refusal = answer(
        400,
        "oauth_problem=signature_method_rejected",
        'WWW-Authenticate: OAuth realm="x", oauth_problem="signature_method_rejected"',
    )
    async with RawServer(always(refusal)) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result["signature"].status, result.code) == ("fail", 78)
    assert "changes the Authorization field" in result["signature"].message
    assert "pass requests on unchanged" in result["signature"].hint
