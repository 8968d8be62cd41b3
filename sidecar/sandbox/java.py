"""How Java's own library reads numbers and Base64, where Python's reads them otherwise."""

from __future__ import annotations

import base64
import re
from typing import Final

_LONG: Final = re.compile(r"[+-]?[0-9]+")
_DOUBLE: Final = re.compile(
    r"[+-]?(?:NaN|Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?)"
)
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class JavaException(Exception):
    """Something that Jira's code does not catch: a 500."""


def parse_long(text: str) -> int:
    """Long.parseLong; JavaException for anything but a number of 64 bits."""
    if len(text) > 40 or not _LONG.fullmatch(text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise JavaException(f'java.lang.NumberFormatException: For input string: "{text}"')
    return int(text)


def parse_double(text: str) -> float:
    """Double.parseDouble, hexadecimal numbers aside; JavaException for anything else."""
    number = text.strip("".join(map(chr, range(33))))
    if not _DOUBLE.fullmatch(number):
        raise JavaException(f'java.lang.NumberFormatException: For input string: "{text}"')
    return float(number if number.endswith(("NaN", "Infinity")) else number.rstrip("fFdD"))


def decode_base64(text: str) -> bytes:
    """commons-codec's Base64: skips what is no Base64, stops at `=`, takes `-` and `_` as well."""
    digits = _NOT_BASE64.sub("", text.partition("=")[0].translate(_URL_SAFE))
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return base64.b64decode(digits + "=" * (-len(digits) % 4))
