"""The URL that we sign for follows what Jira believes, and says so once."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.account.signing_url import SigningURL
from sidecar.http.target import BaseURL, signing_uri
from sidecar.jira.problems import Problem
from sidecar.signing.signature import signature_base_string

BASE = BaseURL.parse("https://jira.example.com/jira")
INSIDE = BaseURL.parse("http://10.0.0.5:8080/jira")


def base_string(url: BaseURL, path: str = "/jira/rest/api/2/myself") -> bytes:
    return signature_base_string("GET", signing_uri(BASE, url, path), []).encode()


def refusal(url: BaseURL, path: str = "/jira/rest/api/2/myself") -> Problem:
    """Jira's answer to a signature, when it believes in this URL."""
    theirs = base_string(url, path).decode()
    return Problem("signature_invalid", {"oauth_signature_base_string": theirs})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def follow(signing: SigningURL, url: BaseURL) -> None:
    """A request that is refused, and sent again with success."""
    perceived = signing.perceived(refusal(url), base_string(signing.url), signing.url)
    assert perceived == url
    signing.believe(perceived)


def test_it_starts_as_configured() -> None:
    assert SigningURL(BASE, BASE).url == BASE
    assert SigningURL(BASE, INSIDE).url == INSIDE


def test_what_jira_believes_is_signed_once_it_is_proved(caplog: pytest.LogCaptureFixture) -> None:
    signing = SigningURL(BASE, BASE)
    assert signing.perceived(refusal(INSIDE), base_string(BASE), BASE) == INSIDE
    assert signing.url == BASE
    assert told(caplog) == []
    signing.believe(INSIDE)
    assert signing.url == INSIDE


def test_it_is_said_once_how_to_make_that_last(caplog: pytest.LogCaptureFixture) -> None:
    signing = SigningURL(BASE, BASE)
    for _ in range(5):
        signing.perceived(refusal(INSIDE), base_string(BASE), BASE)
        signing.believe(INSIDE)
    (line,) = told(caplog)
    assert line.startswith("We sign for what Jira believes from now on. ")
    assert 'scheme="https" secure="true" proxyName="jira.example.com" proxyPort="443"' in line
    assert 'jira.signing_url = "http://10.0.0.5:8080/jira"' in line


def test_advice_is_about_the_url_asked_for_even_when_jira_changes_its_mind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signing = SigningURL(BASE, BASE)
    follow(signing, INSIDE)
    follow(signing, BaseURL.parse("http://node2:8080/jira"))
    assert 'proxyName="jira.example.com" proxyPort="443"' in told(caplog)[1]
    assert 'jira.signing_url = "http://node2:8080/jira"' in told(caplog)[1]


def test_it_goes_back_when_jira_knows_its_url_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    signing = SigningURL(BASE, BASE)
    follow(signing, INSIDE)
    follow(signing, BASE)
    assert signing.url == BASE
    assert caplog.records[1].levelno == logging.INFO
    assert told(caplog)[1] == f"Jira believes again that its URL is {BASE}: we sign for that"


def test_without_a_base_string_of_jiras_what_was_learnt_is_given_up() -> None:
    signing = SigningURL(BASE, BASE)
    bare = Problem("signature_invalid")
    assert signing.perceived(bare, base_string(BASE), BASE) is None
    follow(signing, INSIDE)
    assert signing.perceived(bare, base_string(INSIDE), INSIDE) == BASE


def test_a_base_string_that_was_not_kept_is_compared_with_none() -> None:
    signing = SigningURL(BASE, BASE)
    assert signing.difference(refusal(INSIDE), b"", BASE) is None
    assert signing.difference(Problem("signature_invalid"), base_string(BASE), BASE) is None
    assert signing.difference(refusal(INSIDE), base_string(BASE), BASE) is not None


def test_a_signing_url_that_is_no_longer_needed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    signing = SigningURL(BASE, INSIDE)
    follow(signing, BASE)
    (line,) = told(caplog)
    assert line == (
        f"Jira believes that its URL is {BASE}, as it should, and jira.signing_url is {INSIDE}. We"
        " sign for what Jira believes from now on. What to do: remove jira.signing_url."
    )


def test_two_nodes_of_different_minds_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    signing = SigningURL(BASE, BASE)
    for _ in range(50):
        follow(signing, INSIDE)
        follow(signing, BASE)
    assert len(told(caplog)) == 2


def test_a_jira_of_ever_new_minds_fills_neither_the_log_nor_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signing = SigningURL(BASE, BASE)
    for port in range(1000, 1100):
        follow(signing, BaseURL.parse(f"http://jira:{port}"))
    assert len(told(caplog)) <= 5


@pytest.mark.parametrize(
    "theirs",
    [
        None,
        "",
        "garbage",
        base_string(BASE).decode(),
        base_string(BASE, "/jira/rest/api/2/field").decode(),
        "GET&http%3A%2F%2Fjira%3A0%2Fjira%2Frest%2Fapi%2F2%2Fmyself&",
        "GET&http%3A%2F%2F..%2Fjira%2Frest%2Fapi%2F2%2Fmyself&",
    ],
)
def test_nothing_is_believed_that_would_not_help(theirs: str | None) -> None:
    parameters = {} if theirs is None else {"oauth_signature_base_string": theirs}
    problem = Problem("signature_invalid", parameters)
    signing = SigningURL(BASE, BASE)
    perceived = signing.perceived(problem, base_string(BASE), BASE)
    assert perceived is None or theirs == "GET&http%3A%2F%2F..%2Fjira%2Frest%2Fapi%2F2%2Fmyself&"


@given(
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z0-9]{1,10})?", fullmatch=True),
    st.integers(1, 65535),
    st.sampled_from(["", "/jira", "/a/b"]),
    st.sampled_from(["", "/jira", "/other"]),
    st.sampled_from(["/rest/api/2/myself", "/rest//x;v=1/%7e", "/a", "/jira/jira"]),
)
def test_whatever_url_jira_believes_in_is_found_and_signed_for(
    scheme: str, host: str, port: int, prefix: str, context: str, path: str
) -> None:
    base = BaseURL.parse(f"https://jira.example.com{context}")
    jira = BaseURL.parse(f"{scheme}://{host}:{port}{prefix}")
    target = context + path

    def signed(url: BaseURL) -> bytes:
        return signature_base_string("GET", signing_uri(base, url, target), []).encode()

    signing = SigningURL(base, base)
    problem = Problem("signature_invalid", {"oauth_signature_base_string": signed(jira).decode()})
    if jira != base and (perceived := signing.perceived(problem, signed(base), base)):
        assert signed(perceived) == signed(jira)
        assert str(perceived) in signing._advice(perceived)
