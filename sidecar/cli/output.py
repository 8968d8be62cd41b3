"""Standard output: results alone go there, and one that cannot be written is an error."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from sidecar.errors import StoreError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Descriptor(io.FileIO):
    """A file descriptor whose failures are a StoreError, but for a broken pipe."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            hint = "see where standard output leads: it must be open, and have room"
            raise StoreError(f"cannot write the output: {error.strerror}", hint) from None


def take_over() -> None:
    """Make every failure to write to sys.stdout a StoreError, its being closed among them."""
    if sys.stdout is None:
        # Where nothing can be written: EBADF, as others say of a closed descriptor.
        closed = os.open(os.devnull, os.O_RDONLY)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Descriptor(closed, "w")))
        return
    with suppress(io.UnsupportedOperation):  # in memory, as tests have it
        sys.stdout = _on(sys.stdout.fileno())


def keep_from_programs() -> None:
    """Let the programs that we start from now on, browsers, write to standard error instead."""
    sys.stdout.flush()
    kept = os.dup(sys.stdout.fileno())
    instead = os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else sys.stderr.fileno()
    os.dup2(instead, 1)
    sys.stdout = _on(kept)


def drop_rest() -> None:
    """Drop what could not be written: the interpreter would try it again at its end."""
    try:
        sys.stdout.flush()
    except (StoreError, OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on(descriptor: int) -> io.TextIOWrapper:
    """A stream like sys.stdout on a descriptor."""
    like = sys.stdout
    assert isinstance(like, io.TextIOWrapper)
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(descriptor, "w", closefd=False)),
        like.encoding,
        like.errors,
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )
