"""Which request is answered with which page, and by which fields its answer is protected.

To add a page, or a form that is posted, name it in `Router.__init__`:

    self._routes["page/sign-in"] = {"GET": self._sign_in, "POST": self._begin}

A handler is given the Visit and returns a Reply; HEAD is answered like GET.  It refuses by raising
a SidecarError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from sidecar.downstream.replies import Reply
from sidecar.errors import RequestRefused, SidecarError, own_sentence
from sidecar.html.answers import page_fields, part_fields
from sidecar.html.rendering import STYLE, Templates
from sidecar.page.events import Streams
from sidecar.page.service import Service
from sidecar.page.sign_in import SignIn
from sidecar.page.view import View
from sidecar.proxy.visit import Visit
from sidecar.telemetry.record import CALLBACK, RESERVED, RESERVED_ROOT

Handler = Callable[[Visit], Awaitable[Reply]]

_OVER = (
    "No sign-in waits for Jira’s answer at this address: it was completed, or came to its end."
    " The sidecar’s page says who is signed in."
)
_TO_PAGE = "go to the sidecar’s page"
_SCRIPT = files("sidecar.page").joinpath("script.js").read_text("utf-8")
_SIGN_IN = files("sidecar.page").joinpath("sign-in.js").read_text("utf-8")
_ICON = files("sidecar.page").joinpath("icon.svg").read_text("utf-8")


class Router:
    """Answers requests for the page and its parts."""

    def __init__(self, service: Service) -> None:
        self._view = View(service)
        self.streams = Streams(service, self._view)
        self._templates = Templates("sidecar.page")
        self.sign_in = SignIn(service, self._templates)
        self._routes: dict[str, dict[str, Handler]] = {
            "": {"GET": self._overview},
            "page/style.css": {"GET": _part(STYLE, "text/css; charset=utf-8")},
            "page/script.js": {"GET": _part(_SCRIPT, "text/javascript; charset=utf-8")},
            "page/sign-in.js": {"GET": _part(_SIGN_IN, "text/javascript; charset=utf-8")},
            "page/icon.svg": {"GET": _part(_ICON, "image/svg+xml")},
            "page/events": {"GET": self.streams.answer},
            **self.sign_in.routes,
        }

    async def answer(self, visit: Visit) -> Reply:
        """Answer a request for the page; RequestRefused (403, 404, 405) where it is for none."""
        if visit.caller.origin is not None:
            raise RequestRefused(
                403,
                "The sidecar's page is for people, not for other web pages.",
                proxy_error="http_request_denied",
            )
        if visit.path == RESERVED_ROOT:
            return Reply(308, [(b"Location", RESERVED.encode())])
        if visit.path.startswith(CALLBACK):
            return await self.sign_in.arrive(visit)
        methods = self._routes.get(visit.path.removeprefix(RESERVED))
        if methods is None:
            raise RequestRefused(
                404, "There is no such page here.", proxy_error="http_request_denied"
            )
        handler = methods.get("GET" if visit.method == "HEAD" else visit.method)
        if handler is None:
            allowed = [*methods, "HEAD"] if "GET" in methods else methods
            raise RequestRefused(
                405,
                "This page is not for that method.",
                proxy_error="http_request_denied",
                fields=(("Allow", ", ".join(allowed)),),
            )
        reply = await handler(visit)
        reply.head_only = visit.method == "HEAD"
        return reply

    def show(self, reply: Reply, error: SidecarError, path: str) -> Reply:
        """Make the answer to an error a page: Jira's way back when the sign-in is over, mostly."""
        title, said = "This cannot be shown", [error.message, own_sentence(error.hint or _TO_PAGE)]
        if path.startswith(CALLBACK) and not self.sign_in.dance.waits_at(path):
            title, said = "This sign-in is over", [_OVER]
        reply.fields = [
            *(
                field
                for field in reply.fields
                if field[0] not in (b"Content-Type", b"Cache-Control")
            ),
            *page_fields(),
        ]
        reply.body = self._templates.render("refused.html", title=title, paragraphs=said)
        return reply

    async def _overview(self, visit: Visit) -> Reply:
        values = self._view.overview(visit.caller)
        values["guide"] = self.sign_in.guide()
        return self._page("overview.html", token=self.streams.token, **values)

    def _page(self, template: str, status: int = 200, **values: Any) -> Reply:
        """An answer that is a page."""
        return Reply(status, page_fields(), self._templates.render(template, **values))


def _part(text: str, content_type: str) -> Handler:
    """Answer with a file that the page loads."""

    async def answer(_: Visit) -> Reply:
        return Reply(200, part_fields(content_type), text.encode())

    return answer
