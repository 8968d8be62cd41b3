"""Where in a client's bytes one message may end and the next begin (RFC 9112 §6)."""

from __future__ import annotations

_EMPTY_LINE = b"\r\n\r\n"


class Boundaries:
    """Cuts what arrives so that no piece holds the end of a message and more behind it.

    A head and a chunked body end with an empty line, though not every empty line is an end; any
    other body ends where its length says.
    """

    __slots__ = ("_before", "_left")

    def __init__(self) -> None:
        self._before = b""  # the last three bytes, where they may begin an empty line
        self._left: int | None = None  # of a body whose length is known

    def body_follows(self, length: int | None) -> None:
        """Take note that a body of so many bytes follows, or a chunked one (None)."""
        self._left = length

    def next(self, data: bytes, start: int) -> int:
        """The end of the first piece of `data` from `start` on; all of that must be taken."""
        if self._left is not None:
            end = min(len(data), start + self._left)
            self._left -= end - start
            if not self._left:
                self._left = None
            return end
        at = data.find(_EMPTY_LINE, start)
        end = at + 4 if at >= 0 else 0
        if self._before:
            across = (self._before + data[start : start + 3]).find(_EMPTY_LINE)
            if across >= 0:
                end = start + across + 4 - len(self._before)
        if not end:
            self._before = (self._before + data[max(start, len(data) - 3) :])[-3:]
            return len(data)
        self._before = b""
        return end
