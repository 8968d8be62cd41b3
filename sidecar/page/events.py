"""Keeps open pages up to date by server-sent events (WHATWG HTML, "Server-sent events").

A stream is a request that is answered for as long as its page is open.  It sends what is new once a
second, and once an interval of the charts even if nothing is: that shows that it still lives.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from hmac import compare_digest

from sidecar.downstream.replies import Relayed, Reply
from sidecar.errors import Overloaded, RequestRefused
from sidecar.html.answers import part_fields
from sidecar.http.fields import first, serialize
from sidecar.page.service import Service
from sidecar.page.view import View
from sidecar.proxy.visit import Visit

MOST_STREAMS = 4
"""A browser opens six connections to a server: pages that hold all of them could load nothing."""
TICK_SECONDS = 1.0
STALL_SECONDS = 10.0
"""A page that reads nothing for so long is dropped."""
_RETRY_MILLISECONDS = 2000
_NUMBER = re.compile(r"[0-9]{1,15}")


class Streams:
    """All pages that are open."""

    def __init__(self, service: Service, view: View) -> None:
        self._service = service
        self._view = view
        self._ended = asyncio.Event()
        self._written: tuple[tuple[object, ...], bytes] = ((), b"")
        self.open = 0
        """How many there are."""
        self.token = secrets.token_urlsafe(16)
        """Only who has read the page knows it.  Other pages can ask blindly, by a plain-http name
        of access.hosts, and would take all streams."""

    async def answer(self, visit: Visit) -> Reply:
        """Stream until the page is closed; Overloaded where as many are open as may be."""
        if not compare_digest(visit.query.get("page", "").encode(), self.token.encode()):
            raise RequestRefused(
                403, "That page was made by another run.", proxy_error="http_request_denied"
            )
        if self.open >= MOST_STREAMS:
            raise Overloaded("As many pages are kept up to date as may be.", "close another one")
        fields = part_fields("text/event-stream")
        if visit.method == "HEAD":
            return Reply(200, fields)
        self.open += 1
        try:
            visit.request.connection.send(
                serialize(b"HTTP/1.1 200 OK", [*fields, (b"Connection", b"close")])
                + b"retry: %d\n\n" % _RETRY_MILLISECONDS
            )
            await self._stream(visit, self._ended)
        finally:
            self.open -= 1
        return Relayed(200, keep_alive=False)

    def end(self) -> None:
        """End all streams: whoever is still let in by what is true now comes again."""
        self._ended.set()
        self._ended = asyncio.Event()

    async def _stream(self, visit: Visit, ended: asyncio.Event) -> None:
        after, shown = self._first(visit), None
        while not ended.is_set():
            state = self._view.state()
            if state != shown:
                shown = state
                event = self._event(visit, after, state)
                after = self._service.history.seen
                visit.request.connection.send(event)
                await self._drain(visit)
            await _until(ended, TICK_SECONDS)
            try:
                visit.check_again()
            except RequestRefused:
                return

    async def _drain(self, visit: Visit) -> None:
        try:
            await visit.request.connection.drain(STALL_SECONDS)
        except TimeoutError:
            visit.request.connection.reset()
            raise ConnectionResetError("the page does not read what it is sent") from None

    def _first(self, visit: Visit) -> int:
        """The number of the last request that the page has shown."""
        last = first(visit.fields, b"last-event-id")
        text = visit.query.get("after", "") if last is None else last.decode("latin-1")
        number = int(text) if _NUMBER.fullmatch(text) else 0
        return min(number, self._service.history.seen)

    def _event(self, visit: Visit, after: int, state: tuple[object, ...]) -> bytes:
        """What is new; pages that are up to the same share the work."""
        key = (visit.caller, after, state)
        if self._written[0] != key:
            data = json.dumps(self._view.changes(visit.caller, after), separators=(",", ":"))
            event = f"id: {self._service.history.seen}\ndata: {data}\n\n"
            self._written = key, event.encode("ascii")
        return self._written[1]


async def _until(ended: asyncio.Event, seconds: float) -> None:
    """Wait until the next whole second, or the end: all streams wake up together."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds - loop.time() % seconds):
            await ended.wait()
    except TimeoutError:
        return
