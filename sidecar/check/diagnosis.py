"""The steps of `sidecar check`, taken one after the other."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.check import local
from sidecar.check.step import NotTried, Passed, Step, failed, needed
from sidecar.config.load import Config
from sidecar.credentials import TWO_LEGGED, WARNING_SECONDS, TokenCredentials
from sidecar.errors import ConfigError, ConnectionLost, SidecarError, UpstreamError

if TYPE_CHECKING:
    from sidecar.check.conversation import Conversation
    from sidecar.check.way import Way

_QUESTIONS = {
    "configuration": "Whether the configuration makes sense",
    "private_key": "Whether the private key signs",
    "file_modes": "Whether nobody else can read the secrets",
    "name_resolution": "Whether Jira's name has an address",
    "connection": "Whether Jira takes connections",
    "tls": "Whether TLS with Jira works",
    "jira": "Whether it is Jira that answers",
    "context_path": "Whether jira.base_url has the right context path",
    "clock": "Whether the clocks agree",
    "token": "Whether there is a usable access token",
    "signature": "Whether Jira accepts our signature",
    "user": "Whom Jira takes us for",
    "anonymous": "Whether searches are answered as us",
}
_MEND = "mend that, then run `sidecar check` again"
_TRY_AGAIN = (
    "a firewall or reverse proxy on the way, or a Jira that is being restarted, does this: try"
    " again, then ask whoever runs it"
)


class Check:
    """Takes the steps one after the other, and keeps what the later ones need."""

    def __init__(self, load: Callable[[], Config], *, clock: Callable[[], float] = time.time):
        """`load` reads the configuration; `clock` is this machine's."""
        self._load = load
        self._now = clock
        self._config: Config | None = None
        self._key: RSAPrivateKey | None = None
        self._way: Way | None = None
        self._resolved = self._connected = self._secured = False
        self._conversation: Conversation | None = None

    async def run(self, tell: Callable[[Step], None]) -> list[Step]:
        """Take all steps; `tell` hears of each as soon as it is taken."""
        taken = []
        try:
            for name, take in self._steps().items():
                step = await _take(name, take)
                tell(step)
                taken.append(step)
        finally:
            if self._way is not None:
                self._way.close()
            if self._conversation is not None:
                await self._conversation.close()
        return taken

    def _steps(self) -> dict[str, Callable[[], Awaitable[Passed]]]:
        return {
            "configuration": self._configuration,
            "private_key": self._private_key,
            "file_modes": self._file_modes,
            "name_resolution": self._name_resolution,
            "connection": self._connection,
            "tls": self._tls,
            "jira": self._jira,
            "context_path": lambda: self._talk().context_path(),
            "clock": lambda: self._talk().clock(),
            "token": self._access_token,
            "signature": lambda: self._talk().signature(),
            "user": lambda: self._talk().user(),
            "anonymous": lambda: self._talk().anonymous(),
        }

    async def _configuration(self) -> Passed:
        self._config = self._load()
        return local.configuration(self._config)

    async def _private_key(self) -> Passed:
        self._key, passed = local.private_key(self._needed_config())
        return passed

    async def _file_modes(self) -> Passed:
        return local.file_modes(self._needed_config())

    async def _access_token(self) -> Passed:
        config = self._needed_config()
        if config.jira.two_legged:
            return local.no_token_needed(config)
        return local.access_token(config, local.load_token(config), self._now())

    async def _name_resolution(self) -> Passed:
        # aiohttp, behind this, fails where OpenSSL can do nothing: what is above is said by then.
        from sidecar.check.way import Way
        from sidecar.upstream.dialling import is_address

        way = self._way = Way(self._needed_config())
        addresses = await way.resolve()
        self._resolved = True
        host = way.peer.host
        if is_address(host):
            return Passed(f"{host} is an address already: there is no name to resolve.")
        rest = " (the proxy looks up Jira's)" if way.through_proxy else ""
        return Passed(f"The name {host} has the address {', '.join(addresses[:4])}{rest}.")

    async def _connection(self) -> Passed:
        way = needed(self._way if self._resolved else None, "an address")
        address = await way.connect()
        self._connected = True
        return Passed(f"{way.peer.name} takes connections, at {address}.")

    async def _tls(self) -> Passed:
        way = needed(self._way if self._connected else None, "a connection")
        secured = await way.secure()
        self._secured = True
        if secured is None:
            return Passed("There is no TLS to look at: jira.base_url is plain http.")
        message = f"The TLS certificate is trusted ({secured.version})"
        if secured.ends_at is None:
            return Passed(f"{message}.")
        message = f"{message}, until {local.day(secured.ends_at)}."
        if secured.ends_at - self._now() < WARNING_SECONDS:
            return Passed(message, "have it renewed before then by whoever runs Jira")
        return Passed(message)

    async def _jira(self) -> Passed:
        from sidecar.check.conversation import Conversation

        config = needed(self._config if self._secured else None, "a way to Jira")
        self._conversation = Conversation(config, self._key, _token(config), self._now)
        try:
            return await self._conversation.begin()
        except ConnectionLost as error:
            hint = _TRY_AGAIN
            if self._way is not None and self._way.hung_up:
                url = f"https{str(config.jira.base_url)[4:]}"
                hint = f'if that port speaks https, jira.base_url = "{url}"; else {hint}'
            raise ConnectionLost(error.message, hint) from None

    def _talk(self) -> Conversation:
        if self._conversation is None or not self._conversation.is_with_jira:
            raise NotTried("an answer of Jira's")
        return self._conversation

    def _needed_config(self) -> Config:
        return needed(self._config, "a configuration")


def _token(config: Config) -> TokenCredentials | None:
    """The token to sign with, if there is one; what is wrong with it is a later step's affair."""
    if config.jira.two_legged:
        return TWO_LEGGED
    try:
        return local.load_token(config)
    except SidecarError:
        return None


async def _take(name: str, take: Callable[[], Awaitable[Passed]]) -> Step:
    """Take one step, whatever comes of it."""
    try:
        passed = await take()
    except NotTried as want:
        return Step(name, "skipped", f"{_QUESTIONS[name]} was not tried: that needs {want}.")
    except SidecarError as error:
        return failed(name, error, _TRY_AGAIN if isinstance(error, UpstreamError) else _MEND)
    except ssl.SSLError as error:  # none of a connection's: those are UpstreamErrors
        reason = (error.reason or str(error)).replace("_", " ").lower()
        message = f"OpenSSL cannot do TLS here: {reason}."
        return failed(
            name, ConfigError(message, "see OPENSSL_CONF and this system's crypto policy")
        )
    return Step(name, "pass", passed.message, passed.hint)
