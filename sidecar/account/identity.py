"""Who we are to Jira: the private key, the access token and the way we sign, as they are now.

Key and token are files that may change at any time.  A changed one counts from the next request
on.  One that cannot be used is reported, and what worked before stays.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.clock import JiraClock
from sidecar.account.request_signer import Prepared, RequestSigner, Signed
from sidecar.account.signing_url import SigningURL
from sidecar.account.token_in_use import LinkItself, TokenInUse
from sidecar.config.load import Config
from sidecar.credentials import TokenCredentials
from sidecar.errors import SidecarError, in_brackets, with_hint
from sidecar.files import keys
from sidecar.files.private import FileWatch
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.rotation.next_key import NextKey
from sidecar.signing.long_parameters import LongParameters
from sidecar.signing.signature import EncodedPair, percent_encode
from sidecar.signing.signer import Signer

log = logging.getLogger(__name__)

NEVER = -math.inf
_NONCE = re.compile(r"\b[0-9a-f]{32}\b")
NEW_KEY_SECONDS = 60.0
"""So long requests may come back that were signed by the key from before."""
LOOK_SECONDS = 0.001
"""Requests that come within so much of each other share a look at the files."""


class Identity:
    """Signs in the name of the token on disk."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.time) -> None:
        """Read the key and prove that it signs; raises ConfigError."""
        jira = config.jira
        self._jira = jira
        self.clock = JiraClock(clock)
        self.signing_url = SigningURL(jira.base_url, jira.signing_url)
        self.token_file = TokenFile(config.token.path, jira.base_url, jira.consumer_key)
        self.renewal_mark = self.token_file.renewal_mark
        self.token = (LinkItself if jira.two_legged else TokenInUse)(self.token_file, clock)
        self.in_flight: set[str] = set()
        """Nonces of the requests that Jira has not answered yet."""
        self.next_key = NextKey(jira.private_key, jira.private_key_passphrase_file)
        self._looked_at = NEVER
        self._on_change: Callable[[], None] | None = None
        self._adopted_at = NEVER
        self._key_watch = FileWatch(jira.private_key, jira.private_key_passphrase_file)
        self._private_key = self._load_key()
        self.request_signer = RequestSigner(
            jira.base_url, self._new_signer(), self.clock, self.signing_url
        )

    @property
    def base_url(self) -> BaseURL:
        """The URL that we reach Jira by."""
        return self._jira.base_url

    @property
    def two_legged(self) -> bool:
        """Whether we sign as the application link itself, without an access token."""
        return self._jira.two_legged

    @property
    def act_as(self) -> str | None:
        """The user for two-legged requests that name none; None leaves that to the link."""
        return self._jira.act_as

    @property
    def consumer_key(self) -> str:
        """Who we are to the application link."""
        return self._jira.consumer_key

    @property
    def fingerprint(self) -> str:
        """The public key's SHA-256, in hex."""
        return keys.fingerprint(self._private_key)

    @property
    def public_key(self) -> str:
        """The public key as Jira's form takes it, in PEM."""
        return keys.public_key_pem(self._private_key)

    @property
    def clock_difference(self) -> float | None:
        """Jira's clock minus ours, in seconds; None until it is known."""
        return self.clock.difference

    def refresh(self) -> TokenCredentials:
        """Take key and token as they are on disk, or just were: for every request.

        NotAuthorized or ConfigError where there is no usable token.
        """
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS and self.token.last_read is not None:
            return self.token.last_read
        self._looked_at = now
        if self._key_watch.changed():
            self._reload_key()
        return self.token.current()

    def reload(self) -> None:
        """Read key and token again, changed or not; what is broken is reported and refused."""
        self._reload_key()
        self.token.reload()

    def watch(self, on_change: Callable[[], None]) -> None:
        """Have this, and nothing that was given before, called when key or token is another."""
        self._on_change = self.token.on_change = on_change

    def prepare(
        self,
        method: str,
        path: str,
        parameters: Iterable[EncodedPair] | LongParameters,
        url: BaseURL | None = None,
    ) -> Prepared:
        """Put together all but the signature of a request in our name; see RequestSigner."""
        return self.request_signer.prepare(method, path, parameters, self.refresh(), url=url)

    def sign(
        self,
        method: str,
        path: str,
        parameters: Iterable[EncodedPair],
        url: BaseURL | None = None,
    ) -> Signed:
        """Sign a request with our token, here and now; see prepare()."""
        self._looked_at = NEVER
        return self.prepare(method, path, parameters, url).sign()

    def has_signed(self, authorization: bytes) -> bool:
        """Whether an Authorization field is ours: it has our access token.

        Without a token it has the nonce of a request that is on its way to Jira.
        """
        token = self.token.last_read
        if token is None:
            return False
        if token.is_two_legged:
            text = authorization.decode("latin-1")
            return not self.in_flight.isdisjoint(_NONCE.findall(text))
        return percent_encode(token.token.reveal()).encode() in authorization

    def signer_of(self, key: RSAPrivateKey) -> RequestSigner:
        """Sign as we do, by another key."""
        signer = Signer(key, self._jira.consumer_key, clock=self.clock.now)
        return RequestSigner(self._jira.base_url, signer, self.clock, self.signing_url)

    def looks_at_key(self) -> bool:
        """Take the key as it is on disk; whether it is another now."""
        if not self._key_watch.changed():
            return False
        before = self.fingerprint
        self._reload_key()
        return self.fingerprint != before

    @property
    def has_another_key(self) -> bool:
        """Whether the key has changed a moment ago."""
        return time.monotonic() - self._adopted_at < NEW_KEY_SECONDS

    def adopt(self, key: RSAPrivateKey) -> str:
        """Sign by the next key from now on, as Jira accepts it, and put it in its place.

        Returns what has come of that.  Where it cannot be put in place it is used all the same.
        """
        try:
            kept = self.next_key.take_place(key)
        except SidecarError as error:
            told = (
                "Jira accepts the new private key, and it is used; but it cannot take the place of"
                f" {self._jira.private_key}: {error.message}. What to do: run `sidecar"
                " init --rotate-key` where the key itself is, as a user who may write there"
            )
        else:
            told = "Jira accepts the new private key: it has taken the old one's place"
            told += f", which is kept as {kept}" if kept else ""
        self._use(key)
        self._key_watch.seen()
        return told

    def warnings(self) -> list[str]:
        """What `run` should say about the key and the token at its start."""
        found = keys.key_warnings(self._private_key)
        try:
            self.token.current()
        except SidecarError as error:
            reason = error.message.rstrip(".")
            found.append(with_hint(f"{reason}: requests are answered with 503", error.hint))
            return found
        return found + self.token.warnings()

    def _load_key(self) -> RSAPrivateKey:
        self._key_watch.seen()
        key = keys.load_private_key(self._jira.private_key, self._jira.private_key_passphrase_file)
        keys.verify_signing(key)
        return key

    def _new_signer(self) -> Signer:
        return Signer(self._private_key, self._jira.consumer_key, clock=self.clock.now)

    def _use(self, key: RSAPrivateKey) -> None:
        self._private_key = key
        self._adopted_at = time.monotonic()
        self.request_signer.signer = self._new_signer()
        if self._on_change is not None:
            self._on_change()

    def _reload_key(self) -> None:
        before = self.fingerprint
        try:
            self._private_key = self._load_key()
        except SidecarError as error:
            hint = in_brackets(error.hint)
            log.error("%s; going on with the key from before%s", error.message, hint)
            return
        if self.fingerprint == before:
            return
        self._use(self._private_key)
        log.info("the private key has changed: its fingerprint is %s now", self.fingerprint)
