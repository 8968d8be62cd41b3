from __future__ import annotations

from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox.tomcat import (
    Refused,
    Target,
    is_form,
    read_parameters,
    read_path,
    read_target,
    split_host,
    to_text,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# What java.nio.charset.StandardCharsets.UTF_8.decode gives (OpenJDK 17).
JAVA = [
    ("eda080", "\ufffd"),
    ("eda0", "\ufffd"),
    ("eda041", "\ufffdA"),
    ("edbfbf", "\ufffd"),
    ("eda080eda080", "\ufffd" * 2),
    ("e2eda080", "\ufffd" * 2),
    ("f090eda0", "\ufffd" * 2),
    ("f09080", "\ufffd"),
    ("f0", "\ufffd"),
    ("e282", "\ufffd"),
    ("e0808080", "\ufffd" * 4),
    ("f5808080", "\ufffd" * 4),
    ("f4908080", "\ufffd" * 4),
    ("f48fbfbf", "\U0010ffff"),
    ("c080", "\ufffd" * 2),
    ("ff", "\ufffd"),
    ("c3a9", "é"),
    ("ed9fbf", "\ud7ff"),
]


@pytest.mark.parametrize(("octets", "text"), JAVA)
def test_malformed_utf8_decodes_as_java_does(octets: str, text: str) -> None:
    assert to_text(bytes.fromhex(octets)) == text


@given(TEXT)
def test_well_formed_utf8_is_itself(text: str) -> None:
    assert to_text(text.encode()) == text


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT)))
def test_what_a_form_encodes_is_read_back(pairs: list[tuple[str, str]]) -> None:
    assert read_parameters(urlencode(pairs).encode()) == pairs


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("x=&y", [("x", ""), ("y", "")]),
        ("&&a=1&&", [("a", "1")]),
        ("=x&=&a=b=c", [("a", "b=c")]),
        ("a=%zz&b=50%&c=%4&%=1&d=2", [("d", "2")]),
        ("a=1;b=2", [("a", "1;b=2")]),
        ("a=1+1&b=%2B&c=%7e~*", [("a", "1 1"), ("b", "+"), ("c", "~~*")]),
        ("a=%FF&b=%C3%A9", [("a", "\ufffd"), ("b", "é")]),
        ("a=2&a=1", [("a", "2"), ("a", "1")]),
        ('{"a":1}', [('{"a":1}', "")]),
    ],
)
def test_a_query_is_read_as_tomcat_does(query: str, pairs: list[tuple[str, str]]) -> None:
    assert read_parameters(query.encode()) == pairs


@pytest.mark.parametrize(
    ("method", "media_type", "counts"),
    [
        ("POST", "application/x-www-form-urlencoded", True),
        ("POST", "application/x-www-form-urlencoded ; charset=latin-1", True),
        ("POST", "Application/x-www-form-urlencoded", False),
        ("POST", "application/x-www-form-urlencoded2", False),
        ("POST", "multipart/form-data", False),
        ("POST", "", False),
        ("PUT", "application/x-www-form-urlencoded", False),
        ("PATCH", "application/x-www-form-urlencoded", False),
    ],
)
def test_only_a_post_with_the_exact_media_type_is_a_form(
    method: str, media_type: str, counts: bool
) -> None:
    assert is_form(method, media_type) is counts


@pytest.mark.parametrize("target", ["/a[b]|c", "//evil/x", "/a;v=1/%7e/./b", "/a:b@c", "/"])
def test_a_path_is_kept_byte_for_byte(target: str) -> None:
    assert read_target(target, "h") == Target(target, "")


def test_a_query_may_hold_what_jira_relaxes() -> None:
    assert read_target('/a?[]|{}^\\`"<>?', "h") == Target("/a", '[]|{}^\\`"<>?')


@pytest.mark.parametrize(
    "target",
    [
        *('/a"', "/a<", "/a>", "/a\\b", "/a^", "/a`", "/a{", "/a}", "/a b", "/%zz", "/50%", "/é"),
        *("/a?é", "/a?\udcff", "/a#b", "/a?b#c", "*", "a", "/a\x7f", "/a?\t"),
    ],
)
def test_what_tomcat_does_not_accept_is_a_400(target: str) -> None:
    with pytest.raises(Refused) as caught:
        read_target(target, "h")
    assert caught.value.status == 400


def test_an_absolute_target_must_name_the_host() -> None:
    assert read_target("http://H:80/x?y", "h:80") == Target("/x", "y")
    assert read_target("http://h?y", "h") == Target("/", "y")
    with pytest.raises(Refused):
        read_target("http://evil/x", "h")


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/a//b/", ["a", "b"]),
        ("/a;v=1/b;x", ["a", "b"]),
        ("/a/./b/../c", ["a", "c"]),
        ("/a/%2e%2E/c", ["c"]),
        ("/%C3%A9/x%20y", ["é", "x y"]),
        ("/a/b%2Fc", ["a", "b/c"]),
    ],
)
def test_a_path_is_mapped_decoded_and_resolved(path: str, segments: list[str]) -> None:
    assert read_path(path, refuse_encoded_slash=False) == segments


@pytest.mark.parametrize("path", ["/..", "/a/../../b", "/a%5Cb", "/a%00b"])
def test_a_path_out_of_the_tree_is_a_400(path: str) -> None:
    with pytest.raises(Refused):
        read_path(path, refuse_encoded_slash=False)


def test_an_encoded_slash_is_a_400_where_tomcat_sees_it() -> None:
    with pytest.raises(Refused):
        read_path("/a%2fb", refuse_encoded_slash=True)


@given(
    st.lists(
        TEXT.filter(lambda text: not set(text) & set("\\\x00") and text not in ("", ".", ".."))
    )
)
def test_encoded_segments_are_read_back(segments: list[str]) -> None:
    path = "/" + "/".join(quote_plus(segment).replace("+", "%20") for segment in segments)
    assert read_path(path, refuse_encoded_slash=False) == segments


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("jira:8080", ("jira", 8080)),
        ("my_jira", ("my_jira", None)),
        ("[::1]:80", ("[::1]", 80)),
        ("jira:", ("jira", None)),
    ],
)
def test_a_host_is_a_name_and_a_port(host: str, parts: tuple[str, int | None]) -> None:
    assert split_host(host) == parts


@pytest.mark.parametrize("host", ["", "a b", "a:b", "::1", "a/b", "a@b", "a:123456"])
def test_an_invalid_host_is_a_400(host: str) -> None:
    with pytest.raises(Refused):
        split_host(host)
