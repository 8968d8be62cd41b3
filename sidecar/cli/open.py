"""`sidecar open`: the running sidecar's page, in the browser."""

from __future__ import annotations

import click

from sidecar.cli.base import (
    Global,
    browser_opener,
    example,
    global_options,
    say,
    show,
    system_options,
)


@click.command(
    name="open",
    help="Open the running sidecar's page, so that this browser may sign in for you.",
    epilog=example("sidecar open --print"),
)
@click.option("--print", "only_print", is_flag=True, help="Print the address alone.")
@system_options
@global_options
@click.pass_obj
def open_(settings: Global, only_print: bool) -> None:
    from sidecar.commands.open_page import address

    settings.become_service()
    config = settings.load()
    url = address(config)
    if only_print or settings.system:  # root opens no browser
        show(url)
        return
    if config.access.key_file is not None:
        say("The browser asks for a name and a password: any name, and the access key.")
    if not _opened(url):
        say("No browser could be opened. Open this address yourself, within 5 minutes:")
        show(url)


def _opened(url: str) -> bool:
    opener = browser_opener()
    try:
        return opener is not None and opener(url)
    except OSError:
        return False
