"""A request on its way to Jira, complete but for its signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.account.request_signer import Signed
from sidecar.downstream.bodies import RequestBody
from sidecar.http.fields import Fields
from sidecar.http.target import Target
from sidecar.jira.problems import Problem
from sidecar.pacing.kept import KeptResponse
from sidecar.signing.long_parameters import LongParameters
from sidecar.signing.signature import EncodedPair
from sidecar.upstream.pool import UpstreamRequest, UpstreamResponse


class Exchanged(NamedTuple):
    """What came of sending a request."""

    response: UpstreamResponse | KeptResponse
    problem: Problem | None
    signed: Signed
    is_put_right: bool = False
    """Whether the problem is healed, and only this request could not be sent again."""


@dataclass(slots=True)
class Outgoing:
    """A request, complete but for its signature."""

    method: str
    target: Target
    parameters: list[EncodedPair] | LongParameters = field(repr=False)
    """Those of the query and a form, to be signed."""
    fields: Fields = field(repr=False)
    content: bytes | RequestBody = field(repr=False)
    chunked: bool
    may_reconnect: bool
    """Whether it may be sent again, once, after a lost connection."""
    acting_as: str | None = None
    """The user that a two-legged request names to Jira."""
    search: str | None = field(default=None, repr=False)
    """The client's query, where it may go as a search by POST (long_heads.py)."""

    @property
    def is_replayable(self) -> bool:
        """Whether all that was read of the body is still in memory."""
        return isinstance(self.content, bytes) or self.content.replayable

    def signed(self, authorization: bytes) -> UpstreamRequest:
        """The request with its signature; a body that was streamed begins again."""
        content = self.content
        return UpstreamRequest(
            self.method,
            str(self.target),
            [*self.fields, (b"Authorization", authorization)],
            content if isinstance(content, bytes) else aiter(content),
            chunked=self.chunked,
        )
