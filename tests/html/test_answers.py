"""What a browser may do with an HTML page of ours."""

from __future__ import annotations

import pytest

from sidecar.html.answers import alone_fields, page_fields, part_fields
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
