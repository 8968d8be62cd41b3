"""JSON as people read it: indented, and otherwise what was sent, to the last digit."""

from __future__ import annotations

import json
import re

_INDENT = "  "
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++')


def indented(body: bytes) -> bytes | None:
    """The same JSON in lines, without a newline at its end; None for anything else.

    Nothing is read into numbers and objects and written anew: the order of members, repeated ones,
    digits and escapes stay as they are.
    """
    try:
        text = body.decode("utf-8")
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return "".join(_pieces(_TOKEN.findall(text))).encode()


def _pieces(tokens: list[str]) -> list[str]:
    pieces: list[str] = []
    depth = 0
    for part, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if part in "[{":
            is_empty = following in ("]", "}")
            depth += 1
            pieces += [part] if is_empty else [part, _line(depth)]
        elif part in "]}":
            depth -= 1
            is_empty = pieces[-1] in ("[", "{")
            pieces += [part] if is_empty else [_line(depth), part]
        elif part == ",":
            pieces += [part, _line(depth)]
        else:
            pieces.append(": " if part == ":" else part)
    return pieces


def _line(depth: int) -> str:
    return "\n" + _INDENT * depth
