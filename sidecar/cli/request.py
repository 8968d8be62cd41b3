"""`sidecar request`: one signed request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidecar.cli.base import Global, example, global_options, run
from sidecar.errors import JiraError, UsageError

if TYPE_CHECKING:
    from sidecar.config import Config
    from sidecar.oneshot import Wanted


@click.command(epilog=example("sidecar request /rest/api/2/myself"))
@click.option("-X", "method", metavar="METHOD", help="GET, or POST with -d.")
@click.option("-H", "fields", multiple=True, metavar="'K: V'", help="A header field.")
@click.option("-d", "data", metavar="DATA|@FILE", help="The body; @- is stdin.")
@click.option("-i", "show_head", is_flag=True, help="Print the answer's head, too.")
@click.argument("where", metavar="PATH_OR_URL")
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
    """Send one signed request, without a server."""
    from sidecar import oneshot

    wanted = oneshot.Wanted(where, method, fields, None if data is None else _data(data))
    status = run(_request(settings.load(), wanted, show_head))
    if status >= 400:
        raise JiraError(f"Jira answered {status}")


async def _request(config: Config, wanted: Wanted, show_head: bool) -> int:
    from sidecar import fields, oneshot

    out = sys.stdout.buffer
    async with oneshot.send(config, wanted) as response:
        if show_head:
            start = b"HTTP/1.1 %d %b" % (response.status, response.reason)
            out.write(fields.serialize(start, response.fields))
        while piece := await response.read():
            out.write(piece)
            out.flush()
        out.flush()
        return response.status


def _data(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"-d {text}: {error.strerror}", "@FILE names a file to send") from None
