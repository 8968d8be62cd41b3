"""Decides which answers have their links rewritten, and rewrites their bodies in pieces."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from sidecar.access.callers import Caller
from sidecar.errors import ProtocolError
from sidecar.http.cache import Cache
from sidecar.http.fields import Fields, first, values
from sidecar.http.target import BaseURL
from sidecar.jira.links import LinkRewriter, Links, may_hold_links
from sidecar.jira.stored import is_download, is_stored

_PIECE_BYTES = 64 * 1024
"""As much is inflated and rewritten at a time: a gzip bomb never exists whole."""
_GZIP = zlib.MAX_WBITS | 16
"""zlib's word for gzip, and no other format."""
_GZIP_BYTES = 8 * 1024
"""As much gzip is read at a time: it may be 400 empty members, which take 4 ms."""
_CACHED_LINKS = 64
_CACHED_BYTES = 16 * 1024


class JiraLinks:
    """Makes a caller's Links; knows what Jira calls itself once that is known."""

    def __init__(self, base_url: BaseURL, *, rewrite: bool) -> None:
        self._base_url = str(base_url)
        self._rewrite = rewrite
        self._server_url = ""
        self._known = self._new_cache()

    def learn_first(self, server_url: str | None) -> None:
        """Take what `sidecar auth` stored, unless Jira itself has said since."""
        if not self._server_url:
            self.learn(server_url)

    def learn(self, server_url: str | None) -> None:
        """Take note of serverInfo.baseUrl, which may differ from the URL we reach Jira by."""
        if server_url and server_url != self._server_url:
            self._server_url = server_url
            self._known = self._new_cache()

    def for_caller(self, caller: Caller) -> Links | None:
        """The links of one caller; None where they stay Jira's."""
        if not self._rewrite or caller.as_proxy:
            return None
        return self._known[f"{caller.scheme}://{caller.host}"]

    def _new_cache(self) -> Cache[str, Links]:
        return Cache(self._links_to, len, entries=_CACHED_LINKS, size=_CACHED_BYTES)

    def _links_to(self, origin: str) -> Links:
        return Links([self._base_url, self._server_url], origin.encode())


def is_eligible(status: int, fields: Fields, paths: frozenset[str]) -> bool:
    """Whether the body of such an answer may hold links that we rewrite.

    `paths` are the readings of the path that was asked for.  Said of an answer to HEAD, too: it
    must look like the one to GET.
    """
    if status in (204, 206, 304) or is_stored(paths) or is_download(fields):
        return False
    if (first(fields, b"content-encoding") or b"identity").lower() not in (b"identity", b"gzip"):
        return False
    return may_hold_links(first(fields, b"content-type") or b"")


def guard(fields: Fields) -> Fields:
    """The field to add to what is not JSON: a browser shows it, and runs no script of it as us.

    https://www.w3.org/TR/CSP3/#directive-sandbox: its origin is then no one's, ours neither.
    """
    types = values(fields, b"content-type")
    if types and all(map(may_hold_links, types)):
        return []
    return [(b"Content-Security-Policy", b"sandbox")]


class BodyRewriter:
    """Inflates, where need be, and rewrites one body in steps of bounded work."""

    def __init__(self, rewriter: LinkRewriter, *, gzipped: bool) -> None:
        self._rewriter = rewriter
        self._gunzip = _Gunzip() if gzipped else None

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[bytes]:
        """Yield, after each step, what can be passed on, perhaps nothing.

        ProtocolError where the body is not gzip.  `last` tells that no more comes.
        """
        if self._gunzip is not None:
            for piece in self._gunzip.feed(data):
                yield self._rewriter.feed(piece)
            return
        for start in range(0, len(data) or 1, _PIECE_BYTES):
            end = start + _PIECE_BYTES
            yield self._rewriter.feed(data[start:end], last=last and end >= len(data))

    def at_once(self, body: bytes) -> bytes | None:
        """A whole body rewritten in the one step that it takes; None where it takes more."""
        if self._gunzip is not None or len(body) > _PIECE_BYTES:
            return None
        return self._rewriter.feed(body, last=True)

    def finish(self) -> bytes:
        """What was held back; ProtocolError where the body ended early."""
        if self._gunzip is not None:
            self._gunzip.finish()
        return self._rewriter.finish()


class _Gunzip:
    """Inflates a gzip body of any number of members (RFC 1952 §2.2), a piece at a time."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the text in pieces, none larger than _PIECE_BYTES; one at least for a slice."""
        for start in range(0, len(data), _GZIP_BYTES):
            yield from self._inflate(data[start : start + _GZIP_BYTES])

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        texts: list[bytes] = []
        size = 0
        while data:
            self._started = True
            try:
                texts.append(self._member.decompress(data, _PIECE_BYTES - size))
            except zlib.error:
                raise ProtocolError("Jira's answer says it is gzip, and is not.") from None
            size += len(texts[-1])
            data = self._member.unconsumed_tail
            if self._member.eof:
                data = self._member.unused_data
                self._member = zlib.decompressobj(_GZIP)
                self._started = False
            if size == _PIECE_BYTES:
                yield b"".join(texts)
                texts, size = [], 0
        yield b"".join(texts)

    def finish(self) -> None:
        """Raise ProtocolError within a member."""
        if self._started:
            raise ProtocolError("Jira's gzip answer ended early.")
