"""`sidecar auth`: the dance, in one go or as two commands."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from sidecar.cli.base import Global, example, global_options, run, say, stdin_descriptor
from sidecar.errors import UsageError

if TYPE_CHECKING:
    from sidecar.authorize import Authorizer
    from sidecar.config import Config
    from sidecar.credentials import TokenCredentials
    from sidecar.dance import Files

Step = Callable[["Authorizer", "Files"], Awaitable[str]]


@click.command(epilog=example("sidecar auth --no-browser"))
@click.option("--no-browser", is_flag=True, help="Only print the URL of the approval page.")
@click.option("--begin", is_flag=True, help="Print the URL and stop; finish with --verifier.")
@click.option("--verifier", metavar="CODE_OR_URL", help="Finish what --begin began; - is stdin.")
@global_options
@click.pass_obj
def auth(settings: Global, no_browser: bool, begin: bool, verifier: str | None) -> None:
    """Get an access token from Jira, with your approval."""
    from sidecar import dance

    if begin and verifier is not None:
        raise UsageError("--begin and --verifier are two commands", "first the one, then the other")
    config = settings.load()
    if begin:
        step: Step = dance.begin
    elif verifier is not None:
        text = sys.stdin.readline() if verifier == "-" else verifier

        async def finish(authorizer: Authorizer, files: Files) -> str:
            return dance.signed_in_line(await dance.finish_with(authorizer, files, text))

        step = finish
    else:

        async def whole(authorizer: Authorizer, files: Files) -> str:
            return dance.signed_in_line(await _dance(authorizer, files, not no_browser))

        step = whole
    try:
        click.echo(run(_with_authorizer(config, step)))
    except KeyboardInterrupt:
        raise dance.interrupted() from None


async def _with_authorizer(config: Config, step: Step) -> str:
    from sidecar.authorize import Authorizer
    from sidecar.dance import Files
    from sidecar.identity import Identity
    from sidecar.store import RequestTokenFile
    from sidecar.upstream import Upstream

    identity = Identity(config)
    jira = config.jira
    upstream = Upstream(config)
    authorizer = Authorizer(jira, identity, upstream, fingerprint=identity.fingerprint)
    files = Files(
        identity.token_file,
        RequestTokenFile(config.token.path, jira.base_url, jira.consumer_key),
    )
    try:
        return await step(authorizer, files)
    finally:
        await upstream.close()


async def _dance(authorizer: Authorizer, files: Files, browser: bool) -> TokenCredentials:
    import webbrowser

    from sidecar import dance
    from sidecar.prompt import TypedLines

    opener = webbrowser.open if browser else None
    with TypedLines(stdin_descriptor()) as typed:
        return await dance.dance(authorizer, files, dance.User(say, typed, opener))
