"""Pipelines of every kind of request, cut anywhere: each answer is its own request's.

`make pipelines` goes on until 50,000 answers have come.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import NamedTuple

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.attacks.arena import Arena, open_arena
from tests.support.raw_upstream import Exchange
from tests.support.wire import Client, Response

ANSWERS = int(os.environ.get("PIPELINE_ANSWERS", "1000"))
SEED = int(os.environ.get("PIPELINE_SEED", "9112"))
TRAPS = (
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"GET /trap HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
)
UPGRADE = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"))


class Asked(NamedTuple):
    """A request as bytes, and what its answer must say."""

    raw: bytes
    method: str
    body: bytes | None
    """None for a local answer."""


async def echo(exchange: Exchange) -> None:
    """Answer with what was asked, in one of three framings."""
    body = bytes(await exchange.read_body())
    said = exchange.start_line.encode() + b" " + body
    framing = int(exchange.target.rpartition("/")[2]) % 3
    if exchange.start_line.startswith("HEAD"):
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said))
        return
    if framing == 0:
        await exchange.say(said, "Content-Type: text/plain")
        return
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    if framing == 1:
        half = len(said) // 2 + 1
        chunks = [said[:half], said[half:]]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks if one)
        await exchange.answer(head + b"Transfer-Encoding: chunked\r\n\r\n", framed + b"0\r\n\r\n")
    else:
        await exchange.answer(head + b"Connection: close\r\n\r\n" + said)
        exchange.writer.close()


def content(chance: random.Random) -> bytes:
    """A body that may look like the end of one, or like another message."""
    pieces = [
        chance.choice(TRAPS),
        chance.randbytes(chance.randrange(200)),
        b"x" * chance.choice((0, 9000)),
    ]
    return b"".join(chance.sample(pieces, chance.randrange(1, 4)))


def in_chunks(chance: random.Random, body: bytes) -> bytes:
    framed, start = b"", 0
    while start < len(body):
        piece = body[start : start + chance.choice((1, 7, 4000))]
        extension = chance.choice((b"", b";a=b", b';a="b c"'))
        framed += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
        start += len(piece)
    return framed + b"0\r\n" + chance.choice((b"", b"X: y\r\n", b"Content-Length: 9\r\n")) + b"\r\n"


def request(chance: random.Random, client: Client, number: int) -> Asked:
    target = f"/rest/{number}"
    lead = chance.choice((b"", b"", b"\r\n", b"\r\n\r\n"))
    kind = chance.choice(("GET", "HEAD", "DELETE", "upgrade", "POST", "PUT", "local"))
    if kind == "local":
        return Asked(lead + client.message("GET", "/_sidecar/health"), "GET", None)
    if kind == "upgrade":
        return Asked(lead + client.message("GET", target, *UPGRADE), "GET", b"")
    body = content(chance) if kind in ("POST", "PUT") else b""
    if kind == "PUT":
        head = client.message("PUT", target, ("Transfer-Encoding", "chunked"))
        return Asked(lead + head + in_chunks(chance, body), "PUT", body)
    long = [("X-Long", "y" * chance.choice((1, 20_000)))]
    return Asked(lead + client.message(kind, target, *long, body=body), kind, body)


def segments(chance: random.Random, raw: bytes) -> list[bytes]:
    """The bytes, cut anywhere, or into small pieces around a place."""
    count = chance.choice((0, 1, 5, 40))
    at = sorted({0, len(raw), *(chance.randrange(len(raw)) for _ in range(count))})
    return [raw[i:j] for i, j in pairwise(at)]


def check(asked: Asked, number: int, answer: Response) -> None:
    assert answer.status == 200
    if asked.body is None:
        assert answer.json() == {"status": "ok"}
    elif asked.method != "HEAD":
        assert answer.body == b"%b /rest/%d HTTP/1.1 %b" % (
            asked.method.encode(),
            number,
            asked.body,
        )
    else:
        assert answer["Content-Length"] == str(len(f"HEAD /rest/{number} HTTP/1.1 "))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(
    private_key: RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Arena]:
    async with open_arena(tmp_path_factory.mktemp("pipelines"), private_key) as arena:
        yield arena


@pytest.mark.asyncio(loop_scope="module")
async def test_no_answer_is_another_requests(arena: Arena) -> None:
    asyncio.get_running_loop().set_debug(False)  # that would take the most time
    arena.upstream.handler = echo
    chance, number = random.Random(SEED), 0
    while number < ANSWERS:
        arena.upstream.exchanges.clear()
        numbers = range(number, number + chance.choice((1, 3, 10, 40)))
        asked = [request(chance, arena.sidecar, each) for each in numbers]
        parts = segments(chance, b"".join(one.raw for one in asked))
        async with await arena.sidecar.wire() as wire:
            sending = asyncio.create_task(wire.send(*parts))
            for one, each in zip(asked, numbers, strict=True):
                check(one, each, await wire.receive(method=one.method))
            await sending
        number = numbers.stop
    print(f"{number} answers, none of them another request's")  # noqa: T201 — for `make pipelines`
