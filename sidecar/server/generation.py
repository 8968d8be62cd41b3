"""Everything that is built from one configuration; a reload builds it anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from sidecar.access.callers import AccessControl
from sidecar.account.authorize import Authorizer
from sidecar.account.healing import Healer
from sidecar.account.identity import Identity
from sidecar.account.standing import Standing
from sidecar.config.load import Config
from sidecar.downstream.replies import Reply
from sidecar.downstream.request import Request
from sidecar.errors import SidecarError
from sidecar.files.access_keys import AccessKeys
from sidecar.pacing.lines import Lines
from sidecar.proxy.handler import Proxy
from sidecar.proxy.visit import Local
from sidecar.telemetry.record import Record
from sidecar.telemetry.troubles import Troubles
from sidecar.upstream.pool import Upstream

_FIXED = ("listen.addresses", "listen.unix_mode", "limits.head_bytes", "admin.address")
"""Keys that only a restart changes."""


class Generation:
    """Answers requests by one configuration, in the name of one identity."""

    def __init__(
        self,
        config: Config,
        identity: Identity,
        access: AccessControl,
        *,
        troubles: Troubles,
        local: Local,
        finished: Callable[[Record], None],
        named: Callable[[str], str],
        lines: Lines,
    ) -> None:
        """Raises ConfigError for certificates that cannot be used."""
        self.config = config
        self.identity = identity
        self.lines = lines
        self.in_flight = 0
        self._free = asyncio.Event()
        self._upstream = Upstream(config)
        self.authorizer = Authorizer(identity, self._upstream, config.timeouts.response)
        self._healer = Healer(identity, self.authorizer, troubles)
        self.standing = Standing(identity, self.authorizer, self._healer, troubles)
        self._proxy = Proxy(
            config,
            identity=identity,
            upstream=self._upstream,
            access=access,
            healer=self._healer,
            standing=self.standing,
            troubles=troubles,
            local=local,
            finished=finished,
            named=named,
            lines=lines,
        )

    def start(self, before: Generation | None) -> None:
        """Begin what is done beside requests, in place of the generation `before`."""
        if before is None:
            self.standing.start()
            return
        known = before.standing.refusal if before.identity is self.identity else None
        self.standing.start(known, is_doubted=before.standing.is_in_doubt)

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._proxy.slots.waiting

    @property
    def renewal_trouble(self) -> SidecarError | None:
        """Why the access token could not be renewed, or the new one not be stored."""
        return self._healer.renewal.trouble

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        self.in_flight += 1
        try:
            return await self._proxy.handle(request)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._free.set()

    def refuse(self, error: SidecarError, client: str) -> Reply:
        """Answer bytes that never became a request, from a client at that address."""
        return self._proxy.refuse(error, client)

    def look_after_token(self) -> None:
        """Renew a token whose end is near, or warn of it, even if no request comes."""
        self._healer.renewal.renew_if_near_end()

    async def retire(self) -> None:
        """Close once the last request is answered, and a renewed token is safely stored."""
        await self.standing.close()
        while self.in_flight:
            self._free.clear()
            await self._free.wait()
        await self._healer.renewal.wait_saved()
        await self.close(self.config.timeouts.response)

    async def close(self, seconds: float) -> None:
        """Close the connections to Jira; a renewal under way has so long to come to its end."""
        await self.standing.close()
        await self._healer.close(seconds)
        await self._upstream.close()
        await self._proxy.close()


def access_rules(config: Config) -> AccessControl:
    """Compile the table `access`; raises ConfigError for a rule or a key that is no good."""
    key_file = config.access.key_file
    key = None if key_file is None else AccessKeys(key_file)
    return AccessControl(
        base_url=config.jira.base_url,
        hosts=config.access.hosts,
        origins=config.access.origins,
        key=key,
        read_only=config.access.read_only,
        allow=config.access.allow,
        deny=config.access.deny,
    )


def merged(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """Return the new configuration as far as it needs no restart, and the keys that need one."""
    waiting = []
    for name in _FIXED:
        table, _, key = name.partition(".")
        value = getattr(getattr(running, table), key)
        if getattr(getattr(wanted, table), key) != value:
            waiting.append(name)
            changed = replace(getattr(wanted, table), **{key: value})
            wanted = replace(wanted, **{table: changed})
    before, after = running.listen, wanted.listen
    if (before.tls_certificate is None) != (after.tls_certificate is None):
        waiting.append("listen.tls_certificate")
        listen = replace(after, tls_certificate=before.tls_certificate, tls_key=before.tls_key)
        wanted = replace(wanted, listen=listen)
    return wanted, waiting
