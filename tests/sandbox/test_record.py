from __future__ import annotations

import hashlib

from sidecar.sandbox.record import Fields, Request


def test_fields_are_found_in_any_letter_case_and_every_one_of_them() -> None:
    fields = Fields([(b"X-A", b"1"), (b"x-a", b"\xff"), (b"B", b"")])
    assert fields.all("X-a") == ["1", "ÿ"]
    assert fields.get("x-A") == "1"
    assert (fields.get("b", "else"), fields.get("c", "else"), fields.all("c")) == ("", "else", [])


def test_a_body_is_counted_and_hashed_piece_by_piece() -> None:
    record = Request("PUT", "/", Fields())
    assert record.body_sha256 == hashlib.sha256().hexdigest()
    for piece in (b"ab", b"", b"c"):
        record.saw(piece)
    assert (record.body_length, record.body_complete) == (3, False)
    assert record.body_sha256 == hashlib.sha256(b"abc").hexdigest()
