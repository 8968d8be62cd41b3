"""Where messages may end: every end is found, however the bytes are split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.boundaries import Boundaries

NOISE = st.text("\r\nx0", max_size=12).map(str.encode)


def chunked(pieces: list[bytes]) -> bytes:
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join(framed) + b"0\r\n\r\n"


def pieces_of(segments: list[bytes], bodies: dict[int, int]) -> list[tuple[int, int]]:
    """The pieces, as places in the whole; behind each key a body of that length follows."""
    boundaries, offset, found = Boundaries(), 0, []
    for segment in segments:
        start = 0
        while start < len(segment):
            end = boundaries.next(segment, start)
            assert start < end <= len(segment)
            found.append((offset + start, offset + end))
            if offset + end in bodies:
                boundaries.body_follows(bodies[offset + end])
            start = end
        offset += len(segment)
    return found


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=20)))
    return [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(st.data(), st.lists(st.tuples(st.booleans(), st.lists(NOISE, max_size=3)), max_size=6))
def test_no_piece_holds_an_end_and_more(
    drawn: st.DataObject, messages: list[tuple[bool, list[bytes]]]
) -> None:
    data, ends, bodies = b"", set(), {}
    for has_length, body in messages:
        data += b"PUT / HTTP/1.1\r\nX: y\r\n\r\n"
        content = b"".join(body) if has_length else chunked(body)
        if has_length and content:
            bodies[len(data)] = len(content)
        data += content
        ends.add(len(data))
    pieces = pieces_of(drawn.draw(splits(data)), bodies)
    assert [start for start, _ in pieces] == [0, *(end for _, end in pieces)][: len(pieces)]
    assert ends <= {end for _, end in pieces}


def test_a_body_of_known_length_is_not_searched() -> None:
    boundaries = Boundaries()
    boundaries.body_follows(10)
    assert boundaries.next(b"\r\n\r\n\r\n\r\nGET /", 4) == 13
    assert boundaries.next(b"x\r\n\r\nx", 0) == 1
    assert boundaries.next(b"x\r\n\r\nx", 1) == 5


def test_what_is_no_end_yet_goes_on() -> None:
    boundaries = Boundaries()
    for piece in (b"GET / HTTP/1.1\r", b"\n", b"\r"):
        assert boundaries.next(piece, 0) == len(piece)
    assert boundaries.next(b"\nGET", 0) == 1
    assert boundaries.next(b"\nGET", 1) == 4
