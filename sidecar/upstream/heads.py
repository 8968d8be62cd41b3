"""The heads of Jira's answers; an answer that arrives whole, and plainly, is read here at one go.

Most answers are small and come in one piece.  What is unusual about one in any way is left to
aiohttp's parser (incoming.py), which reads them a step at a time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sidecar.http.fields import Received, first, lacks

MAX_FIELDS = 256
"""Fields in Jira's head; more are a broken reply."""
_MOST_CHUNKS = 16
"""Chunks that are read at one go; Tomcat sends one for every 8 KiB."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 §5.6.2
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2}) ([A-Za-z][A-Za-z '-]*+)\r\n"
    rb"((?:%b++:[\t -~\x80-\xff]*+(?<![\t ])\r\n)++)\r\n" % _TOKEN
)
_FIELD = re.compile(rb"([^:]++):[\t ]*+([^\r]*+)\r\n")
_ONCE = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_LENGTH = re.compile(rb"[0-9]{1,9}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_LAST_CHUNK = b"0\r\n\r\n"


class Head(NamedTuple):
    """The status line and the fields of an answer."""

    version: tuple[int, int]
    status: int
    reason: bytes
    fields: Received
    chunked: bool


class WholeBody:
    """A body that has arrived, to be read like one that arrives."""

    __slots__ = ("_rest", "total_bytes")

    def __init__(self, content: bytes) -> None:
        self._rest = content
        self.total_bytes = len(content)
        """Its size."""

    def is_eof(self) -> bool:
        """Whether its end has arrived."""
        return True

    def at_eof(self) -> bool:
        """Whether it was read to its end."""
        return not self._rest

    def read_nowait(self, n: int = -1) -> bytes:
        """All that was not read yet: no more than has arrived at once."""
        content, self._rest = self._rest, b""
        return content

    def feed_eof(self) -> None:
        """Nothing is missing."""


def whole_answer(data: bytes, head_bytes: int) -> tuple[Head, bytes] | None:
    """Read an answer to anything but HEAD, if it is whole, nothing is behind it, and it is plain.

    Plain is a final answer with a head of CRLF lines, without spaces at a line's end, that frames
    its body in one of the two ways, and leaves the connection open.
    """
    head = _PLAIN_HEAD.match(data)
    if head is None or head.end() > head_bytes:
        return None
    status, reason, lines = head.groups()
    if status in (b"204", b"304"):
        return None
    fields = Received(_FIELD.findall(lines), are_plain=True)
    if len(fields) > MAX_FIELDS or not _leaves_open(fields):
        return None
    body = _body(data, head.end(), fields)
    if body is None:
        return None
    chunked = first(fields, b"transfer-encoding") is not None
    return Head((1, 1), int(status), reason, fields, chunked), body


def _leaves_open(fields: Received) -> bool:
    """Whether the connection goes on, as HTTP; where a field of that is repeated, who knows."""
    connection = first(fields, b"connection")
    if connection is not None and connection.lower() != b"keep-alive":
        return False
    return lacks(fields, b"upgrade") and _ONCE.isdisjoint(fields.names.repeated)


def _body(data: bytes, start: int, fields: Received) -> bytes | None:
    """The body that begins at `start` and ends with the data; None where that is not so."""
    coding = first(fields, b"transfer-encoding")
    length = first(fields, b"content-length")
    if coding is None and length is not None:
        is_whole = _LENGTH.fullmatch(length) and start + int(length) == len(data)
        return data[start:] if is_whole else None
    if coding is None or length is not None or coding.lower() != b"chunked":
        return None
    return _chunks(data, start)


def _chunks(data: bytes, start: int) -> bytes | None:
    """The content of a few chunks without extensions and trailers; None for anything else."""
    content: list[bytes] = []
    while not data.startswith(_LAST_CHUNK, start):
        size = _CHUNK_SIZE.match(data, start)
        if size is None or len(content) == _MOST_CHUNKS:
            return None
        end = size.end() + int(size[1], 16)
        if end == size.end() or data[end : end + 2] != b"\r\n":
            return None
        content.append(data[size.end() : end])
        start = end + 2
    return b"".join(content) if start + len(_LAST_CHUNK) == len(data) else None
