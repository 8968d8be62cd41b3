"""What a browser may do with an HTML page of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.html.answers import alone_fields, page_fields, part_fields, prefers_html
from sidecar.http.fields import Fields

PAGES = {
    "page": page_fields(),
    "part": part_fields("text/css"),
    "alone": alone_fields("abc="),
}


def policy(fields: Fields) -> dict[str, str]:
    value = dict(fields)[b"Content-Security-Policy"].decode()
    return {name: rest for name, _, rest in (part.partition(" ") for part in value.split("; "))}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_comes_from_elsewhere_and_nobody_frames_or_keeps_it(name: str) -> None:
    fields = dict(PAGES[name])
    found = policy(PAGES[name])
    assert found["default-src"] == found["base-uri"] == found["frame-ancestors"] == "'none'"
    assert fields[b"Cache-Control"] == b"no-store"
    assert fields[b"X-Content-Type-Options"] == b"nosniff"
    assert b"Set-Cookie" not in fields
    sources = {source for value in found.values() for source in value.split()}
    assert sources <= {"'none'", "'self'", "'script'", "'sha256-abc='"}


def test_a_page_uses_our_own_parts_and_forms_alone() -> None:
    found = policy(page_fields())
    assert found["script-src"] == found["style-src"] == found["connect-src"] == "'self'"
    assert found["form-action"] == "'self'"
    assert dict(page_fields())[b"Referrer-Policy"] == b"same-origin"


def test_a_page_that_stands_alone_has_no_script_no_form_and_no_referer() -> None:
    found = policy(alone_fields("abc="))
    assert "script-src" not in found
    assert found["form-action"] == "'none'"
    assert dict(alone_fields("abc="))[b"Referrer-Policy"] == b"no-referrer"


@pytest.mark.parametrize(
    ("accept", "prefers"),
    [
        ([b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], True),
        ([b"TEXT/HTML ; Q=0.5"], True),
        ([b"application/xml", b"text/html"], True),
        ([b"text/html, application/json;q=0.9"], True),
        ([b"text/html;level=1;q=0.9, application/json;q=0.1"], True),
        ([], False),
        ([b""], False),
        ([b"*/*"], False),
        ([b"text/*"], False),
        ([b"application/json"], False),
        ([b"application/json, text/html"], False),
        ([b"application/json, text/html;q=0.9"], False),
        ([b"text/html;q=0"], False),
        ([b"text/html;q=x"], False),
        ([b"text/html;q=1e9"], False),
    ],
)
def test_a_page_is_for_who_names_html_and_json_less(accept: list[bytes], prefers: bool) -> None:
    assert prefers_html(accept) is prefers


@given(st.lists(st.binary(max_size=60)))
def test_no_accept_is_too_odd(accept: list[bytes]) -> None:
    assert prefers_html(accept) in (True, False)
