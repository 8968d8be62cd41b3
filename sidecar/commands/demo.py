"""A sandbox Jira, a key, the dance and the sidecar in one process and a temporary folder."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.config.load import Config, load
from sidecar.credentials import TWO_LEGGED, TokenCredentials
from sidecar.errors import AddressInUse, ConfigError, SidecarError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from sidecar.server.server import Server
from sidecar.signin import dance
from sidecar.upstream.pool import Upstream, UpstreamRequest

CONSUMER_KEY = "OauthKey"
CONTEXT_PATH = "/jira"
_XSRF_TOKEN = re.compile(rb'name="atl_token" value="(\w+)"')
_CODE = re.compile(rb"verification code is '(\w+)'")


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo."""

    jira_url: str
    urls: list[str]
    token: TokenCredentials
    server: Server


@asynccontextmanager
async def running_demo(
    port: int,
    environ: MutableMapping[str, str],
    tell: Callable[[str], None],
    *,
    user: dance.User | None = None,
    two_legged: bool = False,
) -> AsyncIterator[Demo]:
    """Run everything, and remove it all at the end.

    `user` approves the access in a browser; without one, the demo does that itself.  There is
    nothing to approve if it is `two_legged`.  Raises AddressInUse where the port is taken.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sidecar-demo-")))
        key = keys.generate_private_key()
        sandbox = await stack.enter_async_context(
            Sandbox(
                public_key=key.public_key(),
                consumer_key=CONSUMER_KEY,
                context_path=CONTEXT_PATH,
                two_legged=two_legged,
            )
        )
        write_private(folder / "private_key.pem", keys.private_key_pem(key))
        settings = _settings(sandbox.url, folder, port, two_legged=two_legged)
        server = Server(settings, environ)
        urls = await _start(server)
        stack.push_async_callback(server.stop, 1.0)
        tell(f"a sandbox Jira runs at {sandbox.url}")
        token = await _sign_in(settings, user)
        yield Demo(sandbox.url, urls, token, server)


async def _start(server: Server) -> list[str]:
    """Listen; errors name the option that the demo has."""
    try:
        return await server.start()
    except AddressInUse as error:
        hint = "is another sidecar running? --port takes another port, and 0 any that is free"
        raise AddressInUse(error.message, hint) from None
    except ConfigError as error:
        hint = "--port takes another port; those below 1024 are root's"
        raise ConfigError(error.message, hint) from None


def _settings(jira_url: str, folder: Path, port: int, *, two_legged: bool) -> Config:
    return load(
        None,
        {"HOME": str(folder)},
        {
            "jira.base_url": jira_url,
            "jira.consumer_key": CONSUMER_KEY,
            "jira.private_key": str(folder / "private_key.pem"),
            "jira.two_legged": two_legged,
            "token.path": str(folder / "token.json"),
            "listen.addresses": [f"127.0.0.1:{port}", *([f"[::1]:{port}"] if port else [])],
        },
    )


async def _sign_in(settings: Config, user: dance.User | None) -> TokenCredentials:
    """Do what `sidecar auth` does while the sidecar runs, which then takes the token up."""
    upstream = Upstream(settings)
    authorizer = Authorizer(Identity(settings), upstream, settings.timeouts.response)
    files = dance.Files.of(settings)
    try:
        if settings.jira.two_legged:
            return await authorizer.introduce(TWO_LEGGED)
        if user is not None:
            return await dance.dance(authorizer, files, user)
        url = await dance.begin(authorizer, files)
        return await dance.finish_with(authorizer, files, await _approve(upstream, settings, url))
    finally:
        await upstream.close()


async def _approve(upstream: Upstream, settings: Config, url: str) -> str:
    """Press Allow on the approval page, as the user would; return the verification code."""
    base = settings.jira.base_url
    target = url.removeprefix(base.origin)
    host = (b"Host", base.authority.encode())
    page = await upstream.fetch(UpstreamRequest("GET", target, [host]))
    path, _, query = target.partition("?")
    form = f"{query}&atl_token={_read(_XSRF_TOKEN, page.body)}&approve=Allow".encode()
    fields = [
        host,
        (b"Content-Type", b"application/x-www-form-urlencoded"),
        (b"Content-Length", b"%d" % len(form)),
    ]
    answer = await upstream.fetch(UpstreamRequest("POST", path, fields, form))
    return _read(_CODE, answer.body)


def _read(pattern: re.Pattern[bytes], page: bytes) -> str:
    """Give what a page of the sandbox shows."""
    match = pattern.search(page)
    if match is None:
        raise SidecarError("the sandbox Jira showed another page than was expected")
    return match[1].decode()
