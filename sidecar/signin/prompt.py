"""Lines that a user types, read while the event loop does other things."""

from __future__ import annotations

import asyncio
import os
import threading
from types import TracebackType
from typing import Self

LINE_LIMIT = 64 * 1024
"""Bytes of a line: more than any URL that a browser shows; what is longer is cut."""
_READ_AT_ONCE = 4096


class TypedLines:
    """The lines of a file descriptor; use it with `with`, inside a running event loop.

    Descriptors that can be polled (a terminal, a pipe) are polled; others (a file, /dev/null) are
    read in a thread that nobody waits for.  The descriptor's flags stay as they are: a shell may
    share them.
    """

    def __init__(self, descriptor: int | None) -> None:
        """Without a descriptor there is nothing to read: the input has ended."""
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._begun = b""

    async def line(self) -> str | None:
        """The next line without its end; None, and again None, once the input has ended.

        Cancelling it loses nothing.
        """
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)
        return line

    def __enter__(self) -> Self:
        if self._descriptor is None:
            self._lines.put_nowait(None)
            return self
        try:
            self._loop.add_reader(self._descriptor, self._readable, self._descriptor)
        except OSError:  # epoll: EPERM for what is always readable
            threading.Thread(target=self._read_all, args=(self._descriptor,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)

    def _readable(self, descriptor: int) -> None:
        data = _read(descriptor)
        if not data:
            self._loop.remove_reader(descriptor)
        self._feed(data)

    def _read_all(self, descriptor: int) -> None:
        data = b"-"
        while data:
            data = _read(descriptor)
            try:
                self._loop.call_soon_threadsafe(self._feed, data)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return

    def _feed(self, data: bytes) -> None:
        """Take what was read.  No data is the end of the input, and of a line that was begun."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        if not data and self._begun:
            lines.append(self._begun)
        for line in lines:
            self._lines.put_nowait(line[:LINE_LIMIT].decode("utf-8", "replace").rstrip("\r"))
        self._begun = self._begun[:LINE_LIMIT]
        if not data:
            self._lines.put_nowait(None)


def _read(descriptor: int) -> bytes:
    """Read what is there; nothing at the end of the input, or when the terminal is gone."""
    try:
        return os.read(descriptor, _READ_AT_ONCE)
    except OSError:
        return b""
