"""Hostile bytes from Jira's side, against a second reader of HTTP.

Answers that are well-formed, some of them then cut, doubled and spoilt, in segments of any size, on
connections that stay, end or are reset.  What the client gets is the whole answer that the second
reader found, or a 502, or is cut short; and the next answer is the next request's.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import NamedTuple

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.server.server import Server
from tests.conftest import Running, make_config, store_token
from tests.fuzz.test_bytes import spoilt
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.wire import Response, Wire

PIECES = [
    *[b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b";", b",", b"0", b"5", b"\xff"],
    *[b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffffffffffff\r\n", b"-5", b"+5"],
    *[b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5, 5\r\n"],
    *[b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"chunked", b"gzip, "],
    *[b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Upgrade: h2c\r\n"],
    *[b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 S\r\n\r\n"],
    *[b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"],
    *[b"X: y\r\n", b" folded\r\n", b"X : y\r\n", b": y\r\n", b"x" * 70_000],
]
STATUSES = [200, 200, 200, 201, 204, 304, 400, 401, 403, 404, 409, 500, 502]
TYPES = [b"application/octet-stream", b"application/json", b"text/html", b"text/plain"]


class Found(NamedTuple):
    """An answer as a reader sees it."""

    status: int
    body: bytes


class Sent(NamedTuple):
    """An answer as it is made."""

    raw: bytes
    found: Found
    ends: bool
    """Whether the connection's end is the body's."""


texts = st.text('ab{}[]":,/\\ \u00e9', max_size=200).map(str.encode)
bodies = st.one_of(
    st.binary(max_size=300),
    texts,
    st.builds(lambda text, times: text * times, texts, st.integers(1, 300)),
    st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=5).map(
        lambda value: json.dumps(value).encode()
    ),
)


@st.composite
def answers(draw: st.DrawFn) -> Sent:
    """Draw a well-formed answer."""
    status, body = draw(st.sampled_from(STATUSES)), draw(bodies)
    framing = draw(st.sampled_from(["length", "chunked", "close", "close 1.0"]))
    minor = 0 if framing == "close 1.0" else 1
    lines = [
        b"HTTP/1.%d %d %b" % (minor, status, draw(st.sampled_from([b"OK", b"", b"Gr\xfc\xdfe"]))),
        b"Content-Type: " + draw(st.sampled_from(TYPES)),
        *[b"X-%d: %d" % (number, number) for number in range(draw(st.integers(0, 3)))],
    ]
    has_body = status not in (204, 304)
    content = b""
    if framing == "length" and (has_body or draw(st.booleans())):
        lines.append(b"Content-Length: %d" % len(body))
        content = body
    elif framing == "chunked" and has_body:
        lines.append(b"Transfer-Encoding: chunked")
        content = draw(chunked(body))
    elif has_body:
        content = body
    head = b"\r\n".join([*lines, b"", b""])
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * draw(st.integers(0, 3))
    found = Found(status, body if has_body else b"")
    ends = framing.startswith("close") and has_body
    return Sent(interim + head + (content if has_body else b""), found, ends)


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """Draw a way to send a body in chunks."""
    size = draw(st.sampled_from([1, 2, 7, 100, 100_000]))
    extension = draw(st.sampled_from([b"", b";a", b';a="b"']))
    trailers = draw(st.sampled_from([b"", b"X-T: y\r\n"]))
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    pieces = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts]
    return b"".join([*pieces, b"0\r\n", trailers, b"\r\n"])


places = st.floats(0, 1, exclude_max=True)
spoilings = st.lists(
    st.tuples(
        places,
        st.sampled_from(["insert", "replace", "delete", "double"]),
        st.sampled_from(PIECES) | st.binary(min_size=1, max_size=3),
        st.integers(1, 20),
    ),
    max_size=3,
)
cuts = st.lists(places, max_size=6)
ends = st.sampled_from(["stay", "finish", "reset"])

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [^\n]*?)?\r?\n")
_FIELD_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\x00]*(?:\r?\n[ \t]+[^\r\n\x00]*)*)\r?\n"
)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LINE_END = re.compile(rb"\r?\n")


def forgivingly_read(raw: bytes, *, ended: bool) -> Found | None:
    """The first final answer in the bytes, with what RFC 9112 §2.2 lets a reader forgive.

    `ended` says whether the connection ended in order behind them.
    """
    at = len(raw) - len(raw.lstrip(b"\r\n"))
    while (line := _STATUS_LINE.match(raw, at)) is not None:
        at = line.end()
        named: dict[bytes, list[bytes]] = {}
        while (field := _FIELD_LINE.match(raw, at)) is not None:
            named.setdefault(field[1].lower(), []).append(field[2].strip(b" \t"))
            at = field.end()
        if (blank := _LINE_END.match(raw, at)) is None:
            return None
        status, rest = int(line[2]), raw[blank.end() :]
        if status >= 200:
            return _read_body(status, int(line[1]), named, rest, ended=ended)
        if status in (100, 102, 103) or 100 < status < 200:
            at = blank.end() + len(rest) - len(rest.lstrip(b"\r\n"))
        if status == 101 or status < 100:
            return None
    return None


def _read_body(
    status: int, minor: int, named: dict[bytes, list[bytes]], rest: bytes, *, ended: bool
) -> Found | None:
    lengths, codings = named.get(b"content-length", []), named.get(b"transfer-encoding", [])
    if codings:
        if lengths or minor == 0 or [coding.lower() for coding in codings] != [b"chunked"]:
            return None
    elif len(lengths) > 1 or (lengths and not re.fullmatch(rb"[0-9]{1,19}", lengths[0])):
        return None
    if status in (204, 304):
        return Found(status, b"")
    if codings:
        body = _read_chunks(rest)
        return None if body is None else Found(status, body)
    if lengths:
        size = int(lengths[0])
        return Found(status, rest[:size]) if len(rest) >= size else None
    return Found(status, rest) if ended else None


def _read_chunks(rest: bytes) -> bytes | None:
    body, at = b"", 0
    while (line := _CHUNK_LINE.match(rest, at)) is not None:
        size, at = int(line[1], 16), line.end()
        if not size:
            while (field := _FIELD_LINE.match(rest, at)) is not None:
                at = field.end()
            return body if _LINE_END.match(rest, at) else None
        end = _LINE_END.match(rest, at + size)
        if end is None:
            return None
        body += rest[at : at + size]
        at = end.end()
    return None


class Jira:
    """Answers as it is told, and any other request with its own target."""

    def __init__(self) -> None:
        self.segments: list[bytes] = []
        self.end = "stay"

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.target != "/fuzz":
            await exchange.say(exchange.target.encode(), "Content-Type: text/plain")
            return
        await exchange.answer(*self.segments)
        if self.end == "reset":
            exchange.reset()
        elif self.end == "finish":
            exchange.writer.write_eof()


class Stand(NamedTuple):
    """A sidecar in front of a Jira that does as it is told."""

    sidecar: Running
    jira: Jira


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(
    private_key: RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        jira = Jira()
        upstream = await stack.enter_async_context(RawUpstream(jira))
        options = {"timeouts.response": 0.5, "timeouts.idle": 0.5}
        config = make_config(
            upstream.url,
            tmp_path_factory.mktemp("answers"),
            private_key,
            **{name.replace(".", "__"): value for name, value in options.items()},
        )
        store_token(config, "t" * 32)
        server = Server(config, {})
        urls = await server.start()
        stack.push_async_callback(server.stop, 1.0)
        yield Stand(Running(server, config, urls[0]), jira)


async def ask(wire: Wire, target: bytes, host: bytes) -> Response | None:
    """Get something; None where the answer was cut short."""
    try:
        await wire.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
        return await wire.receive()
    except (OSError, asyncio.IncompleteReadError):
        return None


@pytest.mark.asyncio(loop_scope="module")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sent=answers(), changes=spoilings, where=cuts, end=ends)
async def test_an_answer_is_whole_and_its_own_or_no_answer(
    stand: Stand,
    sent: Sent,
    changes: list[tuple[float, str, bytes, int]],
    where: list[float],
    end: str,
) -> None:
    raw = spoilt(sent.raw, changes)
    if end == "stay" and forgivingly_read(raw, ended=False) is None:
        end = "finish"  # it would be waited for until the time is over
    at = sorted({int(place * len(raw)) for place in where} | {0, len(raw)})
    stand.jira.segments = [raw[i:j] for i, j in pairwise(at)]
    stand.jira.end = end
    host = stand.sidecar.authority.encode()
    async with await stand.sidecar.wire() as wire:
        answer = await ask(wire, b"/fuzz", host)
        is_open = answer is not None and "close" not in answer.all("Connection")
        second = await ask(wire, b"/next", host) if is_open else None
    found = forgivingly_read(raw, ended=end == "finish")
    if answer is not None and not is_502(answer):
        assert Found(answer.status, answer.body) == found
    if not changes and end != "reset":
        assert found == sent.found
        assert answer is not None
        assert not is_502(answer)
    if second is None:
        assert not is_open
        second = await stand.sidecar.get("/next")
    assert (second.status, second.body) == (200, b"/next")


def is_502(answer: Response) -> bool:
    """Whether the sidecar says that there is no answer."""
    return answer.status in (502, 504) and answer.all("Proxy-Status") != []


@given(sent=answers())
def test_the_second_reader_reads_what_is_well_formed(sent: Sent) -> None:
    """Else it would prove nothing."""
    assert forgivingly_read(sent.raw, ended=sent.ends) == sent.found
