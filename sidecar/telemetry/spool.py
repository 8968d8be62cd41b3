"""Standard error for a service: a thread writes it, so that the service never waits for a reader.

A write to a full pipe (a stopped pager, a stuck log collector) or to a terminal under Ctrl-S blocks
for as long as its reader likes.  Lines wait here instead; when too many wait, more are dropped and
counted, and one line says how many as soon as lines can be written again.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LIMIT = 1024 * 1024
"""Bytes that may wait, about 6,000 lines; as Docker's log drivers have it (max-buffer-size)."""
GATHER_SECONDS = 0.02
"""How often the thread writes while lines keep coming: it takes the GIL from the event loop."""
_TOGETHER = 64 * 1024
"""Bytes that are written together to a file or a socket, such as the journal's."""
FLUSH_SECONDS = 1.0
"""How long `flush` waits, the last one before the process ends among them."""


class Spool:
    """Writes texts to a descriptor in their order, from a thread of its own."""

    def __init__(
        self, descriptor: int, encoding: str = "utf-8", errors: str = "backslashreplace"
    ) -> None:
        self.describe_loss: Callable[[int], str] = _describe_loss
        """Makes the line that says how many lines were dropped."""
        self._descriptor = descriptor
        self._together = _together(descriptor)
        self._encoding = encoding
        self._errors = errors
        self._queue: deque[bytes] = deque()
        self._lock = threading.Lock()
        # Each number is changed by one side alone: by `put`, under the lock, or by the thread.
        self._put_count = self._put_bytes = self._overflowed = 0
        self._done_count = self._done_bytes = self._failed = self._told = 0
        self._is_torn = False  # the last line was written in part
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        threading.Thread(target=self._run, name="stderr", daemon=True).start()

    @property
    def dropped(self) -> int:
        """How many texts were dropped so far."""
        return self._overflowed + self._failed

    def put(self, text: str) -> None:
        """Have a text written; return at once."""
        data = text.encode(self._encoding, self._errors)
        with self._lock:
            if self._put_bytes - self._done_bytes + len(data) > LIMIT:
                self._overflowed += 1
                return
            self._queue.append(data)
            self._put_bytes += len(data)
            self._put_count += 1
        if not self._wake.is_set():
            self._wake.set()

    def wait(self, seconds: float) -> bool:
        """Wait until all that was put is written or dropped; False where that takes longer."""
        target = self._put_count
        self._hurry.set()
        with self._progress:
            is_done = self._progress.wait_for(lambda: self._done_count >= target, seconds)
        self._hurry.clear()
        return is_done

    @property
    def done(self) -> int:
        """How many texts were written, or could not be."""
        return self._done_count

    # In the thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            is_well = True
            while self._queue:
                is_well = self._write_batch(self._next_batch())
            if is_well and self.dropped > self._told:
                self._tell_of_loss(self.dropped)
            self._hurry.wait(GATHER_SECONDS)

    def _next_batch(self) -> list[bytes]:
        """Take what one write may hold."""
        batch = [self._queue.popleft()]
        size = len(batch[0])
        while self._queue and size + len(self._queue[0]) <= self._together:
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        return batch

    def _write_batch(self, batch: list[bytes]) -> bool:
        """Write texts, or count those that cannot be written; whether all were written."""
        data = b"".join(batch)
        written = self._write(data)
        end = 0
        for text in batch:
            end += len(text)
            self._failed += end > written
        with self._progress:
            self._done_bytes += len(data)
            self._done_count += len(batch)
            self._progress.notify_all()
        return written == len(data)

    def _tell_of_loss(self, dropped: int) -> None:
        line = self.describe_loss(dropped - self._told) + "\n"
        data = line.encode(self._encoding, self._errors)
        if self._write(data) == len(data):
            self._told = dropped

    def _write(self, data: bytes) -> int:
        """Write as far as it goes: a reader may be gone (EPIPE, EIO), or a disk full (ENOSPC)."""
        rest = memoryview(data)
        try:
            if self._is_torn:
                write_when_ready(self._descriptor, b"\n")
                self._is_torn = False
            while rest:
                rest = rest[write_when_ready(self._descriptor, rest) :]
        except OSError:
            written = data[: len(data) - len(rest)]
            self._is_torn = self._is_torn or (not written.endswith(b"\n") and written != b"")
        return len(data) - len(rest)


class SpooledStream(io.TextIOBase):
    """A text stream, for sys.stderr, that puts what is written to it into a spool."""

    def __init__(self, like: TextIO) -> None:
        self.spool = Spool(like.fileno(), like.encoding, like.errors or "backslashreplace")
        self._like = like
        self._stuck_at = -1

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._like.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._like.errors

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._like.fileno()

    def isatty(self) -> bool:
        return self._like.isatty()

    def write(self, text: str, /) -> int:
        self.spool.put(text)
        return len(text)

    def flush(self) -> None:
        """Wait for the writing, but not for long, and not again while nothing is written."""
        if self.spool.done != self._stuck_at:
            self._stuck_at = -1 if self.spool.wait(FLUSH_SECONDS) else self.spool.done


def _together(descriptor: int) -> int:
    """Bytes that one write may hold: a pipe takes PIPE_BUF of them in one piece (POSIX).

    After every write the thread takes the GIL from the event loop.
    """
    is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    return select.PIPE_BUF if is_pipe else _TOGETHER


def write_when_ready(descriptor: int, data: ReadableBuffer) -> int:
    """Write to a descriptor, which another process that shares it may have made non-blocking."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def dropped_lines() -> int:
    """How many lines of this process's log were dropped because nobody read them."""
    return sys.stderr.spool.dropped if isinstance(sys.stderr, SpooledStream) else 0


def _describe_loss(count: int) -> str:
    return f"sidecar: warning: {loss_message(count)}"


def loss_message(count: int) -> str:
    """Say how many lines were dropped."""
    lines = "line was" if count == 1 else "lines were"
    return f"{count} {lines} dropped here: standard error could not be written to"
