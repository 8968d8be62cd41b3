"""Where bodies end: their content is found, and nothing behind it, however the bytes are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream import boundaries
from sidecar.downstream.boundaries import CHUNKS_AT_ONCE, Boundaries, Chunked, Sized
from sidecar.errors import RequestRefused

LIMIT = 4096
TRAILER_LIMIT = 40
NEXT = b"GET /next HTTP/1.1\r\n\r\n"
CONTENT = st.binary(min_size=1, max_size=30) | st.text("\r\nx0", min_size=1).map(str.encode)
EXTENSIONS = st.sampled_from([b"", b";", b";a=b", b';a="\xff;\t"'])
SIZES = st.sampled_from([b"%x", b"%X", b"000%x"])
TRAILERS = st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nContent-Length: 9\r\n", b"X:\r\n" * 9])


@st.composite
def chunked_bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body and its content."""
    pieces = draw(st.lists(CONTENT, max_size=6))
    framed = b"".join(
        draw(SIZES) % len(piece) + draw(EXTENSIONS) + b"\r\n" + piece + b"\r\n" for piece in pieces
    )
    last = draw(st.sampled_from([b"0", b"000"])) + draw(EXTENSIONS) + b"\r\n"
    return framed + last + draw(TRAILERS) + b"\r\n", b"".join(pieces)


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=20)))
    return [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def read(body: Boundaries, segments: list[bytes]) -> tuple[bytes, bytes]:
    """The content of a body, and what stands behind it."""
    held, content = b"", b""
    for segment in segments:
        held += segment
        while held and not body.is_complete:
            piece, end = body.take(held, 0)
            content, held = content + piece, held[end:]
            if body.needs_more:
                break
    return content, held


@given(st.data(), chunked_bodies())
def test_a_chunked_body_ends_where_it_says(
    drawn: st.DataObject, framed: tuple[bytes, bytes]
) -> None:
    raw, content = framed
    body = Chunked(LIMIT, TRAILER_LIMIT)
    assert read(body, drawn.draw(splits(raw + NEXT))) == (content, NEXT)
    assert body.is_complete


@given(st.data(), chunked_bodies())
def test_a_chunked_body_is_not_complete_before_its_last_byte(
    drawn: st.DataObject, framed: tuple[bytes, bytes]
) -> None:
    raw, content = framed
    body = Chunked(LIMIT, TRAILER_LIMIT)
    came, _ = read(body, drawn.draw(splits(raw[:-1])))
    assert not body.is_complete
    assert content == came


@pytest.mark.parametrize("body", [Sized(5), Chunked(LIMIT, TRAILER_LIMIT)])
def test_of_a_body_nothing_is_complete_before_any_of_it_has_come(body: Boundaries) -> None:
    assert body.is_complete is False
    assert body.needs_more is True


@given(st.data(), CONTENT)
def test_a_body_of_known_length_is_just_that(drawn: st.DataObject, content: bytes) -> None:
    body = Sized(len(content))
    assert read(body, drawn.draw(splits(content + NEXT))) == (content, NEXT)
    assert body.is_complete


@given(st.data(), chunked_bodies(), st.binary(min_size=1, max_size=3))
def test_what_is_spoilt_is_refused_or_means_the_same_to_the_next_reader(
    drawn: st.DataObject, framed: tuple[bytes, bytes], spoilt: bytes
) -> None:
    """Whole or byte by byte: the same content, and the same verdict."""
    raw, _ = framed
    at = drawn.draw(st.integers(0, len(raw)))
    raw = raw[:at] + spoilt + raw[at + drawn.draw(st.integers(0, 2)) :] + NEXT
    results: list[tuple[object, ...]] = []
    for segments in ([raw], [raw[i : i + 1] for i in range(len(raw))]):
        body = Chunked(LIMIT, TRAILER_LIMIT)
        try:
            results.append((*read(body, segments), body.is_complete))
        except RequestRefused as refused:
            results.append((refused.message, None, False))
    whole, by_byte = results
    assert whole == by_byte or not (whole[-1] or by_byte[-1])


MALFORMED = [
    *[b"Z", b"\n", b"\r", b" 5", b"+5", b"-", b"5 ", b"5\t\r\n", b"0x5\r\n", b"5\n", b"5\rx"],
    *[b"5;\x00", b"5;a\nb", b"\r\n5\r\n", b"12345678123456781", b"5\r\nhellox"],
    *[b"5\r\nhello\n", b"5\r\nhello\r5"],
    *[b"5\r\nhello\r\nZ", b"5\r\nhello\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\n X: y\r\n\r\n"],
    *[b"0\r\n: y\r\n\r\n", b"0\r\nX: \x00", b"0\r\n\n", b"0\r\nX: a\r\n b\r\n\r\n", b"0\r\n\rX"],
]  # fmt: skip


@pytest.mark.parametrize("raw", MALFORMED)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_malformed_is_refused_by_its_last_byte_at_the_latest(
    raw: bytes, whole: bool
) -> None:
    segments = [raw] if whole else [raw[i : i + 1] for i in range(len(raw))]
    with pytest.raises(RequestRefused, match="its chunks are malformed"):
        read(Chunked(LIMIT, TRAILER_LIMIT), segments)


@pytest.mark.parametrize(
    ("raw", "is_good"),
    [
        (b"1;" + b"x" * 4000 + b"\r\ny\r\n0\r\n\r\n", True),
        (b"1;" + b"x" * 5000 + b"\r\ny\r\n0\r\n\r\n", False),
        (b"1;" + b"x" * 5000, False),
        ((b"1;" + b"x" * 2000 + b"\r\ny\r\n") * 3, False),
        (b"1\r\ny\r\n" * 9000 + b"0\r\n\r\n", True),
        (b"0\r\n" + b"X: y\r\n" * 40 + b"\r\n", True),
        (b"0\r\n" + b"X: y\r\n" * 41 + b"\r\n", False),
        (b"0\r\n" + (b"X: " + b"y" * 100 + b"\r\n") * 30 + b"\r\n", True),
        (b"0\r\n" + (b"X: " + b"y" * 100 + b"\r\n") * 40 + b"\r\n", False),
        (b"0\r\nX: " + b"y" * 5000, False),
        (b"9c40\r\n" + bytes(40_000) + b"\r\n0\r\nX: " + b"y" * 5000, False),
    ],
)
def test_what_stands_around_the_content_is_limited(raw: bytes, is_good: bool) -> None:
    for segments in ([raw], [raw[i : i + 50] for i in range(0, len(raw), 50)]):
        body = Chunked(LIMIT, TRAILER_LIMIT)
        if is_good:
            read(body, segments)
            assert body.is_complete
        else:
            with pytest.raises(RequestRefused, match="too long"):
                read(body, segments)


@pytest.mark.parametrize("content", [b"x", b"\r\n\r\n", b"\r\n\r\n" * 16_000])
def test_what_is_read_in_one_turn_is_limited_by_chunks_and_not_by_what_is_in_them(
    content: bytes,
) -> None:
    raw = b"%x\r\n%b\r\n" % (len(content), content) * (2 * CHUNKS_AT_ONCE if content == b"x" else 4)
    body = Chunked(LIMIT, TRAILER_LIMIT)
    turns, start = 0, 0
    while start < len(raw) - 2:
        piece, start = body.take(raw, start)
        assert len(piece) <= CHUNKS_AT_ONCE * len(content)
        turns += 1
    assert turns == (3 if content == b"x" else 1)


def test_a_turn_reads_so_few_chunks_that_others_need_not_wait_for_it() -> None:
    """Bytes of framing take time, and a request beside them is answered after several turns."""
    raw = b"1\r\nx\r\n" * 4096
    content, end = Chunked(LIMIT, TRAILER_LIMIT).take(raw, 0)
    assert 0 < len(content) <= 512
    assert end <= 4096


def test_a_line_that_comes_byte_by_byte_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a slow sender of long lines would cost the square of what it sends."""
    looked_at = 0

    class Counting:
        def search(self, data: bytes, start: int) -> None:
            nonlocal looked_at
            looked_at += len(data) - start

    monkeypatch.setattr(boundaries, "ODD_BYTE", Counting())
    raw = b"1;" + b"x" * 4000 + b"\r\ny\r\n0\r\nX: " + b"y" * 50 + b"\r\n\r\n"
    body = Chunked(LIMIT, TRAILER_LIMIT)
    read(body, [raw[i : i + 1] for i in range(len(raw))])
    assert body.is_complete
    assert looked_at <= 2 * len(raw)
