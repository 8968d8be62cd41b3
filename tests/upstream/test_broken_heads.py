"""What is said of an answer that is no HTTP: its kind of fault, and nothing that is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.upstream.broken_heads import fault_of

OK = b"HTTP/1.1 200 OK\r\nServer: x\r\n"
PARSER = "Invalid header token:\n\n  b'hush'\n   ^"


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (b"\x15\x03\x03\x00\x02\x02\x46", "it speaks TLS"),
        (b"HTTP/2 200\r\n\r\n", "it speaks HTTP/2, which was not offered"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "it speaks HTTP/2, which was not offered"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "it is an SSH server"),
        (b"<html>hush", "it sends a page without a status line before it"),
        (b"220 smtp.example.com ESMTP\r\n", "it is a mail or FTP server"),
        (b"hush\r\n\r\n", "it does not begin with HTTP/1.1"),
        (b"HTTP/1.1 20 OK\r\n", "its status line is malformed"),
        (b"HTTP/1.1 200\x01OK\r\n", "its status line is malformed"),
        (b"HTTP/1.1 200 O\rK\r\n", "its status line has a bare CR"),
        (OK + b"hush\r\n\r\n", "field 2 of its head has no colon"),
        (OK + b": hush\r\n\r\n", "field 2 of its head has no name"),
        (OK + b"X-A : hush\r\n", "field 2 of its head has a space before its colon"),
        (OK + b"X A: hush\r\n", "field 2 of its head has a name that no field can have"),
        (OK + b"X-\xe9: hush\r\n", "field 2 of its head has a name that no field can have"),
        (OK + b"X-A: hush\x00\r\n", "field 2 of its head (X-A) has a control character"),
        (OK + b"X-A: hush\rhush\r\n", "field 2 of its head (X-A) has a bare CR"),
        (OK + b" hush\r\n", "field 2 of its head is folded"),
        (OK + b"X-A: \xe9\r\n\r\nhush", "invalid header token"),
        (b"HTTP/1.1 103 E\r\nL: x\r\n\r\n" + OK + b"hush\r\n", "field 2 of its head has no colon"),
        (b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 2 x\r\n", "its status line is malformed"),
        (b"HTTP/1.1 200 OK\nX-A: x\nhush\n", "field 2 of its head has no colon"),
        (b"", "behind the head: invalid header token"),
    ],
)
def test_each_fault_has_a_phrase(head: bytes, fault: str) -> None:
    assert fault_of(head, PARSER) == fault


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Bad status line:\n  Expected dot:\n\n  b'hush'\n    ^", "expected dot"),
        ("Invalid HTTP header: b'hush'", "invalid http header"),
        ("Transfer-Encoding can't be present with Content-Length:\n\n  b'hush'",
         "transfer-encoding can't be present with content-length"),
        ("", "the parser does not understand it"),
        ("'hush'", "the parser does not understand it"),
    ],
)  # fmt: skip
def test_the_parsers_words_end_where_it_quotes(message: str, words: str) -> None:
    assert fault_of(OK, message) == words


@given(st.binary(), st.sampled_from([b"X: ", b"X:", b"X : ", b"X X: ", b"", b" ", b"\x01"]))
def test_no_value_is_ever_shown(noise: bytes, name: bytes) -> None:
    secret = b"hush1" * 3
    for head in (secret + noise, OK + name + secret + noise, OK + noise + name + secret):
        assert "hush" not in fault_of(head, PARSER)
