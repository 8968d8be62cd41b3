"""`sidecar check`: everything between the configuration and a search that Jira answers as us.

Nothing is changed on the way, here or in Jira: where there is no token to sign with, a request
token is asked for, which lapses unused.  The steps, in their order, by their fixed names:

configuration    it can be read and makes sense; Jira Cloud is none
private_key      it can be read and signs (a policy may forbid SHA-1)
file_modes       nobody else can read key, passphrase, token and access key
token            there is one, it is this Jira's, and it lives on for a while
name_resolution  Jira's name, or its proxy's, has an address
connection       something listens there
tls              its certificate is trusted and ours, if any, accepted; passes for plain http
jira             it is Jira that answers, not a login page, a captive portal or a web server
clock            Jira's clock and ours agree
signature        Jira accepts a signature of ours: consumer key, key and URL fit
user             who the token acts as
anonymous        a search is answered as that user, and its query arrives unchanged
context_path     jira.base_url has Jira's context path; what Jira calls itself

A step that fails does not keep later ones from being tried, unless it leaves them nothing to
try with: those are "skipped", and say for want of what.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.check import answers, local
from sidecar.check.asking import Asked, Asker
from sidecar.check.step import NotTried, Passed, Step, as_json, exit_code, failed
from sidecar.check.way import Way, is_address
from sidecar.clock import TOLERANCE
from sidecar.config import Config
from sidecar.credentials import TokenCredentials
from sidecar.dance import lifetime
from sidecar.errors import ConfigError, NotAuthorized, SidecarError, UpstreamError
from sidecar.refusals import Step as DanceStep
from sidecar.refusals import printable
from sidecar.upstream import Answer, Upstream

__all__ = ["Check", "Step", "as_json", "exit_code"]

CLOCKS_APART = 300 - TOLERANCE
"""Seconds beyond which the clocks are too far apart: Jira's 300, with room for a slow request."""

_SEARCH = "jql=order+by+created&maxResults=0"
_MYSELF = "/rest/api/2/myself"

_QUESTIONS = {
    "configuration": "Whether the configuration makes sense",
    "private_key": "Whether the private key signs",
    "file_modes": "Whether nobody else can read the secrets",
    "token": "Whether there is a usable access token",
    "name_resolution": "Whether Jira's name has an address",
    "connection": "Whether Jira takes connections",
    "tls": "Whether TLS with Jira works",
    "jira": "Whether it is Jira that answers",
    "clock": "Whether the clocks agree",
    "signature": "Whether Jira accepts our signature",
    "user": "Who we are to Jira",
    "anonymous": "Whether searches are answered as us",
    "context_path": "Whether jira.base_url has the right context path",
}

Value = TypeVar("Value")


class Check:
    """Takes the steps one after the other, and keeps what the later ones need."""

    def __init__(self, load: Callable[[], Config], *, clock: Callable[[], float] = time.time):
        """`load` reads the configuration; `clock` is this machine's."""
        self._load = load
        self._now = clock
        self._config: Config | None = None
        self._key: RSAPrivateKey | None = None
        self._token: TokenCredentials | None = None
        self._token_lives = False
        self._way: Way | None = None
        self._resolved = self._connected = self._secured = False
        self._upstream: Upstream | None = None
        self._asker: Asker | None = None  # from when Jira is known to answer
        self._info: answers.ServerInfo | None = None
        self._difference: float | None = None
        self._myself: Asked | None = None
        self._accepted = self._known = False

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
            if self._upstream is not None:
                await self._upstream.close()
        return taken

    def _steps(self) -> dict[str, Callable[[], Awaitable[Passed]]]:
        return {
            "configuration": self._configuration,
            "private_key": self._private_key,
            "file_modes": self._file_modes,
            "token": self._access_token,
            "name_resolution": self._name_resolution,
            "connection": self._connection,
            "tls": self._tls,
            "jira": self._jira,
            "clock": self._clock,
            "signature": self._signature,
            "user": self._user,
            "anonymous": self._anonymous,
            "context_path": self._context_path,
        }

    # --- here ---

    async def _configuration(self) -> Passed:
        self._config = self._load()
        return local.configuration(self._config)

    async def _private_key(self) -> Passed:
        self._key, passed = local.private_key(self._needed_config())
        return passed

    async def _file_modes(self) -> Passed:
        return local.file_modes(self._needed_config())

    async def _access_token(self) -> Passed:
        token = self._token = local.load_token(self._needed_config())
        if local.has_ended(token, self._now()):
            raise local.ended(token, self._now())
        self._token_lives = True
        return local.token_passed(token, self._now())

    # --- the way there ---

    async def _name_resolution(self) -> Passed:
        way = self._way = Way(self._needed_config())
        addresses = await way.resolve()
        self._resolved = True
        host = way.peer.host
        if is_address(host):
            return Passed(f"{host} is an address already: there is no name to resolve.")
        whose = " (the proxy looks for Jira)" if way.through_proxy else ""
        return Passed(f"{host} has the address {', '.join(addresses[:4])}{whose}.")

    async def _connection(self) -> Passed:
        way = _needed(self._way if self._resolved else None, "an address of Jira's")
        address = await way.connect()
        self._connected = True
        return Passed(f"{way.peer.name} takes connections, at {address}.")

    async def _tls(self) -> Passed:
        way = _needed(self._way if self._connected else None, "a connection to Jira")
        secured = await way.secure()
        self._secured = True
        if secured is None:
            return Passed("There is no TLS to look at: jira.base_url is plain http.")
        message = f"The TLS certificate is trusted ({secured.version})"
        if secured.ends_at is None:
            return Passed(f"{message}.")
        message = f"{message}, until {local.day(secured.ends_at)}."
        if secured.ends_at - self._now() < local.WARNED_BEFORE:
            return Passed(message, "have it renewed before then by whoever runs Jira")
        return Passed(message)

    # --- who is there ---

    async def _jira(self) -> Passed:
        config = _needed(self._config if self._secured else None, "a way to Jira")
        self._upstream = Upstream(config)
        asker = Asker(config, self._upstream, self._key, self._now)
        base = asker.base
        answer, self._difference = await asker.unsigned(base.path + answers.SERVER_INFO)
        note = ""
        if not answers.is_jiras(answer):
            if await self._answers_signed(asker, answer):
                note = " Strangers are led elsewhere, and signed requests get through."
            elif (found := await self._find(asker, answer)) is not None:
                answer = found
            else:
                raise answers.not_jira(answer, base)
        if answers.is_cloud(answer):
            raise local.is_cloud(base.host)
        asker.clock.difference = self._difference
        self._info = self._info or answers.server_info(answer)
        self._asker = asker
        version = f" {self._info.version}" if self._info and self._info.version else ""
        return Passed(f"Jira{version} answers at {asker.base}.{note}")

    async def _answers_signed(self, asker: Asker, answer: Answer) -> bool:
        """Whether what keeps strangers out lets signed requests through to Jira."""
        if not asker.can_sign or answer.status == 404:
            return False
        if self._token is not None and self._token_lives:
            asked = await asker.signed(answers.SERVER_INFO, "", self._token)
            self._info = answers.server_info(asked.answer)
        else:
            asked = await asker.request_token()
        return answers.is_jiras(asked.answer) or b"oauth_token=" in asked.answer.body

    async def _find(self, asker: Asker, answer: Answer) -> Answer | None:
        """Look for Jira below other context paths; its serverInfo there, and the asker moved."""
        base = asker.base
        if answer.status >= 500 or answers.redirected_elsewhere(answer, base):
            return None
        root, _ = await asker.unsigned("/")
        redirected = [answers.redirected_path(one, base) for one in (answer, root)]
        known = self._token.server_url if self._token is not None else None
        paths = [*redirected, *answers.paths_to_try(base, known)]
        for path in dict.fromkeys(path for path in paths if path not in (None, base.path)):
            found, difference = await asker.unsigned(f"{path}{answers.SERVER_INFO}")
            if answers.server_info(found) is not None:
                asker.move(replace(base, path=path))
                self._difference = difference
                return found
        return None

    async def _clock(self) -> Passed:
        _needed(self._asker, "an answer of Jira's")
        difference = self._difference
        if difference is None:
            return Passed("Jira's answers tell no time; it accepts signatures if the clocks agree.")
        if abs(difference) <= TOLERANCE:
            return Passed(f"Jira's clock and this machine's agree ({abs(difference):.1f} s apart).")
        way = "ahead of" if difference > 0 else "behind"
        message = f"Jira's clock is {lifetime(abs(difference))} {way} this machine's"
        if abs(difference) <= CLOCKS_APART:
            hint = "let NTP set both clocks, before they are 5 minutes apart"
            return Passed(f"{message}; Jira allows 5 minutes.", hint)
        raise NotAuthorized(
            f"{message}, and Jira refuses what is signed more than 5 minutes off.",
            "set this machine's clock, or Jira's, with NTP for good (timedatectl set-ntp true);"
            " meanwhile `sidecar run` corrects for it by itself",
        )

    # --- whom it takes us for ---

    async def _signature(self) -> Passed:
        asker = _needed(self._asker, "an answer of Jira's")
        if not asker.can_sign:
            raise NotTried("a usable private key")
        note = ""
        if self._token is not None and self._token_lives:
            self._myself = await asker.signed(_MYSELF, "", self._token)
        if self._myself is None or _is_about_the_token(self._myself):
            note = " (a request token was asked for, which lapses unused)"
            await self._ask_for_request_token(asker)
        elif self._myself.problem is not None:
            raise asker.error(self._myself, DanceStep.MYSELF)
        elif not answers.is_jiras(self._myself.answer):
            raise answers.not_jira(self._myself.answer, asker.base)
        self._accepted = True
        if asker.difference is not None:
            raise ConfigError(
                f"Jira finds our signature invalid. {asker.difference.sentence}",
                f"{asker.difference.hint}. Until then `sidecar run` finds out by itself",
            )
        if asker.refused_time:
            raise NotAuthorized(
                "Jira refuses the time that its own answers show: its clock, or that of the reverse"
                " proxy in front of it, is wrong.",
                "have both set with NTP; meanwhile `sidecar run` corrects for it by itself",
            )
        return Passed(f"Jira accepts our signature{note}.")

    async def _ask_for_request_token(self, asker: Asker) -> None:
        """Find out about the signature alone: the token is looked at before it."""
        asked = await asker.request_token()
        if asked.problem is not None:
            raise asker.error(asked, DanceStep.REQUEST_TOKEN)
        if asked.answer.status != 200 or b"oauth_token=" not in asked.answer.body:
            raise answers.unwilling(asked.answer, asker.base, "for a request token")

    async def _user(self) -> Passed:
        asker = _needed(self._asker, "an answer of Jira's")
        asked = _needed(self._myself, "an access token that is alive")
        if not self._accepted:
            raise NotTried("a signature that Jira accepts")
        if asked.problem is not None:
            raise self._token_error(asker, asked)
        document = answers.json_object(asked.answer) if asked.answer.status == 200 else None
        name, shown = ((document or {}).get(key) for key in ("name", "displayName"))
        if not isinstance(name, str):
            raise answers.unwilling(asked.answer, asker.base, "who we are")
        self._known = True
        person = local.who(name, shown if isinstance(shown, str) else None)
        return Passed(f"Jira takes us for {person}.")

    def _token_error(self, asker: Asker, asked: Asked) -> SidecarError:
        assert asked.problem is not None and self._token is not None
        if asked.problem.name == "token_expired":
            return local.ended(replace(self._token, expires_at=None), self._now())
        if asked.problem.name == "anonymous":
            return _dropped(asker, "the question who we are")
        return asker.error(asked, DanceStep.MYSELF)

    async def _anonymous(self) -> Passed:
        asker = _needed(self._asker, "an answer of Jira's")
        asked = _needed(self._myself, "an access token that is alive")
        if not self._accepted and asked.problem and asked.problem.name == "anonymous":
            raise _dropped(asker, "our signed requests")
        if not self._known or self._token is None:
            raise NotTried("a user whom Jira knows us as")
        asked = await asker.signed("/rest/api/2/search", _SEARCH, self._token)
        if asked.problem is not None and asked.problem.name != "anonymous":
            raise asker.error(asked, DanceStep.MYSELF)
        if asked.problem is not None:
            raise _dropped(asker, "a search")
        if asked.user:
            return Passed(f"Searches are answered as {printable(asked.user)}, not as anonymous.")
        if asked.answer.status >= 400 or not answers.json_object(asked.answer):
            raise answers.unwilling(asked.answer, asker.base, "for issues")
        return Passed("Searches are answered; for whom (X-AUSERNAME) something on the way drops.")

    async def _context_path(self) -> Passed:
        config = self._needed_config()
        asker = _needed(self._asker, "an answer of Jira's")
        base = config.jira.base_url
        if asker.base != base:
            raise answers.context_path_wrong(base, asker.base)
        if self._info is None and self._known and self._token is not None:
            asked = await asker.signed(answers.SERVER_INFO, "", self._token)
            self._info = answers.server_info(asked.answer)
        path = f"the right context path, {base.path}" if base.path else "rightly no context path"
        message = f"jira.base_url has {path}"
        if self._info is None or not self._info.base_url:
            return Passed(f"{message}; what Jira calls itself it does not say.")
        if self._info.base_url.rstrip("/") == str(base):
            return Passed(f"{message}, and Jira calls itself the same.")
        links = "are led to the sidecar" if config.links.rewrite else "lead past the sidecar"
        return Passed(f"{message}; Jira calls itself {self._info.base_url}: links on that {links}.")

    def _needed_config(self) -> Config:
        return _needed(self._config, "a configuration")


async def _take(name: str, take: Callable[[], Awaitable[Passed]]) -> Step:
    """Take one step, whatever comes of it."""
    try:
        passed = await take()
    except NotTried as want:
        return Step(name, "skipped", f"{_QUESTIONS[name]} was not tried, for want of {want}.")
    except SidecarError as error:
        return failed(name, error)
    return Step(name, "pass", passed.message, passed.hint)


def _needed(value: Value | None, what: str) -> Value:
    if value is None:
        raise NotTried(what)
    return value


def _is_about_the_token(asked: Asked) -> bool:
    """Whether Jira's problem says nothing about the signature: it looks at the token first."""
    name = asked.problem.name if asked.problem is not None else ""
    about = ("token_", "permission_", "user_", "additional_", "anonymous")
    return name.startswith(about)


def _dropped(asker: Asker, what: str) -> UpstreamError:
    return UpstreamError(
        f"Jira answers {what} as anonymous, though signed: something on the way drops the"
        " Authorization field.",
        f"let the reverse proxy or gateway in front of {asker.base.authority} pass Authorization"
        " on unchanged, below /rest/ too; or the user may not log in",
    )
