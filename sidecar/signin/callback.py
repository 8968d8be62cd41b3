"""The loopback listener that a browser comes back to from Jira's approval page.

It answers one kind of request, once: a GET of its own unguessable path, with the request token
that it waits for.  The browser waits for its page until the sign-in is complete, or has failed.
So small that it needs no HTTP library.  (RFC 9112; RFC 8252 §7.3)
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest
from types import TracebackType
from typing import Self

from sidecar.credentials import Secret
from sidecar.net.accepting import stop_accepting
from sidecar.signin import callback_pages
from sidecar.signin.callback_pages import Page
from sidecar.signing.signature import decode_query

HOST = "127.0.0.1"
HEAD_LIMIT = 16 * 1024
"""Bytes of a request's head; browsers send some hundreds."""
PATIENCE = 10.0
"""Seconds for a head to arrive: browsers open connections that they never use."""
SHOWING_SECONDS = 2.0
"""How long the end waits for the browser to take its page."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([\x21-\x7e]{1,8192}) HTTP/1\.[01]")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_SPECULATIVE = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")


class Callback:
    """A listener on 127.0.0.1 that waits for one verifier; use it with `async with`."""

    def __init__(self) -> None:
        self.url = ""
        """What Jira is to send the browser to; empty before open()."""
        self._path = f"/{secrets.token_urlsafe(24)}"
        self._authority = b""
        self._token: Secret | None = None
        loop = asyncio.get_running_loop()
        self._verifier: asyncio.Future[Secret] = loop.create_future()
        self._outcome: asyncio.Future[Page] = loop.create_future()
        self._arrived: asyncio.Task[None] | None = None  # answers the browser that Jira sent
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def open(self) -> None:
        """Listen on a port that the system picks; OSError if it cannot be done."""
        self._server = await asyncio.start_server(self._handle, HOST, 0, limit=HEAD_LIMIT)
        port = self._server.sockets[0].getsockname()[1]
        authority = f"{HOST}:{port}"
        self._authority = authority.encode("ascii")
        self.url = f"http://{authority}{self._path}"

    def expect(self, token: Secret) -> None:
        """Say which request token to wait for: Jira issues it only after it was given `url`."""
        self._token = token

    async def verifier(self) -> Secret:
        """Wait for the verifier; it may be DENIED.  To be cancelled when it comes another way."""
        return await asyncio.shield(self._verifier)

    def show(self, page: Page) -> None:
        """Show the browser how the sign-in went, now that it is known; only the first counts."""
        if not self._outcome.done():
            self._outcome.set_result(page)

    async def close(self) -> None:
        """Stop listening, and drop connections that never became a request."""
        self._verifier.cancel()
        if self._server is None:
            return
        await stop_accepting([self._server])
        self._is_closed = True
        self.show(callback_pages.ENDED)
        if self._arrived is not None:
            await asyncio.wait([self._arrived], timeout=SHOWING_SECONDS)
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:  # asyncio had accepted it, and only now hands it over
            writer.transport.abort()
            return
        handler = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(partial(self._over, writer))

    def _over(self, writer: asyncio.StreamWriter, handler: asyncio.Task[None]) -> None:
        self._handlers.discard(handler)
        writer.transport.abort()  # nothing, where the answer has been sent

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close; the right one once the sign-in is over."""
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._read(reader)
            page = answer if isinstance(answer, Page) else await self._pass_on(answer)
            writer.write(page.response())
            writer.close()
            await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            return  # a browser that went away, or never asked anything

    async def _pass_on(self, verifier: Secret) -> Page:
        """Hand over the verifier, and wait for what is to be said of it."""
        if self._verifier.done():
            return callback_pages.REPEATED
        self._verifier.set_result(verifier)
        self._arrived = asyncio.current_task()
        return await asyncio.shield(self._outcome)

    async def _read(self, reader: asyncio.StreamReader) -> Page | Secret:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return callback_pages.TOO_LARGE
        request = parse_head(head)
        return callback_pages.MALFORMED if request is None else self._judge(request)

    def _judge(self, request: BrowserRequest) -> Page | Secret:
        """The verifier, if the request has the one that we wait for, else a page."""
        path, _, query = request.target.partition("?")
        if request.values(b"host") != [self._authority]:
            return callback_pages.MISDIRECTED
        if not compare_digest(path, self._path):
            return callback_pages.ELSEWHERE
        if request.method != "GET":
            return callback_pages.NOT_GET
        if any(request.values(name) for name in _SPECULATIVE):
            return callback_pages.NOT_YET
        verifier = self._ours(query)
        return callback_pages.NOT_OURS if verifier is None else Secret(verifier)

    def _ours(self, query: str) -> str | None:
        """The verifier of a query with our request token; each must be there exactly once."""
        parameters = decode_query(query)
        tokens = [value for name, value in parameters if name == "oauth_token"]
        verifiers = [value for name, value in parameters if name == "oauth_verifier"]
        if self._token is None or len(tokens) != 1 or len(verifiers) != 1 or not verifiers[0]:
            return None
        expected = self._token.reveal().encode()
        return verifiers[0] if compare_digest(tokens[0].encode(), expected) else None


@dataclass(frozen=True, slots=True)
class BrowserRequest:
    """The head of a browser's request."""

    method: str
    target: str = field(repr=False)
    """It may hold a verifier."""
    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """Names in lower case."""

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field called `name` (lower case)."""
        return [value for key, value in self.fields if key == name]


def parse_head(head: bytes) -> BrowserRequest | None:
    """Read a request's head, up to and with its empty line; None if it is malformed."""
    start, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(start)
    matches = [_FIELD_LINE.fullmatch(line) for line in lines]
    fields = [(match[1].lower(), match[2].rstrip(b" \t")) for match in matches if match]
    if request is None or len(fields) != len(lines):
        return None
    return BrowserRequest(request[1].decode(), request[2].decode(), tuple(fields))
