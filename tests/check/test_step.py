"""What a step comes to, and what all of them come to together."""

from __future__ import annotations

import pytest

from sidecar.check.step import (
    NeedsNewToken,
    NotTried,
    Step,
    as_json,
    exit_code,
    failed,
    needed,
    not_tried,
    summary,
)
from sidecar.errors import ConfigError, NotAuthorized

GOOD = Step("token", "pass", "it lives on")
NOT_TRIED = Step("clock", "skipped", "for want of an answer")


def test_the_first_step_that_failed_decides_the_exit_code() -> None:
    broken = failed("private_key", ConfigError("no key"))
    expired = failed("token", NotAuthorized("it has expired"))
    assert exit_code([GOOD, NOT_TRIED]) == 0
    assert exit_code([GOOD, broken, NOT_TRIED, expired]) == 78
    assert exit_code([expired, broken]) == 77


def test_an_errors_own_hint_counts_before_the_steps() -> None:
    assert failed("jira", ConfigError("wrong", "mend it"), "look there").hint == "mend it"
    assert failed("jira", ConfigError("wrong"), "look there").hint == "look there"


def test_json_says_all_but_the_exit_code() -> None:
    broken = failed("private_key", ConfigError("no key", "make one"))
    assert as_json([GOOD, broken]) == {
        "ok": False,
        "steps": [
            {"name": "token", "status": "pass", "message": "it lives on", "hint": ""},
            {"name": "private_key", "status": "fail", "message": "no key", "hint": "make one"},
        ],
    }
    assert as_json([GOOD])["ok"] is True


def test_the_summary_counts_each_problem_once() -> None:
    mode = failed("private_key", ConfigError("key.pem: open to others"))
    modes = failed("file_modes", ConfigError("key.pem: open to others; token.json: too"))
    expired = failed("token", NotAuthorized("it has expired"))
    assert summary([GOOD, NOT_TRIED]) == "All is well."
    assert summary([GOOD, expired]) == "1 problem: it has expired"
    assert summary([mode, modes, NOT_TRIED]) == "1 problem: key.pem: open to others"
    assert summary([mode, expired]).startswith("2 problems, first of all: key.pem")


def test_what_needs_a_signature_that_jira_accepts_is_not_what_is_to_be_mended_first() -> None:
    """`sidecar auth` fails as long as Jira does not know the consumer."""
    none = failed("token", NeedsNewToken("There is no token."))
    unknown = failed("signature", ConfigError("Jira does not know the consumer."))
    assert summary([none, unknown]) == "2 problems, first of all: Jira does not know the consumer."
    assert exit_code([none, unknown]) == 77  # the first step's, all the same
    assert summary([none]) == "1 problem: There is no token."


def test_what_was_not_tried_is_one_line() -> None:
    assert not_tried([GOOD]) == ""
    skipped = Step("name_resolution", "skipped", "x")
    line = not_tried([GOOD, skipped, NOT_TRIED])
    assert line == "Not tried before that is mended: name resolution, clock."


@pytest.mark.parametrize("value", ["", 0, False])
def test_what_is_needed_is_there_unless_it_is_none(value: object) -> None:
    assert needed(value, "nothing") == value
    with pytest.raises(NotTried, match=r"^no key$"):
        needed(None, "no key")
