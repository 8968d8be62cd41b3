"""Forms and queries of requests for the sidecar itself."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from sidecar.access.callers import Caller
from sidecar.downstream.bodies import RequestBody
from sidecar.downstream.request import Head, Request
from sidecar.errors import RequestRefused
from sidecar.http.fields import Received
from sidecar.proxy.visit import FORM_BYTES, Visit

FORM = (b"Content-Type", b"application/x-www-form-urlencoded; charset=UTF-8")


def visit(
    body: bytes = b"", *fields: tuple[bytes, bytes], target: str = "/_sidecar/page/x"
) -> Visit:
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    message = Head("POST", target, 1, Received(fields), should_close=False, chunked=False)
    request = Request(message, stream, cast(Any, None))
    return Visit(
        request,
        Caller("http", "localhost"),
        target.partition("?")[0],
        RequestBody(request, 1, expects_continue=False),
        lambda: None,
    )


async def test_a_form_is_read() -> None:
    form = await visit(b"code=a%2Bb+c&empty=&name=%C3%A9", FORM).form()
    assert form == {"code": "a+b c", "empty": "", "name": "é"}


@pytest.mark.parametrize(
    "parameters", [b"", b" ; charset=utf-8", b";charset=utf-8; boundary=x", b";"]
)
@pytest.mark.parametrize(
    "name", [b"application/x-www-form-urlencoded", b"Application/X-WWW-Form-URLencoded"]
)
async def test_a_form_is_known_by_its_media_type_alone(name: bytes, parameters: bytes) -> None:
    assert await visit(b"a=1", (b"content-type", name + parameters)).form() == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=1", ()),
        (b"a=1", ((b"Content-Type", b"text/plain"),)),
        (b"a=1", ((b"Content-Type", b"multipart/form-data; boundary=x"),)),
        (b"a=1&a=2", (FORM,)),
        (b"&".join(b"%d=1" % number for number in range(20)), (FORM,)),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(
    body: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    with pytest.raises(RequestRefused) as refused:
        await visit(body, *fields).form()
    assert refused.value.status == 400


async def test_a_form_may_be_as_large_and_have_as_many_fields_as_the_limits_say() -> None:
    assert FORM_BYTES == 16_384
    text = "x" * (FORM_BYTES - len("a="))
    assert await visit(b"a=" + text.encode(), FORM).form() == {"a": text}
    names = [str(number) for number in range(17)]
    query = "&".join(f"{name}=1" for name in names[:16])
    assert visit(target=f"/_sidecar/page/x?{query}").query == dict.fromkeys(names[:16], "1")
    with pytest.raises(RequestRefused, match="more parameters") as refused:
        assert visit(target=f"/_sidecar/page/x?{query}&16=1").query
    assert refused.value.status == 400


async def test_a_form_that_is_too_large_is_refused() -> None:
    with pytest.raises(RequestRefused) as refused:
        await visit(b"a=" + b"x" * FORM_BYTES, FORM).form()
    assert refused.value.status == 413


async def test_a_query_is_read() -> None:
    assert visit(target="/_sidecar/page/x?a=1&b=%20").query == {"a": "1", "b": " "}
    with pytest.raises(RequestRefused):
        assert visit(target="/_sidecar/page/x?a=1&a=2").query
