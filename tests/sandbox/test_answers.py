from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from sidecar.sandbox.answers import (
    BadRequest,
    Call,
    TooLarge,
    answer_errors,
    answer_json,
    answer_page,
    paged,
    tomcat_error,
)
from sidecar.sandbox.record import Fields, Request


class Held:
    """A body that is already there."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.data

    async def read(self, limit: int) -> bytes:
        if len(self.data) > limit:
            raise TooLarge
        return self.data


def call(*parameters: tuple[str, str], body: bytes = b"") -> Call:
    record = Request("GET", "/", Fields([(b"A", b"b")]))
    return Call(record, "/", [], list(parameters), Held(body), "http://h")


def test_the_first_value_of_a_parameter_counts() -> None:
    this = call(("a", "1"), ("a", "2"), ("b", ""))
    assert (this.parameter("a"), this.parameter("b", "x"), this.parameter("c", "x")) == (
        *("1", "", "x"),
    )
    assert (this.method, this.fields.get("a"), this.user, this.node) == ("GET", "b", None, 0)


@pytest.mark.parametrize(("text", "number"), [("", 7), ("0", 0), ("-12", -12), ("0012", 12)])
def test_a_number_is_read(text: str, number: int) -> None:
    assert call(("n", text)).number("n", 7) == number


@pytest.mark.parametrize("text", ["x", "1.0", "1" * 16, "٣", " 1"])
def test_what_is_no_number_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest, match="n must be a number"):
        call(("n", text)).number("n", 7)


@pytest.mark.parametrize(("text", "seconds"), [("", 2.5), ("0.25", 0.25), (".5", 0.5), ("99", 60)])
def test_a_time_is_a_minute_at_most(text: str, seconds: float) -> None:
    assert call(("s", text)).seconds("s", 2.5) == seconds


@pytest.mark.parametrize(("body", "value"), [(b"", {}), (b'{"a": [1]}', {"a": [1]})])
async def test_a_body_is_an_object(body: bytes, value: object) -> None:
    assert await call(body=body).json() == value


@pytest.mark.parametrize("body", [b"[]", b"1", b"{", b"\xff", b'"x"'])
async def test_another_body_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        await call(body=body).json()


def test_json_is_compact_and_keeps_what_is_no_ascii() -> None:
    answer = answer_json({"a": "ü\ud800"}, 201, Content_Location="/x")
    assert answer.body == b'{"a":"\xc3\xbc\xed\xa0\x80"}'
    assert (answer.status, answer.fields) == (201, [("Content-Location", "/x")])
    assert answer.content_type == "application/json;charset=UTF-8"


def test_errors_have_jiras_shape() -> None:
    body = answer_errors(400, "one", field="two").body
    assert isinstance(body, bytes)
    assert json.loads(body) == {"errorMessages": ["one"], "errors": {"field": "two"}}


def test_a_page_is_html() -> None:
    page = answer_page("T", "<p>x</p>", 404)
    assert (page.status, page.content_type) == (404, "text/html;charset=UTF-8")
    assert page.body == (
        b'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>T</title></head>\n'
        b"<body><p>x</p></body></html>\n"
    )


@pytest.mark.parametrize(("status", "closes"), [(400, True), (404, False), (500, True)])
def test_tomcat_closes_after_what_it_could_not_read(status: int, closes: bool) -> None:
    page = tomcat_error(status, "m")
    assert page.bare
    assert (("Connection", "close") in page.fields) is closes


@pytest.mark.parametrize(
    ("start", "size", "items"), [(0, 2, [0, 1]), (2, 5, [2]), (9, 2, []), (0, 0, [])]
)
def test_a_page_of_a_list_is_a_window(start: int, size: int, items: list[int]) -> None:
    page = paged(range(3), start, size, "values")
    assert page == {"startAt": start, "maxResults": size, "total": 3, "values": items}
