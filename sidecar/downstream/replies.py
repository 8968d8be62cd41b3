"""What the sidecar says itself, in Jira's shape, and how an answer comes to its end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from sidecar.downstream.request import Request
from sidecar.errors import OutOfDescriptors, Overloaded, RequestRefused, SidecarError, with_hint
from sidecar.http.fields import Fields, serialize
from sidecar.http.shown import sf_string
from sidecar.telemetry.record import Record

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 1


class Reply:
    """An answer of our own."""

    def __init__(
        self,
        status: int,
        fields: Fields | None = None,
        body: bytes = b"",
        *,
        close: bool = False,
        head_only: bool = False,
    ) -> None:
        self.status = status
        self.fields = fields or []
        self.body = body
        self.keep_alive = not close
        self.head_only = head_only

    async def finish(self, request: Request) -> None:
        """Write the answer; if the connection can't go on, stay until the client has read it.

        Where another answer to the request has begun, there is nothing to be said any more.
        """
        connection = request.connection
        if request.is_answered:
            connection.reset()
            self.keep_alive = False
            return
        self.keep_alive = (
            self.keep_alive
            and connection.may_continue
            and request.body.is_eof()
            and not request.message.should_close
        )
        connection.send(self._on_the_wire(request.message.minor_version))
        await connection.answered(keep_alive=self.keep_alive)

    def _on_the_wire(self, minor_version: int) -> bytes:
        fields = [*self.fields, (b"Date", _date(int(time.time())))]
        if self.status != 204:
            fields.append((b"Content-Length", b"%d" % len(self.body)))
        if not self.keep_alive:
            fields.append((b"Connection", b"close"))
        elif minor_version == 0:
            fields.append((b"Connection", b"keep-alive"))
        start = b"HTTP/1.1 %d %b" % (self.status, HTTPStatus(self.status).phrase.encode())
        head = serialize(start, fields)
        return head if self.head_only else head + self.body


class Relayed(Reply):
    """An answer of Jira's that was streamed to the client already."""

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        super().__init__(status, close=not keep_alive)

    async def finish(self, request: Request) -> None:
        """Nothing is left to write; only the end of the connection may be."""
        connection = request.connection
        self.keep_alive = self.keep_alive and connection.may_continue
        await connection.answered(keep_alive=self.keep_alive)


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """A moment as RFC 9110 §5.6.7 writes it; made once a second."""
    return formatdate(second, usegmt=True).encode()


def complete(reply: Reply, record: Record) -> None:
    """Give an answer of our own its request's id, and note it in the record."""
    reply.fields.append((b"X-Request-Id", record.request_id.encode()))
    record.status = reply.status
    record.sent = 0 if reply.head_only else len(reply.body)


def json_reply(status: int, content: Any, fields: Fields | None = None, **how: bool) -> Reply:
    """An answer of our own with a JSON body."""
    return Reply(
        status,
        [
            (b"Content-Type", b"application/json"),
            (b"Cache-Control", b"no-store"),
            *(fields or []),
        ],
        json.dumps(content, ensure_ascii=False).encode() + b"\n",
        **how,
    )


def bug(doing: str) -> SidecarError:
    """Log the exception that is being handled; return what may be said of it to a client."""
    log.exception("a bug while %s", doing)
    return SidecarError("The sidecar met a bug; its log says more.")


def error_reply(
    error: SidecarError,
    *,
    extra: Fields | None = None,
    head_only: bool,
    named: Callable[[str], str] = str,
) -> Reply:
    """An error as Jira would phrase it, with RFC 9209's Proxy-Status.

    `named` completes the commands that the hint names.

    What cannot be understood also ends the connection: where the next request begins is
    anybody's guess.
    """
    text = with_hint(error.message, named(error.hint), "Hint")
    details = sf_string(text)
    fields: Fields = [
        (b"Proxy-Status", f"sidecar; error={error.proxy_error}; details={details}".encode())
    ]
    if isinstance(error, Overloaded | OutOfDescriptors):
        fields.append((b"Retry-After", b"%d" % RETRY_AFTER_SECONDS))
    if isinstance(error, RequestRefused):
        fields += [(name.encode(), value.encode()) for name, value in error.fields]
    return json_reply(
        error.status,
        {"errorMessages": [f"sidecar: {text}"], "errors": {}},
        fields + (extra or []),
        close=error.ends_connection or error.proxy_error == "http_request_error",
        head_only=head_only,
    )
