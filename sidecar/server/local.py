"""Answers what lies below /_sidecar/ on the main listener, for programs and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.downstream.replies import Reply
from sidecar.downstream.request import Request
from sidecar.errors import SidecarError
from sidecar.html.answers import prefers_html
from sidecar.http.fields import values
from sidecar.page.service import Service
from sidecar.proxy.visit import Visit
from sidecar.server.pages import LocalPages
from sidecar.telemetry.record import CALLBACK, RESERVED, RESERVED_ROOT

if TYPE_CHECKING:
    from sidecar.page.router import Router

_FOR_PEOPLE = (RESERVED + "page/", CALLBACK)
_NO_PAGES = (401, 421)


class LocalAnswers:
    """The page is made when somebody first asks for it: few do, and its templates take memory."""

    def __init__(self, pages: LocalPages, service: Service) -> None:
        self._pages = pages
        self._service = service
        self._router: Router | None = None
        self.visits = 0
        """How many are being answered: the metrics count none of them as in flight."""

    async def answer(self, visit: Visit) -> Reply:
        """Answer one request; RequestRefused where there is no such page."""
        self.visits += 1
        try:
            return await self._answer(visit)
        finally:
            self.visits -= 1

    async def _answer(self, visit: Visit) -> Reply:
        path = visit.path
        if path in (RESERVED_ROOT, RESERVED) or path.startswith(_FOR_PEOPLE):
            return await self._page().answer(visit)
        return self._pages.answer(visit.method, path)

    def show(self, reply: Reply, error: SidecarError, request: Request) -> Reply:
        """Make the answer to an error a page, for a browser that came to read one.

        A program gets JSON, and so does who is asked for a key, or came by a name that is not ours.
        """
        path = request.message.path.partition("?")[0]
        if path not in (RESERVED_ROOT, RESERVED) and not path.startswith(_FOR_PEOPLE):
            return reply
        accepted = values(request.message.raw_headers, b"accept")
        if reply.status in _NO_PAGES or not prefers_html(accepted):
            return reply
        return self._page().show(reply, error, path)

    def end_streams(self) -> None:
        """Have open pages come again: the service ends, or is about to be another."""
        if self._router is not None:
            self._router.streams.end()

    def awaits(self, path: str) -> bool:
        """Whether Jira was told to send a browser to this path, and the sign-in still waits."""
        return self._router is not None and self._router.sign_in.dance.waits_at(path)

    def reload(self) -> None:
        """Have open pages come again, and end a sign-in that has begun: much is another now."""
        self.end_streams()
        if self._router is not None:
            self._router.sign_in.dance.cancel()

    async def stop(self) -> None:
        """End a sign-in that has begun; a token that is being stored is stored first."""
        if self._router is not None:
            await self._router.sign_in.dance.stop()

    def _page(self) -> Router:
        if self._router is None:
            from sidecar.page.router import Router

            self._router = Router(self._service)
        return self._router
