"""The pages below /_sidecar/: health, ready, status, metrics.  They hold no secret."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from sidecar import __version__
from sidecar.access.callers import check_admin
from sidecar.account.identity import Identity
from sidecar.account.readiness import Readiness
from sidecar.downstream.replies import Reply, bug, complete, error_reply, json_reply
from sidecar.downstream.request import Request
from sidecar.errors import RequestRefused, SidecarError
from sidecar.telemetry.metrics import CONTENT_TYPE, Metrics
from sidecar.telemetry.record import RESERVED, Record
from sidecar.telemetry.troubles import Trouble, Troubles


class LocalPages:
    """Answers requests for the sidecar itself, from cached state: upstream is not asked."""

    def __init__(
        self,
        identity: Callable[[], Identity],
        readiness: Readiness,
        troubles: Troubles,
        metrics: Metrics,
        named: Callable[[str], str] = str,
    ) -> None:
        """`identity` tells who we are now, which a reload may change; see Server for `named`."""
        self._identity = identity
        self._readiness = readiness
        self._troubles = troubles
        self._metrics = metrics
        self._named = named
        self._started = time.monotonic()
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

    def _ready(self) -> Reply:
        """Needs no access key: whoever asks learns neither paths nor names."""
        why = self._readiness.why_not()
        if why is None:
            return json_reply(200, {"ready": True})
        reason, hint = why.public.reason, self._named(why.public.hint)
        return json_reply(
            503, {"ready": False, "problem": why.problem, "reason": reason, "hint": hint}
        )

    def _status(self) -> Reply:
        return json_reply(200, self._facts())

    def _facts(self) -> dict[str, Any]:
        why = self._readiness.why_not()  # first: it looks at the token on disk
        identity, last = self._identity(), self._troubles.last
        token = identity.token.last_read
        uptime = time.monotonic() - self._started
        return {
            "version": __version__,
            "uptime_seconds": round(uptime, 3),
            "base_url": str(identity.base_url),
            "user": token.user if token else None,
            "token_expires_at": token.expires_at if token else None,
            "clock_difference_seconds": identity.clock_difference,
            "last_problem": last
            and {"problem": last.problem, "hint": self._named(last.hint), "at": last.at},
            "counters": self._metrics.counters(),
            "ready": why is None,
            "problem": why and why.problem,
            "reason": why and why.detailed.reason,
            "hint": why and self._named(why.detailed.hint),
            "since": iso(why.since if why else None),
            "started": iso(time.time() - uptime),
            "two_legged": identity.two_legged,
            "display_name": token.display_name if token else None,
            "token_expires": iso(token.expires_at if token else None),
            "session_expires": iso(token.session_expires_at if token else None),
            "troubles": [self._shown(trouble) for trouble in self._troubles.recent],
        }

    def _shown(self, trouble: Trouble) -> dict[str, Any]:
        return {
            "problem": trouble.problem,
            "hint": self._named(trouble.hint),
            "count": trouble.count,
            "first": iso(trouble.first_at),
            "last": iso(trouble.at),
        }

    def _exposition(self) -> Reply:
        fields = [(b"Content-Type", CONTENT_TYPE), (b"Cache-Control", b"no-store")]
        return Reply(200, fields, self._metrics.exposition())


def iso(seconds: float | None) -> str | None:
    """A Unix time as RFC 3339 has it, in UTC; nothing of nothing."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


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
