"""A request for the sidecar itself: for its answers to programs, or for its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl

from sidecar.access.callers import Caller
from sidecar.downstream.bodies import RequestBody
from sidecar.downstream.replies import Reply
from sidecar.downstream.request import Request
from sidecar.errors import RequestRefused, SidecarError
from sidecar.http.fields import Field, first

FORM_BYTES = 16 * 1024
"""The page's forms have a few short fields."""
_FORM = b"application/x-www-form-urlencoded"


class Visit(NamedTuple):
    """A request for the sidecar itself that passed all checks of its caller."""

    request: Request
    caller: Caller
    path: str
    """Without the query; begins with /_sidecar/, or is /_sidecar."""
    body: RequestBody
    check_again: Callable[[], object]
    """Raises RequestRefused where the caller would not get in any more: the key has changed."""

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self.request.message.method

    @property
    def fields(self) -> Sequence[Field]:
        """The fields of the request."""
        return self.request.message.raw_headers

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query; RequestRefused (400) where it has too many, or one twice."""
        return _parameters(self.request.message.path.partition("?")[2])

    async def form(self) -> dict[str, str]:
        """The fields of a form that was posted; RequestRefused where it is none of ours."""
        kind = (first(self.fields, b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != _FORM:
            raise RequestRefused(400, "What was sent is not a form.")
        text = await self.body.read_all(FORM_BYTES)
        return _parameters(text.decode("latin-1"))


def _parameters(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=16)
    except ValueError:
        raise RequestRefused(400, "There are more parameters than any form has.") from None
    if len(dict(pairs)) != len(pairs):
        raise RequestRefused(400, "A parameter came twice.")
    return dict(pairs)


class Local(Protocol):
    """What answers requests for the sidecar itself."""

    async def answer(self, visit: Visit) -> Reply:
        """Answer what lies below /_sidecar/; RequestRefused where there is no such page."""

    def show(self, reply: Reply, error: SidecarError, request: Request) -> Reply:
        """Make the answer to an error a page, where a person waits for one."""

    def awaits(self, path: str) -> bool:
        """Whether Jira was told to send a browser to this path, and the sign-in still waits."""
