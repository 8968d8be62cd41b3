"""Who we are to Jira: the private key, the access token and the way we sign, as they are now.

Key and token are files that may change at any time.  A changed one counts from the next request
on; one that cannot be used is reported, and what worked before stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar import keys
from sidecar.clock import JiraClock
from sidecar.config import Config
from sidecar.credentials import TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError
from sidecar.signature import EncodedPair
from sidecar.signer import Signer
from sidecar.store import TokenFile
from sidecar.target import BaseURL, signing_uri
from sidecar.watch import FileWatch

log = logging.getLogger("sidecar.identity")


class Signed(NamedTuple):
    """A signature, with what it was made from."""

    authorization: bytes
    base_string: bytes
    """For a comparison with Jira's; it holds the token."""
    token: TokenCredentials


class Identity:
    """Signs in the name of the token on disk."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.time) -> None:
        """Read the key and prove that it signs; raises ConfigError."""
        self._jira = config.jira
        self._clock = clock
        self.clock = JiraClock(clock)
        self.signing_url = config.jira.signing_url
        """What Jira believes its own URL is."""
        self.token_file = TokenFile(
            config.token.path, config.jira.base_url, config.jira.consumer_key
        )
        self._token_watch = FileWatch(config.token.path)
        self._token: TokenCredentials | None = None
        self._token_error: SidecarError | None = None
        self._taken_at = 0.0
        self._key_files = FileWatch(
            config.jira.private_key, config.jira.private_key_passphrase_file
        )
        self._private_key = self._load_key()
        self.signer = self._new_signer()

    @property
    def base_url(self) -> BaseURL:
        """The URL that we reach Jira by."""
        return self._jira.base_url

    @property
    def fingerprint(self) -> str:
        """The public key's SHA-256, in hex."""
        return keys.fingerprint(self._private_key)

    @property
    def clock_difference(self) -> float | None:
        """Jira's clock minus ours, in seconds; None until it is known."""
        return self.clock.difference

    @clock_difference.setter
    def clock_difference(self, seconds: float | None) -> None:
        self.clock.difference = seconds

    def token(self) -> TokenCredentials:
        """The token as it is on disk now; NotAuthorized or ConfigError where none is usable."""
        if self._token_watch.changed():
            self._load_token()
        if self._token is None:
            raise self._token_error or NotAuthorized(
                "There is no access token for Jira yet.", "run `sidecar auth`"
            )
        return self._token

    def known_token(self) -> TokenCredentials | None:
        """The token last read, without a look at the disk."""
        return self._token

    def use(self, token: TokenCredentials) -> None:
        """Go on with a token that was just stored."""
        self._take(token)

    def lifetime(self) -> tuple[float, float] | None:
        """What is left of the token's life, and what was left when we got it, in seconds."""
        if self._token is None or self._token.expires_at is None:
            return None
        return (
            self._token.expires_at - self._clock(),
            self._token.expires_at - self._taken_at,
        )

    def sign(self, method: str, path: str, parameters: Iterable[EncodedPair]) -> Signed:
        """Sign a request with our token.

        `path` is the target's, context path included; it is signed below the URL that Jira
        believes to be its own.
        """
        if self._key_files.changed():
            self._reload_key()
        token = self.token()
        uri = signing_uri(self._jira.base_url, self.signing_url, path)
        unsigned = self.signer.prepare(method, uri, parameters, token.token.reveal())
        signature = self.signer.signature(unsigned.base_string)
        return Signed(unsigned.authorization(signature), unsigned.base_string, token)

    def is_our_token(self, authorization: bytes) -> bool:
        """Whether an Authorization field carries our own access token."""
        token = self.known_token()
        return token is not None and token.token.reveal().encode() in authorization

    def warnings(self) -> list[str]:
        """What `run` should say about the key and the token at its start."""
        found = keys.key_warnings(self._private_key)
        try:
            self.token()
        except SidecarError as error:
            found.append(
                f"{error.message} Every request is answered with 503 until then: {error.hint}"
            )
        return found

    def _take(self, token: TokenCredentials | None) -> None:
        self._token = token
        self._token_error = None
        self._taken_at = self._clock()

    def _load_token(self) -> None:
        self._token_watch.seen()
        try:
            self._take(self.token_file.load())
        except SidecarError as error:
            self._token_error = error
            if self._token is not None:
                log.error("%s; going on with the token from before (%s)", error.message, error.hint)

    def _load_key(self) -> RSAPrivateKey:
        self._key_files.seen()
        key = keys.load_private_key(self._jira.private_key, self._jira.private_key_passphrase_file)
        keys.verify_signing(key)
        return key

    def _new_signer(self) -> Signer:
        return Signer(self._private_key, self._jira.consumer_key, clock=self.clock.now)

    def _reload_key(self) -> None:
        try:
            self._private_key = self._load_key()
        except SidecarError as error:
            log.error("%s; going on with the key from before (%s)", error.message, error.hint)
            return
        self.signer = self._new_signer()
        log.info("the private key has changed: its fingerprint is %s now", self.fingerprint)
