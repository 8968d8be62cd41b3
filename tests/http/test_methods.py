"""Methods are told apart as RFC 9110 §9 has them."""

from __future__ import annotations

from sidecar.http.methods import BODY_METHODS, KNOWN_METHODS, METHODS, SAFE_METHODS


def test_each_method_either_is_safe_or_may_have_a_body() -> None:
    assert set(METHODS) == SAFE_METHODS | BODY_METHODS
    assert not SAFE_METHODS & BODY_METHODS
    assert len(set(METHODS)) == len(METHODS)


def test_http_knows_more_methods_than_are_forwarded() -> None:
    assert {method.encode() for method in METHODS} < KNOWN_METHODS
    assert {b"CONNECT", b"TRACE", b"PROPFIND", b"M-SEARCH"} < KNOWN_METHODS
    assert not {b"get", b"PRI", b""} & KNOWN_METHODS
