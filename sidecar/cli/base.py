"""What all commands share: global options, the shape of errors, the way to run a coroutine."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sidecar.cli import output
from sidecar.errors import UsageError

if TYPE_CHECKING:
    from sidecar.config.load import Config

Result = TypeVar("Result")
Answer = TypeVar("Answer")
Command = TypeVar("Command", bound=Callable[..., Any])

_NAMED_COMMAND = re.compile(
    r"(?<![\w/.-])sidecar (?=(?:init|public-key|auth|run|request|check|validate)(?![\w-]))"
)


@dataclass
class Global:
    """The options that stand before or after the subcommand."""

    config_path: Path | None = None
    verbose: bool = False
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    """The environment as it was at the start."""

    def load(self, **overrides: object) -> Config:
        """Read the configuration; flags come by option name, dots as double underscores."""
        from sidecar.config.load import load

        named = {name.replace("__", "."): value for name, value in overrides.items()}
        return load(self.config_path, os.environ, named)

    def with_config(self, text: str) -> str:
        """Add --config to every command that the text names, if it was given to this one."""
        if self.config_path is None:
            return text
        command = f"sidecar --config {shlex.quote(str(self.config_path))} "
        return _NAMED_COMMAND.sub(lambda _: command, text)


def global_options(command: Command) -> Command:
    """Add --config and -v, which may stand before or after a subcommand."""

    def remember_config(context: click.Context, _: click.Parameter, value: Path | None) -> None:
        if value is not None:
            context.ensure_object(Global).config_path = value

    def remember_verbose(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.ensure_object(Global).verbose = True

    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=remember_verbose,
        help="Say more; show tracebacks.",
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, readable=False),
        metavar="PATH",
        expose_value=False,
        callback=remember_config,
        help="The configuration file.",
    )
    return config(verbose(command))


def example(text: str) -> str:
    """An epilog that click does not rewrap: every --help ends with an example."""
    return "\b\nExample:\n  " + text


def say(text: str) -> None:
    """Print to stderr what is not a result."""
    sys.stderr.write(f"{text}\n")


def show(text: str) -> None:
    """Print a result to stdout."""
    sys.stderr.flush()  # on a terminal, what was said before it stands before it
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def warn(warnings: Iterable[str]) -> None:
    """Print warnings about what is allowed but unwise."""
    for warning in warnings:
        say(f"sidecar: warning: {warning}")


def report(message: str, hint: str) -> None:
    """Print an error and its hint; under systemd with a priority for the journal."""
    from sidecar.telemetry import logs

    priority = "<3>" if logs.is_journal(sys.stderr, os.environ) else ""
    say(f"{priority}sidecar: error: {message}")
    if hint:
        say(f"{priority}sidecar: hint: {hint}")


def ask(
    flag: str, question: str, read: Callable[[str], Answer], default: str | None = None
) -> Answer:
    """Ask on a terminal until `read` accepts the answer; elsewhere the flag is required."""
    if not sys.stdin.isatty():
        raise UsageError(f"{flag} is missing", "give it: there is no terminal to ask on")

    def answer(text: str) -> Answer:
        try:
            return read(text.strip())
        except ValueError as error:
            raise click.UsageError(str(error)) from None  # click then asks again

    answered: Answer = click.prompt(question, default=default, value_proc=answer, err=True)
    return answered


def run_coroutine(work: Coroutine[Any, Any, Result], *, fast: bool = False) -> Result:
    """Run a coroutine; with uvloop, if it is there and speed matters.

    The event loop is not closed: that would wait for threads, and main() ends the process.
    """
    factory = None
    if fast:
        try:
            import uvloop

            factory = uvloop.new_event_loop
        except ImportError:
            factory = None
    return asyncio.Runner(loop_factory=factory).run(work)


def browser_opener() -> Callable[[str], bool]:
    """Return what opens a URL in the browser, whose own output then goes to stderr."""
    import webbrowser

    output.keep_from_programs()
    return webbrowser.open
