"""Asking Jira, unsigned and signed, with what `run` would heal healed and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.clock import JiraClock
from sidecar.account.own_requests import (
    REQUEST_TOKEN,
    Asked,
    Heard,
    OwnRequests,
    Question,
    is_accepted,
)
from sidecar.account.request_signer import RequestSigner
from sidecar.account.signing_url import SigningURL
from sidecar.config.load import Config
from sidecar.credentials import TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, SidecarError
from sidecar.files import keys
from sidecar.http.fields import first
from sidecar.http.http_date import http_date
from sidecar.http.shown import printable
from sidecar.http.target import BaseURL
from sidecar.jira.base_strings import Difference
from sidecar.jira.problems import explain
from sidecar.jira.refusals import Consumer, DanceStep, refused
from sidecar.rotation.next_key import KEY_PROBLEMS, NextKey
from sidecar.signing.signer import Signer
from sidecar.upstream.pool import Upstream

_TRIES = 3
"""Clock and URL may both be wrong."""


class Asker:
    """Asks one Jira; may be led to another context path, clock or signing URL on the way."""

    def __init__(
        self,
        config: Config,
        upstream: Upstream,
        key: RSAPrivateKey | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.difference: Difference | None = None
        """Between the URL that Jira believes in and ours, where that alone was wrong."""
        self.refused_time = False
        """Whether Jira refused a time that its own `Date` had told."""
        self.told = ""
        """What has become of a private key that was to follow."""
        self._next_key = NextKey(config.jira.private_key, config.jira.private_key_passphrase_file)
        self._two_legged = config.jira.two_legged
        self._clock = JiraClock(clock)
        self._requests = OwnRequests(upstream, config.timeouts.response, clock=clock)
        self._key = key
        self._consumer_key = config.jira.consumer_key
        self._act_as = config.jira.act_as
        self.base = config.jira.base_url
        self._signing_url = SigningURL(self.base, config.jira.signing_url)

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign with."""
        return self._key is not None

    @property
    def clock_difference(self) -> float | None:
        """Jira's clock minus ours, in seconds: what is signed goes by it."""
        return self._clock.difference

    def move(self, base: BaseURL) -> None:
        """Go on with another context path on the same host."""
        signing_url = self._signing_url.url
        self._signing_url = SigningURL(base, base if signing_url == self.base else signing_url)
        self.base = base

    def compare_clocks(self, heard: Heard) -> None:
        """Take Jira's clock from an answer's `Date`, if it tells."""
        date = first(heard.answer.fields, b"date")
        shown = http_date(date) if date is not None else None
        if shown is None or first(heard.answer.fields, b"age") is not None:  # a cache's is old
            return
        self._clock.believe(shown + 0.5 - heard.answered_at)  # whole seconds, cut off

    async def unsigned(self, target: str) -> Heard:
        """Ask as anybody."""
        return await self._requests.ask_unsigned(self.base, target)

    async def request_token(self) -> Asked:
        """Ask for a request token, which needs no token and lapses unused after ten minutes."""
        return await self._ask(REQUEST_TOKEN, None)

    async def signed(self, path: str, query: str, token: TokenCredentials) -> Asked:
        """Ask as the token's user, or as the one that jira.act_as names."""
        question = Question("GET", path, query, acting_as=self._act_as)
        return await self._ask(question, token)

    async def is_heard(self, token: TokenCredentials) -> bool:
        """Whether Jira sees our signatures at all: then it refuses one made in 1970."""
        assert self._key is not None
        old = JiraClock(lambda: 0.0)
        signer = Signer(self._key, self._consumer_key, clock=old.now)
        request_signer = RequestSigner(self.base, signer, old, self._signing_url)
        question = Question("GET", "/rest/api/2/myself")
        asked = await self._requests.ask(request_signer, question, token, tries=1)
        return asked.problem is not None and asked.problem.name == "timestamp_refused"

    async def _ask(self, question: Question, token: TokenCredentials | None) -> Asked:
        asked = await self._ask_once(question, token)
        about_key = asked.problem is not None and asked.problem.name in KEY_PROBLEMS
        if about_key and await self._take_next_key():
            asked = await self._ask_once(question, token)
        for refusal in (*asked.refused, asked):
            assert refusal.problem is not None or refusal is asked
            name = refusal.problem.name if refusal.problem is not None else ""
            if name == "timestamp_refused":
                self.refused_time = True
            elif name == "signature_invalid" and refusal is not asked:
                self.difference = self._difference(refusal)
        return asked

    async def _ask_once(self, question: Question, token: TokenCredentials | None) -> Asked:
        assert self._key is not None
        return await self._requests.ask(
            self._signer_of(self._key),
            question,
            token,
            tries=_TRIES,
            believe=self._signing_url.take,
        )

    def _signer_of(self, key: RSAPrivateKey) -> RequestSigner:
        signer = Signer(key, self._consumer_key, clock=self._clock.now)
        return RequestSigner(self.base, signer, self._clock, self._signing_url)

    async def _take_next_key(self) -> bool:
        """Go on with the private key that is to follow, if Jira accepts it; put it in its place."""
        key = self._next_key.load()
        if key is None or not await is_accepted(
            self._requests, self._signer_of(key), two_legged=self._two_legged
        ):
            return False
        self._key = key
        try:
            kept = self._next_key.take_place(key)
        except SidecarError as error:
            raise type(error)(
                f"Jira accepts the new private key, which cannot take the old one's place:"
                f" {error.message.rstrip('.')}.",
                "run `sidecar init --rotate-key` where the key itself is, as a user who may write"
                " there; then restart the sidecar",
            ) from None
        self.told = " The new private key has taken the old one's place"
        self.told += f", which is kept as {kept}." if kept else "."
        return True

    def _difference(self, asked: Asked) -> Difference | None:
        assert asked.problem is not None
        signed = asked.signed
        return self._signing_url.difference(asked.problem, signed.base_string, signed.url)

    def error(self, asked: Asked, step: DanceStep) -> SidecarError:
        """The error for a problem that is left."""
        assert asked.problem is not None
        name = asked.problem.name if not asked.problem.meaning else ""
        if name == "signature_invalid":
            difference = self._difference(asked)
            if difference is not None and not difference.parts:
                return self._key_does_not_fit()
        elif name in ("token_rejected", "token_revoked"):
            explanation = explain(asked.problem)
            causes = "; or ".join(explanation.causes[:2])
            return NotAuthorized(explanation.sentence, f"run `sidecar auth`; likely {causes}")
        elif name == "user_may_not_log_in":
            return NotAuthorized(
                "Jira takes our signature and does not let the user in.",
                "have a Jira administrator see that the user is active and has application access"
                " to Jira",
            )
        fingerprint = keys.fingerprint(self._key) if self._key is not None else ""
        consumer = Consumer(self.base, self._signing_url.url, self._consumer_key, fingerprint)
        return refused(step, asked.problem, consumer, asked.signed.base_string.decode("ascii"))

    def _key_does_not_fit(self) -> ConfigError:
        assert self._key is not None
        return ConfigError(
            "The public key in Jira's application link does not belong to our private key: Jira"
            " signs the very text that we sign, and finds our signature invalid.",
            "compare: in Jira open Application links, edit the link, Incoming authentication; its"
            " Public key must be what `sidecar public-key` prints, whose SHA-256 is"
            f" {keys.fingerprint(self._key)} (saved as a file: openssl pkey -pubin -in FILE"
            " -outform DER | sha256sum). If it is not, enter ours there",
        )


def user(asked: Asked) -> str:
    """The user that Jira took us for; "" where it does not say, or means nobody."""
    name = (first(asked.answer.fields, b"x-ausername") or b"").decode("utf-8", "replace")
    return "" if name == "anonymous" else printable(name)
