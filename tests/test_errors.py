"""Errors: the tree in the docstring is what the classes say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import errors
from sidecar.errors import RequestRefused, SidecarError, as_sentence

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
