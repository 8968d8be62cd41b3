"""Writes docs/commands.md and docs/configuration.md.

    python -m deploy.reference docs

They say what `--help`, the man pages and `config.example.toml` say, from the same source.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from deploy.manual import PLACES, default_of, example_of, exit_codes
from sidecar.cli import cli
from sidecar.config.load import variable_of
from sidecar.config.options import to_toml
from sidecar.config.settings import OPTIONS, TABLES

WRITTEN = "<!-- Written by deploy/reference.py: change what it reads, not this page. -->"


def main(folder: Path) -> None:
    """Write both pages."""
    for name, text in pages().items():
        (folder / name).write_text(text)


def pages() -> dict[str, str]:
    """Both pages by their file's name."""
    return {"commands.md": _joined(_commands()), "configuration.md": _joined(_configuration())}


def _joined(blocks: Iterator[str]) -> str:
    return "\n\n".join([WRITTEN, *blocks]) + "\n"


def _commands() -> Iterator[str]:
    top = click.Context(cli, info_name="sidecar")
    yield "# Commands"
    rows = [
        (f"[`sidecar {name}`](#sidecar-{name})", _summary(cli.commands[name]))
        for name in cli.commands
    ]
    yield _table(("command", "what it does"), rows)
    yield (
        "`python -m sidecar.sandbox` runs the sandbox Jira alone, for development; with"
        " `--two-legged` its application link acts by itself."
    )
    yield (
        "Results go to stdout, everything else to stderr. An error is one line,"
        " `sidecar: error: …`, and mostly a second, `sidecar: hint: …`, which says what to do."
    )
    yield (
        "Packages install man pages and completions for bash, zsh and fish. Without a package,"
        " `make manual` writes them into `build/share`: copy its folders into `~/.local/share`."
        " There bash-completion and `man` find them; zsh needs its `zsh/vendor-completions` in its"
        " `fpath`, fish the file in `~/.config/fish/completions`."
    )
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=name, parent=top)
        yield f"## sidecar {name}"
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield f"```text\n{usage}\n```"
        yield _paragraphs(command.help or "")
        yield _table(("option", "meaning"), _records(context))
        yield f"Example: {', '.join(f'`{line}`' for line in example_of(command))}"
    yield "## Exit codes"
    codes = [(str(code), meaning) for code, meaning in exit_codes().items()]
    yield _table(("exit code", "when"), codes)


def _summary(command: click.Command) -> str:
    return escaped(command.get_short_help_str(200))


def _records(context: click.Context) -> list[tuple[str, str]]:
    records: list[Any] = [
        one.get_help_record(context) for one in context.command.get_params(context)
    ]
    return [
        ("`" + record[0].replace("|", "\\|") + "`", escaped(record[1]))
        for record in records
        if record is not None
    ]


def _configuration() -> Iterator[str]:
    yield "# Configuration"
    yield (
        "A TOML file. The first of these that is there is read; none is needed where variables"
        " give what is required:"
    )
    yield "\n".join(f"- `{place}`: {escaped(note)}" for place, note in PLACES)
    yield (
        "Every key can be given as an environment variable, too. A flag wins over a variable, a"
        " variable over the file. In a variable, items of a list are separated by commas, and"
        " quotes are part of the value: an error, since a shell would have removed them. So is a"
        " variable that begins with a table's name and names no key, such as"
        " `SIDECAR_ACCESS_READONLY`. What Kubernetes makes of a Service's name"
        " (`SIDECAR_ADMIN_SERVICE_HOST`, `SIDECAR_ADMIN_PORT`) is ignored. Relative paths in the"
        " file are relative to it. An unknown key, a wrong type or an impossible value is an error"
        " that names file, line and key. This is enough:"
    )
    required = [(name.split("."), one) for name, one in OPTIONS.items() if one.required]
    lines = [f"{key} = {to_toml(one.example)}" for (_, key), one in required]
    yield "\n".join(["```toml", f"[{required[0][0][0]}]", *lines, "```"])
    for table, cls in TABLES.items():
        yield f"## [{table}]"
        yield _paragraphs((cls.__doc__ or "").partition("\n\n")[0])
        for field in fields(cls):
            yield from _option(f"{table}.{field.name}")


def _option(name: str) -> Iterator[str]:
    one = OPTIONS[name]
    yield f"### {name}"
    yield _paragraphs(one.help)
    facts = [
        f"Kind: {escaped(one.kind.value)}",
        "Required" if one.required else f"Default: {_code_or_note(one)}",
        f"Variable: `{variable_of(name)}`",
    ]
    if one.example is not None:
        facts.insert(2, f"Example: `{to_toml(one.example)}`")
    if one.flag:
        facts.append(f"Flag: `{one.flag}`")
    yield "\n".join(f"- {fact}" for fact in facts)


def _code_or_note(one: Any) -> str:
    text = default_of(one)
    return escaped(text) if one.default_note or one.default is None else f"`{text}`"


def _paragraphs(text: str) -> str:
    return "\n\n".join(escaped(" ".join(part.split())) for part in text.split("\n\n"))


def escaped(text: str) -> str:
    """A text in which nothing is Markdown but the code between its backticks."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return text.replace("`", "\\`")
    for index in range(0, len(pieces), 2):
        for mark in "\\*<>[]|":
            pieces[index] = pieces[index].replace(mark, f"\\{mark}")
    return "`".join(pieces)


def _table(head: tuple[str, ...], rows: list[tuple[str, str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("\n", " ") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
