"""Requests whose head Tomcat refuses for its length: a search by GET goes as POST instead."""

from __future__ import annotations

import logging

from sidecar.downstream.bodies import REPLAY_BYTES, RequestBody
from sidecar.http.fields import Fields, size_of
from sidecar.http.target import Target, acting_as
from sidecar.jira.searches import as_json
from sidecar.proxy.outgoing import Outgoing
from sidecar.signing.signature import encode_query
from sidecar.telemetry.record import Record
from sidecar.telemetry.troubles import Quiet

log = logging.getLogger(__name__)

_TOMCAT_HEAD_BYTES = 8 * 1024
"""Tomcat's maxHttpHeaderSize: the request line and all fields."""
_START_LINE = len("  HTTP/1.1\r\n")
_END = len("\r\n")
_OF_BODY = frozenset({b"digest", b"repr-digest"})


def is_too_long(outgoing: Outgoing, authorization: bytes = b"") -> bool:
    """Whether Tomcat refuses a request for its head, as far as it is known."""
    return _head_size(outgoing, authorization) > _TOMCAT_HEAD_BYTES


async def send_as_post(outgoing: Outgoing, record: Record) -> None:
    """Make a search by GET the POST that means the same, if there is one.

    It stays the client's GET in all else: it may be sent again as often as that.
    """
    query, outgoing.search = outgoing.search, None  # it is tried once
    content = None if query is None else as_json(query)
    if content is None:
        return
    if isinstance(outgoing.content, RequestBody):
        await outgoing.content.skip(REPLAY_BYTES)  # the body of a GET, which Jira never reads
    target = acting_as(Target(outgoing.target.path, None), outgoing.acting_as)
    outgoing.method = record.sent_as = "POST"
    outgoing.target = target
    outgoing.parameters = encode_query(target.query) if target.query else []
    outgoing.fields = [
        *[field for field in outgoing.fields if not _is_of_body(field[0])],
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(content)),
    ]
    outgoing.content = content
    outgoing.chunked = False


class LongHeads:
    """Says what a 400 of Jira's may be about."""

    def __init__(self) -> None:
        self._quiet = Quiet()

    def hint(self, outgoing: Outgoing, authorization: bytes) -> None:
        """Log, once in a while, that Tomcat refuses long heads before anybody looks at them."""
        size = _head_size(outgoing, authorization)
        if size <= _TOMCAT_HEAD_BYTES or (again := self._quiet.due("long head")) is None:
            return
        log.warning(
            "Jira answered 400 to a request whose head has %d bytes; Tomcat refuses those over"
            " 8 KiB.%s What to do: send less in the query (a search by GET goes as POST by itself"
            " unless it has parameters that a search by POST does not know), or raise"
            " maxHttpHeaderSize in Jira's server.xml.",
            size,
            again,
        )


def _head_size(outgoing: Outgoing, authorization: bytes) -> int:
    fields: Fields = outgoing.fields
    if authorization:
        fields = [*fields, (b"Authorization", authorization)]
    start_line = len(outgoing.method) + len(str(outgoing.target)) + _START_LINE
    return start_line + size_of(fields) + _END


def _is_of_body(name: bytes) -> bool:
    """Whether a field tells of the body that is replaced, or how it is framed."""
    lower = name.lower()
    return lower.startswith((b"content-", b"transfer-encoding")) or lower in _OF_BODY
