"""Parameters and base strings: RFC 5849's vectors, Tomcat's readings, and oauthlib's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.oauth1.rfc5849 import (  # type: ignore[import-untyped,unused-ignore]
    signature as oauthlib_signature,
)
from oauthlib.oauth1.rfc5849 import utils as oauthlib_utils

from sidecar.signing.signature import (
    FORM_LIMIT,
    authorization_header,
    base_string_uri,
    decode_form,
    decode_query,
    encode_form,
    encode_parameters,
    encode_query,
    is_form,
    names_requestor,
    percent_encode,
    reserved_name,
    signature_base_string,
)

FORM = "application/x-www-form-urlencoded"


def normalized(method: str, query: str, form: bytes) -> str:
    """The normalized parameters of a request whose content is labelled as a form."""
    parameters = encode_query(query) + (encode_form(form) if is_form(method, FORM) else [])
    return "&".join(f"{name}={value}" for name, value in sorted(parameters))


# RFC 5849 §1.2, the printing of a photo: each request with its secrets and its signature there.
PHOTOS = "dpf43f3p2l4k3l03"
RFC_1_2 = [
    pytest.param(
        "POST",
        "https://photos.example.net/initiate",
        {"oauth_consumer_key": PHOTOS, "oauth_timestamp": "137131200", "oauth_nonce": "wIjqoS"}
        | {"oauth_callback": "http://printer.example.com/ready"},
        "kd94hf93k423kf44&",
        "74KNZJeDHnMBp0EMJ9ZHt/XKycU=",
        id="initiate",
    ),
    pytest.param(
        "POST",
        "https://photos.example.net/token",
        {"oauth_consumer_key": PHOTOS, "oauth_timestamp": "137131201", "oauth_nonce": "walatlh"}
        | {"oauth_token": "hh5s93j4hdidpola", "oauth_verifier": "hfdp7dh39dks9884"},
        "kd94hf93k423kf44&hdhd0244k9j7ao03",
        "gKgrFCywp7rO0OXSjdot/IHF7IU=",
        id="token",
    ),
    pytest.param(
        "GET",
        "http://photos.example.net/photos?file=vacation.jpg&size=original",
        {"oauth_consumer_key": PHOTOS, "oauth_timestamp": "137131202", "oauth_nonce": "chapoH"}
        | {"oauth_token": "nnch734d00sl2jdk"},
        "kd94hf93k423kf44&pfkkdhi9sl3r4s00",
        "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
        id="photos",
    ),
]


@pytest.mark.parametrize(("method", "url", "protocol", "secrets", "signature"), RFC_1_2)
def test_rfc_5849_1_2_signatures_come_from_our_base_strings(
    method: str, url: str, protocol: dict[str, str], secrets: str, signature: str
) -> None:
    uri, _, query = url.partition("?")
    protocol["oauth_signature_method"] = "HMAC-SHA1"
    parameters = encode_query(query) + encode_parameters(protocol.items())
    text = signature_base_string(method, uri, parameters)
    digest = hmac.digest(secrets.encode(), text.encode(), hashlib.sha1)
    assert base64.b64encode(digest).decode() == signature


# RFC 5849 §3.4.1.1 and §3.4.1.3, one request.
RFC_QUERY = "b5=%3D%253D&a3=a&c%40=&a2=r%20b"
RFC_FORM = b"c2&a3=2+q"
RFC_PROTOCOL = [
    ("oauth_consumer_key", "9djdj82h48djs9d2"),
    ("oauth_token", "kkk9d7dh3k39sjv7"),
    ("oauth_signature_method", "HMAC-SHA1"),
    ("oauth_timestamp", "137131201"),
    ("oauth_nonce", "7d8f3e4a"),
]


def test_rfc_5849_3_4_1_1_base_string() -> None:
    parameters = encode_query(RFC_QUERY) + encode_form(RFC_FORM) + encode_parameters(RFC_PROTOCOL)
    assert signature_base_string("POST", "http://example.com/request", parameters) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q"
        "%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_"
        "key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_m"
        "ethod%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk"
        "9d7dh3k39sjv7"
    )


def test_rfc_5849_3_4_1_2_base_string_uris() -> None:
    assert base_string_uri("http", "example.com", 80, "/r%20v/X") == "http://example.com/r%20v/X"
    assert base_string_uri("https", "www.example.net", 8080, "/") == "https://www.example.net:8080/"


def test_an_ipv6_host_stands_in_brackets() -> None:
    assert base_string_uri("http", "::1", 8080, "/a") == "http://[::1]:8080/a"
    assert base_string_uri("https", "::1", 443, "/a") == "https://[::1]/a"


def test_rfc_5849_3_4_1_3_1_parameters() -> None:
    assert decode_query(RFC_QUERY) == [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b")]
    assert decode_form(RFC_FORM) == [("c2", ""), ("a3", "2 q")]


def test_rfc_5849_3_4_1_3_2_normalized_parameters() -> None:
    parameters = encode_query(RFC_QUERY) + encode_form(RFC_FORM) + encode_parameters(RFC_PROTOCOL)
    assert "&".join(f"{name}={value}" for name, value in sorted(parameters)) == (
        "a2=r%20b&a3=2%20q&a3=a&b5=%3D%253D&c%40=&c2=&oauth_consumer_key=9dj"
        "dj82h48djs9d2&oauth_nonce=7d8f3e4a&oauth_signature_method=HMAC-SHA1"
        "&oauth_timestamp=137131201&oauth_token=kkk9d7dh3k39sjv7"
    )


# Method, query, form content, and the normalized parameters that a servlet on Tomcat 9.0.70 and
# OpenJDK 17 makes of them with getParameterMap(); setCharacterEncoding("UTF-8") as in Jira.
TOMCAT = [
    ("GET", "x=2&x=1&x=&=v&y=!$'()*", b"", "x=&x=1&x=2&y=%21%24%27%28%29%2A"),
    ("GET", "y=,;:@/?", b"", "y=%2C%3B%3A%40%2F%3F"),
    ("GET", "q=%41+b%20c&z=%2f&e=&f", b"", "e=&f=&q=A%20b%20c&z=%2F"),
    ("GET", "a;b=c;d", b"", "a%3Bb=c%3Bd"),
    ("GET", "&&=x&&a==b=&", b"", "a=%3Db%3D"),
    ("GET", "%20=1&+=2", b"", "%20=1&%20=2"),
    ("GET", "m=%C3%A9&e=%F0%9F%98%80", b"", "e=%F0%9F%98%80&m=%C3%A9"),
    ("GET", "a=%FF&b=%C3&c=%E2%82", b"", "a=%EF%BF%BD&b=%EF%BF%BD&c=%EF%BF%BD"),
    ("GET", "d=%C3%28&e=%C0%AE", b"", "d=%EF%BF%BD%28&e=%EF%BF%BD%EF%BF%BD"),
    ("GET", "a=%ED%A0%80&b=%ED%A0&c=%ED%A0A", b"", "a=%EF%BF%BD&b=%EF%BF%BD&c=%EF%BF%BDA"),
    ("GET", "d=%ED%A0%BD%ED%B8%80&e=%ED%9F%BF", b"", "d=%EF%BF%BD%EF%BF%BD&e=%ED%9F%BF"),
    ("GET", "a=%F0%9F%98&c=%E0%80", b"", "a=%EF%BF%BD&c=%EF%BF%BD%EF%BF%BD"),
    ("GET", "a=%F4%90%80%80", b"", "a=%EF%BF%BD%EF%BF%BD%EF%BF%BD%EF%BF%BD"),
    ("GET", "a=%00%0A%7F&b=%7e%2D%2e%5F&c=~-._", b"", "a=%00%0A%7F&b=~-._&c=~-._"),
    ("GET", "a-b=1&a=2&a.b=3&a%20=4&aB=5&ab=6", b"", "a=2&a%20=4&a-b=1&a.b=3&aB=5&ab=6"),
    ("GET", "fields%5B%5D=x&%2B=%2b&%26=%3d", b"", "%26=%3D&%2B=%2B&fields%5B%5D=x"),
    ("POST", "q=1", b"a=1&b=%zz&%=2&c=50%&d=3", "a=1&d=3&q=1"),
    ("POST", "", b'{"a": "50% & more: x=y+z"}', "%20more%3A%20x=y%20z%22%7D"),
    ("POST", "a=1&a=2", b"a=1&a=0&=x&y", "a=0&a=1&a=1&a=2&y="),
    ("POST", "", b"\xc3\xa9=\xff+\xed\xa0\x80", "%C3%A9=%EF%BF%BD%20%EF%BF%BD"),
    ("POST", "a=1", b"\r\nb=2\r\n", "%0D%0Ab=2%0D%0A&a=1"),
    ("PUT", "a=1", b"b=2", "a=1"),
    ("PATCH", "a=1", b"b=2", "a=1"),
    ("DELETE", "a=1", b"b=2", "a=1"),
    ("GET", "a=1", b"b=2", "a=1"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "query", "form", "expected"), TOMCAT)
def test_parameters_are_read_as_tomcat_reads_them(
    method: str, query: str, form: bytes, expected: str
) -> None:
    assert normalized(method, query, form) == expected


def test_a_path_is_signed_byte_for_byte() -> None:
    # RFC 5849 leaves normalization open; Tomcat's getRequestURL() makes none.
    uri = base_string_uri("http", "127.0.0.1", 18999, "//a;x=1/%7e/./b")
    assert signature_base_string("GET", uri, []) == (
        "GET&http%3A%2F%2F127.0.0.1%3A18999%2F%2Fa%3Bx%3D1%2F%257e%2F.%2Fb&"
    )


@pytest.mark.parametrize(
    ("content_type", "counts"),
    [
        (FORM, True),
        (f" {FORM} ", True),
        (f"{FORM};charset=iso-8859-1", True),
        (f"{FORM} ; x", True),
        (f"{FORM}\t;x", True),
        (f"{FORM}; charset=nonsense", True),
        ("Application/x-www-form-urlencoded", False),
        (f"{FORM},x", False),
        ("multipart/form-data", False),
        ("application/json", False),
        ("", False),
        (None, False),
    ],
)
def test_a_form_counts_on_post_by_its_exact_media_type(
    content_type: str | None, counts: bool
) -> None:
    assert is_form("POST", content_type) is counts
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "post"):
        assert not is_form(method, content_type)


def test_a_form_over_two_mebibytes_has_no_parameters() -> None:
    assert FORM_LIMIT == 2_097_152
    largest = b"b=" + b"x" * (FORM_LIMIT - 2)
    assert len(encode_form(largest)) == len(decode_form(largest)) == 1
    assert encode_form(largest + b"x") == decode_form(largest + b"x") == []


def test_a_pair_with_a_stray_percent_is_dropped_from_a_query_too() -> None:
    assert encode_query("a=%&b=1&%4=2&c=%e9") == [("b", "1"), ("c", "%EF%BF%BD")]


def test_no_query_has_no_parameters() -> None:
    assert encode_query("") == decode_query("") == []


@pytest.mark.parametrize(
    "query",
    [
        "oauth_token=x",
        "a=1&oauth_token",
        "xoauth_requestor_id=admin",
        "OAuth_Token=x",
        "%6fauth%5Ftoken=x",
        "o%41uth_=x",
        "+oauth_token=x",
        "%0Aoauth_token=x",
        "%20+xOAUTH_=x",
        "os_username",
        "os_password=x",
        "OS_username&b",
        "%6f%73%5f%70assw%4frd=x",
        "+os_username%20%0a=x",
    ],
)
def test_a_reserved_name_is_found_in_any_encoding(query: str) -> None:
    assert reserved_name(query) is not None
    assert reserved_name(f"a&{query}") is not None


@pytest.mark.parametrize(
    "query",
    [
        *["oauth=1", "a=oauth_token", "xxoauth_a=1", "oauth%2Dtoken=1", "=oauth_token", "os_a=1"],
        *["os_usernames=1", "os_authType=basic", "q=os_password=1", "xos_username=1", "username"],
    ],
)
def test_other_names_are_not_reserved(query: str) -> None:
    assert reserved_name(query) is None


def test_a_header_holds_encoded_values_in_quotes() -> None:
    parameters = encode_parameters([("oauth_token", "a+b/ç"), ("oauth_callback", "oob")])
    assert (
        authorization_header(parameters)
        == 'OAuth oauth_token="a%2Bb%2F%C3%A7", oauth_callback="oob"'
    )


# What follows compares with oauthlib on everything that oauthlib accepts.

PIECES = [*"ab0-._~!$'()*,:@/=&+;?%", "%20", "%2b", "%7E", "%e9", "%C3%A9", "%F0%9F%98%80"]
ODD_PIECES = [*PIECES, *'"é\x00[{', "%ed", "%a0", "%80", "%FF", "%0a", "%zz", "%2D"]


def joined(pieces: list[str]) -> st.SearchStrategy[str]:
    return st.binary(max_size=12).map(
        lambda choices: "".join([pieces[choice % len(pieces)] for choice in choices])
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def by_oauthlib(form: str) -> list[tuple[str, str]] | None:
    """What oauthlib reads, without the empty names that Tomcat drops; None if it refuses.

    It means to refuse every stray `%`, but overlooks one within the last two characters.
    """
    try:
        parameters = oauthlib_signature.collect_parameters(uri_query=form)
    except ValueError:
        return None
    if re.search("%(?![0-9A-Fa-f]{2})", form):
        return None
    return [(name, value) for name, value in parameters if name]


@settings(max_examples=2000)
@given(joined(PIECES))
def test_parameters_agree_with_oauthlib(form: str) -> None:
    expected = by_oauthlib(form)
    if expected is not None:
        assert decode_query(form) == decode_form(form.encode()) == expected


@settings(max_examples=500)
@given(TEXTS)
def test_percent_encoding_agrees_with_oauthlib(text: str) -> None:
    assert percent_encode(text) == oauthlib_utils.escape(text)


@settings(max_examples=2000)
@given(joined(ODD_PIECES))
def test_encoding_a_query_is_decoding_it_first(query: str) -> None:
    query = query.encode().decode("latin-1")
    assert encode_query(query) == encode_parameters(decode_query(query))
    assert encode_form(query.encode("latin-1")) == encode_query(query)


@given(st.lists(st.tuples(TEXTS.filter(bool), TEXTS)))
def test_encoded_pairs_are_read_back(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={value}" for name, value in encode_parameters(pairs))
    assert decode_query(query) == pairs
    assert encode_query(query) == encode_parameters(pairs)


HOSTS = st.sampled_from(
    ["example.com", "a_b", "127.0.0.1", "::1", "2001:db8::1", "xn--mnchen-3ya.de"]
)
# Without `;`: oauthlib loses one at a path's end.
PATHS = joined([piece for piece in PIECES if piece not in "?;"])


@settings(max_examples=2000)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]),
    scheme=st.sampled_from(["http", "https"]),
    host=HOSTS,
    port=st.sampled_from([80, 443]) | st.integers(1, 65535),
    path=PATHS,
    query=joined(PIECES),
)
def test_base_strings_agree_with_oauthlib(
    method: str, scheme: str, host: str, port: int, path: str, query: str
) -> None:
    parameters = by_oauthlib(query)
    if parameters is None:
        return
    authority = f"[{host}]:{port}" if ":" in host else f"{host.upper()}:{port}"
    expected = oauthlib_signature.signature_base_string(
        method,
        oauthlib_signature.base_string_uri(f"{scheme.upper()}://{authority}/{path}?{query}"),
        oauthlib_signature.normalize_parameters(parameters),
    )
    uri = base_string_uri(scheme, host, port, f"/{path}")
    assert signature_base_string(method, uri, encode_query(query)) == expected


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_a_base_string_is_three_encoded_parts(pairs: list[tuple[str, str]]) -> None:
    text = signature_base_string("GET", "https://é.example/%2f", encode_parameters(pairs))
    assert re.fullmatch(r"GET&[A-Za-z0-9._~%-]*&[A-Za-z0-9._~%-]*", text)


@given(
    st.lists(
        st.sampled_from(
            [
                *["&", "=", "oauth_", "x", "X", "os_", "username", "pass", "word", "%6f", "%4F"],
                *["%5f", "%20", "%0a", "+", " ", "\n", "a", "%73", "%C3%A9", "%7f", ";"],
            ]
        ),
        max_size=8,
    ).map("".join)
)
def test_a_name_is_reserved_if_it_is_once_it_is_decoded(query: str) -> None:
    names = [name.strip("".join(map(chr, range(33)))).lower() for name, _ in decode_query(query)]
    found = [
        name.startswith(("oauth_", "xoauth_")) or name in ("os_username", "os_password")
        for name in names
    ]
    assert (reserved_name(query) is not None) is any(found)


@pytest.mark.parametrize(
    "query",
    ["user_id", "user_id=", "a&USER_ID=x", "%75ser%5Fid=x", "+user_id%20=x", "a=1&user_i%64&b"],
)
def test_a_user_is_named_in_any_encoding(query: str) -> None:
    assert names_requestor(query)


@pytest.mark.parametrize(
    "query", ["", "user=1", "user_ids=1", "user_id2", "xuser_id=1", "q=user_id", "a=b=user_id"]
)
def test_other_names_name_no_user(query: str) -> None:
    assert not names_requestor(query)


@given(
    st.lists(
        st.sampled_from(
            [
                *["&", "=", "user", "_", "id", "%75", "%55", "%5f", "%69", "%20", "+", "\n", "S"],
                *["a", "er", "u", "us", "%C3%A9", "%", ";", "%00"],
            ]
        ),
        max_size=8,
    ).map("".join)
)
def test_whoever_reads_user_id_is_seen_to_name_a_user(query: str) -> None:
    if any(name.lower() == "user_id" for name, _ in decode_query(query)):
        assert names_requestor(query)
