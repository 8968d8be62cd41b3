"""`sidecar validate`: whether a configuration makes sense, before anything runs by it."""

from __future__ import annotations

import click

from sidecar.cli.base import Global, example, global_options, show, warn


@click.command(
    help="Look at the configuration alone, offline: exit code 0 or 78.",
    epilog=example("sidecar validate && systemctl reload sidecar"),
)
@click.option(
    "--files", is_flag=True, help="Read the certificates and the access key that it names, too."
)
@global_options
@click.pass_obj
def validate(settings: Global, files: bool) -> None:
    config = settings.load()
    if files:
        from sidecar.check import local

        local.named_files(config)
    warn(config.warnings())
    where = str(config.path) if config.path else "the environment"
    show(f"{where}: valid")
