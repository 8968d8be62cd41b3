"""What a refusal teaches, and what it proves about copies of the request."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.clock import JiraClock
from sidecar.account.remedies import COPIED, LATE, Remedies
from sidecar.account.request_signer import RequestSigner, Signed
from sidecar.account.signing_url import SigningURL
from sidecar.credentials import Secret, TokenCredentials
from sidecar.http.target import BaseURL
from sidecar.jira.explanations import EXPLANATIONS, Remedy
from sidecar.jira.problems import Problem
from sidecar.signing.signature import percent_encode
from sidecar.signing.signer import Signer

BASE = BaseURL.parse("https://jira.example.com/jira")
INSIDE = BaseURL.parse("http://inside:8080/jira")
TOKEN = TokenCredentials(Secret("TOKEN"), Secret("s3cret"))


class Desk:
    """One request that was signed, and what heals it."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self.now = 1_763_000_000.0
        self.clock = JiraClock(lambda: self.now)
        self.signing_url = SigningURL(BASE, BASE)
        signer = RequestSigner(
            BASE, Signer(key, "OauthKey", clock=self.clock.now), self.clock, self.signing_url
        )
        self.signed: Signed = signer.prepare("POST", "/jira/x", [], TOKEN).sign()
        self.remedies = Remedies(signer)

    def heal(self, problem: Problem, *, is_safe: bool = False) -> BaseURL | None:
        return self.remedies.heal(problem, self.signed, [], is_safe=is_safe)

    def explained(self, problem: Problem, *, is_safe: bool = False) -> tuple[str, str] | None:
        return self.remedies.explanation(problem, self.signed, is_safe=is_safe)

    def refusal(self, ahead: float) -> Problem:
        """Jira's refusal of a time, by a clock that is so far ahead of ours."""
        middle = int(self.now + ahead)
        span = f"{middle - 300}-{middle + 300}"
        return Problem("timestamp_refused", {"oauth_acceptable_timestamps": span})


@pytest.fixture
def desk(private_key: RSAPrivateKey) -> Desk:
    return Desk(private_key)


def test_a_used_nonce_is_replaced_only_where_acting_twice_does_no_harm(desk: Desk) -> None:
    problem = Problem("nonce_used")
    assert desk.heal(problem) is None
    assert desk.explained(problem) == COPIED
    assert desk.heal(problem, is_safe=True) == BASE
    assert desk.explained(problem, is_safe=True) is None


@pytest.mark.parametrize("ahead", [301, 3600, -301, -3600])
def test_clocks_too_far_apart_when_it_was_signed_refuse_every_copy(
    desk: Desk, ahead: float
) -> None:
    problem = desk.refusal(ahead)
    assert desk.heal(problem) == BASE
    assert desk.clock.difference == ahead
    assert desk.explained(problem) is None


@pytest.mark.parametrize("ahead", [0, 299, -299])
def test_a_request_that_was_held_up_may_have_a_copy_that_was_not(desk: Desk, ahead: float) -> None:
    """The clocks agree, and yet Jira refuses the time: it came minutes later."""
    desk.now += 400
    problem = desk.refusal(ahead)
    assert desk.heal(problem) is None
    assert desk.explained(problem) == LATE
    assert desk.heal(problem, is_safe=True) == BASE
    assert desk.explained(problem, is_safe=True) is None


def test_what_is_not_sent_again_is_to_be_looked_for_in_jira(desk: Desk) -> None:
    desk.now += 400
    copied = desk.explained(Problem("nonce_used"))
    late = desk.explained(desk.refusal(0))
    assert copied is not None
    assert late is not None
    for sentence, hint in (copied, late):
        assert "It is not sent again, for" in sentence
        assert "may have been acted upon" in sentence
        assert "see in Jira whether it was before you send it again" in hint
    assert "sent it twice" in copied[0]
    assert "held up for minutes" in late[0]


def test_a_request_that_was_held_up_and_signed_by_a_wrong_clock_has_none(desk: Desk) -> None:
    desk.now += 400
    assert desk.heal(desk.refusal(3600)) == BASE


def test_jiras_date_tells_its_clock_too(desk: Desk) -> None:
    date = [(b"Date", formatdate(desk.now + 1000, usegmt=True).encode())]
    healed = desk.remedies.heal(Problem("timestamp_refused"), desk.signed, date, is_safe=False)
    assert healed == BASE
    assert desk.clock.difference == 1000


def test_a_clock_that_nobody_tells_heals_nothing(desk: Desk) -> None:
    assert desk.heal(Problem("timestamp_refused"), is_safe=True) is None


@pytest.mark.parametrize("is_safe", [True, False])
def test_a_signature_that_is_wrong_for_its_url_alone_had_a_new_nonce(
    desk: Desk, is_safe: bool
) -> None:
    ours, theirs = (percent_encode(str(url)) for url in (BASE, INSIDE))
    base_string = desk.signed.base_string.decode().replace(ours, theirs)
    problem = Problem("signature_invalid", {"oauth_signature_base_string": base_string})
    assert desk.heal(problem, is_safe=is_safe) == INSIDE
    explained = desk.explained(problem)
    assert explained is not None
    assert "http://inside:8080/jira" in explained[0]
    assert desk.signing_url.url == BASE, "it is believed once it has worked"


@pytest.mark.parametrize(
    "name",
    [name for name, one in EXPLANATIONS.items() if one.remedy in (Remedy.NONE, Remedy.RENEW)]
    + ["token_rejected", "what_nobody_knows"],
)
def test_nothing_else_is_healed_here(desk: Desk, name: str) -> None:
    assert desk.heal(Problem(name), is_safe=True) is None
    assert desk.explained(Problem(name)) is None
