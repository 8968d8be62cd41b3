"""What is wrong with an answer that is no HTTP, for the log: by kind and place, never by value."""

from __future__ import annotations

import re

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_SHOWN_NAME = re.compile(rb"[A-Za-z-]{1,40}")
"""A name that is shown: as most registered ones are, and as hardly a secret in its place is."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [0-9]{3}(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_OTHER_PROTOCOLS = (
    (re.compile(rb"[\x14-\x17]\x03[\x00-\x04]"), "it speaks TLS"),
    (
        re.compile(rb"HTTP/[2-9]|\x00\x00.\x04", re.DOTALL),
        "it speaks HTTP/2, which was not offered",
    ),
    (re.compile(rb"SSH-"), "it is an SSH server"),
    (re.compile(rb"\s*<"), "it sends a page without a status line before it"),
    (re.compile(rb"220[ -]"), "it is a mail or FTP server"),
)
_INTERIM = re.compile(rb"HTTP/1\.[01] 1[0-9][0-9]")
_PARSERS_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 ,/-]*(?:'t [A-Za-z0-9 -]+)?")
"""The beginning of what a parser says, before it quotes what it met."""


def fault_of(head: bytes, parsers_message: str) -> str:
    """What is wrong, in a phrase: of the head, or of what the parser met behind it.

    `head` is what had arrived of it, perhaps behind 1xx; b"" once it had ended.
    """
    if not head:
        return f"behind the head: {_parsers_words(parsers_message)}"
    lines = re.split(rb"\r?\n", _final(head))
    return (
        _first_line_fault(lines[0]) or _fields_fault(lines[1:]) or _parsers_words(parsers_message)
    )


def _final(head: bytes) -> bytes:
    """A head without the interim ones before it."""
    end = head.rfind(b"\r\n\r\nHTTP/") if _INTERIM.match(head) else -1
    return head if end < 0 else head[end + len(b"\r\n\r\n") :]


def _first_line_fault(line: bytes) -> str:
    for pattern, fault in _OTHER_PROTOCOLS:
        if pattern.match(line):
            return fault
    if not (line.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(line)):
        return "it does not begin with HTTP/1.1"
    if b"\r" in line:
        return "its status line has a bare CR"
    return "" if _STATUS_LINE.fullmatch(line) else "its status line is malformed"


def _fields_fault(lines: list[bytes]) -> str:
    for number, line in enumerate(lines, 1):
        if not line:
            break
        if fault := _field_fault(line):
            return f"field {number} of its head {fault}"
    return ""


def _field_fault(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "is folded"
    name, colon, value = line.partition(b":")
    if not colon:
        return "has no colon"
    if not name:
        return "has no name"
    if not _TOKEN.fullmatch(name):
        spaced = _TOKEN.fullmatch(name.rstrip(b" \t")) is not None
        return "has a space before its colon" if spaced else "has a name that no field can have"
    shown = f"({name.decode()}) " if _SHOWN_NAME.fullmatch(name) else ""
    if b"\r" in value:
        return f"{shown}has a bare CR"
    if _CONTROL.search(value):
        return f"{shown}has a control character"
    return ""


def _parsers_words(message: str) -> str:
    """What the parser says, without what it quotes."""
    line = (message.partition("\n\n")[0].splitlines() or [""])[-1].strip()
    words = _PARSERS_WORDS.match(line)
    return words[0].strip().lower() if words else "the parser does not understand it"
