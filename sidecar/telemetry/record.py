"""What is noted of one request while it is answered, for the log line and the metrics."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

from sidecar.http.fields import values
from sidecar.http.shown import escaped_ascii, printable_ascii

RESERVED_ROOT = "/_sidecar"
"""This path and what lies below it is our own: such requests are neither forwarded nor counted."""
RESERVED = RESERVED_ROOT + "/"
CALLBACK = RESERVED + "callback/"
"""Below it Jira's redirect brings a browser back that signs in by the page."""

_SHOWN_PATH = 1000
_SHOWN_ID = 128


@dataclass(slots=True)
class Record:
    """Facts of one request; times are seconds, sizes bytes of bodies."""

    method: str
    path: str
    """Without the query: that may hold what nobody should read in a log."""
    request_id: str
    started: float
    status: int = 0
    """0 where the client left before an answer began."""
    answered_by: str = "sidecar"
    """Whose answer it was: "jira" or "sidecar"."""
    received: int = 0
    sent: int = 0
    connecting: float = 0.0
    first_byte: float = 0.0
    signing: float = 0.0
    total: float = 0.0
    retries: int = 0
    resent_for: str = ""
    """The OAuth problem for which the request was sent again."""
    acts_as: str = ""
    """The user that a two-legged request acts as, as far as it is known."""
    sent_as: str = ""
    """The method that it went to Jira by, where that is another one."""
    held: float = 0.0
    """Seconds that it waited for its turn because of Jira's rate limit."""
    absorbed: int = 0
    """How many 429s of Jira's its client was spared."""
    problem: str = ""
    """The OAuth problem that reached the client."""
    error: str = ""
    """The Proxy-Status error of an answer of our own."""
    closed_early: str = ""
    """Who ended the exchange before it was complete: "client", "jira", "sidecar", or nobody."""
    client: str = ""
    """The client's address; `uid:1000` on a unix socket."""
    caller: str = ""
    """The name of the access key that was shown, where keys have names."""

    @classmethod
    def of(
        cls, method: str, target: str, fields: Iterable[tuple[bytes, bytes]], client: str = ""
    ) -> Record:
        """The record of a request that begins now, from a client at that address."""
        started = perf_counter()
        return cls(method, shown_path(target), request_id(fields), started, client=client)

    @property
    def is_local(self) -> bool:
        """Whether it asked for one of the sidecar's own pages."""
        path = self.path
        if not path.startswith("/"):  # http://host/path, as a proxy is asked
            path = "/" + path.partition("://")[2].partition("/")[2]
        return path.startswith(RESERVED_ROOT) and path[len(RESERVED_ROOT) :][:1] in ("", "/")


def request_id(fields: Iterable[tuple[bytes, bytes]]) -> str:
    """A client's X-Request-Id as far as it can be shown, else one of our own."""
    named = next(filter(None, values(fields, b"x-request-id")), None)
    return new_id() if named is None else shown_id(named)


def new_id() -> str:
    """Make a request's id; it is no secret."""
    return f"{random.getrandbits(64):016x}"


def shown_path(target: str) -> str:
    """Make a request target fit for a log: short, without query, userinfo, control characters."""
    path = target.partition("?")[0]
    if "@" in path and not path.startswith("/"):  # http://user:password@host/path
        path = path.rpartition("@")[2]
    if len(path) > _SHOWN_PATH:
        path = path[:_SHOWN_PATH] + "..."
    return escaped_ascii(path)


def shown_id(value: bytes) -> str:
    """A client's X-Request-Id fit for a log and for our answer: visible ASCII, at most 128."""
    return printable_ascii(value[:_SHOWN_ID].decode("latin-1")).replace(" ", "?")
