"""What one writes first in Python: aiohttp, and oauthlib as its documentation shows it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web
from oauthlib.oauth1 import SIGNATURE_RSA, Client

HOST, PORT = os.environ["LISTEN"].split(":")
UPSTREAM = os.environ["UPSTREAM"]
OAUTH = Client(
    os.environ["CONSUMER_KEY"],
    resource_owner_key=os.environ["TOKEN"],
    signature_method=SIGNATURE_RSA,
    rsa_key=Path(os.environ["PRIVATE_KEY"]).read_text(),
)
SESSION = web.AppKey("session", aiohttp.ClientSession)


async def forward(request: web.Request) -> web.Response:
    """Sign, send, and answer what came back."""
    uri, headers, _ = OAUTH.sign(UPSTREAM + request.path_qs, http_method=request.method)
    async with request.app[SESSION].request(
        request.method, uri, headers=headers, data=await request.read() or None
    ) as response:
        return web.Response(
            status=response.status,
            body=await response.read(),
            headers={"Content-Type": response.headers.get("Content-Type", "text/plain")},
        )


async def session(app: web.Application) -> AsyncIterator[None]:
    """One session for all requests, as aiohttp's documentation wants it."""
    async with aiohttp.ClientSession() as client:
        app[SESSION] = client
        yield


app = web.Application(client_max_size=1 << 30)
app.cleanup_ctx.append(session)
app.router.add_route("*", "/{target:.*}", forward)
web.run_app(app, host=HOST, port=int(PORT), print=None, access_log=None)
