"""What the browser is shown that comes back to a terminal's sign-in."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from sidecar.credentials import TokenCredentials
from sidecar.errors import SidecarError
from sidecar.html.answers import alone_fields
from sidecar.http.fields import Fields, serialize
from sidecar.jira.refusals import Denied
from sidecar.signin.storing import signed_in_line


@dataclass(frozen=True, slots=True)
class Page:
    """One thing to say."""

    status: HTTPStatus
    level: str
    """good, note or bad: by these pages differ at a glance."""
    title: str
    text: str
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def response(self) -> bytes:
        """The whole response on the wire."""
        from sidecar.html.rendering import STYLE_HASH, Templates  # few sign-ins show a page

        body = Templates("sidecar.html").render_alone(
            "message.html", level=self.level, title=self.title, paragraphs=[self.text], commands=[]
        )
        fields: Fields = [
            *alone_fields(STYLE_HASH),
            (b"Connection", b"close"),
            (b"Content-Length", b"%d" % len(body)),
            *self.fields,
        ]
        start = b"HTTP/1.1 %d %b" % (self.status, self.status.phrase.encode())
        return serialize(start, fields) + body


def signed_in(token: TokenCredentials) -> Page:
    """The token is stored."""
    text = f"{signed_in_line(token)}. The access token is stored. You can close this tab."
    return Page(HTTPStatus.OK, "good", "Access approved", text)


def failed(error: SidecarError) -> Page:
    """There is no new token."""
    if isinstance(error, Denied):
        return DENIED
    text = f"{error.message} The terminal says what to do. You can close this tab."
    return Page(HTTPStatus.OK, "bad", "Not signed in", text)


DENIED = Page(
    HTTPStatus.OK,
    "bad",
    "Access denied",
    "You pressed Deny, so the sidecar has no access to Jira. You can close this tab; run "
    "“sidecar auth” again if that was not what you meant.",
)
ASKED = Page(
    HTTPStatus.OK,
    "note",
    "Go back to the terminal",
    "Jira has signed in another user than the one whose access token is stored. The terminal asks"
    " whether to replace it. You can close this tab.",
)
ENDED = Page(
    HTTPStatus.OK,
    "bad",
    "Not signed in",
    "The sign-in was ended in the terminal before it was complete. You can close this tab.",
)
REPEATED = Page(
    HTTPStatus.GONE, "note", "Already done", "Jira's answer has arrived. You can close this tab."
)
MALFORMED = Page(
    HTTPStatus.BAD_REQUEST,
    "bad",
    "Not understood",
    "This address takes only what a browser sends.",
)
TOO_LARGE = Page(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "bad",
    "Not understood",
    "The browser sent too large a head.",
)
MISDIRECTED = Page(
    HTTPStatus.MISDIRECTED_REQUEST,
    "bad",
    "Not here",
    "The sidecar answers only under its own address.",
)
ELSEWHERE = Page(
    HTTPStatus.NOT_FOUND, "bad", "Nothing here", "This is not the address that Jira was given."
)
NOT_GET = Page(
    HTTPStatus.METHOD_NOT_ALLOWED,
    "bad",
    "Not understood",
    "This address only takes GET.",
    ((b"Allow", b"GET"),),
)
NOT_YET = Page(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "note",
    "Not in advance",
    "This address is not for looking ahead.",
)
NOT_OURS = Page(
    HTTPStatus.BAD_REQUEST,
    "bad",
    "Not this sign-in",
    "This is not the sign-in that the sidecar waits for. Approve at the address that the terminal "
    "shows; it is still waiting.",
)
