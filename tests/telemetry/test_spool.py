"""Standard error for a service: what becomes of lines that nobody reads, and of those that are."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry import spool as spool_module
from sidecar.telemetry.spool import LIMIT, Spool, SpooledStream, write_when_ready
from tests.support.waiting import PATIENCE

LINE = "x" * 999 + "\n"


class Pipe:
    """A pipe of one page, whose two ends are closed with the test."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        self._received = b""

    def until(self, end: bytes) -> bytes:
        """Everything up to `end`, once that has come."""
        while end not in self._received:
            piece = os.read(self.reading, 65536)
            assert piece, self._received[-200:]
            self._received += piece
        found, _, self._received = self._received.partition(end)
        return found

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            try:
                os.close(descriptor)
            except OSError:
                continue


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_texts_are_written_in_their_order(pipe: Pipe) -> None:
    spool = Spool(pipe.writing)
    texts = [f"line {number}\n" for number in range(5000)]
    reader = threading.Thread(target=lambda: texts.append(pipe.until(b"end\n").decode()))
    reader.start()
    for text in texts[:5000]:
        spool.put(text)
    spool.put("end\n")
    reader.join(PATIENCE)
    assert texts[5000] == "".join(texts[:5000])
    assert spool.dropped == 0


@given(st.lists(st.text(), max_size=20))
def test_any_text_is_written(texts: list[str]) -> None:
    pipe = Pipe()
    spool = Spool(pipe.writing)
    for text in [*texts, "\N{WHITE SQUARE}end"]:
        spool.put(text)
    written = pipe.until("\N{WHITE SQUARE}end".encode())
    assert written.decode() == "".join(texts)
    assert spool.wait(PATIENCE)
    pipe.close()


def test_where_nobody_reads_lines_are_dropped_and_one_line_tells_how_many(pipe: Pipe) -> None:
    spool = Spool(pipe.writing)
    number = 3 * LIMIT // len(LINE)
    for _ in range(number):  # returns: nothing waits for the pipe
        spool.put(LINE)
    dropped = spool.dropped
    assert LIMIT < dropped * len(LINE) < 2 * LIMIT + len(LINE)
    written = pipe.until(b" dropped here: standard error could not be written to\n")
    whole, _, notice = written.rpartition(b"\n")
    assert notice == b"sidecar: warning: %d lines were" % dropped
    assert (whole + b"\n").decode() == LINE * (number - dropped)
    spool.put("more\n")
    assert pipe.until(b"more\n") == b""
    assert spool.dropped == dropped


def test_the_loss_is_told_in_the_form_of_the_log(pipe: Pipe) -> None:
    spool = Spool(pipe.writing)
    spool.describe_loss = lambda count: f"<4>{count} of them"
    for _ in range(2 * LIMIT // len(LINE)):
        spool.put(LINE)
    assert pipe.until(b" of them\n").endswith(b"\n<4>%d" % spool.dropped)


def test_lines_for_a_reader_that_is_gone_are_counted(pipe: Pipe) -> None:
    os.close(pipe.reading)
    spool = Spool(pipe.writing)
    for _ in range(100):
        spool.put(LINE)
    assert spool.wait(PATIENCE)
    assert spool.dropped == 100


def test_lines_for_a_full_disk_are_counted_and_it_may_have_room_again(pipe: Pipe) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    spool = Spool(descriptor)
    for _ in range(7):
        spool.put(LINE)
    assert spool.wait(PATIENCE)
    assert spool.dropped == 7
    os.dup2(pipe.writing, descriptor)
    spool.put("room\n")
    assert pipe.until(b"dropped here") == b"room\nsidecar: warning: 7 lines were "
    assert spool.dropped == 7
    os.close(descriptor)


def test_a_line_that_was_cut_short_is_followed_by_a_line_of_its_own(pipe: Pipe) -> None:
    ours, theirs = socket.socketpair()
    spool = Spool(ours.fileno())
    spool.put("y" * (LIMIT // 2) + "\n")
    assert theirs.recv(5) == b"yyyyy"
    theirs.close()  # with most of the line unread
    assert spool.wait(PATIENCE)
    assert spool.dropped == 1
    os.dup2(pipe.writing, ours.fileno())
    spool.put("next\n")
    assert pipe.until(b"next\n") == b"\n"
    ours.close()


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    received: list[bytes] = []
    data = os.urandom(100_000).hex().encode()
    reader = threading.Thread(target=lambda: received.append(pipe.until(b"\n")))
    reader.start()
    rest = data + b"\n"
    while rest:
        rest = rest[write_when_ready(pipe.writing, rest) :]
    reader.join(PATIENCE)
    assert received == [data]


def test_a_pipe_that_others_write_to_as_well_gets_each_line_in_one_piece(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def write(_: int, data: memoryview) -> int:
        sizes.append(len(data))
        return len(data)

    monkeypatch.setattr(spool_module, "write_when_ready", write)
    spool = Spool(pipe.writing)
    for _ in range(1000):
        spool.put("z" * 700 + "\n")
    assert spool.wait(PATIENCE)
    assert sum(sizes) == 701_000
    assert all(size % 701 == 0 and size <= 4096 for size in sizes)
    assert len(sizes) < 1000


class TestStream:
    @pytest.fixture
    def stream(self, pipe: Pipe) -> Iterator[SpooledStream]:
        with os.fdopen(pipe.writing, "w", encoding="latin-1", errors="replace") as like:
            yield SpooledStream(like)

    def test_it_is_like_the_stream_that_it_replaces(
        self, stream: SpooledStream, pipe: Pipe
    ) -> None:
        print("Škoda á", file=stream)
        assert pipe.until(b"\n") == b"?koda \xe1"
        assert (stream.encoding, stream.errors) == ("latin-1", "replace")
        assert stream.fileno() == pipe.writing
        assert stream.writable()
        assert not stream.isatty()

    def test_flush_waits_until_all_is_written(self, stream: SpooledStream, pipe: Pipe) -> None:
        stream.write("written")
        stream.flush()
        assert os.read(pipe.reading, 100) == b"written"

    def test_flush_does_not_wait_again_for_a_reader_that_reads_nothing(
        self, stream: SpooledStream, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spool_module, "FLUSH_SECONDS", 0.1)
        waits = 0
        wait = stream.spool.wait

        def counted(seconds: float) -> bool:
            nonlocal waits
            waits += 1
            return wait(seconds)

        monkeypatch.setattr(stream.spool, "wait", counted)
        stream.write(LINE * 10)
        for _ in range(5):
            stream.flush()
        assert waits == 1
        assert pipe.until(b"\n" + LINE.encode() * 9) == LINE.encode()[:-1]
        assert wait(PATIENCE)
        stream.flush()
        assert waits == 2


def test_what_is_dropped_is_the_spools_of_standard_error(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert spool_module.dropped_lines() == 0
    with (tmp_path / "full").open("w") as file:
        like: TextIO = file
        os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
        stream = SpooledStream(like)
        monkeypatch.setattr("sys.stderr", stream)
        stream.write("lost\n")
        stream.flush()
        assert spool_module.dropped_lines() == 1


def test_only_a_pipe_wants_small_pieces(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file, closing(socket.socket()) as journal:
        large = Spool(file.fileno())._together
        assert Spool(journal.fileno())._together == large > 8 * select.PIPE_BUF
    reader, writer = os.pipe()
    assert Spool(writer)._together == select.PIPE_BUF
    os.close(reader)
    os.close(writer)
