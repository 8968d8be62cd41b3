"""The fields of an answer that is an HTML page: what a browser may do with it, and what not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sidecar.http.fields import Fields

_NOTHING_FROM_ELSEWHERE = ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'")
_OWN_PARTS = (
    "style-src 'self'",
    "script-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    # Chromium refuses a script that would make markup of text, ours included.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)


def prefers_html(accept: Sequence[bytes]) -> bool:
    """Whether an `Accept` names HTML, and JSON less or not at all: a browser that opens a page.

    RFC 9110 §12.5.1; `*/*` alone, as of curl, is a program that takes whatever there is.
    """
    weights: dict[bytes, float] = {}
    for entry in b",".join(accept).lower().split(b","):
        kind, *parameters = [part.strip() for part in entry.split(b";")]
        weight = next((one[2:] for one in parameters if one.startswith(b"q=")), b"1")
        weights[kind] = float(weight) if _WEIGHT.fullmatch(weight) else 0.0
    return weights.get(b"text/html", 0.0) > weights.get(b"application/json", 0.0)


def page_fields() -> Fields:
    """The fields of a page below /_sidecar/ that uses the style, the script and forms."""
    return [_HTML, *_fields(_OWN_PARTS)]


def part_fields(content_type: str) -> Fields:
    """The fields of what such a page loads."""
    return [(b"Content-Type", content_type.encode()), *_fields(())]


def alone_fields(style_hash: str) -> Fields:
    """The fields of a page that brings its style along and loads nothing.

    It may have come with something that no other page should learn: it sends no Referer.
    """
    own = (f"style-src 'sha256-{style_hash}'", "form-action 'none'")
    return [_HTML, *_fields(own, referrer=b"no-referrer")]


_WEIGHT = re.compile(rb"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_HTML = (b"Content-Type", b"text/html; charset=utf-8")


def _fields(own: tuple[str, ...], referrer: bytes = b"same-origin") -> Fields:
    policy = "; ".join(_NOTHING_FROM_ELSEWHERE + own)
    return [
        (b"Content-Security-Policy", policy.encode()),
        (b"Cache-Control", b"no-store"),
        (b"Referrer-Policy", referrer),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"X-Frame-Options", b"DENY"),
        (b"Cross-Origin-Opener-Policy", b"same-origin"),
        (b"Cross-Origin-Resource-Policy", b"same-origin"),
    ]
