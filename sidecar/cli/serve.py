"""`sidecar run` and `sidecar demo`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import click

from sidecar.cli import output
from sidecar.cli.base import (
    Global,
    browser_opener,
    example,
    global_options,
    run_coroutine,
    say,
    show,
)
from sidecar.errors import UsageError

if TYPE_CHECKING:
    from sidecar.config.load import Config
    from sidecar.signin.dance import User


@click.command(
    help="Serve until SIGTERM or SIGINT.", epilog=example("sidecar run --listen 127.0.0.1:9000")
)
@click.option("--listen", multiple=True, metavar="ADDR", help="HOST:PORT or unix:/PATH instead.")
@global_options
@click.pass_obj
def run(settings: Global, listen: tuple[str, ...]) -> None:
    from sidecar.server.run import serve
    from sidecar.telemetry import logs

    complete = settings.with_config
    named = settings.service.complete if settings.service else str

    def load() -> Config:
        return settings.load(listen__addresses=list(listen) or None)

    def set_up_logs(config: Config) -> None:
        form, level = config.log.format, config.log.level
        logs.set_up(form, level, os.environ, verbose=settings.verbose, complete=complete)

    output.never_wait_for_stderr()
    run_coroutine(serve(load, settings.environ, say, set_up_logs, complete, named), fast=True)


@click.command(
    help="Run a sandbox Jira and a sidecar to try it all out.",
    epilog=example("sidecar demo --port 8088"),
)
@click.option("--port", type=click.IntRange(0, 65535), default=8088, show_default=True)
@click.option("--manual", is_flag=True, help="Leave the approval page to your browser.")
@click.option("--two-legged", is_flag=True, help="Act as the application link, with no approval.")
@global_options
@click.pass_obj
def demo(settings: Global, port: int, manual: bool, two_legged: bool) -> None:
    from sidecar.telemetry import logs

    if manual and two_legged:
        raise UsageError("--two-legged leaves nothing to approve", "leave --manual out")
    output.never_wait_for_stderr()
    logs.set_up("text", "info", os.environ, verbose=settings.verbose)
    run_coroutine(_until_signal(_demo(port, manual, two_legged)))


async def _until_signal(work: Coroutine[None, None, None]) -> None:
    """Do work until it ends or a signal ends it, wherever it is; it cleans up then."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def _demo(port: int, manual: bool, two_legged: bool) -> None:
    from sidecar.commands.demo import running_demo

    with ExitStack() as stack:
        user = _user_at_terminal(stack) if manual else None
        async with running_demo(port, {}, say, user=user, two_legged=two_legged) as demo:
            from sidecar.signin.dance import signed_in_line

            say(signed_in_line(demo.token))
            for url in demo.urls:
                say(f"listening on {url}")
            say("\nTry it in another shell:\n")
            show(f"    curl {demo.urls[0]}/rest/api/2/issue/JJ-2")
            say("\nCtrl-C ends the demo and leaves nothing behind.")
            await asyncio.Event().wait()


def _user_at_terminal(stack: ExitStack) -> User:
    from sidecar.signin.dance import User
    from sidecar.signin.prompt import TypedLines

    typed = stack.enter_context(TypedLines(sys.stdin.fileno()))
    return User(say, typed, browser_opener())
