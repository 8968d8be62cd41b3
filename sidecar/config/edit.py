"""Other values for some keys of a TOML text; comments, order and all else stay; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import tomli

from sidecar.config import options
from sidecar.config.tomlfile import key_lines

_BEFORE_VALUE = re.compile(r"[^=]*=[ \t]*")


def with_values(text: str, values: Mapping[str, object]) -> str:
    """Return a valid TOML text with `values`, by option name; ValueError where that takes a hand.

    As for a table that is written in one line.
    """
    wanted = tomli.loads(text)
    for name, value in values.items():
        table, _, key = name.partition(".")
        if wanted.get(table, {}).get(key) == value:
            continue
        text = _with_value(text, table, key, options.to_toml(value))
        wanted.setdefault(table, {})[key] = value
    if tomli.loads(text) != wanted:
        raise ValueError("the keys stand in an unusual way")
    return text


def _with_value(text: str, table: str, key: str, value: str) -> str:
    lines, places = text.split("\n"), key_lines(text)
    end = "\r" if lines[0].endswith("\r") else ""
    if (start := places.get((table, key))) is not None:
        first, last = start - 1, _last_line(lines, start - 1)
        lines[first : last + 1] = [_changed("\n".join(lines[first : last + 1]), value)]
    elif (start := places.get((table,))) is not None:
        lines.insert(_after(lines, start, key), f"{key} = {value}{end}")
    else:
        lines[-1:] = [lines[-1], f"[{table}]{end}", f"{key} = {value}{end}", ""]
        lines = lines if lines[0] else lines[1:]
    return "\n".join(lines)


def _last_line(lines: list[str], first: int) -> int:
    """The line on which a statement ends: the first that makes the lines since `first` parse."""
    for last in range(first, len(lines)):
        try:
            tomli.loads("\n".join(lines[first : last + 1]))
        except tomli.TOMLDecodeError:
            continue
        return last
    return first


def _changed(statement: str, value: str) -> str:
    """The statement with another value, and the comment behind it."""
    match = _BEFORE_VALUE.match(statement)
    before = match[0] if match else ""
    rest, end = statement, ""
    if statement.endswith("\r"):
        rest, end = statement[:-1], "\r"
    known = tomli.loads(statement)
    for found in re.finditer(r"[ \t]*#", rest):
        try:
            is_comment = tomli.loads(rest[: found.start()]) == known
        except tomli.TOMLDecodeError:
            continue
        if is_comment:
            return f"{before}{value}{rest[found.start() :]}{end}"
    return f"{before}{value}{end}"


def _after(lines: list[str], header: int, key: str) -> int:
    """The place of a new key in a table: behind the comment that explains it, or the header."""
    example = re.compile(rf"#[ \t]*{re.escape(key)}[ \t]*=")
    for number in range(header, len(lines)):
        if lines[number].lstrip().startswith("["):
            break
        if example.match(lines[number]):
            return number + 1
    return header
