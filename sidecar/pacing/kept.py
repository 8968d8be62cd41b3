"""An answer of Jira's that is kept in memory, to be passed on later or not at all."""

from __future__ import annotations

import copy

from sidecar.http.fields import Fields, first
from sidecar.upstream.exchange import UpstreamResponse

KEPT_BYTES = 64 * 1024
"""As much of a body is kept; a refusal has some hundred bytes."""
_OF_ITS_REQUEST = frozenset({b"x-request-id"})
_OF_BODY = frozenset({b"content-encoding", b"content-length", b"content-type"})


class KeptResponse:
    """A whole response; it reads like one that arrives."""

    def __init__(self, response: UpstreamResponse, body: bytes) -> None:
        self.status = response.status
        self.reason = response.reason
        self.fields: Fields = response.fields
        self.connect_seconds = response.connect_seconds
        self.first_byte_seconds = response.first_byte_seconds
        self._body = body
        self._unread = body

    @classmethod
    async def of(cls, response: UpstreamResponse) -> KeptResponse | None:
        """Read a response to its end; None where it is too large, and can be read as before.

        Raises an UpstreamError where it cannot be read.
        """
        body = await response.peek(KEPT_BYTES)
        return cls(response, body) if len(body) < KEPT_BYTES else None

    def copy(self) -> KeptResponse:
        """The same response, to be read anew."""
        copied = copy.copy(self)
        copied._unread = self._body
        return copied

    def for_others(self, method: str) -> KeptResponse:
        """The same response as any other request can read it, with none of its own request's id.

        What answers HEAD has no body, whatever length it names, and others may not take gzip: they
        get an empty body.
        """
        copied, dropped = self.copy(), _OF_ITS_REQUEST
        is_empty = method == "HEAD" or first(self.fields, b"content-encoding") is not None
        if is_empty:
            copied._body = copied._unread = b""
            dropped = _OF_ITS_REQUEST | _OF_BODY
        copied.fields = [field for field in self.fields if field[0].lower() not in dropped]
        if is_empty:
            copied.fields.append((b"Content-Length", b"0"))
        return copied

    async def peek(self, limit: int) -> bytes:
        """The body's first bytes, at least `limit` of them if there are; still to be read."""
        return self._unread

    def read_nowait(self) -> bytes:
        """The rest of the body."""
        unread, self._unread = self._unread, b""
        return unread

    async def read(self) -> bytes:
        """The rest of the body, b"" at its end."""
        return self.read_nowait()

    def at_end(self) -> bool:
        """Whether the whole body was read."""
        return not self._unread

    def close(self) -> None:
        """Nothing is to be given back."""

    def abort(self) -> None:
        """Nothing is to be ended."""
