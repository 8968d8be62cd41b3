"""What lies below /_sidecar/: health, readiness, status.  Never forwarded, never secret."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from sidecar import __version__
from sidecar.errors import RequestRefused, SidecarError
from sidecar.identity import Identity
from sidecar.replies import Reply, json_reply
from sidecar.troubles import Troubles

PREFIX = "/_sidecar/"


class LocalPages:
    """Answers requests for the sidecar itself, from cached state: upstream is not asked."""

    def __init__(
        self,
        base_url: str,
        identity: Identity,
        troubles: Troubles,
        counters: Callable[[], Any],
    ) -> None:
        self._base_url = base_url
        self._identity = identity
        self._troubles = troubles
        self._counters = counters
        self._started = time.monotonic()
        self.stopping = False
        self._pages: Mapping[str, Callable[[], Reply]] = {
            "health": self._health,
            "ready": self._ready,
            "status": self._status,
        }

    def answer(self, method: str, path: str) -> Reply:
        """Answer GET and HEAD for a known page; RequestRefused (404, 405) else."""
        page = self._pages.get(path.removeprefix(PREFIX))
        if page is None:
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
        if self.stopping:
            return json_reply(503, {"ready": False, "reason": "shutting down"})
        try:
            self._identity.token()
        except SidecarError as error:
            return json_reply(503, {"ready": False, "reason": error.message, "hint": error.hint})
        return json_reply(200, {"ready": True})

    def _status(self) -> Reply:
        token = self._identity.known_token()
        return json_reply(
            200,
            {
                "version": __version__,
                "uptime_seconds": round(time.monotonic() - self._started, 3),
                "base_url": self._base_url,
                "user": token.user if token else None,
                "token_expires_at": token.expires_at if token else None,
                "clock_difference_seconds": self._identity.clock_difference,
                "last_problem": asdict(last) if (last := self._troubles.last) else None,
                "counters": self._counters(),
            },
        )
