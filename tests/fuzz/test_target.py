"""Hostile targets and URLs against readers of other make: yarl, urllib, and the sandbox's Tomcat.

What the sidecar signs and sends must mean the same to whoever reads it next.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from sidecar.errors import RequestRefused
from sidecar.http.target import BaseURL, Target, absolute_form, clean, refuse_reserved, signing_uri
from sidecar.sandbox import tomcat
from sidecar.signing.signature import encode_form, encode_parameters, encode_query
from tests.fuzz.pieces import attempt, words

BASE = BaseURL.parse("https://jira.example.com:8443/jira")
OAUTHS = re.compile(r"[\x00-\x20]*x?oauth_", re.IGNORECASE | re.ASCII)
"""Jira looks names up as they are: a space beyond ASCII makes another name."""

hostile_pieces = st.sampled_from(
    [
        *words("/ // \\ .. . ; ? # & = + @ : % %2 %2e %2E %252e %2f %5c %00 %0d%0a %c0%ae %c3%a9"),
        *words("%ed%a0%80 %3b jira rest oauth_token xoauth_ OAUTH_ %6fauth_ o%61uth_token= é é="),
        *words("http://evil.test evil.test:443"),
        *["\r\n", "\x7f", "\udcff", "\u2028", "\N{FULLWIDTH SOLIDUS}", " "],
    ]
)
hostile_texts = st.lists(hostile_pieces | st.text(max_size=3), max_size=12).map("".join)


@given(hostile_texts)
def test_a_target_is_refused_or_means_the_same_to_the_next_reader(raw: str) -> None:
    target = attempt(lambda: clean(raw, BASE.path))
    if not isinstance(target, Target):
        assert isinstance(target, RequestRefused)
        assert target.status == 400
        assert target.message.isascii()
        return
    url = urlsplit(f"{BASE.origin}{target}")
    assert (url.scheme, url.netloc, url.path) == ("https", BASE.authority, target.path)
    assert re.fullmatch(r"[!-~]+", str(target))
    theirs = tomcat.read_target(str(target), BASE.authority)
    assert (theirs.path, theirs.query) == (target.path, target.query or "")
    segments = tomcat.read_path(theirs.path, refuse_encoded_slash=False)
    assert segments[0] == "jira"
    assert len(segments) <= target.path.count("/"), "nothing was resolved away"
    assert signing_uri(BASE, BASE, target.path) == f"{BASE.origin}{target.path}"


@given(hostile_texts)
def test_a_query_holds_the_parameters_that_are_signed_and_none_of_oauths(text: str) -> None:
    try:
        target = clean(f"/?{text}", "")
    except RequestRefused:
        return
    theirs = tomcat.read_parameters((target.query or "").encode())
    assert encode_parameters(theirs) == encode_query(target.query or "")
    for name, _ in theirs:
        assert not OAUTHS.match(name)


@given(st.binary(max_size=60) | hostile_texts.map(lambda text: text.encode("utf-8", "replace")))
def test_a_form_holds_the_parameters_that_are_signed_and_none_of_oauths(body: bytes) -> None:
    theirs = tomcat.read_parameters(body)
    form = encode_form(body)
    assert encode_parameters(theirs) == form
    try:
        refuse_reserved(body.decode("latin-1"), "form")
    except RequestRefused:
        return
    for name, _ in theirs:
        assert not OAUTHS.match(name)


@given(st.sampled_from(["http://", "HTTPS://", "https:", "//", ""]), hostile_texts | st.text())
def test_whoever_connects_goes_to_the_host_that_was_read(scheme: str, rest: str) -> None:
    """The connector takes its destination from yarl, a TLS context its name from there, too."""
    try:
        base = BaseURL.parse(scheme + rest)
    except ValueError:
        return
    url = URL(base.origin)
    assert (url.scheme, url.port, url.path) == (base.scheme, base.port, "/")
    assert (url.raw_host or "").lower() == base.host
    assert url.user is None
    assert (url.query_string, url.fragment) == ("", "")
    assert BaseURL.parse(str(base)) == base
    assert re.fullmatch(r"https?://[!-~]+", str(base))


@given(st.sampled_from(["http://", "https://", "HTTP:", ""]), hostile_texts)
def test_an_absolute_target_names_one_host_to_everybody(scheme: str, rest: str) -> None:
    raw = scheme + rest
    try:
        found, authority, target = absolute_form(raw)
    except RequestRefused:
        return
    assert target.startswith("/")
    begun = f"{raw[: len(found)]}://{authority}"
    assert raw in (begun + target, begun + target[1:])
    if BASE.is_same_authority(found, authority):
        assert urlsplit(f"//{authority}").hostname == BASE.host
        assert "@" not in authority
