"""What is noted of a request, and what of it is shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.record import Record, new_id, request_id, shown_id, shown_path


class TestWhatIsShown:
    @pytest.mark.parametrize(
        ("target", "shown"),
        [
            ("/rest/api/2/search?jql=secret", "/rest/api/2/search"),
            ("http://me:secret@jira.example.com/x?y", "jira.example.com/x"),
            ("/a\x1b[31m\u202eb", r"/a\x1b[31m\u202eb"),
            ("/caf\udcc3\udca9", r"/caf\udcc3\udca9"),
            ("/user@example.com", "/user@example.com"),
        ],
    )
    def test_no_query_no_login_no_control_character(self, target: str, shown: str) -> None:
        assert shown_path(target) == shown

    @given(st.text())
    def test_a_path_is_one_printable_line_and_not_endless(self, target: str) -> None:
        shown = shown_path(target)
        assert shown.isascii()
        assert shown.isprintable()
        assert "?" not in shown
        assert len(shown) < 11_000

    @given(st.binary())
    def test_a_request_id_is_visible_ascii(self, value: bytes) -> None:
        assert re.fullmatch("[!-~]{0,128}", shown_id(value))

    @given(st.from_regex(rb"[!-~]{1,128}", fullmatch=True))
    def test_a_sound_request_id_is_shown_as_it_is(self, value: bytes) -> None:
        assert shown_id(value).encode() == value


class TestRecord:
    def test_it_begins_with_path_and_id_and_counts_nothing_yet(self) -> None:
        record = Record.of("GET", "/x?secret", [(b"x-request-ID", b"a-1")])
        assert (record.method, record.path, record.request_id) == ("GET", "/x", "a-1")
        assert (record.status, record.answered_by, record.received, record.sent) == (
            0, "sidecar", 0, 0,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("path", "is_local"),
        [
            ("/_sidecar/", True),
            ("/_sidecar/health", True),
            ("/_sidecar", True),
            ("http://localhost:8088/_sidecar/page/style.css", True),
            ("/_sidecars", False),
            ("/jira/_sidecar/", False),
            ("http://localhost:8088/x", False),
            ("/x", False),
            ("*", False),
        ],
    )
    def test_it_knows_the_sidecars_own_pages(self, path: str, is_local: bool) -> None:
        assert Record.of("GET", path, []).is_local is is_local

    def test_an_empty_id_and_other_fields_are_no_id(self) -> None:
        for fields in ([], [(b"X-Request-Id", b"")], [(b"X-Request-Ix", b"a")]):
            assert re.fullmatch("[0-9a-f]{16}", request_id(fields))

    def test_no_two_ids_are_the_same(self) -> None:
        assert len({new_id() for _ in range(1000)}) == 1000
