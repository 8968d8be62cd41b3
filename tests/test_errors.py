"""Errors: the tree in the docstring is what the classes say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import errors
from sidecar.errors import (
    RequestRefused,
    SidecarError,
    as_sentence,
    in_brackets,
    own_sentence,
    with_hint,
)

_LINE = re.compile(r"^ *(?P<bars>[│ ]*[├└]── )?(?P<name>\w+) {2,}(?P<facts>.+)$", re.MULTILINE)
TREE = {match["name"]: match["facts"] for match in _LINE.finditer(errors.__doc__ or "")}
CLASSES = {
    name: one
    for name, one in vars(errors).items()
    if isinstance(one, type) and issubclass(one, SidecarError)
}


def test_the_tree_shows_every_error() -> None:
    assert set(TREE) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_error_has_the_exit_code_and_status_that_the_tree_shows(name: str) -> None:
    cls, facts = CLASSES[name], TREE[name]
    if code := re.search(r"exit (\d+)", facts):
        assert cls.exit_code == int(code[1])
    if answer := re.search(r"(\d{3})(?: (\w+_\w+))?$", facts):
        statuses = re.findall(r"\b[45]\d\d\b", facts)
        assert str(cls.status) in statuses
        if answer[2]:
            assert cls.proxy_error == answer[2]


def test_an_error_is_its_message_and_keeps_the_hint_apart() -> None:
    error = SidecarError("what happened", "what to do")
    assert (str(error), error.hint, SidecarError("x").hint) == ("what happened", "what to do", "")


def test_a_refusal_has_its_own_status_and_fields() -> None:
    refused = RequestRefused(405, "no", fields=(("Allow", "GET"),))
    assert (refused.status, refused.proxy_error) == (405, "http_request_error")
    assert refused.fields == (("Allow", "GET"),)
    assert RequestRefused.status == 500


@given(st.text(min_size=1))
def test_a_hint_ends_as_a_sentence_once(hint: str) -> None:
    sentence = as_sentence(hint)
    assert sentence[-1] in ".?!"
    assert as_sentence(sentence) == sentence
    assert sentence.startswith(hint)


@pytest.mark.parametrize(
    ("hint", "sentence"),
    [
        ("run it", "Run it."),
        ("is it up?", "Is it up?"),
        ("run: sidecar auth", "Run: sidecar auth."),
        ("jira.base_url is wrong", "jira.base_url is wrong."),
        ("sidecar run renews it by itself", "sidecar run renews it by itself."),
        ("curl http://localhost:8088/", "curl http://localhost:8088/."),
        ("`sidecar auth` helps", "`sidecar auth` helps."),
        ("/var/lib/x must be yours", "/var/lib/x must be yours."),
        ("token_rejected says so", "token_rejected says so."),
        ("127.0.0.1 is always there", "127.0.0.1 is always there."),
        ("stop", "Stop."),
    ],
)
def test_a_hint_as_a_sentence_of_its_own_keeps_names_as_they_are(hint: str, sentence: str) -> None:
    assert own_sentence(hint) == sentence


@pytest.mark.parametrize(
    ("message", "hint", "text"),
    [
        ("It broke.", "mend it", "It broke. What to do: mend it."),
        (
            "f.toml:7: no such key",
            "is it a slip?",
            "f.toml:7: no such key. What to do: is it a slip?",
        ),
        ("It broke", "", "It broke."),
    ],
)
def test_what_is_wrong_is_joined_with_what_to_do(message: str, hint: str, text: str) -> None:
    assert with_hint(message, hint) == text
    assert in_brackets(hint) == (f" ({hint})" if hint else "")


@given(st.text("ab.?! ", min_size=1), st.text("ab.?! ", min_size=1))
def test_nothing_stands_between_them_but_one_stop_and_the_label(message: str, hint: str) -> None:
    said, _, to_do = with_hint(message, hint, "Hint").partition(" Hint: ")
    assert said in (message, message + ".")
    assert to_do in (hint, hint + ".")
    assert (said[-1] in ".?!", to_do[-1] in ".?!") == (True, True)
