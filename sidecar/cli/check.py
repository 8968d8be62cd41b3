"""`sidecar check`: what is wrong, and what to do about it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from sidecar.cli import output
from sidecar.cli.base import (
    Global,
    example,
    global_options,
    run_coroutine,
    show,
    system_options,
    warn,
)
from sidecar.errors import SidecarError

if TYPE_CHECKING:
    from sidecar.check.step import Status, Step
    from sidecar.system.unit import Unit

_MARKS: dict[Status, str] = {"pass": "✓", "fail": "✗", "skipped": "–"}
_COLOURS: dict[Status, int] = {"pass": output.GREEN, "fail": output.RED, "skipped": output.FAINT}
_PLAIN_MARKS: dict[Status, str] = {"pass": "ok  ", "fail": "FAIL", "skipped": "-   "}


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
    settings.become_service(_warn_if_stopped)

    def named(one: Step) -> Step:
        return replace(one, hint=settings.with_config(one.hint))

    def tell(one: Step) -> None:
        if not as_json and one.status != "skipped":
            _tell(named(one))

    if ready:
        steps = [_ready(settings)]
        tell(steps[0])
    else:
        from sidecar.check.diagnosis import Check

        steps = run_coroutine(Check(settings.load).run(tell))
    if as_json:  # in one piece
        show(json.dumps(step.as_json([named(one) for one in steps]), indent=2))
    elif not ready:
        _sum_up(steps)
    context.exit(step.exit_code(steps))


def _warn_if_stopped(unit: Unit) -> None:
    from sidecar.system.starting import not_running

    warn(not_running(unit))


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
    show(f"{_mark(step.status)} {step.message}")
    if step.hint:
        show(f"    {step.hint}")


def _sum_up(steps: list[Step]) -> None:
    """Print what was not tried, and what came of it all."""
    from sidecar.check.step import exit_code, not_tried, summary

    if untried := not_tried(steps):
        show(f"{_mark('skipped')} {untried}")
    show(output.painted(summary(steps), _COLOURS["fail" if exit_code(steps) else "pass"]))


def _mark(status: Status) -> str:
    try:
        _MARKS[status].encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return output.painted(_PLAIN_MARKS[status], _COLOURS[status])
    return output.painted(_MARKS[status], _COLOURS[status])
