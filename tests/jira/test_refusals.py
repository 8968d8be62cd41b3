"""Why a step of the dance failed: which error, and what it tells people to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ConfigError, NotAuthorized, NotJira, SidecarError, UpstreamError
from sidecar.http.target import BaseURL
from sidecar.jira.explanations import EXPLANATIONS
from sidecar.jira.problems import ActsAs, Problem, parse_problem
from sidecar.jira.refusals import (
    DENIED,
    Consumer,
    DanceStep,
    Denied,
    RenewedUnseen,
    VerifierRefused,
    denied,
    exit_code,
    interrupted,
    refused,
    unexpected_answer,
)

BASE = BaseURL.parse("https://jira.example.com/jira")
CONSUMER = Consumer(BASE, BASE, "Oauth\x1bKey", "ab:cd")
OURS = "POST&https%3A%2F%2Fjira.example.com%2Fjira%2Frest&a%3D1"


@pytest.mark.parametrize(
    ("step", "name", "kind", "says", "hint"),
    [
        (DanceStep.REQUEST_TOKEN, "consumer_key_unknown", ConfigError, "application link", "same"),
        (DanceStep.EXCHANGE, "consumer_key_rejected", ConfigError, "application link", "same"),
        (DanceStep.REQUEST_TOKEN, "parameter_rejected", NotAuthorized, "a callback", "--begin"),
        (DanceStep.EXCHANGE, "parameter_absent", UpstreamError, "drops the Authorization", "pass"),
        (DanceStep.EXCHANGE, "token_rejected", VerifierRefused, "verification code", "capitals"),
        (DanceStep.EXCHANGE, "token_expired", NotAuthorized, "10 minutes", "begin again"),
        (DanceStep.EXCHANGE, "permission_unknown", VerifierRefused, "pressed Allow yet", "Allow"),
        (DanceStep.EXCHANGE, "permission_denied", NotAuthorized, "denied", "press Allow"),
        (DanceStep.EXCHANGE, "user_refused", NotAuthorized, "denied", "press Allow"),
        (DanceStep.RENEWAL, "token_rejected", RenewedUnseen, "revoked, or renewed", "auth"),
        (DanceStep.RENEWAL, "nonce_used", RenewedUnseen, "this very renewal before", "not repeat"),
        (DanceStep.MYSELF, "nonce_used", NotAuthorized, "very request before", "not repeat"),
        (DanceStep.RENEWAL, "token_expired", NotAuthorized, "session is over", "auth"),
        (DanceStep.RENEWAL, "permission_denied", NotAuthorized, "session is over", "auth"),
        (DanceStep.RENEWAL, "timestamp_refused", NotAuthorized, "five minutes", "clock"),
        (DanceStep.MYSELF, "anonymous", NotAuthorized, "as it answers anybody", "inactive"),
        (DanceStep.MYSELF, "token_rejected", NotAuthorized, "does not know our token", "auth"),
        (DanceStep.REQUEST_TOKEN, "permission_denied", ConfigError, "three-legged", "two_legged"),
        (DanceStep.MYSELF, "three_legged_not_allowed", ConfigError, "three-legged", "two_legged"),
        (DanceStep.MYSELF, "two_legged_not_allowed", ConfigError, "let us in as", "Execute as"),
        (DanceStep.MYSELF, "key_size_mismatch", ConfigError, "another size", "public-key"),
        (DanceStep.EXCHANGE, "signature_method_rejected", ConfigError, "RSA-SHA1", "unchanged"),
        (DanceStep.REQUEST_TOKEN, "never_heard_of", NotAuthorized, "never_heard_of", "Jira's log"),
    ],
)
def test_what_a_problem_means_depends_on_the_step(
    step: DanceStep, name: str, kind: type[SidecarError], says: str, hint: str
) -> None:
    error = refused(step, Problem(name), CONSUMER, OURS)
    assert isinstance(error, kind)
    assert says in error.message
    assert hint in error.hint


@pytest.mark.parametrize("acts_as", [ActsAs.LINK, ActsAs.NAMED])
@pytest.mark.parametrize(("status", "user"), [(401, b"anonymous"), (200, b"anonymous")])
def test_a_link_that_does_not_let_us_be_somebody_does_not_fit(
    acts_as: ActsAs, status: int, user: bytes
) -> None:
    problem = parse_problem(status, [(b"X-AUSERNAME", user)], b"", acts_as)
    assert problem is not None
    error = refused(DanceStep.MYSELF, problem, CONSUMER, OURS)
    assert error.exit_code == 78
    assert "access token" not in error.message


@given(st.sampled_from(DanceStep), st.sampled_from([*EXPLANATIONS, "other"]))
def test_every_problem_at_every_step_says_what_to_do(step: DanceStep, name: str) -> None:
    error = refused(step, Problem(name), CONSUMER, OURS)
    assert error.message.endswith(".")
    assert error.hint
    assert "\x1b" not in error.message + error.hint


def test_a_signature_is_wrong_by_its_url_or_else_by_its_key() -> None:
    theirs = OURS.replace("https", "http", 1)
    problem = Problem("signature_invalid", {"oauth_signature_base_string": theirs})
    by_url = refused(DanceStep.REQUEST_TOKEN, problem, CONSUMER, OURS)
    assert "we ask for https://jira.example.com/jira" in by_url.message
    assert "jira.signing_url" in by_url.hint
    by_key = refused(DanceStep.REQUEST_TOKEN, Problem("signature_invalid"), CONSUMER, OURS)
    assert "does not fit the private key" in by_key.message
    assert "(SHA-256 ab:cd)" in by_key.hint


def test_a_refused_signature_is_jiras_word_and_says_of_the_key_only_what_is_at_hand() -> None:
    keyless = replace(CONSUMER, fingerprint="")
    error = refused(DanceStep.REQUEST_TOKEN, Problem("signature_invalid"), keyless, OURS)
    assert error.message.startswith("Jira finds our signature invalid: the public key")
    assert "SHA-256" not in error.hint
    assert "prints as the application link's Public key" in error.hint
    theirs = {"oauth_signature_base_string": OURS.replace("POST", "GET")}
    changed = Problem("signature_invalid", theirs)
    error = refused(DanceStep.REQUEST_TOKEN, changed, CONSUMER, OURS)
    assert error.message.startswith("Jira finds our signature invalid. On the way")


def test_a_signing_url_with_another_context_path_is_compared_by_its_own() -> None:
    inside = replace(CONSUMER, signing_url=BaseURL.parse("http://inside:8080/j"))
    ours = "POST&http%3A%2F%2Finside%3A8080%2Fj%2Frest&a%3D1"
    problem = Problem("signature_invalid", {"oauth_signature_base_string": OURS})
    error = refused(DanceStep.RENEWAL, problem, inside, ours)
    assert "and we ask for http://inside:8080/j." in error.message
    assert 'jira.signing_url = "https://jira.example.com/jira"' in error.hint


def test_of_what_does_not_fit_the_two_likeliest_causes_are_named() -> None:
    causes = EXPLANATIONS["two_legged_not_allowed"].causes
    error = refused(DanceStep.MYSELF, Problem("two_legged_not_allowed"), CONSUMER, OURS)
    assert error.message.endswith(f" Likely {causes[0]}; or {causes[1]}.")
    assert len(causes) > 2
    assert causes[2] not in error.message


def test_a_consumer_key_is_shown_fit_for_a_terminal() -> None:
    error = refused(DanceStep.EXCHANGE, Problem("consumer_key_unknown"), CONSUMER, OURS)
    assert '"Oauth\ufffdKey"' in error.message


def test_a_sign_in_that_is_interrupted_can_be_begun_again() -> None:
    assert isinstance(interrupted(), NotAuthorized)
    assert interrupted().hint == "run `sidecar auth` again"


def test_an_error_names_the_step_that_failed() -> None:
    steps = {
        DanceStep.REQUEST_TOKEN: "the request for a request token",
        DanceStep.EXCHANGE: "the exchange of the request token",
        DanceStep.RENEWAL: "the renewal of the access token",
        DanceStep.MYSELF: "the question who we are",
        DanceStep.SERVER_INFO: "the question what Jira's own URL is",
    }
    assert set(steps) == set(DanceStep)
    for step, words in steps.items():
        error = unexpected_answer(step, 503, [], b"", BASE)
        assert error.message == f"jira.example.com answered {words} with 503."


def test_who_presses_deny_is_told_apart_by_the_verifier_that_jira_sends() -> None:
    assert DENIED == "denied"
    assert isinstance(denied(), Denied)


@pytest.mark.parametrize(("status", "is_about_the_key"), [(500, True), (503, False), (429, False)])
def test_only_a_500_may_be_about_the_key(status: int, is_about_the_key: bool) -> None:
    error = unexpected_answer(DanceStep.REQUEST_TOKEN, status, [], b"", BASE)
    assert error.hint.startswith("Jira may be starting or overloaded: try again in a minute")
    assert ("sidecar public-key" in error.hint) == is_about_the_key


@pytest.mark.parametrize(
    ("status", "is_redirect"), [(299, False), (300, True), (399, True), (400, False)]
)
def test_an_answer_that_leads_elsewhere_is_said_to(status: int, is_redirect: bool) -> None:
    error = unexpected_answer(DanceStep.REQUEST_TOKEN, status, [], b"", BASE)
    assert ("redirects" in error.message) == is_redirect


MOVED = b"https://new.test/j/plugins/servlet/oauth/request-token"
SAME = b"https://jira.example.com/jira/plugins/servlet/oauth/request-token"


@pytest.mark.parametrize(
    ("status", "location", "body", "kind", "says", "hint"),
    [
        (404, b"", b"", NotJira, "at https://jira.example.com/jira", "context path"),
        (500, b"", b"<p>", UpstreamError, "with 500", "sidecar public-key"),
        (503, b"", b"<p>", UpstreamError, "with 503", "starting or overloaded"),
        (429, b"", b"", UpstreamError, "with 429", "starting or overloaded"),
        (200, b"", b" <html>", NotJira, "a page (HTML)", "reaches Jira itself"),
        (200, b"", b"hello", NotJira, "something that is not Jira's", "reaches Jira itself"),
        (403, b"", b" ", NotJira, "nothing instead of an answer, status 403", "reaches Jira"),
        (302, b"https://sso.test/login?x", b"", NotJira, "to https://sso.test ", "a login page"),
        (302, b"/login", b"", NotJira, "elsewhere", "a login page"),
        (301, b"http://[", b"", NotJira, "elsewhere", "a login page"),
        (301, b"https://u:p@sso.test/", b"", NotJira, "to https://sso.test ", "a login page"),
        (301, b"https://u@v:p@sso.test/", b"", NotJira, "to https://sso.test ", "a login page"),
        (302, b"/plugins/servlet/oauth/x", b"", NotJira, "elsewhere", "a login page"),
        (302, b"", b"", NotJira, "elsewhere", "a login page"),
        (499, b"", b"", NotJira, "status 499", "reaches Jira"),
        (301, MOVED, b"", NotJira, "to https://new.test ", 'base_url = "https://new.test/j"?'),
        (301, SAME, b"", NotJira, "to https://jira.example.com ", "a login page"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for(
    status: int, location: bytes, body: bytes, kind: type[SidecarError], says: str, hint: str
) -> None:
    fields = [(b"Location", location)] if location else []
    error = unexpected_answer(DanceStep.REQUEST_TOKEN, status, fields, body, BASE)
    assert isinstance(error, kind)
    assert says in error.message
    assert hint in error.hint
    assert "u:p" not in error.message + error.hint


@given(st.integers(200, 599), st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_answers_makes_an_error_of_printable_text(
    status: int, location: bytes, body: bytes
) -> None:
    fields = [(b"Location", b"https://" + location)]
    error = unexpected_answer(DanceStep.EXCHANGE, status, fields, body, BASE)
    assert (error.message + error.hint).isprintable()


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_a_problems_exit_code_is_that_of_its_error(name: str) -> None:
    """That which whoever signs in meets, and whoever asks the running sidecar."""
    error = refused(DanceStep.MYSELF, Problem(name), CONSUMER, "")
    assert exit_code(name) == error.exit_code
