"""The steps that ask Jira: who is there, what time it has, whom it takes us for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.own_requests import Asked, Heard
from sidecar.check import answers, local
from sidecar.check.asking import Asker, user
from sidecar.check.step import NotTried, Passed, needed
from sidecar.config.load import Config
from sidecar.credentials import TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, SidecarError, UpstreamError
from sidecar.http.shown import full_name
from sidecar.http.target import BaseURL
from sidecar.jira.problems import json_object
from sidecar.jira.refusals import DanceStep
from sidecar.signin.dance import lifetime
from sidecar.upstream.pool import Upstream

CLOCKS_DRIFT = 30.0
"""Seconds between the clocks from which on they are worth a note."""
CLOCKS_APART = 270.0
"""Seconds between the clocks that are too many: Jira's 300, less what a slow request takes."""

_SEARCH = "jql=order+by+created&maxResults=0"


class Conversation:
    """One round of questions to Jira; begin() it first, close() it last."""

    def __init__(
        self,
        config: Config,
        key: RSAPrivateKey | None,
        token: TokenCredentials | None,
        now: Callable[[], float],
    ) -> None:
        """Raises ConfigError for certificates that cannot be used."""
        self._config = config
        self._base = config.jira.base_url
        self._token = token
        self._now = now
        self._usable = None if token is None or local.has_ended(token, now()) else token
        self._upstream = Upstream(config)
        self._asker = Asker(config, self._upstream, key, now)
        self._info: answers.ServerInfo | None = None
        self._myself: Asked | None = None
        self._accepted = False
        self._known = False
        self.is_with_jira = False
        """Whether it is Jira that answers."""

    async def close(self) -> None:
        """Close every connection."""
        await self._upstream.close()

    async def begin(self) -> Passed:
        """See whether it is Jira that answers, and below which path."""
        asked = await self._asker.unsigned(self._base.path + answers.SERVER_INFO)
        note = ""
        if not answers.is_jiras(asked.answer):
            if (signed := await self._ask_signed(asked)) is not None:
                note = " It refuses unsigned requests and lets signed ones through."
                asked = signed
            elif (found := await self._find(asked)) is not None:
                asked = found
            else:
                raise answers.not_jira(asked.answer, self._base)
        if answers.is_cloud(asked.answer):
            raise local.is_cloud(self._base.host)
        self._asker.compare_clocks(asked)
        self._info = answers.server_info(asked.answer)
        self.is_with_jira = True
        version = f" {self._info.version}" if self._info and self._info.version else ""
        return Passed(f"Jira{version} answers at {self._asker.base}.{note}")

    async def _ask_signed(self, asked: Heard) -> Asked | None:
        """Jira's answer, if what keeps strangers out lets signed requests through."""
        if not self._asker.can_sign or asked.answer.status == 404:
            return None
        if self._usable is not None:
            signed = await self._asker.signed(answers.SERVER_INFO, "", self._usable)
        else:
            signed = await self._asker.request_token()
        is_jiras = answers.is_jiras(signed.answer) or answers.is_token(signed.answer)
        return signed if is_jiras else None

    async def _find(self, asked: Heard) -> Heard | None:
        """Look for Jira below other context paths of the host, and go on there if it is found."""
        base = self._base
        redirected = answers.redirected_path(
            asked.answer, base.origin, base.path + answers.SERVER_INFO
        )
        is_led_away = 300 <= asked.answer.status < 400 and redirected is None
        if asked.answer.status >= 500 or is_led_away:
            return None
        root = await self._asker.unsigned("/")
        home = answers.redirected_path(root.answer, base.origin, "/")
        known = self._token.server_url if self._token is not None else None
        paths = [redirected, home, *answers.paths_to_try(base, known)]
        for path in dict.fromkeys(path for path in paths if path not in (None, base.path)):
            found = await self._asker.unsigned(f"{path}{answers.SERVER_INFO}")
            if path is not None and answers.server_info(found.answer) is not None:
                self._asker.move(replace(base, path=path))
                return found
        return None

    async def context_path(self) -> Passed:
        """See whether jira.base_url has Jira's context path, and what Jira calls itself."""
        base = self._base
        if self._asker.base != base:
            raise answers.context_path_wrong(base, self._asker.base)
        if self._info is None and self._usable is not None and self._asker.can_sign:
            asked = await self._asker.signed(answers.SERVER_INFO, "", self._usable)
            self._info = answers.server_info(asked.answer)
        path = f"the right context path, {base.path}" if base.path else "correctly no context path"
        message = f"jira.base_url has {path}"
        if self._info is None or not self._info.base_url:
            return Passed(f"{message}; Jira does not say what it calls itself.")
        named = self._named(self._info.base_url)
        if named == base:
            return Passed(f"{message}, and Jira calls itself the same.")
        if named is not None and named.path != base.path and not await self._is_accepted():
            raise answers.context_path_wrong(base, replace(base, path=named.path))
        links = "are led to the sidecar" if self._config.links.rewrite else "lead past the sidecar"
        shown = self._info.base_url
        return Passed(f"{message}; Jira calls itself {shown}, and links on that {links}.")

    async def _is_accepted(self) -> bool:
        """Whether Jira accepts our signature, asked before the step that says why it does not."""
        with suppress(SidecarError, NotTried):
            await self.signature()
        return self._accepted

    @staticmethod
    def _named(url: str) -> BaseURL | None:
        try:
            return BaseURL.parse(url)
        except ValueError:
            return None

    async def clock(self) -> Passed:
        """See whether Jira's clock and ours agree, by its answer's `Date`."""
        difference = self._asker.clock_difference
        if difference is None:
            return Passed(
                "Jira's answers have no Date; it accepts signatures only if the clocks agree."
            )
        apart = abs(difference)
        if apart <= CLOCKS_DRIFT:
            return Passed(f"Jira's clock and this machine's agree ({apart:.1f} s apart).")
        if apart <= CLOCKS_APART:
            message = f"{_clocks_apart(difference)}; Jira allows 5 minutes."
            return Passed(message, "have both set by NTP, before they are 5 minutes apart")
        message = f"{_clocks_apart(difference)}: Jira refuses what is signed over 5 minutes off."
        raise NotAuthorized(message, _SET_CLOCKS)

    async def signature(self) -> Passed:
        """See whether Jira accepts our signature, with the access token or without."""
        asker = self._asker
        if not asker.can_sign:
            raise NotTried("a usable private key")
        if self._usable is not None:
            self._myself = await asker.signed("/rest/api/2/myself", "", self._usable)
        note = ""
        if self._myself is None or _is_about_the_token(self._myself):
            note = " (a request token was asked for, which expires unused)"
            await self._ask_for_request_token()
        else:
            await self._judge(self._myself)
        self._accepted = True
        if asker.difference is not None:
            raise ConfigError(
                f"Jira finds our signature invalid. {asker.difference.sentence}",
                f"{asker.difference.hint}; until then `sidecar run` finds out anew at each start",
            )
        if asker.refused_time:
            apart = _clocks_apart(asker.clock_difference or 0.0)
            message = f"Jira refuses the time of a request: {apart}, whatever its answers show."
            raise NotAuthorized(message, _SET_CLOCKS)
        return Passed(f"Jira accepts our signature{note}.{asker.told}")

    async def _judge(self, myself: Asked) -> None:
        """Raise where an answer to `myself` does not show that the signature was accepted."""
        problem = myself.problem
        if problem is None:
            if not user(myself) and not _name(myself):
                raise answers.unwilling(myself.answer, self._asker.base, "who we are")
        elif problem.name == "anonymous":
            if self._usable is None or not await self._asker.is_heard(self._usable):
                raise self._dropped("our requests")
        elif problem.name == "key_size_mismatch":
            sizes = await self._asker.request_token()  # its page may tell the sizes
            is_same = sizes.problem is not None and sizes.problem.name == problem.name
            raise self._asker.error(sizes if is_same else myself, DanceStep.MYSELF)
        elif problem.name not in _AFTER_THE_SIGNATURE:
            raise self._asker.error(myself, DanceStep.MYSELF)

    async def _ask_for_request_token(self) -> None:
        """Find out about the signature alone: Jira looks at an access token before it."""
        asked = await self._asker.request_token()
        if asked.problem is not None:
            raise self._asker.error(asked, DanceStep.REQUEST_TOKEN)
        if not answers.is_token(asked.answer):
            raise answers.unwilling(asked.answer, self._asker.base, "for a request token")

    async def user(self) -> Passed:
        """See whom Jira takes us for."""
        asked = needed(self._myself, "an access token that is alive")
        if not self._accepted:
            raise NotTried("a signature that Jira accepts")
        if asked.problem is not None:
            raise self._token_error(asked)
        name = _name(asked)
        if name is None:
            raise answers.unwilling(asked.answer, self._asker.base, "who we are")
        self._known = True
        shown = (json_object(asked.answer.body) or {}).get("displayName")
        return Passed(f"Jira takes us for {full_name(name, str(shown) if shown else None)}.")

    def _token_error(self, asked: Asked) -> SidecarError:
        assert asked.problem is not None
        if asked.problem.name == "token_expired" and self._usable is not None:
            return local.ended(replace(self._usable, expires_at=None), self._now())
        if asked.problem.name == "anonymous" and not asked.problem.meaning:
            return self._dropped("the question who we are")
        return self._asker.error(asked, DanceStep.MYSELF)

    async def anonymous(self) -> Passed:
        """See whether a search is answered as us; Jira answers strangers with 200 and nothing."""
        asked = needed(self._myself, "an access token that is alive")
        if not self._accepted and asked.problem and asked.problem.name == "anonymous":
            raise self._dropped("our requests")
        if self._usable is None or not self._known:
            raise NotTried("a user whom Jira knows us as")
        asked = await self._asker.signed("/rest/api/2/search", _SEARCH, self._usable)
        if asked.problem is not None:
            if asked.problem.name == "anonymous":
                raise self._dropped("a search")
            raise self._asker.error(asked, DanceStep.MYSELF)
        if name := user(asked):
            return Passed(f"Searches are answered as {name}, not as anonymous.")
        if asked.answer.status != 200 or json_object(asked.answer.body) is None:
            raise answers.unwilling(asked.answer, self._asker.base, "for issues")
        return Passed("Searches are answered; the X-AUSERNAME that says as whom is missing.")

    def _dropped(self, what: str) -> UpstreamError:
        return UpstreamError(
            f"Jira answers {what} as anonymous, though signed: something on the way drops the"
            " Authorization field.",
            f"let the reverse proxy or gateway in front of {self._base.authority} pass"
            " Authorization on unchanged, below /rest/ too; else the user may not log in",
        )


_SET_CLOCKS = (
    "set this machine's clock, or Jira's, and have NTP keep it (timedatectl set-ntp true);"
    " meanwhile `sidecar run` corrects for it by itself"
)


def _clocks_apart(difference: float) -> str:
    way = "ahead of" if difference > 0 else "behind"
    return f"Jira's clock is {lifetime(abs(difference))} {way} this machine's"


def _name(asked: Asked) -> str | None:
    """The user's name in an answer of `myself`."""
    document = json_object(asked.answer.body) if asked.answer.status == 200 else None
    name = document.get("name") if document is not None else None
    return name if isinstance(name, str) and name else None


_AFTER_THE_SIGNATURE = frozenset({"two_legged_not_allowed", "three_legged_not_allowed"})
"""Jira looks at what the link allows once it has accepted the signature."""


def _is_about_the_token(asked: Asked) -> bool:
    """Whether Jira's problem says nothing about the signature: it looks at the token first."""
    if asked.problem is None or asked.problem.meaning:  # without a token, no problem is about it
        return False
    name = asked.problem.name
    return name.startswith(("token_", "permission_", "user_", "additional_", "anonymous"))
