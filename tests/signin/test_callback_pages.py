"""What is shown at the end of a terminal's sign-in: differing at a glance, and text alone."""

from __future__ import annotations

import pytest

from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import NotAuthorized
from sidecar.jira.refusals import denied
from sidecar.signin import callback_pages
from sidecar.signin.callback_pages import Page, failed, signed_in

ALL = [page for page in vars(callback_pages).values() if isinstance(page, Page)]


def test_success_and_denial_differ_at_a_glance() -> None:
    good, bad = signed_in(TokenCredentials(Secret("t"), Secret(""), user="alana")), failed(denied())
    assert (good.level, good.title) == ("good", "Access approved")
    assert (bad.level, bad.title) == ("bad", "Access denied")
    assert b'class="state good"' in good.response()
    assert b'class="state bad"' in bad.response()


def test_what_failed_is_said() -> None:
    page = failed(NotAuthorized("The request token has expired.", "begin again"))
    assert page.title == "Not signed in"
    assert page.text.startswith("The request token has expired. The terminal says")


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.text[:30])
def test_each_is_a_whole_answer(page: Page) -> None:
    head, _, body = page.response().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d %b\r\n" % (page.status, page.status.phrase.encode()))
    assert b"Content-Length: %d" % len(body) in head
    assert b"Set-Cookie" not in head
    assert page.title.encode() in body


def test_names_are_text() -> None:
    user = "<script>alert(1)</script>\x1b[31m"
    page = signed_in(TokenCredentials(Secret("t"), Secret(""), user=user)).response()
    assert b"<script" not in page
    assert b"\x1b" not in page
