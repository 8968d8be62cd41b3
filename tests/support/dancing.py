"""What tests of the OAuth dance share: an authorizer, a user with a browser, a server gone odd."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.config.load import Config
from sidecar.sandbox import Sandbox
from sidecar.upstream.pool import Upstream
from tests.support.stream_server import StreamServer
from tests.support.wire import Client, Response

FORM = ("Content-Type", "application/x-www-form-urlencoded")


class Clock:
    """A clock that a test sets; everything that is not told otherwise goes by it."""

    def __init__(self, now: float = 1_763_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def authorizing(config: Config, clock: Callable[[], float]) -> AsyncIterator[Authorizer]:
    """An authorizer that signs by `clock`."""
    upstream = Upstream(config)
    identity = Identity(config, clock=clock)
    try:
        yield Authorizer(identity, upstream, config.timeouts.response, clock=clock)
    finally:
        await upstream.close()


async def visit(url: str) -> Response:
    """Open a page as a browser does."""
    parts = urlsplit(url)
    client = Client(parts.hostname or "", parts.port or 80)
    return await client.get(f"{parts.path}?{parts.query}")


async def decide(url: str, *, deny: bool = False) -> Response:
    """Press Allow, or Deny, on the approval page at `url`; the answer is Jira's, not followed."""
    page = await visit(url)
    assert page.status == 200
    parts = urlsplit(url)
    button = "deny=Deny" if deny else "approve=Allow"
    form = f"{parts.query}&atl_token={xsrf_token_of(page)}&{button}"
    client = Client(parts.hostname or "", parts.port or 80)
    return await client.request("POST", parts.path, FORM, body=form.encode())


def xsrf_token_of(page: Response) -> str:
    """The hidden field of the approval page, without which Jira takes no form."""
    match = re.search(rb'name="atl_token" value="(\w+)"', page.body)
    assert match, page
    return match[1].decode()


async def approve(url: str) -> str:
    """Press Allow where there is no callback, and read the verification code off the page."""
    page = await decide(url)
    match = re.search(rb"verification code is '(\w+)'", page.body)
    assert match, page
    return match[1].decode()


def request_token_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["oauth_token"][0]


def seen(sandbox: Sandbox) -> list[str]:
    """The requests that a sandbox has seen: `POST access-token`, in their order."""
    return [f"{r.method} {r.target.partition('?')[0].rpartition('/')[2]}" for r in sandbox.log]


class Odd(StreamServer):
    """A server that gives each request the next of its answers, whatever was asked."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__(self._answer)
        self.answers = list(answers)
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answers.pop(0))
        writer.close()
        await writer.wait_closed()


def answer(status: int, body: bytes | str = b"", *fields: str) -> bytes:
    """An answer on the wire, after which the connection ends."""
    data = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status} ", *fields, f"Content-Length: {len(data)}", "Connection: close"]
    return "\r\n".join([*head, "", ""]).encode() + data
