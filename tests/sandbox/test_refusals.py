from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

import pytest

from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.refusals import answer_echo, answer_problem, realm_challenge

REALM = 'OAuth realm="http%3A%2F%2Fh%2Fjira"'


def challenges(fields: list[tuple[str, str]]) -> list[str]:
    assert {name for name, _ in fields} == {"WWW-Authenticate"}
    return [value for _, value in fields]


def test_a_refusal_says_it_twice_and_the_realm_alone_comes_first() -> None:
    error = OAuthProblem("signature_invalid", oauth_signature="a/b=", oauth_more="x y&z")
    seen = set()
    for _ in range(100):
        answer = answer_problem(error, "http://h/jira")
        assert isinstance(answer.body, bytes)
        assert sorted(parse_qsl(answer.body.decode())) == sorted(error.parameters)
        first, second = challenges(answer.fields)
        assert first == REALM
        assert second.startswith(REALM + ", oauth_")
        pairs = re.findall(r', (\w+)="([^"]*)"', second)
        assert sorted((name, unquote(value)) for name, value in pairs) == sorted(error.parameters)
        seen.add(second)
    assert len(seen) == 6  # the orders of three parameters


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        ("parameter_absent", 400),
        ("signature_method_rejected", 400),
        ("timestamp_refused", 400),
        ("nonce_used", 401),
        ("permission_denied", 401),
        ("token_revoked", 401),
        ("additional_authorization_required", 401),
        ("user_refused", 503),
        ("consumer_key_refused", 503),
        ("something_else", 403),
    ],
)
def test_each_problem_has_its_status(problem: str, status: int) -> None:
    answer = answer_problem(OAuthProblem(problem), "http://h")
    assert answer.status == status
    assert len(answer.fields) == (2 if status == 401 else 1)


@pytest.mark.parametrize("status", [401, 500])
def test_an_echo_repeats_what_was_sent_and_names_no_problem(status: int) -> None:
    sent = [("oauth_token", "T 1"), ("a", "b"), ("oauth_signature", "x="), ("xoauth_x", "y")]
    answer = answer_echo(status, Message("GET", "http://h/", sent), "http://h/jira")
    assert (answer.status, answer.body) == (status, b"")
    echo = REALM + ', oauth_token="T%201", oauth_signature="x%3D"'
    assert challenges(answer.fields) == ([REALM, echo] if status == 401 else [echo])


def test_a_realm_is_percent_encoded() -> None:
    assert realm_challenge("http://h/jira") == REALM
