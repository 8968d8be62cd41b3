"""The pages below /_sidecar/: health, ready, status, metrics.  They hold no secret."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from time import perf_counter

from sidecar import __version__
from sidecar.access.callers import check_admin
from sidecar.account.identity import Identity
from sidecar.downstream.replies import Reply, bug, complete, error_reply, json_reply
from sidecar.downstream.request import Request
from sidecar.errors import RequestRefused, SidecarError
from sidecar.telemetry.metrics import CONTENT_TYPE, Metrics
from sidecar.telemetry.record import RESERVED, Record
from sidecar.telemetry.troubles import Troubles


class LocalPages:
    """Answers requests for the sidecar itself, from cached state: upstream is not asked."""

    def __init__(
        self, identity: Callable[[], Identity], troubles: Troubles, metrics: Metrics
    ) -> None:
        """`identity` tells who we are now: a reload may change that."""
        self._identity = identity
        self._troubles = troubles
        self._metrics = metrics
        self._started = time.monotonic()
        self.stopping = False
        self._pages: Mapping[str, Callable[[], Reply]] = {
            "health": self._health,
            "ready": self._ready,
            "status": self._status,
            "metrics": self._exposition,
        }

    def answer(self, method: str, path: str) -> Reply:
        """Answer GET and HEAD for a known page; RequestRefused (404, 405) else."""
        page = self._pages.get(path.removeprefix(RESERVED))
        if page is None or not path.startswith(RESERVED):
            raise RequestRefused(
                404, "There is no such page here.", proxy_error="http_request_denied"
            )
        if method not in ("GET", "HEAD"):
            raise RequestRefused(
                405,
                "This page can only be read.",
                proxy_error="http_request_denied",
                fields=(("Allow", "GET, HEAD"),),
            )
        reply = page()
        reply.head_only = method == "HEAD"
        return reply

    def _health(self) -> Reply:
        return json_reply(200, {"status": "ok"})

    @property
    def is_ready(self) -> bool:
        """Whether requests can be signed and sent."""
        return self._ready().status == 200

    def _ready(self) -> Reply:
        if self.stopping:
            return json_reply(503, {"ready": False, "reason": "shutting down"})
        try:
            self._identity().token.current()
        except SidecarError as error:
            return json_reply(503, {"ready": False, "reason": error.message, "hint": error.hint})
        return json_reply(200, {"ready": True})

    def _status(self) -> Reply:
        identity = self._identity()
        token = identity.token.last_read
        return json_reply(
            200,
            {
                "version": __version__,
                "uptime_seconds": round(time.monotonic() - self._started, 3),
                "base_url": str(identity.base_url),
                "user": token.user if token else None,
                "token_expires_at": token.expires_at if token else None,
                "clock_difference_seconds": identity.clock_difference,
                "last_problem": asdict(last) if (last := self._troubles.last) else None,
                "counters": self._metrics.counters(),
            },
        )

    def _exposition(self) -> Reply:
        fields = [(b"Content-Type", CONTENT_TYPE), (b"Cache-Control", b"no-store")]
        return Reply(200, fields, self._metrics.exposition())


class AdminPages:
    """The handler of the admin listener: shows the pages to everybody but web pages."""

    def __init__(self, pages: LocalPages, finished: Callable[[Record], None]) -> None:
        self._pages = pages
        self._finished = finished

    async def handle(self, request: Request) -> Reply:
        """Answer one request; called by the connection for each."""
        message = request.message
        fields = message.raw_headers
        record = Record.of(message.method, message.path, fields, request.client)
        try:
            check_admin(fields)
            reply = self._pages.answer(message.method, message.path.partition("?")[0])
        except RequestRefused as refused:
            reply = self._error(refused, record)
        except Exception:  # noqa: BLE001 — told to the log and to the client
            reply = self._error(bug(f"answering {message.method} for admin"), record)
        complete(reply, record)
        record.total = perf_counter() - record.started
        self._finished(record)
        return reply

    def _error(self, error: SidecarError, record: Record) -> Reply:
        record.error = error.proxy_error
        return error_reply(error, head_only=record.method == "HEAD")
