"""`sidecar request`: one signed request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidecar.cli.base import Global, example, global_options, run_coroutine, say, system_options
from sidecar.errors import JiraError, NotJira, UsageError

if TYPE_CHECKING:
    from sidecar.commands.request import Finding, Wanted
    from sidecar.config.load import Config

_LOOKED_AT = 64 * 1024
"""Bytes of an answer's body that are looked at for an OAuth problem."""


@click.command(
    help="Send one signed request, without a server.",
    epilog=example("sidecar request /rest/api/2/myself"),
)
@click.option("-X", "method", metavar="METHOD", help="GET, or POST with -d.")
@click.option("-H", "fields", multiple=True, metavar="'K: V'", help="A header field.")
@click.option("-d", "data", metavar="DATA|@FILE", help="The body; @- is stdin.")
@click.option("-i", "show_head", is_flag=True, help="Print the answer's head, too.")
@click.argument("where", metavar="PATH_OR_URL")
@system_options
@global_options
@click.pass_obj
def request(
    settings: Global,
    method: str | None,
    fields: tuple[str, ...],
    data: str | None,
    show_head: bool,
    where: str,
) -> None:
    from sidecar.commands.request import Wanted

    wanted = Wanted(where, method, fields, None if data is None else _data(data))
    settings.become_service()  # only now: @FILE is the caller's
    status, trouble = run_coroutine(_request(settings.load(), wanted, show_head))
    if status >= 400:
        if trouble is None:
            raise JiraError(f"Jira answered {status}")
        message = f"Jira answered {status} ({trouble.name}): {trouble.sentence}"
        raise JiraError(message, trouble.hint)
    if trouble is not None and trouble.name == "not_jira":
        raise NotJira(trouble.sentence, trouble.hint)
    if trouble is not None:
        hint = settings.with_config(trouble.hint)
        say(f"sidecar: warning: {trouble.sentence}\nsidecar: hint: {hint}")


async def _request(config: Config, wanted: Wanted, show_head: bool) -> tuple[int, Finding | None]:
    """Print the answer as it comes; return its status, and what OAuth has to do with it."""
    from sidecar.commands.request import send
    from sidecar.http import fields

    out = sys.stdout.buffer
    async with send(config, wanted) as sent:
        response = sent.response
        if show_head:
            start = b"HTTP/1.1 %d %b" % (response.status, response.reason)
            out.write(fields.serialize(start, response.fields))
        beginning = b""
        while piece := await response.read():
            beginning += piece[: _LOOKED_AT - len(beginning)]
            out.write(piece)
            out.flush()
        out.flush()
        return response.status, sent.trouble(beginning)


def _data(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"-d {text}: {error.strerror}", "@FILE names a file to send") from None
