"""The loopback listener that a browser comes back to from Jira's approval page.

It answers one kind of request, once: a GET of its own unguessable path, with the request token
that it waits for.  So small that it needs no HTTP library.  (RFC 9112; RFC 8252 §7.3)
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from hmac import compare_digest
from html import escape
from types import TracebackType
from typing import Self

from sidecar.credentials import Secret
from sidecar.jira.refusals import DENIED
from sidecar.signing.signature import decode_query

HOST = "127.0.0.1"
HEAD_LIMIT = 16 * 1024
"""Bytes of a request's head; browsers send some hundreds."""
PATIENCE = 10.0
"""Seconds for a head to arrive: browsers open connections that they never use."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([\x21-\x7e]{1,8192}) HTTP/1\.[01]")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_SPECULATIVE = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")

_STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;"
    "color:#172b4d;background:#fff}h1{font-size:1.5rem}"
    "@media(prefers-color-scheme:dark){body{color:#dfe1e6;background:#1d2125}}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FIELDS = (
    "Content-Type: text/html; charset=utf-8",
    "Cache-Control: no-store",
    f"Content-Security-Policy: {_POLICY}",
    "Referrer-Policy: no-referrer",
    "X-Content-Type-Options: nosniff",
    "Connection: close",
)


@dataclass(frozen=True, slots=True)
class Page:
    """What the browser is shown."""

    status: str
    """Code and reason, as on the status line."""
    title: str
    text: str
    fields: tuple[str, ...] = ()

    def response(self) -> bytes:
        """The whole response on the wire."""
        body = (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>\n"
            f"<body><h1>{escape(self.title)}</h1>\n<p>{escape(self.text)}</p></body></html>\n"
        ).encode()
        head = [f"HTTP/1.1 {self.status}", *_FIELDS, *self.fields, f"Content-Length: {len(body)}"]
        return "\r\n".join([*head, "", ""]).encode() + body


APPROVED = Page(
    "200 OK",
    "Access approved",
    "You can close this tab. The sidecar goes on in the terminal, and says there who you are.",
)
REFUSED = Page(
    "200 OK",
    "Access denied",
    "You pressed Deny, so the sidecar has no access to Jira. You can close this tab; run "
    "“sidecar auth” again if that was not what you meant.",
)
_REPEATED = Page("410 Gone", "Already done", "Jira's answer has arrived. You can close this tab.")
_MALFORMED = Page(
    "400 Bad Request", "Not understood", "This address takes only what a browser sends."
)
_TOO_LARGE = Page(
    "431 Request Header Fields Too Large", "Not understood", "The browser sent too large a head."
)
_MISDIRECTED = Page(
    "421 Misdirected Request", "Not here", "The sidecar answers only under its own address."
)
_ELSEWHERE = Page("404 Not Found", "Nothing here", "This is not the address that Jira was given.")
_NOT_GET = Page(
    "405 Method Not Allowed", "Not understood", "This address only takes GET.", ("Allow: GET",)
)
_NOT_YET = Page(
    "503 Service Unavailable", "Not in advance", "This address is not for looking ahead."
)
_NOT_OURS = Page(
    "400 Bad Request",
    "Not this sign-in",
    "This is not the sign-in that the sidecar waits for. Approve at the address that the terminal "
    "shows; it is still waiting.",
)


class Callback:
    """A listener on 127.0.0.1 that waits for one verifier; use it with `async with`."""

    def __init__(self) -> None:
        self.url = ""
        """What Jira is to send the browser to; empty before open()."""
        self._path = f"/{secrets.token_urlsafe(24)}"
        self._authority = b""
        self._token: Secret | None = None
        self._verifier: asyncio.Future[Secret] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

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

    async def close(self) -> None:
        """Stop listening, and drop connections that never became a request."""
        self._verifier.cancel()
        if self._server is None:
            return
        self._server.close()
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
        handler = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close; pass the verifier on once the page is written."""
        try:
            async with asyncio.timeout(PATIENCE):
                page, verifier = await self._read(reader)
            writer.write(page.response())
            writer.close()
            if verifier is not None and not self._verifier.done():
                self._verifier.set_result(verifier)
            await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            return  # a browser that went away, or never asked anything
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[Page, Secret | None]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _TOO_LARGE, None
        request = parse_head(head)
        return (_MALFORMED, None) if request is None else self._judge(request)

    def _judge(self, request: BrowserRequest) -> tuple[Page, Secret | None]:
        """The page for a request, and the verifier if the request has the one we wait for."""
        path, _, query = request.target.partition("?")
        if request.values(b"host") != [self._authority]:
            return _MISDIRECTED, None
        if not compare_digest(path, self._path):
            return _ELSEWHERE, None
        if request.method != "GET":
            return _NOT_GET, None
        if any(request.values(name) for name in _SPECULATIVE):
            return _NOT_YET, None
        verifier = self._ours(query)
        if verifier is None:
            return _NOT_OURS, None
        if self._verifier.done():
            return _REPEATED, None
        return (REFUSED if verifier == DENIED else APPROVED), Secret(verifier)

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
