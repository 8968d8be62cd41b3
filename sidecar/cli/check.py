"""`sidecar check`: what is wrong, and what to do about it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from sidecar.cli.base import Global, example, global_options, run_coroutine, show, system_options
from sidecar.errors import SidecarError

if TYPE_CHECKING:
    from sidecar.check.step import Step

_MARKS = {"pass": "✓", "fail": "✗", "skipped": "–"}
_PLAIN_MARKS = {"pass": "ok  ", "fail": "FAIL", "skipped": "-   "}


@click.command(
    help="Go through everything from configuration to an accepted signature.",
    epilog=example("sidecar check --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for monitoring.")
@click.option(
    "--ready",
    is_flag=True,
    help="Only ask the running sidecar whether it is ready, for exec probes.",
)
@system_options
@global_options
@click.pass_context
def check(context: click.Context, as_json: bool, ready: bool) -> None:
    from sidecar.check import step

    settings = context.ensure_object(Global)
    settings.become_service()

    def named(one: Step) -> Step:
        return replace(one, hint=settings.with_config(one.hint))

    def tell(one: Step) -> None:
        if not as_json:
            _tell(named(one))

    if ready:
        steps = [_ready(settings)]
        tell(steps[0])
    else:
        from sidecar.check.diagnosis import Check

        steps = run_coroutine(Check(settings.load).run(tell))
    if as_json:  # in one piece
        show(json.dumps(step.as_json([named(one) for one in steps]), indent=2))
    context.exit(step.exit_code(steps))


def _ready(settings: Global) -> Step:
    from sidecar.check.ready import ready
    from sidecar.check.step import failed

    try:
        config = settings.load()
    except SidecarError as error:
        return failed("ready", error)
    return ready(config)


def _tell(step: Step) -> None:
    """Print a line for the step, and one for its hint."""
    show(f"{_marks()[step.status]} {step.message}")
    if step.hint:
        show(f"    {step.hint}")


def _marks() -> dict[str, str]:
    try:
        "".join(_MARKS.values()).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return _PLAIN_MARKS
    return _MARKS
