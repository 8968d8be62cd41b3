"""Where a request's body ends, and what of the bytes that arrive is its content (RFC 9112 §6, §7).

A body is read by one reader alone: what it takes for the end is where the next request begins.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from sidecar.errors import RequestRefused
from sidecar.http.framing import END_OF_HEAD, FIELD_LINES, ODD_BYTE, bad_body

CHUNK_OVERHEAD = 16
"""Bytes of framing that each byte of a chunked body makes good: one-byte chunks need 5."""
CHUNKS_AT_ONCE = 512
"""Chunks read before others have their turn: one-byte chunks take about 0.5 ms for that many.

Whoever asks beside them waits for several such turns: to be read, to be answered, to be sent to.
"""


class _Part(NamedTuple):
    """A part of the framing: how it looks, and how one begins whose end has not come."""

    whole: re.Pattern[bytes]
    begun: re.Pattern[bytes]
    end: bytes
    least: int
    """How far behind its beginning the end is at the least."""


_SIZE = rb"([0-9A-Fa-f]{1,16})(?:;[\t -~\x80-\xff]*+)?\r\n"
_SIZE_BEGUN = rb"[0-9A-Fa-f]{1,16}(?:[;\r].*)?"
_FIRST_LINE = _Part(re.compile(_SIZE), re.compile(_SIZE_BEGUN, re.DOTALL), b"\r\n", 0)
_NEXT_LINE = _Part(
    re.compile(rb"\r\n" + _SIZE),
    re.compile(rb"\r(?:\n(?:" + _SIZE_BEGUN + rb")?)?", re.DOTALL),
    b"\r\n",
    2,
)
_TRAILERS = _Part(
    re.compile(rb"\r\n" + FIELD_LINES.pattern), re.compile(rb"\r\n.*", re.DOTALL), END_OF_HEAD, 0
)
_BEGINNING = 20
"""Bytes that show whether a part begins as it must: CRLF, 16 digits, a `;` and one more."""


class Boundaries(Protocol):
    """Cuts one body out of what arrives."""

    is_complete: bool
    """Whether the whole body was taken."""
    needs_more: bool
    """Whether what was not taken is of no use before more has arrived."""

    def take(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Take what belongs to the body from `start` on: its content, and where the rest begins.

        The rest must come again, with more behind it.  RequestRefused (400) where the framing
        is malformed.
        """


class Sized:
    """A body whose length is known."""

    __slots__ = ("_left", "is_complete", "needs_more")

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_complete = False
        self.needs_more = True

    def take(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Take as much of the body as there is."""
        end = min(len(data), start + self._left)
        self._left -= end - start
        self.is_complete = not self._left
        return data[start:end], end


class Chunked:
    """A chunked body; extensions and trailers are dropped.

    The CRLF behind a chunk is read as the beginning of the next chunk's line, and the one behind
    the last chunk's line as the beginning of the trailers.
    """

    __slots__ = (
        "_allowance",
        "_expected",
        "_left",
        "_limit",
        "_most_trailers",
        "_seen",
        "is_complete",
        "needs_more",
    )

    def __init__(self, framing_bytes: int, trailers: int) -> None:
        """As many trailers may come, and bytes around the content, which allows for some more."""
        self._limit = self._allowance = framing_bytes
        self._most_trailers = trailers
        self._left = 0  # of the content of the present chunk
        self._expected = _FIRST_LINE  # behind that
        self._seen = 0  # bytes of it that have come, while its end has not
        self.is_complete = False
        self.needs_more = True

    def take(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Take as much of the body as there is, but at most CHUNKS_AT_ONCE chunks."""
        content: list[bytes] = []
        self.needs_more = False
        for _ in range(CHUNKS_AT_ONCE):
            if left := self._left:
                piece = data[start : start + left]
                content.append(piece)
                start += len(piece)
                self._left = left - len(piece)
                self._charge(-CHUNK_OVERHEAD * len(piece))
            if start == len(data) or not (line := self._find(data, start)):
                self.needs_more = True
                break
            start = self._take_part(line)
            if self.is_complete:
                break
        return b"".join(content), start

    def _take_part(self, part: re.Match[bytes]) -> int:
        """Read the size of the next chunk, or the trailers; where that ends."""
        start, end = part.span()
        self._charge(end - start)
        self._seen = 0
        if self._expected is _TRAILERS:
            if part[0].count(b"\n") > self._most_trailers + 2:
                raise _too_long()
            self.is_complete = True
        elif size := int(part[1], 16):
            self._left, self._expected = size, _NEXT_LINE
        else:
            self._expected = _TRAILERS
            return end - 2
        return end

    def _find(self, data: bytes, start: int) -> re.Match[bytes] | None:
        """What is expected at `start`; None while its end has not come."""
        expected, seen = self._expected, self._seen
        if not seen and (found := expected.whole.match(data, start)):
            return found
        # What was looked at before is not looked at again.
        look_from = start + max(expected.least, seen + 1 - len(expected.end))
        if data.find(expected.end, look_from) >= 0:
            if found := expected.whole.match(data, start):
                return found
            raise _malformed()
        if not expected.begun.fullmatch(data[start : start + _BEGINNING]):
            raise _malformed()
        if ODD_BYTE.search(data, start + max(0, seen - 1)):
            raise _malformed()
        self._seen = len(data) - start
        if self._seen > self._allowance:
            raise _too_long()
        return None

    def _charge(self, size: int) -> None:
        """Count bytes of framing; those of content are worth more framing, up to the limit."""
        self._allowance = min(self._limit, self._allowance - size)
        if self._allowance < 0:
            raise _too_long()


def _malformed() -> RequestRefused:
    return bad_body("its chunks are malformed")


def _too_long() -> RequestRefused:
    return bad_body("chunk framing or trailers are too long")
