"""`sidecar status`: how the running sidecar fares."""

from __future__ import annotations

import json

import click

from sidecar.cli.base import Global, example, global_options, show, system_options


@click.command(
    help="Show how the running sidecar fares: which Jira, as whom, until when, last troubles.",
    epilog=example("sidecar status"),
)
@click.option("--json", "as_json", is_flag=True, help="Print what /_sidecar/status says.")
@system_options
@global_options
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    from datetime import UTC, datetime

    from sidecar.commands.status import exit_code, lines, running_status

    settings = context.ensure_object(Global)
    settings.become_service()
    found = running_status(settings.load())
    if as_json:
        show(json.dumps(found, indent=2))
    else:
        for line in lines(found, datetime.now(UTC)):
            show(settings.with_config(line))
    context.exit(exit_code(found))
