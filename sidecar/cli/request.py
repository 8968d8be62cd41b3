"""`sidecar request`: one signed request."""

from __future__ import annotations

import errno
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from sidecar.cli.base import Global, example, global_options, run_coroutine, say, system_options
from sidecar.errors import JiraError, NotJira, UsageError

if TYPE_CHECKING:
    from sidecar.commands.request import Finding, Wanted
    from sidecar.config.load import Config
    from sidecar.http.fields import Fields

_INDENTED = 1024 * 1024
"""Bytes of JSON beyond which nobody reads it on a terminal; indenting as many takes 0.5 s."""
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
@click.option("--raw", is_flag=True, help="Print JSON as it comes on a terminal, too.")
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
    raw: bool,
    where: str,
) -> None:
    from sidecar.commands.request import Wanted, check_usage
    from sidecar.jira.problems import NOT_JIRA

    wanted = Wanted(where, method, fields, None if data is None else b"")
    check_usage(wanted)
    if data is not None:
        wanted = replace(wanted, data=_data(data))
    settings.become_service()  # only now: @FILE is the caller's
    for_people = sys.stdout.isatty() and not raw
    asked = _request(settings.load(), wanted, show_head, for_people)
    status, trouble, advice = run_coroutine(asked)
    if status >= 400:
        if trouble is None:
            raise JiraError(f"Jira answered {status}", advice)
        message = f"Jira answered {status} ({trouble.name}): {trouble.sentence}"
        raise JiraError(message, trouble.hint)
    if trouble is not None and trouble.name == NOT_JIRA:
        raise NotJira(trouble.sentence, trouble.hint)
    if trouble is not None:
        hint = settings.with_config(trouble.hint)
        say(f"sidecar: warning: {trouble.sentence}\nsidecar: hint: {hint}")


async def _request(
    config: Config, wanted: Wanted, show_head: bool, for_people: bool
) -> tuple[int, Finding | None, str]:
    """Print the answer as it comes; return its status, what is wrong with it, else a hint."""
    from sidecar.commands.request import send
    from sidecar.http import fields

    out = sys.stdout.buffer
    async with send(config, wanted) as sent:
        response = sent.response
        if show_head:
            start = b"HTTP/1.1 %d %b" % (response.status, response.reason)
            out.write(fields.serialize(start, response.fields))
        beginning = b""
        with _Body(out, response.fields, for_people=for_people) as body:
            while piece := await response.read():
                beginning += piece[: _LOOKED_AT - len(beginning)]
                body.write(piece)
        return response.status, sent.trouble(beginning), sent.hint(beginning)


class _Body:
    """Prints a body as it comes; for people, JSON that is not too long is indented first."""

    def __init__(self, out: BinaryIO, fields: Fields, *, for_people: bool) -> None:
        from sidecar.http.fields import first
        from sidecar.jira.links import may_hold_links as is_json

        self._out = out
        self._for_people = for_people
        self._last = b""
        is_plain = first(fields, b"content-encoding") is None
        is_json_text = is_plain and is_json(first(fields, b"content-type") or b"")
        self._held: bytearray | None = bytearray() if for_people and is_json_text else None

    def __enter__(self) -> _Body:
        return self

    def write(self, piece: bytes) -> None:
        """Print a piece, or hold it."""
        if self._held is not None:
            self._held += piece
            if len(self._held) <= _INDENTED:
                return
            piece, self._held = bytes(self._held), None
        self._out.write(piece)
        self._out.flush()
        self._last = piece[-1:]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._held is not None:
            from sidecar.commands.json_text import indented

            held, self._held = bytes(self._held), None
            self.write((None if kind else indented(held)) or held)
        if self._for_people and self._last not in (b"", b"\n"):
            self.write(b"\n")  # the shell's prompt begins a line


def _data(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    is_stdin = text == "@-"
    try:
        return sys.stdin.buffer.read() if is_stdin else Path(text[1:]).read_bytes()
    except OSError as error:
        hint = "@FILE names a file to send, and @- sends what comes on standard input"
        if is_stdin and error.errno == errno.EBADF:
            raise UsageError("-d @-: standard input is closed", hint) from None
        raise UsageError(f"-d {text}: {error.strerror}", hint) from None
