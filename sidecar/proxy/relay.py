"""Sends Jira's answer to the client: adapts its fields and streams its body with back-pressure."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from sidecar.downstream.replies import Relayed
from sidecar.downstream.request import Request
from sidecar.errors import ProtocolError, UpstreamError
from sidecar.http.fields import Fields, first, serialize
from sidecar.http.forwarding import response_fields
from sidecar.jira.links import Links
from sidecar.pacing.kept import KeptResponse
from sidecar.proxy.rewriting import BodyRewriter, guard, is_eligible
from sidecar.telemetry.record import Record
from sidecar.upstream.pool import UpstreamResponse

_SEND_BYTES = 64 * 1024
"""As much is collected before it is sent: an inflated body comes in many small pieces."""

HELD_BYTES = 1 << 20
"""As much of an answer is held that a client could not tell from a whole one if it were cut short:
to HTTP/1.0 and without a length, on a unix socket."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Relay:
    """Streams one response to one client."""

    def __init__(
        self,
        request: Request,
        response: UpstreamResponse | KeptResponse,
        record: Record,
        links: Links | None,
        paths: frozenset[str],
        idle_seconds: float,
    ) -> None:
        """`paths` are the readings of the path that was asked for (http/paths.py).

        `links` is None where Jira's links stay; `idle_seconds` bounds a pause on either side.
        """
        self._request = request
        self._connection = request.connection
        self._response = response
        self._record = record
        self._links = links
        self._paths = paths
        self._idle = idle_seconds
        self._rewriter: BodyRewriter | None = None
        self._chunked = False
        self._fields: Fields = []
        self._has_clear_end = False  # the client can tell from the answer whether it is whole
        self._holds = False  # nothing is sent before all of it is here, or HELD_BYTES
        self._keep_alive = False

    async def run(self, extra: Fields) -> Relayed:
        """Send the head, with `extra` fields, and the body.

        A body that is cut short upstream is cut short for the client too, by RST.  Raises
        ConnectionResetError where the client is gone, an UpstreamError where nothing was sent.
        """
        response, raw = self._response, self._response.fields
        fields = self._adapted_fields()
        bodiless = response.status in (204, 304)
        if response.status == 204:
            fields = [field for field in fields if field[0].lower() != b"content-length"]
        is_unchanged = self._rewriter is None
        known_length = bodiless or (is_unchanged and first(raw, b"content-length") is not None)
        self._chunked = not known_length and self._request.message.minor_version > 0
        if self._chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        if first(raw, b"x-request-id") is None:
            fields.append((b"X-Request-Id", self._record.request_id.encode()))
        self._fields = fields + extra
        has_body = self._request.message.method != "HEAD" and not bodiless
        self._has_clear_end = self._chunked or known_length or not has_body
        self._holds = not (self._has_clear_end or self._connection.can_reset)
        _check_reason(response)
        if has_body:
            await self._stream()
        else:
            self._send(b"")
        return Relayed(response.status, keep_alive=self._keep_alive)

    def _head(self) -> bytes:
        self._keep_alive = self._may_stay_open() and self._has_clear_end
        fields = self._fields
        if not self._keep_alive:
            fields.append((b"Connection", b"close"))
        elif self._request.message.minor_version == 0:
            fields.append((b"Connection", b"keep-alive"))
        response = self._response
        return serialize(b"HTTP/1.1 %d %b" % (response.status, response.reason), fields)

    def _adapted_fields(self) -> Fields:
        raw, links = self._response.fields, self._links
        if links is None:
            return response_fields(raw) + guard(raw)
        if changes := is_eligible(self._response.status, raw, self._paths):
            gzipped = (first(raw, b"content-encoding") or b"").lower() == b"gzip"
            self._rewriter = BodyRewriter(links.rewriter(), gzipped=gzipped)
        return response_fields(raw, links.field, body_changes=changes) + guard(raw)

    def _may_stay_open(self) -> bool:
        return (
            not self._request.message.should_close
            and self._connection.may_continue
            and self._request.body.is_eof()
        )

    async def _stream(self) -> None:
        """Send the head with what is there of the body, then the rest as it comes."""
        response, out = self._response, b""
        try:
            piece = response.read_nowait()
            if response.at_end() and (whole := self._at_once(piece)) is not None:
                await self._flush(whole)
                return
            while True:
                last = response.at_end()
                for step, pending in enumerate(self._rewritten(piece, last)):
                    if step:  # one piece may inflate to a thousand
                        await asyncio.sleep(0)
                    out += self._framed(pending)
                    if len(out) >= (HELD_BYTES if self._holds else _SEND_BYTES):
                        await self._flush(out)
                        out = b""
                if last:
                    out += self._end()
                    if self._holds:
                        self._fields.append((b"Content-Length", b"%d" % len(out)))
                        self._has_clear_end = True
                if last or not self._holds:
                    await self._flush(out)
                    out = b""
                if last:
                    return
                piece = await response.read()
        except UpstreamError as error:
            if not self._request.is_answered:
                raise
            self._record.closed_early = "jira"
            await self._cut()
            raise ConnectionResetError("Jira's answer was cut short") from error
        except TimeoutError:
            self._record.closed_early = "client"
            self._connection.reset()
            raise ConnectionResetError("the client stopped reading") from None

    def _at_once(self, body: bytes) -> bytes | None:
        """What is sent of a body that is here, where one step makes it; else None."""
        if self._holds:
            return None
        if self._rewriter is not None:
            rewritten = self._rewriter.at_once(body)
            if rewritten is None:
                return None
            body = rewritten
        return self._framed(body) + (b"0\r\n\r\n" if self._chunked else b"")

    async def _flush(self, out: bytes) -> None:
        """Send what was collected, and wait until the client has read enough."""
        self._holds = False
        if out or not self._request.is_answered:
            self._send(out)
            await self._connection.drain(self._idle)

    async def _cut(self) -> None:
        """End an answer that is not whole so that nobody takes it for that.

        A unix socket ends in one way alone: there we leave the end to a client that could be
        misled, as long as it waits.
        """
        if not (self._has_clear_end or self._connection.can_reset):
            await self._connection.wait_for_end(self._idle)
        self._connection.reset()

    def _send(self, data: bytes) -> None:
        """Send bytes, the head before the first; from then on the answer is Jira's."""
        head = b"" if self._request.is_answered else self._head()
        self._connection.send(head + data)
        self._record.status = self._response.status
        self._record.answered_by = "jira"

    def _rewritten(self, piece: bytes, last: bool) -> Iterator[bytes]:
        """Yield what to send of a piece, perhaps nothing, after each step of rewriting."""
        if self._rewriter is None:
            yield piece
            return
        yield from self._rewriter.feed(piece, last=last)

    def _end(self) -> bytes:
        """What comes behind the last piece."""
        held_back = self._framed(self._rewriter.finish()) if self._rewriter is not None else b""
        return held_back + b"0\r\n\r\n" if self._chunked else held_back

    def _framed(self, piece: bytes) -> bytes:
        if not piece:
            return b""  # an empty chunk would mean the end
        self._record.sent += len(piece)
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece


def _check_reason(response: UpstreamResponse | KeptResponse) -> None:
    if _CONTROL.search(response.reason):
        raise ProtocolError("Jira's answer has control characters in its status line.")
