"""Hostile bytes at a listening socket, against a second reader of HTTP that forgives nothing.

Requests that are well-formed, then cut, doubled and spoilt, in segments of any size.  Whatever
arrives upstream whole must be what the strict reader found, in that order, and signed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import NamedTuple

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.arena import Arena, open_arena
from tests.support.wire import Wire

HOST = b"Host: localhost\r\n"
SEEDS = [
    b"GET /rest/a HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /rest/b HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
    b"HEAD /rest/c?x=%20 HTTP/1.1\r\n" + HOST + b"Accept: */*\r\n\r\n",
    b"POST /rest/d HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"PUT /rest/e HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-T: y\r\n\r\n",
    b"DELETE /rest/f HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nConnection: close\r\n\r\n",
    b"GET /rest/g HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST /rest/h HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n{ }",
]
PIECES = [
    *[b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b"\x0b", b"\xff", b";", b",", b"0", b"5"],
    *[
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"GET / HTTP/1.1",
    ],
    *[
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding: identity\r\n",
        b"Connection: close\r\n",
    ],
    *[
        b"chunked",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"X: y\r\n",
        b" X: y\r\n",
        b"ffffffffffffffff",
        b"-1",
        b"+5",
    ],
    *[b"Host: evil.test\r\n", b"Origin: null\r\n", b"/../", b"%2e%2e/", b"#", b"http://localhost/"],
    *[
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
        b"Content_Length: 9\r\n",
        b"GET",
        b"x" * 70000,
    ],
]

seeds = st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3).map(b"".join)
places = st.floats(0, 1, exclude_max=True)
spoilings = st.lists(
    st.tuples(
        places,
        st.sampled_from(["insert", "replace", "delete", "double"]),
        st.sampled_from(PIECES) | st.binary(min_size=1, max_size=3),
        st.integers(1, 20),
    ),
    max_size=4,
)
cuts = st.lists(places, max_size=6)


def spoilt(raw: bytes, changes: list[tuple[float, str, bytes, int]]) -> bytes:
    for place, how, piece, size in changes:
        at = int(place * len(raw))
        before, after = raw[:at], raw[at:]
        if how == "insert":
            raw = before + piece + after
        elif how == "replace":
            raw = before + piece + after[len(piece) :]
        elif how == "delete":
            raw = before + after[size:]
        else:
            raw = before + after[:size] + after
    return raw


class Read(NamedTuple):
    """A request as the strict reader sees it."""

    method: str
    body: bytes
    is_last: bool


# llhttp takes several spaces for one; behind another request that goes unnoticed.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) +([!-~]+) +HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t -~\x80-\xff]*)?\r\n")


def strictly_read(raw: bytes) -> list[Read]:
    """Every request up to the first that is malformed, ambiguous, or the connection's last."""
    found = []
    while (one := _read_one(raw)) is not None:
        request, raw = one
        found.append(request)
        if request.is_last:
            break
    return found


def _read_one(raw: bytes) -> tuple[Read, bytes] | None:
    # RFC 9112 §2.2 ignores empty lines before a request; llhttp, every CR and LF.
    head, blank, rest = raw.lstrip(b"\r\n").partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(start)
    fields = [_FIELD.fullmatch(field) for field in lines]
    if not blank or line is None or not all(fields):
        return None
    named: dict[bytes, list[bytes]] = {}
    for field in filter(None, fields):
        named.setdefault(field[1].lower(), []).append(field[2])
    body = _read_body(named, int(line[3]), rest)
    if body is None:
        return None
    joined = b",".join(named.get(b"connection", [])).lower()
    options = [option.strip(b" \t") for option in joined.split(b",")]
    close = b"close" in options or (line[3] == b"0" and b"keep-alive" not in options)
    return Read(line[1].decode(), body[0], close), body[1]


def _read_body(
    named: dict[bytes, list[bytes]], minor: int, rest: bytes
) -> tuple[bytes, bytes] | None:
    lengths, codings = named.get(b"content-length", []), named.get(b"transfer-encoding", [])
    if codings:
        if lengths or minor == 0 or [coding.lower() for coding in codings] != [b"chunked"]:
            return None
        return _read_chunks(rest)
    if not lengths:
        return b"", rest
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
        return None
    size = int(lengths[0])
    return (rest[:size], rest[size:]) if len(rest) >= size else None


def _read_chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while line := _CHUNK.match(rest):
        rest = rest[line.end() :]
        if not (size := int(line[1], 16)):
            break
        if rest[size : size + 2] != b"\r\n":
            return None
        body, rest = body + rest[:size], rest[size + 2 :]
    else:
        return None
    while not rest.startswith(b"\r\n"):
        trailer, end, rest = rest.partition(b"\r\n")
        if not end or not _FIELD.fullmatch(trailer):
            return None
    return body, rest[2:]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(
    private_key: RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Arena]:
    async with open_arena(tmp_path_factory.mktemp("bytes"), private_key) as arena:
        yield arena


@pytest_asyncio.fixture(loop_scope="module")
async def _no_trouble(arena: Arena, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    with arena.without_trouble(caplog):
        yield


async def exchange_bytes(wire: Wire, segments: list[bytes]) -> bytes:
    try:
        await wire.send(*segments)
        wire.half_close()
    except OSError:
        pass
    came, _ = await wire.end()
    return came


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("_no_trouble")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(raw=seeds, changes=spoilings, where=cuts)
async def test_only_what_a_strict_reader_understands_gets_through(
    arena: Arena, raw: bytes, changes: list[tuple[float, str, bytes, int]], where: list[float]
) -> None:
    arena.upstream.exchanges.clear()
    raw = spoilt(raw, changes)
    at = sorted({int(place * len(raw)) for place in where} | {0, len(raw)})
    segments = [raw[i:j] for i, j in pairwise(at)]
    async with await arena.sidecar.wire() as wire:
        came = await exchange_bytes(wire, segments)
    assert came == b"" or re.match(rb"HTTP/1\.1 [1-5][0-9][0-9] ", came)
    expected = iter(strictly_read(raw))
    for exchange in arena.arrived():
        arena.check_signed(exchange)
        if exchange.complete:
            arrived = (exchange.start_line.split(" ")[0], bytes(exchange.body))
            assert any((read.method, read.body) == arrived for read in expected), arrived
    await arena.bystander()


def test_the_strict_reader_reads_what_is_well_formed() -> None:
    """Else it would prove nothing."""
    found = strictly_read(b"".join(SEEDS[:5]))
    assert [request.method for request in found] == ["GET", "GET", "HEAD", "POST", "PUT"]
    assert [request.body for request in found[3:]] == [b"hello", b"hello0123456789"]
