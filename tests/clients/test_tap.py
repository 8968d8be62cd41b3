"""What judges the sessions: the tap that reads the wire, the cleaning put down a second time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import RequestRefused
from sidecar.http.target import clean
from tests.clients.stand import cleaned
from tests.clients.tap import Sent, read_requests

PLAIN = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"
SIZED = b"PUT /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
PIECES = [*"ab/;=&?%+\\[]{}|^`<>\"'~.:@!$*(),", "%20", "%2F", "%7e", "%C3%A9", "/jira", "/rest"]


def test_the_requests_of_a_connection_are_told_apart() -> None:
    assert list(read_requests(PLAIN + SIZED + CHUNKED + PLAIN)) == [
        Sent("GET", "/a?b", [("Host", "x")], b""),
        Sent("PUT", "/b", [("Content-Length", "3")], b"abc"),
        Sent("POST", "/c", [("Transfer-Encoding", "chunked")], b"abc"),
        Sent("GET", "/a?b", [("Host", "x")], b""),
    ]


@pytest.mark.parametrize("stream", [PLAIN, SIZED, CHUNKED])
def test_what_is_unfinished_is_no_harm(stream: bytes) -> None:
    for length in range(len(stream)):
        assert len(list(read_requests(stream[:length]))) <= 1


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.sampled_from(["", "/jira"]))
def test_the_sidecar_cleans_as_the_contract_says(rest: str, context_path: str) -> None:
    target = f"/{rest}"
    try:
        found = str(clean(target, context_path))
    except RequestRefused:
        return
    assert found == cleaned(target, context_path)
