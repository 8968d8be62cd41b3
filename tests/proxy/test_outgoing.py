"""A request that waits for its signature."""

from __future__ import annotations

from sidecar.http.target import Target
from sidecar.proxy.outgoing import Outgoing


def test_the_signature_comes_last_and_shows_in_no_repr() -> None:
    fields = [(b"Host", b"jira.example.com")]
    outgoing = Outgoing("POST", Target("/a", "b=secret"), [], fields, b"body", False, False)
    assert outgoing.is_replayable
    for authorization in (b"OAuth 1", b"OAuth 2"):
        request = outgoing.signed(authorization)
        assert (request.method, request.target, request.body) == ("POST", "/a?b=secret", b"body")
        assert request.fields == [*fields, (b"Authorization", authorization)]
    assert "body" not in repr(outgoing)
    assert outgoing.fields == fields
