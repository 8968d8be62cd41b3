"""The command line: the only package that prints or exits.

Each command imports what it needs when it runs, so that `sidecar --help` is quick.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from sidecar import __version__
from sidecar.cli import output
from sidecar.cli.auth import auth, logout
from sidecar.cli.base import Global, example, global_options, report, say, show
from sidecar.cli.check import check
from sidecar.cli.open import open_
from sidecar.cli.request import request
from sidecar.cli.serve import demo, run
from sidecar.cli.setup import init, public_key
from sidecar.cli.status import status
from sidecar.cli.validate import validate
from sidecar.errors import SidecarError, UsageError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    output.exit_now(execute())


def execute() -> int:
    """Run the command line, tell of what went wrong, and return the exit code."""
    settings = Global()
    # Python's ssl module would write TLS keys there, as early as aiohttp is imported.
    os.environ.pop("SSLKEYLOGFILE", None)
    output.take_over()
    try:
        # What a command passes to context.exit() comes back from here.
        code = cli.main(prog_name="sidecar", obj=settings, standalone_mode=False) or 0
        sys.stdout.flush()
    except SidecarError as error:
        code = error.exit_code
        report(error.message, settings.with_config(error.hint))
    except click.ClickException as error:
        code = UsageError.exit_code
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "sidecar"
        report(error.format_message(), f"see `{path} --help`")
    except click.exceptions.Exit as error:
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
        say("")
    except output.ReaderGone:
        code = output.READER_GONE
    except Exception as error:  # noqa: BLE001 — the last resort: a bug is one line, too
        code = SidecarError.exit_code
        report(f"a bug: {type(error).__name__}: {error}", "run it again with -v and report that")
        if settings.verbose:
            traceback.print_exc()
    return code


@click.group(
    help="Sign requests for Jira with OAuth 1.0a: point any tool at http://localhost:8088.",
    epilog=example("sidecar init && sidecar auth && sidecar run"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@global_options
@click.pass_context
def cli(context: click.Context) -> None:  # help is not in docstrings: `python -OO` drops them
    if context.invoked_subcommand is None:
        show(context.get_help())
        context.exit(UsageError.exit_code)


for command in (
    init, public_key, auth, logout, run, request, check, status, open_, validate, demo,
):  # fmt: skip
    command.short_help = (command.help or "").partition("\n\n")[0]  # else it would be cut
    cli.add_command(command)
