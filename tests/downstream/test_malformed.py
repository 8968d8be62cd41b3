"""What the parser refuses: each kind in its own words, and never in the sender's."""

from __future__ import annotations

import pytest

from tests.conftest import Running

pytestmark = pytest.mark.usefixtures("quiet")

HOST = b"Host: localhost\r\n"
MARK = b"SeNdErSoWnWoRdS"


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        (MARK + b" / HTTP/1.1\r\n" + HOST, 400, "method"),
        (b"GET / HTTP/1.1" + MARK + b"\r\n" + HOST, 400, "malformed"),
        (b"GET / RTSP/1.0\r\n" + HOST, 400, "request line"),
        (b"GET http://[" + MARK + b"/ HTTP/1.1\r\n" + HOST, 400, "target"),
        (b"GET /\x01" + MARK + b" HTTP/1.1\r\n" + HOST, 400, "target"),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST, 400, "exactly one Host"),
        (b"GET / HTTP/1.1\r\nX: " + MARK + b"\r\n", 400, "exactly one Host"),
        (b"GET / HTTP/1.1\r\n" + HOST + MARK + b"\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: \x00" + MARK + b"\r\n", 400, "malformed"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + MARK + b"\r\n", 400, "malformed"),
        (b"GET /" + MARK * 5000 + b" HTTP/1.1\r\n" + HOST, 431, "too large"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + MARK * 5000 + b"\r\n", 431, "too large"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + MARK + b"\r\n" * 130, 431, "header fields"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK * 10, 400, "plain http"),
    ],
)
async def test_each_kind_has_its_own_words(
    edge: Running, raw: bytes, status: int, words: str, quiet: pytest.LogCaptureFixture
) -> None:
    if words == "header fields":
        raw = b"GET / HTTP/1.1\r\n" + HOST + (b"X: " + MARK + b"\r\n") * 130
    async with await edge.wire() as wire:
        await wire.send(raw + b"\r\n")
        answer = await wire.receive()
        assert await wire.end() == (b"", False)
    assert answer.status == status
    assert words in answer.message
    assert answer.json()["errors"] == {}
    assert answer["Proxy-Status"].startswith("sidecar; error=http_request_error; details=")
    assert answer["Connection"] == "close"
    shown = answer.body + b"".join(name + value for name, value in answer.fields)
    assert MARK not in shown
    lines = [record.getMessage() for record in quiet.records if record.levelname == "INFO"]
    assert [line.startswith(f"refused with {status}: ") for line in lines if "refused" in line] == [
        True
    ]
    assert not [line for line in lines if MARK.decode() in line]
