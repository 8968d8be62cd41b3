"""Jira's OAuth filter: it finds out who a signed request acts as, or refuses it."""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

from sidecar.sandbox.answers import Answer, Call
from sidecar.sandbox.java import JavaException
from sidecar.sandbox.message import (
    Message,
    OAuthProblem,
    base_string_uri,
    is_complete,
    read_authorization,
)
from sidecar.sandbox.provider import Provider
from sidecar.sandbox.refusals import MayNotLogIn, answer_echo, answer_problem

_ENDPOINTS: Final = "/plugins/servlet/oauth/"
_WEBDAV: Final = ("WebDAVFS/", "WebDAVLib/", "Microsoft-WebDAV-MiniRedir/")
"""The filter ignores clients whose `User-Agent` begins with one of these."""


class Origin(NamedTuple):
    """Where a request came to, as the connector sees it."""

    scheme: str
    host: str
    port: int | None


class OAuthFilter:
    """Gives a call its user, or refuses it."""

    def __init__(self, provider: Provider, base_url: str, context_path: str) -> None:
        self.provider = provider
        self.faults = provider.faults
        self.base_url = base_url
        self.context_path = context_path
        self._turns = itertools.count()

    def message(self, call: Call, origin: Origin) -> Message:
        """What the OAuth library sees, with the URL that the connector believes in."""
        faults = self.faults
        scheme, host, port = origin
        if faults.perceived_host is not None:
            host, port = faults.perceived_host, None
        if faults.perceived_port is not None:
            port = faults.perceived_port
        path = call.path
        if faults.perceived_prefix is not None:
            path = faults.perceived_prefix + path.removeprefix(self.context_path)
        authorization = [] if faults.strip_authorization else call.fields.all("authorization")
        parameters = [*read_authorization(authorization), *call.parameters]
        uri = base_string_uri(faults.perceived_scheme or scheme, host, port, path)
        return Message(call.method, uri, parameters, call.parameters, call.node)

    def next_node(self) -> int:
        """The node that the next request comes to: they take turns."""
        return next(self._turns) % max(self.faults.nodes, 1)

    def pass_through(self, call: Call, message: Message) -> Answer | None:
        """Set the user of a call; give the answer if it is refused."""
        if not _is_access_attempt(call, message):
            return None
        record = call.record
        try:
            call.user = self.provider.authenticate(message)
        except OAuthProblem as problem:
            record.verdict = problem.problem
            return answer_problem(problem, self.base_url)
        except JavaException:
            record.verdict = "exception"
            return answer_echo(500, message, self.base_url)
        except MayNotLogIn:
            record.verdict = "ok"
            return answer_echo(401, message, self.base_url)
        record.verdict = "ok"
        return None


def _is_access_attempt(call: Call, message: Message) -> bool:
    """Whether the filter checks a call; any other goes on as anonymous."""
    if not is_complete(message.parameters) or _has_session(call):
        return False
    if call.fields.get("user-agent").startswith(_WEBDAV):
        return False
    # A token makes a request for a resource of any path but the one where tokens are exchanged,
    # an empty token of any but the one where none is needed.
    other = "access-token" if message.get("oauth_token") else "request-token"
    return not call.path.endswith(_ENDPOINTS + other)


def _has_session(call: Call) -> bool:
    """A client's session cookie goes before its signature, and no session is alive here."""
    pairs = ";".join(call.fields.all("cookie")).split(";")
    return any(pair.strip().startswith("JSESSIONID=") for pair in pairs)
