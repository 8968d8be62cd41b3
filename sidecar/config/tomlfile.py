"""A TOML file: its content, and where in it each key stands; every failure names file and line."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import tomli

from sidecar.config.handing_over import how_to_hand_over
from sidecar.errors import ConfigError

_LIMIT = 1024 * 1024
_EXPLAINED = 64 * 1024
"""Characters; what is longer is hardly a configuration, and each line of it would be parsed."""
_HINT = 'a line looks like  base_url = "https://jira.example.com"  below a table like  [jira]'


def read_toml(file: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """Return a file's content and the line of each of its keys; ConfigError if there is none."""
    text = _text(file)
    try:
        return tomli.loads(text), key_lines(text)
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: nested too deeply", _HINT) from None
    except ValueError as error:  # TOMLDecodeError, or an integer beyond Python's limit
        _refuse(file, text, error)


def _text(file: Path) -> str:
    try:
        with open(file, "rb", opener=_open_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigError(f"{file}: not a regular file", "put it into a plain file")
            data = stream.read(_LIMIT + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such configuration file", "run `sidecar init` to write one"
        ) from None
    except OSError as error:
        hint = "it must be a file that the user who runs the sidecar can read"
        if error.errno == errno.EACCES:
            hint = how_to_hand_over(file, user=os.geteuid(), is_ours=False)
        raise ConfigError(f"{file}: cannot be read: {error.strerror}", hint) from None
    if len(data) > _LIMIT:
        raise ConfigError(f"{file}: larger than 1 MiB", "this is no configuration of the sidecar")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}:{line}: not UTF-8", "save the file in the encoding UTF-8"
        ) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting until somebody writes to it, as a FIFO would make us."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _refuse(file: Path, text: str, error: ValueError) -> NoReturn:
    """Report a syntax error; tomli says `… (at line 3, column 5)` or `… (at end of document)`."""
    from sidecar.config.toml_faults import fault_of  # which only an error needs

    position = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
    last = max(1, text.rstrip("\n").count("\n") + 1)
    line = int(position[1]) if position and position[1] else last
    if len(text) <= _EXPLAINED:
        if line == last:  # perhaps of a string that began earlier
            line = unfinished_line(text) or line
        before = key_lines("\n".join(text.split("\n")[: line - 1]))
        if position and (fault := fault_of(text, line, before)) is not None:
            raise ConfigError(f"{file}:{line}: {fault.message}", fault.hint) from None
    reason = str(error)[: position.start()] if position else "a number that large"
    raise ConfigError(f"{file}:{line}: not valid TOML: {reason}", _HINT) from None


def unfinished_line(text: str) -> int | None:
    """The line on which the statement begins that never ends; None where all end."""
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        if _is_whole(statement):
            statement, start = "", number + 1
    return start if statement.strip() else None


def _is_whole(statement: str) -> bool:
    try:
        tomli.loads(statement)
    except ValueError:
        return False
    return True


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Find the line on which each table and key of a valid TOML text begins.

    tomli reports no positions.  But every statement parses on its own, so a statement ends with the
    first line that makes the lines since the previous statement parse.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        try:
            parsed = tomli.loads(statement)
        except tomli.TOMLDecodeError:
            continue
        paths = list(_paths(parsed))
        if statement.lstrip().startswith("["):
            table = paths[-1]
            paths = [table[: length + 1] for length in range(len(table))]
        else:
            paths = [table + path for path in paths]
        for path in paths:
            lines.setdefault(path, start)
        statement, start = "", number + 1
    return lines


def _paths(table: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *path) for path in _paths(value))
