"""A search by GET and the search by POST that it becomes mean the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.jira.searches import SEARCH, as_json, is_search
from sidecar.sandbox import tomcat

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def content(query: str) -> Any:
    written = as_json(query)
    return None if written is None else json.loads(written)


def encoded(text: str, how: list[int]) -> str:
    """A text in one of the many ways in which a form or a query can have it."""
    pieces = []
    for number, octet in enumerate(text.encode()):
        char, choice = chr(octet), how[number % len(how)] if how else 0
        plain = char.isascii() and (char.isalnum() or char in "-._~!$'()*,;:@/?")
        if char == " " and choice % 2:
            pieces.append("+")
        elif plain and choice % 3:
            pieces.append(char)
        else:
            pieces.append(f"%{octet:02x}" if choice % 2 else f"%{octet:02X}")
    return "".join(pieces)


@given(TEXTS, TEXTS, st.lists(st.integers(0, 5)))
def test_every_text_arrives_whatever_its_encoding(jql: str, field: str, how: list[int]) -> None:
    query = f"{encoded('jql', how)}={encoded(jql, how)}&fields={encoded(field, how)}"
    names = [part.strip() for part in field.split(",") if part.strip()]
    assert content(query) == {"jql": jql, "fields": names}


NAMES = ["jql", "startAt", "maxResults", "validateQuery", "fields", "expand", "", "x", "JQL"]
VALUES = ["", "0", "-1", "50", "a,b", "true", "FALSE", "%C3%BC", "%ff", "+", "%ed%a0%80", "=", "&"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=8))
def test_what_tomcat_reads_of_the_query_is_what_the_content_says(
    pairs: list[tuple[str, str]],
) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    wanted: dict[str, Any] = {}
    for name, value in tomcat.read_parameters(query.encode()):
        if name == "jql":
            wanted.setdefault(name, value)
        elif name in ("fields", "expand"):
            wanted.setdefault(name, []).extend(part for part in value.split(",") if part.strip())
        elif name in ("startAt", "maxResults") and value in ("0", "-1", "50"):
            wanted.setdefault(name, int(value))
        elif name == "validateQuery" and value in ("true", "FALSE"):
            wanted.setdefault(name, value == "true")
        else:
            assert content(query) is None
            return
    assert content(query) == wanted


def test_the_content_is_utf_8() -> None:
    assert as_json("jql=%C3%BC%22&fields=a") == '{"jql": "ü\\"", "fields": ["a"]}'.encode()


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("jql=a+b%2Bc", {"jql": "a b+c"}),
        ("jql=%F0%9F%96%8D", {"jql": "🖍"}),
        ("jql", {"jql": ""}),
        ("jql=a&jql=b", {"jql": "a"}),
        ("jql=a=b", {"jql": "a=b"}),
        ("fields=a,b&fields=c", {"fields": ["a", "b", "c"]}),
        ("fields=a%2Cb&expand=names,schema", {"fields": ["a", "b"], "expand": ["names", "schema"]}),
        ("fields=", {"fields": []}),
        ("startAt=%2B5&maxResults=0050", {"startAt": 5, "maxResults": 50}),
        ("validateQuery=true&startAt=0", {"validateQuery": True, "startAt": 0}),
        ("validateQuery=FALSE&validateQuery=true", {"validateQuery": False}),
        ("startAt=-2147483648", {"startAt": -(2**31)}),
        ("startAt=2147483647", {"startAt": 2**31 - 1}),
        ("&&=x&jql=a", {"jql": "a"}),
        ("", {}),
    ],
)
def test_each_kind_of_parameter(query: str, meant: dict[str, Any]) -> None:
    assert content(query) == meant


@pytest.mark.parametrize(
    "query",
    [
        "jql=a&properties=x",
        "jql=a&JQL=b",
        "startAt=",
        "startAt=+5",
        "startAt=1.0",
        "startAt=1e3",
        "startAt=٣",
        "startAt=2147483648",
        "startAt=-2147483649",
        "maxResults=" + "9" * 5000,
        "maxResults=abc",
        "startAt=1&startAt=x",
        "validateQuery=strict",
        "validateQuery=",
    ],
)
def test_what_has_no_counterpart_stays_a_get(query: str) -> None:
    assert as_json(query.encode().decode("latin-1")) is None


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("/rest/api/2/search", True),
        ("/rest/api/latest/search/", True),
        ("/rest/api/3/search", False),
        ("/rest/api/2/searches", False),
        ("/rest/api/2/user/search", False),
        ("/rest/api/2/search/jql", False),
        ("/x/rest/api/2/search", False),
    ],
)
def test_only_the_search_for_issues_counts(path: str, is_one: bool) -> None:
    assert bool(SEARCH.fullmatch(path)) == is_one
    assert is_search(path, "") == is_one
    assert is_search("/jira" + path, "/jira") == is_one
    assert not is_search("/jira" + path, "")
