"""Programs that are run: what they print, and why they fail."""

from __future__ import annotations

from sidecar.system.programs import run


def test_what_is_printed_comes_back() -> None:
    assert run("cat", text="é") == ("é", "")


def test_a_failure_says_why() -> None:
    assert run("sh", "-c", "echo no >&2; exit 3") == ("", "no")
    assert run("sh", "-c", "exit 3") == ("", "sh exited with 3")


def test_a_program_that_is_missing_is_a_failure() -> None:
    assert "No such file" in run("no-such-program")[1]
