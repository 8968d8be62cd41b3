"""What is wrong on a line of a TOML file that does not parse, in words for who wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.config.options import Kind
from sidecar.config.settings import OPTIONS

Lines = Mapping[tuple[str, ...], int]
"""Tables and keys, and the line on which each begins."""

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\s-]+?)\s*\]\]?\s*(?:#.*)?")
_STATEMENT = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=\s*(.*?)\s*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_CURLY = "“”„‟«»‘’‚"  # what word processors and web pages make of quotes


class Fault(NamedTuple):
    """What is wrong, and what to do about it; neither quotes a value."""

    message: str
    hint: str


def fault_of(text: str, number: int, before: Lines) -> Fault | None:
    """What is wrong on a line of the text; None where that is not known.

    `before` has what the lines before it declare.
    """
    lines = text.split("\n")
    line = lines[number - 1].removesuffix("\r")
    if header := _HEADER.fullmatch(line):
        return _declared_before(_path(header[1]), before)
    statement = _STATEMENT.fullmatch(line)
    if statement is None:
        return None
    name = ".".join((*_table(lines[: number - 1]), *_path(statement[1])))
    if first := before.get(tuple(name.split("."))):
        return Fault(f"{name}: is set twice, here and in line {first}", "remove one of the two")
    return _bare_value(name, statement[1], statement[2])


def _declared_before(path: tuple[str, ...], before: Lines) -> Fault | None:
    first = before.get(path)
    if first is None:
        return None
    name = ".".join(path)
    return Fault(
        f"the table [{name}] is there twice, here and in line {first}",
        f"put all its keys below one line [{name}]",
    )


def _bare_value(name: str, key: str, value: str) -> Fault | None:
    """Look for what a string lacks, by the kind of value that the key has."""
    option = OPTIONS.get(name)
    kind = option.kind if option else Kind.TEXT
    if value[:1] in _CURLY and value:
        return Fault(f"{name}: has curly quotes", f'type straight ones: {key} = "…"')
    if not value or value.startswith("#"):
        return Fault(f"{name}: has no value", "give it one, or remove the line")
    if value[0] in "\"'" and not _STRING.match(value):
        return Fault(f"{name}: lacks the quote at its end", f'it must look like  {key} = "…"')
    if kind is Kind.SWITCH:
        return Fault(f"{name}: must be true or false", f"in lower case: {key} = true")
    if kind in (Kind.WHOLE, Kind.NUMBER):
        return Fault(f"{name}: must be {kind.value}", f"without a unit: {key} = 10")
    if kind is Kind.TEXTS:
        is_bare = re.search(r"[^\s\[\],]", _STRING.sub("", value).partition("#")[0])
        return _bare_item(name, key) if is_bare else None
    if value[0] in "\"'[{":
        return None
    return Fault(f"{name}: must stand in quotes", f'write it as  {key} = "…"')


def _bare_item(name: str, key: str) -> Fault:
    hint = f'write it as  {key} = ["…", "…"]'
    return Fault(f"{name}: must be a list whose items stand in quotes", hint)


def _table(lines: list[str]) -> tuple[str, ...]:
    """The table that is open behind the lines."""
    for line in reversed(lines):
        if header := _HEADER.fullmatch(line.removesuffix("\r")):
            return _path(header[1])
    return ()


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in dotted.split("."))
