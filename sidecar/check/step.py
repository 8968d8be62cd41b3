"""What a step of `sidecar check` comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from sidecar.errors import NotAuthorized, SidecarError

Status = Literal["pass", "fail", "skipped"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the result; what it says holds no secret."""

    name: str
    status: Status
    message: str
    hint: str = ""
    exit_code: int = 0
    """What `check` exits with if this is the first step that failed."""
    awaits_signature: bool = False
    """Whether what mends it works only once Jira accepts our signature, a later step."""

    def as_json(self) -> dict[str, str]:
        """The step as `--json` shows it."""
        return {
            "name": self.name,
            "status": self.status,
            "message": self.message,
            "hint": self.hint,
        }


class Passed(NamedTuple):
    """A step found nothing wrong; its hint says what is still worth doing."""

    message: str
    hint: str = ""


class NeedsNewToken(NotAuthorized):
    """There is no token that is alive: a new one needs a signature that Jira accepts."""


class NotTried(Exception):
    """A step cannot be tried; the text names what it needs."""


def failed(name: str, error: SidecarError, hint: str = "") -> Step:
    """Make the step of an error; `hint` is used if the error has none."""
    awaits_signature = isinstance(error, NeedsNewToken)
    return Step(name, "fail", error.message, error.hint or hint, error.exit_code, awaits_signature)


def exit_code(steps: Sequence[Step]) -> int:
    """0 if all is well, else the code of the first step that failed."""
    return next((step.exit_code for step in steps if step.status == "fail"), 0)


def summary(steps: Sequence[Step]) -> str:
    """The whole result in one line, beginning with what is to be mended first.

    What two steps say in the same words is one problem.
    """
    problems: list[str] = []
    wrong = [step for step in steps if step.status == "fail"]
    for step in sorted(wrong, key=lambda step: step.awaits_signature):
        if not any(said in step.message for said in problems):
            problems.append(step.message)
    if not problems:
        return "All is well."
    counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems, first of all"
    return f"{counted}: {problems[0]}"


def not_tried(steps: Sequence[Step]) -> str:
    """The steps that could not be tried, in one line; "" where there is none."""
    names = [step.name.replace("_", " ") for step in steps if step.status == "skipped"]
    return f"Not tried before that is mended: {', '.join(names)}." if names else ""


def as_json(steps: Sequence[Step]) -> dict[str, object]:
    """The whole result as `--json` shows it."""
    return {"ok": exit_code(steps) == 0, "steps": [step.as_json() for step in steps]}


def needed(value: Value | None, what: str) -> Value:
    """Return the value; NotTried if there is none, with `what` it is."""
    if value is None:
        raise NotTried(what)
    return value
