from __future__ import annotations

import re

import pytest

from sidecar.sandbox.answers import Answer, Call
from sidecar.sandbox.approval import (
    approval_page,
    outcome_page,
    problem_page,
    xsrf_page,
)
from sidecar.sandbox.body import WireBody
from sidecar.sandbox.link import Link
from sidecar.sandbox.message import OAuthProblem
from sidecar.sandbox.provider import RequestToken
from sidecar.sandbox.record import Fields, Request

LINK = Link("Key<1>", None, "Reports & <b>more</b>")


def token(callback: str | None = "oob", **decision: object) -> RequestToken:
    made = RequestToken("T" * 32, "S" * 32, callback, 0.0, "OauthKey", "X" * 40)
    for name, value in decision.items():
        setattr(made, name, value)
    return made


def call() -> Call:
    body = WireBody.__new__(WireBody)  # the page reads none
    record = Request("GET", "/a?oauth_token=T", Fields())
    return Call(record, '/a"b', [], [], body, "http://h")


def text(page: Answer) -> str:
    assert isinstance(page.body, bytes)
    return page.body.decode()


def test_the_page_says_who_asks_for_what_and_as_whom() -> None:
    page = text(approval_page(LINK, token(), call()))
    assert "Reports &amp; &lt;b&gt;more&lt;/b&gt;" in page
    assert "Key&lt;1&gt;" in page
    assert "read and write access" in page
    assert '<option value="alana">Alana Example (alana)</option>' in page
    assert "retired" not in page
    assert ">Allow</button>" in page
    assert ">Deny</button>" in page
    assert 'action="/a&quot;b"' in page
    assert f'name="atl_token" value="{"X" * 40}"' in page


@pytest.mark.parametrize(
    ("callback", "links", "said"),
    [
        ("oob", None, "shows a code"),
        (None, None, "shows a code"),
        ("http://127.0.0.1:81/cb?x", None, "back to 127.0.0.1:81"),
        ("oob", "https://link.example/", "back to link.example"),
        ("http://127.0.0.1:81/", "https://link.example/", "back to 127.0.0.1:81"),
    ],
)
def test_the_page_says_what_comes_then(callback: str, links: str | None, said: str) -> None:
    link = Link("OauthKey", None, "An application", links)
    assert said in text(approval_page(link, token(callback), call()))


PAGES = {
    "approval": approval_page(LINK, token(), call()),
    "approved": outcome_page(token(user="alana", verifier="abc123")),
    "denied": outcome_page(token(user="alana", denied=True)),
    "expired": problem_page(OAuthProblem("token_expired"), "http://h"),
    "other": problem_page(OAuthProblem("odd<1>"), "http://h"),
    "xsrf": xsrf_page(),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_a_page_loads_nothing_and_fits_light_dark_and_narrow(page: Answer) -> None:
    policy = dict(page.fields)["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    assert page.content_type == "text/html;charset=UTF-8"
    html = text(page)
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", html)
    assert "color-scheme: light dark" in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert "odd<1>" not in html


def test_the_outcome_is_a_code_or_a_sentence() -> None:
    assert "Your verification code is 'abc123'" in text(PAGES["approved"])
    assert "You have denied the access" in text(PAGES["denied"])
    without = outcome_page(token(None, user="alana", verifier="abc123"))
    assert "abc123" not in text(without)


@pytest.mark.parametrize(
    ("problem", "status", "said"),
    [
        ("token_expired", 401, "has expired"),
        ("token_used", 401, "has been answered"),
        ("token_rejected", 401, "is unknown"),
        ("parameter_absent", 400, "No request was named"),
        ("something_else", 403, "something_else"),
    ],
)
def test_a_problem_is_a_page_to_read_with_the_providers_status(
    problem: str, status: int, said: str
) -> None:
    page = problem_page(OAuthProblem(problem), "http://h")
    assert page.status == status
    assert said in text(page)
    assert any(f'oauth_problem="{problem}"' in value for _, value in page.fields)


def test_a_forged_form_is_told_so() -> None:
    assert PAGES["xsrf"].status == 403
    assert "start again" in text(PAGES["xsrf"])
