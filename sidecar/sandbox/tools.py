"""`/_sandbox/…`: resources for tests, which a real Jira does not have.

*/echo/**        the request as it arrived, as JSON; the body is counted, not kept
GET bytes?n=&chunked=1        n bytes of a repeating pattern
GET drip?pieces=&size=&interval=&gate=&type=   pieces, each after a pause or a `release(gate)`
GET events?n=&interval=       server-sent events
GET redirect?to=&status=302   a redirect
GET json?n=      a search-like JSON text of about n bytes, links and people's text in it
POST public-key  the application link's public key, once, if there is none yet
GET, PUT faults  the switches of faults.py, as JSON
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.sandbox.answers import JSON, Answer, BadRequest, Call, answer_errors, answer_json
from sidecar.sandbox.provider import Provider
from sidecar.sandbox.router import Router

PATTERN: Final = bytes(range(256)) * 256
"""64 KiB; the bytes of a download repeat it."""
MOST_BYTES = 4 << 30
_PATIENCE = 30.0
"""Seconds that a piece waits for its gate."""


class Tools:
    """The resources for tests, and the gates that hold back a slow answer."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))

    @property
    def open(self) -> bool:
        """Whether no signature is needed."""
        return self.provider.faults.unsigned_tools

    def release(self, gate: str, pieces: int = 1) -> None:
        """Let so many pieces through a gate."""
        for _ in range(pieces):
            self._gates[gate].release()

    def register(self, router: Router) -> None:
        """Take the paths."""
        router.add("*", "_sandbox/echo/**", self.echo)
        router.add("GET", "_sandbox/bytes", self.bytes)
        router.add("GET", "_sandbox/drip", self.drip)
        router.add("GET", "_sandbox/events", self.events)
        router.add("GET", "_sandbox/json", self.json)
        router.add("GET", "_sandbox/redirect", self.redirect)
        router.add("POST", "_sandbox/public-key", self.public_key, public=True)
        router.add("GET|PUT", "_sandbox/faults", self.faults, public=True)

    async def echo(self, call: Call) -> Answer:
        """Say what arrived; fields as Latin-1 text."""
        record = call.record
        async for _ in call.body.chunks():
            pass
        return answer_json(
            {
                "method": record.method,
                "target": record.target,
                "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in record.fields],
                "parameters": call.parameters,
                "body_length": record.body_length,
                "body_sha256": record.body_sha256,
                "user": call.user,
            }
        )

    async def bytes(self, call: Call) -> Answer:
        """Give many bytes without holding them."""
        size = min(call.number("n", 1 << 20), MOST_BYTES)
        length = None if call.parameter("chunked") else size
        return Answer(200, _pattern(size), "application/octet-stream", length=length)

    async def drip(self, call: Call) -> Answer:
        """Give pieces one by one."""
        pieces, size = call.number("pieces", 10), call.number("size", 1)
        interval = call.seconds("interval", 0.0)
        gate = call.parameter("gate")

        async def dripping() -> AsyncIterator[bytes]:
            for number in range(pieces):
                await self._wait(gate, interval)
                yield bytes([65 + number % 26]) * size

        return Answer(200, dripping(), call.parameter("type", "text/plain"))

    async def events(self, call: Call) -> Answer:
        """Give server-sent events."""
        number, interval = call.number("n", 10), call.seconds("interval", 0.1)
        gate = call.parameter("gate")

        async def streaming() -> AsyncIterator[bytes]:
            for index in range(number):
                await self._wait(gate, interval)
                yield f"id: {index}\ndata: tick {index}\n\n".encode()

        return Answer(200, streaming(), "text/event-stream")

    async def _wait(self, gate: str, interval: float) -> None:
        if gate:
            await asyncio.wait_for(self._gates[gate].acquire(), _PATIENCE)
        elif interval:
            await asyncio.sleep(interval)

    async def json(self, call: Call) -> Answer:
        """Give a long JSON text in a stream."""
        entry = json.dumps(
            {
                "self": f"{call.base}/rest/api/2/issue/10001",
                "key": "JJ-1",
                "fields": {
                    "summary": f"see {call.base}/browse/JJ-1",
                    "description": f'{{"self": "{call.base}/rest"}} — äöü 🖍 \\ / " ' * 8,
                },
            }
        ).encode()
        entries = max(call.number("n", 1 << 20) // (len(entry) + 1), 1)

        async def writing() -> AsyncIterator[bytes]:
            yield b'{"startAt":0,"issues":[' + entry
            for start in range(1, entries, 50):
                yield (b"," + entry) * min(50, entries - start)
            yield b"]}"

        return Answer(200, writing(), JSON)

    async def redirect(self, call: Call) -> Answer:
        """Redirect to `to`, which stands for a path of this Jira if it begins with `/`."""
        to = call.parameter("to", "/rest/api/2/myself")
        where = call.base + to if to.startswith("/") else to
        return Answer(call.number("status", 302), b"", fields=[("Location", where)])

    async def public_key(self, call: Call) -> Answer:
        """Take the public key, if there is none yet."""
        if self.provider.validator.link.public_key is not None:
            return answer_errors(409, "There is a public key already")
        try:
            key = load_pem_public_key(await call.body.read(1 << 16))
        except ValueError:
            raise BadRequest("A public key in PEM is expected") from None
        if not isinstance(key, RSAPublicKey):
            raise BadRequest("An RSA key is expected")
        self.provider.validator.link.public_key = key
        return Answer(204)

    async def faults(self, call: Call) -> Answer:
        """Show the switches, or set those that are named."""
        if call.method == "PUT":
            try:
                self.provider.faults.throw(await call.json())
            except ValueError as error:
                raise BadRequest(str(error)) from None
        return answer_json(asdict(self.provider.faults))


async def _pattern(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield PATTERN[:size]
        size -= len(PATTERN)
