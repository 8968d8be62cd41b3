"""Whom a caller may act as."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.access.acting import Acting, UserPatterns
from sidecar.errors import ConfigError, RequestRefused
from sidecar.http.fields import Field, Received

ACTING = Acting(["ci-*", "build: b?t", "build: *-bot"], two_legged=True, user="nobody")


def refusal(*fields: Field, acting: Acting = ACTING, caller: str | None = None) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        acting.user(fields, caller)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("user", "caller", "is_allowed"),
    [
        ("ci-", None, True),
        ("ci-deploy", None, True),
        ("ci-deploy", "build", True),
        ("ci-deploy", "other", True),
        ("CI-deploy", None, False),
        ("xci-deploy", None, False),
        ("release-bot", "build", True),
        ("release-bot", "other", False),
        ("release-bot", "Build", False),
        ("release-bot", None, False),
        ("release-bots", "build", False),
        ("b?t", "build", True),
        ("bot", "build", False),
        ("build: b?t", "build", False),
        ("nobody", None, False),
        ("ci%2Ddeploy", None, False),
    ],
)
def test_who_may_act_as_whom(user: str, caller: str | None, is_allowed: bool) -> None:
    field = (b"X-Sidecar-Act-As", user.encode())
    if is_allowed:
        assert ACTING.user([field], caller) == user
    else:
        refused = refusal(field, caller=caller)
        assert (refused.status, refused.proxy_error) == (403, "http_request_denied")
        assert refused.hint == "access.act_as in the sidecar's configuration decides this"


def test_a_field_as_long_as_one_that_counts_is_another_all_the_same() -> None:
    fields = [(b"X-Sidecar-Act-On", b"admin"), (b"X-Nominate", b"X-Sidecar-Act-As")]
    for seen in (fields, Received([*fields, (b"Connection", b"close")])):
        assert ACTING.user(seen, None) == "nobody"


def test_a_caller_may_have_capitals_and_a_user_a_colon() -> None:
    patterns = UserPatterns(["Build_2.X-y: x:y"])
    assert patterns.callers == {"Build_2.X-y"}
    assert patterns.allow("x:y", "Build_2.X-y")
    assert not patterns.allow("y", "Build_2.X-y")


def test_a_request_that_names_nobody_acts_as_configured() -> None:
    fields = [(b"Host", b"localhost"), (b"Connection", b"keep-alive"), (b"X-Act-As", b"admin")]
    assert ACTING.user(fields, None) == "nobody"
    assert Acting(two_legged=True).user(fields, None) is None
    assert Acting().user(fields, None) is None


@pytest.mark.parametrize(
    "fields",
    [
        [(b"X-Sidecar-Act-As", b"ci-a"), (b"X-Sidecar-Act-As", b"ci-a")],
        [(b"X-Sidecar-Act-As", b"ci-a"), (b"x-sidecar-act-as", b"admin")],
        [(b"X-Sidecar-Act-As", b"")],
        [(b"X-Sidecar-Act-As", b" \t")],
        [(b"X-Sidecar-Act-As", b"ci-a,admin")],
        [(b"X-Sidecar-Act-As", b"ci-a, ci-b")],
        [(b"X-Sidecar-Act-As", b"ci-\xff")],
        [(b"X-Sidecar-Act-As", b"ci-\x01")],
        [(b"X-Sidecar-Act-As", b"ci-a\xc2\xa0")],
        [(b"X-Sidecar-Act-As", b"ci-" + b"a" * 253)],
        [(b"X_Sidecar_Act_As", b"ci-a")],
        [(b"X-Sidecar_Act-As", b"ci-a")],
        [(b"X-Sidecar-Act-As", b"ci-a"), (b"X_SIDECAR_ACT_AS", b"admin")],
        [(b"Connection", b"X-Sidecar-Act-As"), (b"X-Sidecar-Act-As", b"ci-a")],
        [(b"X-Sidecar-Act-As", b"ci-a"), (b"connection", b"close, x_sidecar_act_as ,te")],
        [(b"Connection", b"x-sidecar-act-as")],
    ],
)
def test_a_field_that_could_be_read_in_two_ways_is_400(fields: list[Field]) -> None:
    refused = refusal(*fields)
    assert (refused.status, refused.proxy_error) == (400, "http_request_error")
    assert refused.message.startswith("The field X-Sidecar-Act-As ")
    assert refusal(*fields, acting=Acting()).status == 400
    with pytest.raises(RequestRefused) as caught:
        ACTING.user(Received(fields), None)
    assert (caught.value.status, caught.value.message) == (400, refused.message)


def test_a_user_is_named_by_the_fields_of_a_message_in_any_case() -> None:
    other = (b"Accept", b"*/*")
    for name in (b"X-Sidecar-Act-As", b"x-sidecar-act-as", b"X-SIDECAR-ACT-AS"):
        assert ACTING.user(Received([other, (name, b"ci-a"), other]), None) == "ci-a"
    assert ACTING.user(Received([other, (b"Connection", b"close, te")]), None) == "nobody"


def test_a_user_and_a_caller_may_have_names_as_long_as_their_kind() -> None:
    user, caller = "ci-" + "a" * 252, "c" * 64
    acting = Acting([f"{caller}: ci-*"], two_legged=True)
    assert acting.user([(b"X-Sidecar-Act-As", user.encode())], caller) == user


def test_the_callers_that_have_patterns_of_their_own_are_named() -> None:
    assert UserPatterns(["ci-*", "build: a", "deploy : b", "build: c"]).callers == {
        "build",
        "deploy",
    }
    assert UserPatterns([]).callers == set()


def test_whoever_may_not_act_as_another_is_named_if_the_key_has_a_name() -> None:
    named = refusal((b"X-Sidecar-Act-As", b"admin"), caller="build")
    assert named.message == 'The caller "build" may not act as "admin".'
    nameless = refusal((b"X-Sidecar-Act-As", b"admin"), caller=None)
    assert nameless.message == 'This caller may not act as "admin".'


def test_without_two_legged_oauth_nobody_acts_as_another() -> None:
    refused = refusal((b"X-Sidecar-Act-As", b"alana"), acting=Acting())
    assert (refused.status, refused.hint) == (
        403,
        "jira.two_legged in the sidecar's configuration decides this",
    )


SENSELESS = ["", "  ", ":", "a:", ": a", "a b: c", ".a: c", "a/b: c", "a" * 65 + ": c",
             "a,b", "a: b,c", "**", "a: ci-**", "a\x00", "a\u200b"]  # fmt: skip


@pytest.mark.parametrize("text", SENSELESS)
def test_a_pattern_that_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^access\.act_as: .* makes no sense: ") as caught:
        UserPatterns(["ok", text])
    assert "ci-*" in caught.value.hint
    assert "\n" not in caught.value.message


patterns = st.lists(st.sampled_from(["*", "a", "ci", "-", ".", "[a]", "+", "é"]), min_size=1).map(
    lambda parts: re.sub(r"\*+", "*", "".join(parts))
)
users = st.lists(st.sampled_from(["a", "ci", "-", ".", "[a]", "+", "é", "b", "*"]), min_size=1).map(
    "".join
)


@given(patterns, users)
def test_only_a_star_is_special(pattern: str, user: str) -> None:
    """Against the obvious matcher, which may take its time."""

    def matches(pattern: str, user: str) -> bool:
        if not pattern:
            return not user
        if pattern[0] == "*":
            return any(matches(pattern[1:], user[at:]) for at in range(len(user) + 1))
        return user[:1] == pattern[0] and matches(pattern[1:], user[1:])

    assert UserPatterns([pattern]).allow(user, None) is matches(pattern, user)


def test_matching_takes_no_more_time_than_the_name_is_long() -> None:
    """Without atomic groups this would take for ever."""
    assert not UserPatterns(["a*" * 100 + "b"]).allow("a" * 255, None)
