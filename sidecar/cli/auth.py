"""`sidecar auth`: the dance, in one go or as two commands; `sidecar logout`: its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace as changed
from functools import partial
from typing import TYPE_CHECKING

import click

from sidecar.cli.base import (
    Global,
    browser_opener,
    example,
    global_options,
    run_coroutine,
    say,
    show,
    system_options,
    warn,
)
from sidecar.errors import UsageError

if TYPE_CHECKING:
    from sidecar.account.authorize import Authorizer
    from sidecar.config.load import Config
    from sidecar.credentials import TokenCredentials
    from sidecar.signin.dance import Files
    from sidecar.system.unit import Unit

Step = Callable[["Authorizer", "Files"], Awaitable[str]]


@click.command(
    help="Get an access token from Jira, with your approval.\n\n"
    "With jira.two_legged there is none to get: only ask Jira whom we act as.",
    epilog=example("sidecar auth --no-browser"),
)
@click.option("--no-browser", is_flag=True, help="Only print the URL of the approval page.")
@click.option(
    "--replace",
    is_flag=True,
    help="Replace another Jira's or user's token, which is kept as token.json.bak.",
)
@click.option("--begin", is_flag=True, help="Print the URL and stop; finish with --verifier.")
@click.option(
    "--verifier", metavar="CODE_OR_URL", help="Finish what --begin started; - reads stdin."
)
@system_options
@global_options
@click.pass_obj
def auth(
    settings: Global, no_browser: bool, replace: bool, begin: bool, verifier: str | None
) -> None:
    from sidecar.signin import dance

    if begin and verifier is not None:
        raise UsageError("--begin and --verifier are two commands", "first the one, then the other")
    settings.become_service(_refuse_taken, None if begin else _start_service)
    config = settings.load()
    warn(config.warnings())

    def tell(text: str) -> None:
        say(settings.with_config(text))

    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if config.jira.two_legged:
            step: Step = _two_legged(config, begin or replace or verifier is not None)
        elif begin:
            step = partial(dance.begin, replace=replace)
        elif verifier is not None:
            step = _finish(_first_line() if verifier == "-" else verifier, replace)
        else:
            step = _whole(replace, browser=not (no_browser or settings.system))
        line = run_coroutine(_with_authorizer(config, step, tell))
    except KeyboardInterrupt:
        raise dance.interrupted() from None
    show(line)
    if begin:
        option = "--replace --verifier" if replace else "--verifier"
        say(settings.with_config(f"Then run: sidecar auth {option} CODE_OR_URL"))


@click.command(
    help="Remove the access token from this machine, and say where to revoke it in Jira.",
    epilog=example("sidecar logout"),
)
@system_options
@global_options
@click.pass_obj
def logout(settings: Global) -> None:
    from sidecar.commands.logout import Logout

    settings.become_service()
    config = settings.load()
    signed_in = Logout(config)
    for kept in signed_in.kept():
        say(kept.advice)
    removed = run_coroutine(signed_in.remove())
    if config.jira.two_legged:
        say(
            "jira.two_legged is set: the private key alone lets the sidecar in. To end that, too,"
            " have the application link removed in Jira."
        )
    if removed:
        show(f"Signed out: removed {', '.join(map(str, removed))}")
    else:
        show(f"Nothing to remove: there is no access token at {config.token.path}")


def _refuse_taken(unit: Unit) -> None:
    """Before a sign-in: the service that is signed in could not start."""
    from sidecar.system.starting import refuse_taken

    refuse_taken(unit)


def _start_service(unit: Unit) -> None:
    """What comes after a sign-in: the service takes the token by itself, if it runs."""
    from sidecar.system.starting import start

    start(unit)
    if not unit.is_active:
        say(f"{unit.service.unit} runs, now and after each boot")


def _first_line() -> str:
    """The first line of standard input; nothing where that is closed, or a folder."""
    try:
        return sys.stdin.buffer.readline().decode("utf-8", "replace")
    except OSError:
        return ""


def _finish(text: str, replace: bool) -> Step:
    from sidecar.signin import dance

    async def step(authorizer: Authorizer, files: Files) -> str:
        return dance.signed_in_line(
            await dance.finish_with(authorizer, files, text, replace=replace)
        )

    return step


def _whole(replace: bool, *, browser: bool) -> Step:
    from sidecar.signin import dance

    async def step(authorizer: Authorizer, files: Files) -> str:
        return dance.signed_in_line(await _dance(authorizer, files, replace, browser))

    return step


def _two_legged(config: Config, has_options: bool) -> Step:
    """Only ask who that is: the application link itself signs, and nobody has to approve it."""
    from sidecar.account.token_in_use import unused_token
    from sidecar.credentials import TWO_LEGGED
    from sidecar.signin import dance

    if has_options:
        raise UsageError(
            "there is nothing to begin, finish or replace: jira.two_legged is set",
            "run `sidecar auth` alone, which asks Jira whom we act as",
        )

    async def step(authorizer: Authorizer, files: Files) -> str:
        warn(unused_token(files.token))
        user, display_name = await authorizer.whoami(TWO_LEGGED)
        return dance.signed_in_line(changed(TWO_LEGGED, user=user, display_name=display_name))

    return step


async def _with_authorizer(config: Config, step: Step, tell: Callable[[str], None]) -> str:
    from sidecar.account.authorize import Authorizer
    from sidecar.account.identity import Identity
    from sidecar.signin.dance import Files
    from sidecar.upstream.pool import Upstream

    upstream = Upstream(config)
    authorizer = Authorizer(Identity(config), upstream, config.timeouts.response, tell=tell)
    try:
        return await step(authorizer, Files.of(config))
    finally:
        await upstream.close()


async def _dance(
    authorizer: Authorizer, files: Files, replace: bool, browser: bool
) -> TokenCredentials:
    from sidecar.signin import dance
    from sidecar.signin.prompt import TypedLines

    opener = browser_opener() if browser else None
    with TypedLines(sys.stdin.fileno()) as typed:
        return await dance.dance(authorizer, files, dance.User(say, typed, opener), replace=replace)
