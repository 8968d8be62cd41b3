"""`sidecar validate`: whether a configuration makes sense, before anything runs by it."""

from __future__ import annotations

import click

from sidecar.cli.base import Global, example, global_options, show, warn
from sidecar.files.access_keys import is_own_folder, read_access_keys, without_key


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
    keys = config.access.key_file
    if keys is not None and is_own_folder(keys):
        read_access_keys(keys).refuse()
    warn(config.warnings() + without_key(config.access))
    where = str(config.path) if config.path else "the environment"
    show(f"{where}: valid")
