"""What all commands share: global options, the shape of errors, the way to run a coroutine."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sidecar.errors import UsageError
from sidecar.http.shown import quoted

if TYPE_CHECKING:
    from sidecar.config.load import Config
    from sidecar.system.names import Service
    from sidecar.system.unit import Unit

Result = TypeVar("Result")
Answer = TypeVar("Answer")
Command = TypeVar("Command", bound=Callable[..., Any])

_NAMED_COMMAND = re.compile(
    r"(?<![\w/.-])sidecar (?=(?:init|public-key|auth|run|request|check|validate|status|logout|open)"
    r"(?![\w-]))"
)
_NAMED_FILE_COMMAND = re.compile(
    r"(?<![\w/.-])(?<!sudo )sidecar (?=(?:public-key|validate)(?![\w-]))"
)
"""What has no --system, and goes by the service's configuration all the same."""


@dataclass
class Global:
    """The options that stand before or after the subcommand."""

    config_path: Path | None = None
    verbose: bool = False
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    """The environment as it was at the start."""
    system: bool = False
    instance: str = ""

    def load(self, **overrides: object) -> Config:
        """Read the configuration; flags come by option name, dots as double underscores."""
        from sidecar.config.load import load

        named = {name.replace("__", "."): value for name, value in overrides.items()}
        return load(self.config_path, os.environ, named)

    @cached_property
    def service(self) -> Service | None:
        """The system service that we are, or act as."""
        from sidecar.system.names import Service, own_service

        if self.system:
            return Service(self.instance)
        try:
            return own_service(Path("/proc/self/cgroup").read_text())
        except OSError:  # not on Linux
            return None

    def with_config(self, text: str) -> str:
        """Have every command that the text names be about what this one is about.

        That is the system service, or the configuration that was given to this command.
        """
        file = None if self.config_path is None else shlex.quote(str(self.config_path))
        if self.service is not None:
            named = f"sudo sidecar --config {file} " if file else "sudo sidecar "
            return _NAMED_FILE_COMMAND.sub(lambda _: named, self.service.complete(text))
        if file is None:
            return text
        return _NAMED_COMMAND.sub(lambda _: f"sidecar --config {file} ", text)

    def unit(self) -> Unit | None:
        """The unit that --system names, whose configuration is ours then; None without --system.

        Warns of what is easily taken for it.  Raises UsageError, NotAuthorized or ConfigError.
        """
        from sidecar.system import unit

        command = click.get_current_context().info_name or ""
        if not self.system:
            if self.instance:
                raise UsageError("--instance is for --system", "give both, or neither")
            warn(unit.not_the_service(command, os.environ))
            return None
        assert self.service is not None
        found = unit.find(self.service, command)
        warn(unit.shadows())
        path = found.config_path
        if self.config_path not in (None, path):
            raise UsageError(f"--config: {self.service.unit} reads {path}", "leave --config out")
        self.config_path = path
        return found

    def become_service(
        self,
        before: Callable[[Unit], None] | None = None,
        after: Callable[[Unit], None] | None = None,
    ) -> None:
        """With --system, go on as the service does: its user, state, credentials, environment.

        That is in a child process.  Here root waits for it, does what comes `after` a success, and
        exits as it did.
        """
        unit = self.unit()
        if unit is None:
            return
        from sidecar.system.acting import become

        if before is not None:
            before(unit)
        code = become(unit)
        if code is None:
            self.environ = dict(os.environ)
            return
        if after is not None and code == 0:
            after(unit)
        raise click.exceptions.Exit(code)


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


def system_options(command: Command) -> Command:
    """Add --system and --instance; the command calls become_service() before it looks at files."""

    def remember_system(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.ensure_object(Global).system = value

    def remember_instance(context: click.Context, _: click.Parameter, value: str | None) -> None:
        from sidecar.system.names import INSTANCE

        if value is not None and not INSTANCE.fullmatch(value):
            raise UsageError(
                f"--instance: {quoted(value)} is no name of an instance",
                "letters, digits and _ . : - make a name, such as work for sidecar@work.service",
            )
        context.ensure_object(Global).instance = value or ""

    system = click.option(
        "--system",
        is_flag=True,
        expose_value=False,
        callback=remember_system,
        help="For the system service; needs root.",
    )
    instance = click.option(
        "--instance",
        metavar="NAME",
        expose_value=False,
        callback=remember_instance,
        help="With --system: for sidecar@NAME.",
    )
    return system(instance(command))


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


def browser_opener() -> Callable[[str], bool] | None:
    """Return what opens a URL in a browser; None where there is none to open, having said why."""
    from sidecar.signin.browser import choose

    choice = choose(os.environ)
    if choice.reason:
        say(choice.reason)
    return choice.open
