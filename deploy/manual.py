"""Writes man pages and shell completions below a folder such as /usr/share.

    python deploy/manual.py FOLDER

Whatever they say comes from where `--help` and the configuration come from: the commands, the
option table and the errors.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from sidecar import __version__, errors
from sidecar.cli import cli
from sidecar.config import options
from sidecar.config.load import variable_of
from sidecar.config.settings import OPTIONS, TABLES
from sidecar.errors import SidecarError

COMPLETIONS: dict[str, type[ShellComplete]] = {
    "bash-completion/completions/sidecar": BashComplete,
    "zsh/vendor-completions/_sidecar": ZshComplete,
    "fish/vendor_completions.d/sidecar.fish": FishComplete,
}
"""Below /usr/share, where each shell of Debian and Fedora looks."""

_CONFIGURATION = "sidecar.toml"
PLACES = [
    ("--config PATH", "or $SIDECAR_CONFIG, where one of them names a file."),
    ("$XDG_CONFIG_HOME/sidecar/config.toml", "~/.config/sidecar/config.toml without the variable."),
    ("/etc/sidecar/config.toml", "The system's."),
]


def main(folder: Path) -> None:
    """Write everything, with the date of $SOURCE_DATE_EPOCH if there is one."""
    for name, text in pages().items():
        _write(folder / "man" / f"man{name[-1]}" / name, text)
    for place, shell in COMPLETIONS.items():
        _write(folder / place, shell(cli, {}, "sidecar", "_SIDECAR_COMPLETE").source())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def pages() -> dict[str, str]:
    """Every man page by its file's name."""
    top = click.Context(cli, info_name="sidecar")
    found = {"sidecar.1": _page("sidecar", 1, cli.get_short_help_str(200), _overview(top))}
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=name, parent=top)
        page = f"sidecar-{name}"
        summary = (command.help or "").partition("\n\n")[0]
        found[f"{page}.1"] = _page(page, 1, summary, _command(context))
    found[f"{_CONFIGURATION}.5"] = _page(
        _CONFIGURATION, 5, "configuration of jira-oauth-sidecar", _configuration()
    )
    return found


def _page(name: str, section: int, summary: str, body: Iterator[str]) -> str:
    """A man page, in the macros of man(7)."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    day = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    summary = summary.replace("\n", " ").rstrip(".")
    lines = [
        f'.TH "{name.upper()}" "{section}" "{day}" "jira-oauth-sidecar {__version__}"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{roff(name)} \\- {roff(summary)}",
        *body,
    ]
    return "\n".join(lines) + "\n"


def _overview(context: click.Context) -> Iterator[str]:
    yield from _synopsis(context, "sidecar")
    yield from _description(context)
    yield ".SH COMMANDS"
    for name, command in cli.commands.items():
        yield from _item(f".BR {roff(f'sidecar-{name}')} (1)", command.get_short_help_str(200))
    yield from _parameters(context)
    yield from _example(context)
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes().items():
        yield from _item(f".B {code}", meaning)
    yield ".SH ENVIRONMENT"
    yield from _paragraph("Every key of the configuration can be given as a variable, too:")
    yield from _see(f"{_CONFIGURATION}(5)")
    yield ".SH FILES"
    for place, note in PLACES[1:]:
        yield from _item(f".I {roff(place)}", note)
    token = OPTIONS["token.path"]
    yield from _item(
        f".I {roff(str(token.example))}", f"{token.help} Default: {default_of(token)}."
    )
    yield ".SH SEE ALSO"
    yield from _see(*(f"sidecar-{name}(1)" for name in cli.commands), f"{_CONFIGURATION}(5)")


def _command(context: click.Context) -> Iterator[str]:
    yield from _synopsis(context, f"sidecar {context.info_name}")
    yield from _description(context)
    yield from _parameters(context)
    yield from _example(context)
    yield ".SH EXIT STATUS"
    yield from _paragraph("0 if all went well; sidecar(1) lists the others.")
    yield ".SH SEE ALSO"
    yield from _see("sidecar(1)", f"{_CONFIGURATION}(5)")


def _configuration() -> Iterator[str]:
    yield ".SH DESCRIPTION"
    yield from _paragraph(
        "A TOML file. The first of these that is there is read; none is needed where variables give"
        " what is required:"
    )
    for place, note in PLACES:
        yield from _item(f".I {roff(place)}", note)
    yield from _paragraph(
        "A flag wins over a variable, a variable over the file. In a variable, items of a list are"
        " separated by commas. Relative paths in the file are relative to it. An unknown key, a"
        " wrong type or an impossible value is an error that names file, line and key."
    )
    for table, cls in TABLES.items():
        yield f'.SH "[{table}]"'
        yield from _paragraph((cls.__doc__ or "").partition("\n\n")[0])
        for field in fields(cls):
            yield from _option(f"{table}.{field.name}")
    yield ".SH EXAMPLE"
    required = [(name.split("."), one) for name, one in OPTIONS.items() if one.required]
    lines = [f"{key} = {options.to_toml(one.example)}" for (_, key), one in required]
    yield from _verbatim([f"[{required[0][0][0]}]", *lines])
    yield ".SH SEE ALSO"
    yield from _see("sidecar(1)", "sidecar-validate(1)")


def _option(name: str) -> Iterator[str]:
    one = OPTIONS[name]
    yield ".TP"
    yield f'.BR {roff(name.partition(".")[2])} " ({roff(one.kind.value)})"'
    yield roff(one.help)
    yield ".br"
    yield roff("Required." if one.required else f"Default: {default_of(one)}.")
    if one.example is not None:
        yield roff(f"Example: {options.to_toml(one.example)}.")
    flag = f" Flag: {one.flag}." if one.flag else ""
    yield roff(f"Variable: {variable_of(name)}.{flag}")


def default_of(one: options.Option) -> str:
    """An option's default, as the manual shows it."""
    if one.default_note:
        return one.default_note
    return "none" if one.default is None else options.to_toml(one.default)


def exit_codes() -> dict[int, str]:
    """What each exit code means, by the errors that have one."""
    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type))
    own = {
        kind.exit_code: kind.__doc__ or ""
        for kind in kinds
        if issubclass(kind, SidecarError) and "exit_code" in vars(kind)
    }
    found = own | {0: "Success.", SidecarError.exit_code: "A bug."}
    return {code: " ".join(found[code].split()) for code in sorted(found)}


# --- pieces of a page ---


def _synopsis(context: click.Context, name: str) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    yield f".B {roff(name)}"
    yield roff(" ".join(context.command.collect_usage_pieces(context)))


def _description(context: click.Context) -> Iterator[str]:
    yield ".SH DESCRIPTION"
    for paragraph in (context.command.help or "").split("\n\n"):
        yield from _paragraph(paragraph)


def _parameters(context: click.Context) -> Iterator[str]:
    yield ".SH OPTIONS"
    for parameter in context.command.get_params(context):
        record: Any = parameter.get_help_record(context)
        if record is not None:
            yield from _item(f".B {roff(record[0])}", record[1])


def _example(context: click.Context) -> Iterator[str]:
    yield ".SH EXAMPLE"
    yield from _verbatim(example_of(context.command))


def example_of(command: click.Command) -> list[str]:
    """The lines of the example at the end of a command's help."""
    text = textwrap.dedent((command.epilog or "").replace("\b", ""))
    return [line.strip() for line in text.splitlines()[2:]]


def _item(head: str, text: str) -> Iterator[str]:
    yield from (".TP", head)
    if text:
        yield roff(text)


def _paragraph(text: str) -> Iterator[str]:
    yield from (".PP", roff(" ".join(text.split())))


def _verbatim(lines: list[str]) -> Iterator[str]:
    yield from (".nf", *map(roff, lines), ".fi")


def _see(*names: str) -> Iterator[str]:
    """Other pages: `sidecar(1)`, the name in bold."""
    for index, name in enumerate(names):
        comma = "," if index + 1 < len(names) else ""
        page, section = re.fullmatch(r"(.*)(\(\d\))", name).groups()  # type: ignore[union-attr]
        yield f".BR {roff(page)} {section}{comma}"


def roff(text: str) -> str:
    """A text as man(7) takes it: nothing in it is an escape or a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    lines = (f"\\&{line}" if line[:1] in (".", "'") else line for line in text.split("\n"))
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
