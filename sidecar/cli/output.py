"""The three standard streams: whatever they lead to, a command ends with its own exit code.

Results go to standard output, and failing to write one is an error.  What cannot be written to
standard error is dropped: there is nobody to tell.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TextIO

from sidecar.errors import StoreError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_IN_PLACE_OF_CLOSED = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)
"""How to open /dev/null: reading input or writing results fails with EBADF, as when closed."""


RED, GREEN, FAINT = 31, 32, 2
"""Of ECMA-48's "Select Graphic Rendition"."""


READER_GONE = 128 + signal.SIGPIPE
"""The exit code for ReaderGone, as shells have it; the process dies by the signal itself."""


class ReaderGone(Exception):
    """Whoever read our output has seen enough, as `head` does.

    No BrokenPipeError: click would end the process in its own way, with threads and noise.
    """


class _Descriptor(io.FileIO):
    """A descriptor that can be waited for, though another process may have made it non-blocking."""

    def write(self, data: ReadableBuffer, /) -> int:
        while (written := super().write(data)) is None:
            _wait_for(self.fileno(), select.POLLOUT)
        return written

    def readinto(self, buffer: ReadableBuffer, /) -> int:
        while (read := super().readinto(buffer)) is None:
            _wait_for(self.fileno(), select.POLLIN)
        return read


class _Output(_Descriptor):
    """Standard output: a failure is ReaderGone, or else a StoreError."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            hint = "see where standard output leads: it must be open, and have room"
            raise StoreError(f"cannot write the output: {error.strerror}", hint) from None


class _Errors(_Descriptor):
    """Standard error: what cannot be written is dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def take_over() -> None:
    """Make sys.stdin, sys.stdout and sys.stderr usable, whatever they are.

    A descriptor that is closed is opened on /dev/null before a socket can get its number: libuv
    aborts when it closes one of the first three.  What an encoding lacks is shown as a question
    mark or an escape.
    """
    for descriptor, flags in enumerate(_IN_PLACE_OF_CLOSED):
        if _is_closed(descriptor):
            os.set_inheritable(os.open(os.devnull, flags), True)
    with suppress(io.UnsupportedOperation):  # in memory, as tests have them
        sys.stdin = _reader()
        sys.stdout = _writer(_Output, sys.stdout, 1, "replace")
        sys.stderr = _writer(_Errors, sys.stderr, 2, "backslashreplace")


def painted(text: str, colour: int) -> str:
    """A text for standard output in colour, if that is a terminal and nobody minds.

    NO_COLOR (no-color.org) counts "when present and not an empty string".
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "", "dumb")
    return text if plain or not sys.stdout.isatty() else f"\x1b[{colour}m{text}\x1b[m"


def never_wait_for_stderr() -> None:
    """From now on have a thread write to standard error, so that serving never waits for it."""
    from sidecar.telemetry.spool import SpooledStream

    sys.stderr = SpooledStream(sys.stderr)


def exit_now(code: int) -> NoReturn:
    """Write what is left and end the process without waiting for any thread.

    Python and libuv would wait for their threads, and those may wait for a name server.
    """
    with suppress(ReaderGone, StoreError, OSError):  # the command has failed with it already
        sys.stdout.flush()
    sys.stderr.flush()
    if code == READER_GONE:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(code)


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError as error:
        return error.errno == errno.EBADF
    return False


def _reader() -> io.TextIOWrapper:
    descriptor = 0 if sys.stdin is None else sys.stdin.fileno()
    encoding = None if sys.stdin is None else sys.stdin.encoding
    raw = _Descriptor(descriptor, "r", closefd=False)
    return io.TextIOWrapper(io.BufferedReader(raw), encoding, "surrogateescape")


def _writer(
    kind: type[_Descriptor], like: TextIO | None, descriptor: int, errors: str
) -> io.TextIOWrapper:
    """A stream on a descriptor, with encoding and buffering of `like`."""
    raw = kind(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        None if like is None else like.encoding,
        errors,
        # PYTHONUNBUFFERED and -u ask for write_through, which would end in the buffer below.
        line_buffering=like is None
        or getattr(like, "line_buffering", False)
        or getattr(like, "write_through", False),
    )


def _wait_for(descriptor: int, event: int) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()
