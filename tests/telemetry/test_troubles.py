"""Problems are counted, remembered and told, but not over and over."""

from __future__ import annotations

import logging

import pytest

from sidecar.errors import ConnectionRefused, NotAuthorized, StoreError
from sidecar.jira.problems import Problem, explain
from sidecar.telemetry.troubles import (
    APART_SECONDS,
    MOST_KINDS,
    MOST_REMEMBERED,
    QUIET_SECONDS,
    Quiet,
    Trouble,
    Troubles,
)

REJECTED = Problem("token_rejected")


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def troubles(clock: Clock) -> Troubles:
    return Troubles(clock=lambda: 1_800_000_000.0 + clock(), monotonic=clock)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


def test_a_kind_is_due_once_in_a_while_and_tells_how_often_it_was_not(clock: Clock) -> None:
    quiet = Quiet(10, clock)
    assert quiet.due("a") == ""
    assert quiet.due("b") == ""
    for _ in range(3):
        assert quiet.due("a") is None
    clock.time += 9.9
    assert quiet.due("a") is None
    clock.time += 0.1
    assert quiet.due("a") == " (and 4 more since that was last said)"
    clock.time += 10
    assert quiet.due("a") == ""


def test_whatever_kinds_there_are_few_messages_get_through_and_little_is_remembered(
    clock: Clock,
) -> None:
    quiet = Quiet(60, clock)
    told = 0
    for number in range(6000):
        told += quiet.due(f"http://evil{number}.test/" + "x" * 1000) is not None
        clock.time += 0.05
    assert told <= 6 * (MOST_KINDS + 1)
    assert len(quiet._said) + len(quiet._held_back) <= 2 * (MOST_KINDS + 1)


def test_among_many_kinds_those_held_back_are_counted_together(clock: Clock) -> None:
    quiet = Quiet(60, clock)
    assert [quiet.due(str(n)) for n in range(MOST_KINDS + 1)] == [""] * (MOST_KINDS + 1)
    for _ in range(2):
        assert quiet.due("one more") is None
        assert quiet.due("0") is None
    clock.time += 60
    assert quiet.due("another") == ""
    for number in range(MOST_KINDS - 1):
        quiet.due(f"new {number}")
    assert quiet.due("one more") == " (and 4 more since that was last said)"


def test_a_problem_is_told_in_one_line_with_what_to_do(
    troubles: Troubles, caplog: pytest.LogCaptureFixture
) -> None:
    assert troubles.seen(REJECTED) == explain(REJECTED).hint
    (line,) = told(caplog)
    explanation = explain(REJECTED)
    assert line.startswith(explanation.sentence)
    assert f"What to do: {explanation.hint}." in line
    assert all(cause in line for cause in explanation.causes)
    assert line.endswith("(token_rejected)")
    assert "\n" not in line


def test_the_same_problem_is_told_once_a_minute_with_a_count(
    troubles: Troubles, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        troubles.seen(REJECTED)
        clock.time += QUIET_SECONDS / 50
    assert len(told(caplog)) == 1
    troubles.seen(REJECTED)
    assert "(and 49 more since that was last said)" in told(caplog)[1]
    assert troubles.counts == {"token_rejected": 51}


def test_another_problem_is_told_at_once(
    troubles: Troubles, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("token_rejected", "anonymous", "signature_invalid"):
        troubles.seen(Problem(name))
    assert len(told(caplog)) == 3


def test_unknown_problems_are_counted_together(
    troubles: Troubles, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(100):
        troubles.seen(Problem(f"new_problem_{number}"))
    assert troubles.counts == {"other": 100}
    assert len(told(caplog)) == 1
    assert troubles.last is not None
    assert troubles.last.problem == "new_problem_99"


def test_what_is_known_of_a_case_replaces_the_general_words(
    troubles: Troubles, caplog: pytest.LogCaptureFixture
) -> None:
    assert troubles.seen(REJECTED, "It was so.", "do this") == "do this"
    assert told(caplog) == ["It was so. What to do: do this. (token_rejected)"]
    assert troubles.last == Trouble("token_rejected", "do this", 1_800_001_000.0, 1_800_001_000.0)


def test_a_failure_to_reach_jira_is_told_once_a_minute(
    troubles: Troubles, caplog: pytest.LogCaptureFixture
) -> None:
    error = ConnectionRefused("Cannot connect to jira:443.", "is Jira up")
    for _ in range(50):
        troubles.failed(error)
    assert told(caplog) == [
        "Cannot connect to jira:443. What to do: is Jira up. (connection_refused)"
    ]
    assert troubles.last == Trouble(
        "connection_refused", "is Jira up", 1_800_001_000.0, 1_800_001_000.0, 50
    )


def test_a_missing_token_is_told_once_a_minute(
    troubles: Troubles, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        troubles.failed(NotAuthorized("There is no access token.", "run `sidecar auth`"))
    (line,) = told(caplog)
    assert "sidecar auth" in line


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (StoreError("/t: cannot be written: No space left.", "free some space"), "free some space"),
        (
            StoreError("/t: cannot be written: No space left."),
            "/t: cannot be written: No space left.",
        ),
    ],
)
def test_a_token_that_was_not_renewed_is_the_last_problem_and_its_line_is_not_ours(
    troubles: Troubles, caplog: pytest.LogCaptureFixture, error: StoreError, hint: str
) -> None:
    troubles.not_renewed(error)
    assert troubles.last == Trouble("token_not_renewed", hint, 1_800_001_000.0, 1_800_001_000.0)
    assert told(caplog) == []


def test_a_problem_that_no_client_saw_is_only_counted(
    troubles: Troubles, caplog: pytest.LogCaptureFixture
) -> None:
    troubles.healed(Problem("nonce_used"))
    assert troubles.heals == {"nonce_used": 1}
    assert troubles.last is None
    assert told(caplog) == []


class TestRecent:
    def test_the_last_ones_are_kept_newest_first(self, troubles: Troubles, clock: Clock) -> None:
        for number in range(MOST_REMEMBERED + 5):
            clock.time += 1
            troubles.seen(Problem(f"problem_{number}"))
        recent = troubles.recent
        assert len(recent) == MOST_REMEMBERED
        assert recent[0] == troubles.last
        assert [one.problem for one in recent[:2]] == ["problem_24", "problem_23"]

    def test_what_comes_again_soon_is_one_trouble_that_is_counted(
        self, troubles: Troubles, clock: Clock
    ) -> None:
        for _ in range(3):
            troubles.seen(REJECTED)
            troubles.failed(ConnectionRefused("Cannot connect.", "is Jira up"))
            clock.time += APART_SECONDS
        refused, rejected = troubles.recent
        assert (rejected.problem, rejected.count) == ("token_rejected", 3)
        assert (refused.problem, refused.count) == ("connection_refused", 3)
        assert rejected.at - rejected.first_at == 2 * APART_SECONDS

    def test_what_comes_again_late_is_another_and_the_old_one_stays(
        self, troubles: Troubles, clock: Clock
    ) -> None:
        troubles.seen(REJECTED)
        clock.time += APART_SECONDS + 1
        troubles.seen(REJECTED)
        troubles.seen(REJECTED)
        assert [one.count for one in troubles.recent] == [2, 1]

    def test_what_the_sidecar_met_itself_reached_no_client(self, troubles: Troubles) -> None:
        for count in (1, 1, 2):
            if count == 2:
                troubles.seen(REJECTED)
            troubles.met(REJECTED, "It was so.", "do this")
            assert troubles.last is not None
            assert (troubles.last.problem, troubles.last.hint) == ("token_rejected", "do this")
            assert troubles.last.count == count
        assert troubles.counts == {"token_rejected": 1}
