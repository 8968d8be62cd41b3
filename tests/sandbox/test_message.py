from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth1.rfc5849 import signature as rfc5849

from sidecar.sandbox.java import JavaException
from sidecar.sandbox.message import (
    REQUIRED,
    Message,
    base_string_uri,
    is_complete,
    normalize,
    percent_encode,
    read_authorization,
)
from sidecar.sandbox.tomcat import read_parameters

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PAIRS = st.lists(st.tuples(TEXT, TEXT))

# RFC 5849 §3.4.1.1: the request, and its base string.
RFC_QUERY = "b5=%3D%253D&a3=a&c%40=&a2=r%20b"
RFC_BODY = "c2&a3=2+q"
RFC_HEADER = (
    'OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2", '
    'oauth_token="kkk9d7dh3k39sjv7", oauth_signature_method="HMAC-SHA1", '
    'oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", '
    'oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"'
)
RFC_BASE_STRING = (
    "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q"
    "%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_"
    "key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_m"
    "ethod%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk"
    "9d7dh3k39sjv7"
)


def test_the_base_string_of_rfc_5849_comes_out() -> None:
    parameters = [
        *read_authorization([RFC_HEADER]),
        *read_parameters(RFC_QUERY.encode()),
        *read_parameters(RFC_BODY.encode()),
    ]
    uri = base_string_uri("HTTP", "EXAMPLE.com", 80, "/request")
    assert Message("post", uri, parameters).signature_base_string() == RFC_BASE_STRING


@pytest.mark.parametrize(
    ("parts", "uri"),
    [
        (("http", "EXAMPLE.COM", 80, "/r%20v/X"), "http://example.com/r%20v/X"),
        (("https", "www.example.net", 8080, "/"), "https://www.example.net:8080/"),
        (("https", "h", 443, ""), "https://h/"),
        (("http", "h", 443, "/a//b/./c;v=1/%7e"), "http://h:443/a//b/./c;v=1/%7e"),
        (("http", "[::1]", None, "/"), "http://[::1]/"),
    ],
)
def test_the_base_string_uri_keeps_the_path(
    parts: tuple[str, str, int | None, str], uri: str
) -> None:
    assert base_string_uri(*parts) == uri


@pytest.mark.parametrize("path", ["/a[", "/a]", "/a|"])
def test_javas_uri_parser_breaks_at_raw_brackets(path: str) -> None:
    with pytest.raises(JavaException):
        base_string_uri("http", "h", None, path)


@given(PAIRS)
def test_parameters_are_normalized_as_oauthlib_does(pairs: list[tuple[str, str]]) -> None:
    kept = [(name, value) for name, value in pairs if name != "oauth_signature"]
    assert normalize(pairs) == rfc5849.normalize_parameters(kept)


@given(PAIRS, st.sampled_from(["GET", "POST", "delete"]))
def test_a_base_string_is_oauthlibs(pairs: list[tuple[str, str]], method: str) -> None:
    pairs = [(name, value) for name, value in pairs if name and name != "oauth_signature"]
    uri = "http://example.com:8080/a/b"
    collected = rfc5849.collect_parameters(uri_query=urlencode(pairs))
    theirs = rfc5849.signature_base_string(method, uri, rfc5849.normalize_parameters(collected))
    ours = Message(method, uri, read_parameters(urlencode(pairs).encode()))
    assert ours.signature_base_string() == theirs


@given(st.lists(st.tuples(TEXT.filter(lambda text: text.lower() != "realm"), TEXT)))
def test_a_header_is_read_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    text = ", ".join(f'{percent_encode(n)}="{percent_encode(v)}"' for n, v in pairs)
    assert read_authorization(["OAuth " + text]) == pairs


def test_every_oauth_header_counts_and_no_other() -> None:
    values = ['oauth a="1"', "Basic YTpi", 'OAuth realm="x",  b = "2+3" , junk, c="%2B"', "OAuth"]
    assert read_authorization(values) == [("a", "1"), ("b", "2 3"), ("c", "+")]


def test_javas_decoder_breaks_at_a_stray_percent() -> None:
    with pytest.raises(JavaException):
        read_authorization(['OAuth a="%zz"'])


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_five_of_the_six_are_no_oauth_request(missing: str) -> None:
    assert is_complete([(name, "") for name in REQUIRED])
    assert not is_complete([(name, "") for name in REQUIRED if name != missing])


@pytest.mark.parametrize(
    ("parameters", "user"),
    [
        ([("user_id", "b"), ("xoauth_requestor_id", "a"), ("xoauth_requestor_id", "c")], "a"),
        ([("user_id", "b"), ("user_id", "c")], "b"),
        ([("xoauth_requestor_id", ""), ("user_id", "b")], ""),
        ([("USER_ID", "b")], None),
    ],
)
def test_a_requestor_is_a_servlet_parameter(
    parameters: list[tuple[str, str]], user: str | None
) -> None:
    assert Message("GET", "http://h/", [], parameters).requestor == user
    assert Message("GET", "http://h/", parameters).requestor is None
