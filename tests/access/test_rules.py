"""Which methods and paths may be asked for: read_only, deny and allow, in every spelling."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TypedDict, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.access.rules import Rules, compile_rule
from sidecar.errors import ConfigError, RequestRefused
from sidecar.http.methods import METHODS


class Table(TypedDict, total=False):
    read_only: bool
    allow: Sequence[str]
    deny: Sequence[str]


def rules(**table: Unpack[Table]) -> Rules:
    return Rules("/jira", **table)


def request_status(judge: Rules, method: str, path: str) -> int:
    """Return 200 if the request may go on, else the status of the refusal."""
    try:
        judge.check(method, path)
    except RequestRefused as refused:
        return refused.status
    return 200


# ---------------------------------------------------------------- read_only


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/jira/rest/api/2/issue/JJ-2", 200),
        ("HEAD", "/jira/secure/x", 200),
        ("OPTIONS", "/jira/", 200),
        ("POST", "/jira/rest/api/2/search", 200),
        ("POST", "/jira/rest/api/latest/search/", 200),
        ("POST", "/jira/rest/auth/1/session", 200),
        ("DELETE", "/jira/rest/auth/1/session", 200),
        ("POST", "/rest/api/2/search", 200),
        ("POST", "/jira/rest/auth/1/session/", 200),
        ("POST", "/jira/rest/api/2/searchx", 403),
        ("POST", "/jira/rest/api/2/search/x", 403),
        ("POST", "/jira/rest/api/3/search", 403),
        ("POST", "/jira/rest/api/2/issue;/rest/api/2/search", 403),
        ("POST", "/jira/rest/api/2/search;x", 403),
        ("POST", "/jira/jira/rest/api/2/search", 403),
        ("PUT", "/jira/rest/api/2/search", 403),
        ("PUT", "/jira/rest/auth/1/session", 403),
        ("POST", "/jira/rest/api/2/issue", 403),
        ("DELETE", "/jira/rest/api/2/issue/JJ-2", 403),
        ("PATCH", "/jira/rest/api/2/issue/JJ-2", 403),
    ],
)
def test_read_only_lets_reading_search_and_the_local_login_through(
    method: str, path: str, status: int
) -> None:
    assert request_status(rules(read_only=True), method, path) == status
    assert request_status(rules(), method, path) == 200


# ---------------------------------------------------------------- rules


def compiled(rule: str) -> re.Pattern[str]:
    return compile_rule(rule, "", re.NOFLAG).pattern


@pytest.mark.parametrize(
    ("rule", "matching", "others"),
    [
        ("GET /rest/api/*/issue/**",
         ["/rest/api/2/issue", "/rest/api/2/issue/", "/rest/api/latest/issue/A-1/comment/7"],
         ["/rest/api/issue", "/rest/api/2/issues", "/rest/api/2/x/issue", "/rest/api//issue"]),
        ("GET /**", ["/", "/a", "/a/b/c/"], []),
        ("GET /", ["/"], ["/a"]),
        ("GET /**/admin/**", ["/admin", "/a/b/admin/c", "/admin/"], ["/administrators", "/xadmin"]),
        ("GET /a/**/**/b", ["/a/b", "/a/b/b", "/a/x/y/b/"], ["/a", "/ab", "/a/b/c", "/a/xb"]),
        ("GET /**/a/**/b", ["/ab/a/b", "/a/ab/b"], ["/ab/b", "/ab/b/a"]),
        ("GET /a/*", ["/a/b", "/a/b/"], ["/a", "/a/", "/a/b/c"]),
        ("GET /**/a/*/b/**/c", ["/a/x/b/c", "/a/a/a/b/b/y/c"], ["/a/b/c", "/a/x/b", "/a/x/b/cc"]),
        ("GET /**/a/**/b/**/c/**", ["/a/b/c", "/x/a/x/b/x/c/x"], ["/a/c/b", "/b/c"]),
        ("GET /a+b/é (x)", ["/a+b/é (x)"], ["/aab/é (x)"]),
        (" get  /X/jira/** ", ["/X/jira", "/X/jira/y"], ["/x/jira", "/X", "/jira"]),
        ("GET /**/a/**/b/**/c/**/d", ["/a/b/c/d", "/a/x/b/x/c/x/d"], ["/a/b/d", "/a/c/b/d", "/d"]),
    ],
)  # fmt: skip
def test_a_star_is_one_segment_and_two_are_any_number(
    rule: str, matching: list[str], others: list[str]
) -> None:
    pattern = compiled(rule)
    assert [path for path in matching if not pattern.fullmatch(path)] == []
    assert [path for path in others if pattern.fullmatch(path)] == []


def naive_match(rule: list[str], path: list[str]) -> bool:
    if not rule:
        return not path
    if rule[0] == "**":
        return naive_match(rule[1:], path) or (bool(path) and naive_match(rule, path[1:]))
    return bool(path) and rule[0] in ("*", path[0]) and naive_match(rule[1:], path[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**"]), max_size=7),
    st.lists(st.sampled_from(["a", "b", "ab"]), max_size=9),
    st.sampled_from(["", "/"]),
)
def test_compiled_rules_agree_with_the_obvious_matcher(
    rule: list[str], path: list[str], slash: str
) -> None:
    pattern = compiled("GET /" + "/".join(rule))
    text = "/" + "/".join(path) + (slash if path else "")
    assert bool(pattern.fullmatch(text)) is naive_match(rule, path)


def test_no_rule_and_path_take_more_than_linear_time() -> None:
    pattern = compiled("* " + "/**/a/*" * 12 + "/**/b")
    started = time.thread_time()
    assert not pattern.fullmatch("/a" * 32_000)
    assert not pattern.fullmatch("/" + "a" * 64_000)
    assert time.thread_time() - started < 2


def test_get_covers_head_and_a_star_covers_every_method() -> None:
    judge = rules(deny=["get /a", "DELETE /**", "* /c"])
    assert [request_status(judge, method, "/a") for method in ("GET", "HEAD", "PUT")] == [
        403,
        403,
        200,
    ]
    assert {request_status(judge, method, "/c/") for method in METHODS} == {403}
    assert request_status(judge, "DELETE", "/jira") == 403


def test_deny_wins_and_a_non_empty_allow_refuses_everything_else() -> None:
    judge = rules(allow=["GET /rest/api/2/**", "POST /rest/api/2/search"], deny=["* /**/user/**"])
    asked = [
        ("GET", "/jira/rest/api/2/issue/A-1/", 200),
        ("POST", "/jira/rest/api/2/search/", 200),
        ("POST", "/jira/rest/api/2/issue", 403),
        ("GET", "/jira/rest/api/2/user/search", 403),
        ("GET", "/jira/REST/api/2/issue", 403),
        ("POST", "/jira/rest/auth/1/session", 403),
        ("GET", "/jira", 403),
    ]
    assert [request_status(judge, method, path) for method, path, _ in asked] == [
        status for *_, status in asked
    ]
    with pytest.raises(RequestRefused, match=r'"\* /\*\*/user/\*\*"') as denied:
        judge.check("GET", "/jira/rest/api/2/user")
    assert "access.deny" in denied.value.hint
    with pytest.raises(RequestRefused, match="No rule"):
        judge.check("PUT", "/jira/rest/api/2/issue")


def test_a_refusal_names_the_key_that_decides_it_and_none_where_no_key_does() -> None:
    cases: list[tuple[Table, str, str]] = [
        ({"read_only": True}, "/jira/x", "access.read_only"),
        ({"deny": ["POST /x"]}, "/jira/x", "access.deny"),
        ({"allow": ["POST /y"]}, "/jira/x", "access.allow"),
        ({"allow": ["POST /**"]}, "/jira/%252e", ""),
        ({"allow": ["POST /**"]}, "/jira/a/../b", ""),
    ]
    for table, path, key in cases:
        with pytest.raises(RequestRefused) as refused:
            rules(**table).check("POST", path)
        hint = f"{key} in the sidecar's configuration decides this" if key else ""
        assert refused.value.hint == hint
        assert (refused.value.status, refused.value.proxy_error) == (403, "http_request_denied")


def test_the_context_path_is_taken_off_once_and_only_as_a_whole_segment() -> None:
    judge = rules(allow=["GET /rest/**"])
    assert request_status(judge, "GET", "/jira/rest/x") == 200
    assert request_status(judge, "GET", "/jira/jira/rest/x") == 403
    assert request_status(judge, "GET", "/jirarest/x") == 403
    rooted = Rules("", allow=["GET /rest/**"])
    assert request_status(rooted, "GET", "/rest/x") == 200


@pytest.mark.parametrize(
    "path",
    ["/a%252fb", "/%2575ser", "/a%25", "/a%2Fb", "/a%2fb", "/a%5Cb", "/a\\b", "/a/%2e%2e/b",
     "/a/..;x/b", "/a/.%2E/b", "/a/./b", "/a/%2e;/b", "/a/..%3bx/b"],
)  # fmt: skip
def test_with_rules_present_a_path_that_is_not_plain_is_refused(path: str) -> None:
    assert request_status(rules(deny=["GET /never"]), "PUT", path) == 403
    assert request_status(rules(allow=["* /**"]), "PUT", path) == 403
    assert request_status(rules(), "PUT", path) == 200


@pytest.mark.parametrize("wrapped", ["/s/x/_", "/S/a/b/_", "/s//_", "/%73/x;y/_", "/s/x/_/s/y/_"])
def test_rules_see_through_what_jira_forwards(wrapped: str) -> None:
    """`/s/…/_/PATH` is PATH to Jira."""
    path = f"/jira{wrapped}/secure/admin/x"
    assert request_status(rules(deny=["* /secure/admin/**"]), "GET", path) == 403
    assert request_status(rules(deny=["* /s/**"]), "GET", path) == 403
    assert request_status(rules(allow=["* /s/**"]), "GET", path) == 403
    assert request_status(rules(allow=["* /rest/**"]), "GET", path) == 403
    assert request_status(rules(allow=["* /secure/**"]), "GET", path) == 200
    assert request_status(rules(read_only=True), "POST", path) == 403
    session = f"/jira{wrapped}/rest/auth/1/session"
    assert request_status(rules(read_only=True), "POST", session) == 200


def test_where_the_inner_path_could_be_one_of_two_allow_must_name_both() -> None:
    path = "/jira/s/x/_/a/_/b"
    assert request_status(rules(allow=["GET /a/**"]), "GET", path) == 403
    assert request_status(rules(allow=["GET /b"]), "GET", path) == 403
    assert request_status(rules(allow=["GET /a/**", "GET /b"]), "GET", path) == 200
    assert request_status(rules(deny=["GET /b"]), "GET", path) == 403
    assert request_status(rules(deny=["GET /a/**"]), "GET", path) == 403


@st.composite
def disguised(draw: st.DrawFn, path: str) -> str:
    """Spell a path in any way that Jira could read as the same."""
    segments = []
    for segment in path.strip("/").split("/"):
        letters = []
        for letter in segment:
            spelling = draw(st.integers(0, 5))
            hexed = f"%{ord(letter):02x}"
            letters.append({0: hexed, 1: hexed.upper(), 2: letter.swapcase()}.get(spelling, letter))
        parameter = draw(st.sampled_from(["", "", "", ";", ";x", ";x=1;y", ";.json", "%3Bx"]))
        segments.append("".join(letters) + parameter)
    slashes = st.sampled_from(["/", "/", "//", "/;x/", "/;/", "///"])
    text = "".join(draw(slashes) + segment for segment in segments)
    ending = ["", "/", "//", ";", ";x", "/;x", ".json", ".XML", ".j%73on", ".html;x", "/.json"]
    return text + draw(st.sampled_from(ending))


@given(disguised("/rest/api/2/user"), st.sampled_from(METHODS), st.sampled_from(["", "/jira"]))
def test_no_spelling_of_a_denied_path_slips_past(path: str, method: str, context: str) -> None:
    for rule in ("* /rest/api/2/user", "* /rest/*/*/user/**", "* /**/user", "* /rest/**"):
        assert request_status(rules(deny=[rule]), method, context + path) == 403


@given(disguised("/rest/api/2/user"))
def test_no_spelling_gets_a_path_in_that_allow_does_not_name(path: str) -> None:
    judge = rules(allow=["* /rest/api/2/issue/**", "* /rest/api/2/user/*/x", "* /a/**"])
    assert request_status(judge, "GET", "/jira" + path) == 403


@given(disguised("/rest/api/2/user/x"), st.sampled_from(["* /rest/api/2/user/*", "* /**/*/x"]))
def test_a_star_in_a_denied_path_is_not_slipped_past_either(path: str, rule: str) -> None:
    assert request_status(rules(deny=[rule]), "GET", "/jira" + path) == 403


def test_an_encoded_semicolon_is_read_both_as_a_letter_and_as_a_parameter_by_deny() -> None:
    judge = rules(deny=["* /rest/api/2/user/*"])
    assert request_status(judge, "GET", "/jira/rest/api/2/user/%3Bx") == 403
    assert request_status(judge, "GET", "/jira/rest/api/2/user/%3bx.json") == 403
    assert request_status(judge, "GET", "/jira/rest/api/2/user;/x%3By") == 403
    assert request_status(judge, "GET", "/jira/rest/api/2/user/") == 200


@given(st.text(max_size=40))
def test_any_path_is_either_judged_or_refused(path: str) -> None:
    assert request_status(rules(deny=["GET /a"], allow=["* /**"]), "GET", path) in (200, 403)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("", r"begins with neither GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS nor \*$"),
        ("GET", "does not begin with /"),
        ("/rest/**", "begins with neither"),
        ("FETCH /rest/**", "begins with neither"),
        ("GET,POST /rest", "begins with neither"),
        ("GET rest", "does not begin with /"),
        ("GET POST /rest", "does not begin with /"),
        ("GET https://jira.example.com/rest", "does not begin with /"),
        ("GET /rest?x=1", "decoded"),
        ("GET /%72est", "decoded"),
        ("GET /a;x", "decoded"),
        ("GET /a\\b", "decoded"),
        ("GET /a\nb", "decoded"),
        ("GET /rest/api/2/issue/JJ-*", "whole segments"),
        ("GET /rest/***", "whole segments"),
        ("GET /a/../b", "dot segments"),
        ("GET /a/./b", "dot segments"),
        ("GET /a#b", "decoded"),
        ("GET /jira/rest/**", "without the context path /jira"),
        ("GET /jira", "without the context path /jira"),
    ],
)
def test_a_rule_that_could_never_do_what_it_says_is_an_error_naming_it(
    rule: str, reason: str
) -> None:
    tables: list[Table] = [{"allow": ["GET /ok", rule]}, {"deny": [rule]}]
    for table in tables:
        with pytest.raises(ConfigError, match=reason) as caught:
            rules(**table)
        assert f'"{rule}"' in caught.value.message
        assert "GET /rest/api/*/issue/**" in caught.value.hint
