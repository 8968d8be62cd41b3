"""A relay in plain aiohttp that signs nothing: how fast bodies pass without anything of ours.

Run by the benchmark; LISTEN (host:port) and UPSTREAM (an origin) come from the environment.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

UPSTREAM = os.environ["UPSTREAM"]
HOP_BY_HOP = frozenset({"connection", "host", "keep-alive", "transfer-encoding"})
SESSION = web.AppKey("session", aiohttp.ClientSession)


def passed(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """What is not hop-by-hop."""
    return CIMultiDict((n, v) for n, v in headers.items() if n.lower() not in HOP_BY_HOP)


async def forward(request: web.Request) -> web.StreamResponse:
    """Send the request on and stream the answer back."""
    async with request.app[SESSION].request(
        request.method,
        URL(UPSTREAM + request.path_qs, encoded=True),
        headers=passed(request.headers),
        data=request.content if request.body_exists else None,
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.CONTENT_TYPE, hdrs.ACCEPT_ENCODING),
        allow_redirects=False,
    ) as response:
        answer = web.StreamResponse(status=response.status, headers=passed(response.headers))
        await answer.prepare(request)
        async for piece in response.content.iter_any():
            await answer.write(piece)
        await answer.write_eof()
        return answer


async def session(app: web.Application) -> AsyncIterator[None]:
    """One session, without limits on size or time."""
    async with aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as client:
        app[SESSION] = client
        yield


def main() -> None:
    """Serve until SIGTERM."""
    host, port = os.environ["LISTEN"].split(":")
    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{target:.*}", forward)
    web.run_app(
        app, host=host, port=int(port), print=None, access_log=None, loop=uvloop.new_event_loop()
    )


if __name__ == "__main__":
    main()
