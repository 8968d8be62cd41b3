"""Lines that a user types: from a pipe, a terminal, a file, or nowhere."""

from __future__ import annotations

import asyncio
import os
import pty
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.signin.prompt import LINE_LIMIT, TypedLines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's ends; the test closes the writing one."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


async def all_lines(lines: TypedLines) -> list[str]:
    found = []
    while (line := await lines.line()) is not None:
        found.append(line)
    return found


async def test_lines_come_as_they_are_typed_and_then_the_end_for_ever(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    with TypedLines(reading) as lines:
        os.write(writing, b"one\ntw")
        assert await lines.line() == "one"
        os.write(writing, b"o\r\n\nlast")
        os.close(writing)
        assert await all_lines(lines) == ["two", "", "last"]
        assert await lines.line() is None


async def test_waiting_can_be_cancelled_without_losing_a_line(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with TypedLines(reading) as lines:
        waiting = asyncio.create_task(lines.line())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        os.write(writing, b"kept\n")
        assert await lines.line() == "kept"
    os.close(writing)


async def test_afterwards_the_descriptor_is_as_it_was(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with TypedLines(reading):
        assert os.get_blocking(reading)
    os.write(writing, b"for the next\n")
    os.close(writing)
    await asyncio.sleep(0)
    assert os.read(reading, 100) == b"for the next\n"


async def test_a_terminal_is_read_by_the_line_and_may_go_away() -> None:
    ours, theirs = pty.openpty()
    try:
        with TypedLines(theirs) as lines:
            os.write(ours, b"qTJkPi\n")
            assert await lines.line() == "qTJkPi"
            os.close(ours)
            assert await lines.line() is None
    finally:
        os.close(theirs)


async def test_a_file_and_the_null_device_are_read_to_their_end(tmp_path: Path) -> None:
    file = tmp_path / "typed"
    file.write_bytes(b"a\nb\n")
    for path, expected in ((str(file), ["a", "b"]), (os.devnull, [])):
        descriptor = os.open(path, os.O_RDONLY)
        with TypedLines(descriptor) as lines:
            assert await all_lines(lines) == expected
        os.close(descriptor)


def test_a_file_that_is_still_being_read_at_the_end_hinders_nothing(tmp_path: Path) -> None:
    file = tmp_path / "typed"
    with file.open("wb") as opened:
        opened.truncate(100 << 20)
    descriptor = os.open(file, os.O_RDONLY)

    async def read_and_end() -> list[threading.Thread]:
        before = threading.enumerate()
        with TypedLines(descriptor):
            return [thread for thread in threading.enumerate() if thread not in before]

    for thread in asyncio.run(read_and_end()):
        thread.join()
    assert os.lseek(descriptor, 0, os.SEEK_CUR) < 100 << 20
    os.close(descriptor)


async def test_a_descriptor_that_cannot_be_read_is_the_end_of_input(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)  # a folder: EISDIR
    with TypedLines(descriptor) as lines:
        assert await lines.line() is None
    os.close(descriptor)


async def test_no_descriptor_is_the_end_of_input() -> None:
    with TypedLines(None) as lines:
        assert await lines.line() is None


async def test_what_is_not_utf8_is_marked_and_what_is_endless_is_cut(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    with TypedLines(reading) as lines:
        os.write(writing, b"\xff\n")
        assert await lines.line() == "\ufffd"
        # In a thread: a pipe that is full makes whoever writes wait for us.
        await asyncio.to_thread(os.write, writing, b"x" * 40 * 4096 + b"\nnext\n")
        assert await lines.line() == "x" * LINE_LIMIT
        assert await lines.line() == "next"
    os.close(writing)
