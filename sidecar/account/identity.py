"""Who we are to Jira: the private key, the access token and the way we sign, as they are now.

Key and token are files that may change at any time.  A changed one counts from the next request
on; one that cannot be used is reported, and what worked before stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.clock import JiraClock
from sidecar.account.signing_url import SigningURL
from sidecar.config.load import Config
from sidecar.credentials import WARNING_SECONDS, TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError
from sidecar.files import keys
from sidecar.files.private import FileWatch
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL, signing_uri
from sidecar.signing.long_parameters import LongParameters
from sidecar.signing.signature import EncodedPair, percent_encode
from sidecar.signing.signer import Signer, Unsigned

log = logging.getLogger(__name__)

NEVER = float("-inf")
LOOK_SECONDS = 0.001
"""Requests that come within so much of each other share a look at the files."""


class Signed(NamedTuple):
    """A signature, with what it was made from."""

    authorization: bytes
    base_string: bytes
    """For a comparison with Jira's; it holds the token."""
    token: TokenCredentials
    url: BaseURL
    """What Jira was believed to call itself."""
    clock_correction: float
    """Seconds between our clock and the timestamp."""

    def __repr__(self) -> str:
        return f"Signed(…, url={self.url!r})"


class Prepared(NamedTuple):
    """A request that waits for its signature, which another process may make."""

    unsigned: Unsigned
    signer: Signer
    token: TokenCredentials
    url: BaseURL
    clock_correction: float

    @property
    def base_string(self) -> bytes:
        """What is to be signed; it holds the token."""
        return self.unsigned.base_string

    def signed(self, signature: bytes) -> Signed:
        """The request with its signature."""
        return Signed(
            self.unsigned.authorization(signature),
            self.unsigned.base_string,
            self.token,
            self.url,
            self.clock_correction,
        )

    def __repr__(self) -> str:
        return f"Prepared(…, url={self.url!r})"


class Identity:
    """Signs in the name of the token on disk."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.time) -> None:
        """Read the key and prove that it signs; raises ConfigError."""
        self._jira = config.jira
        self._clock = clock
        self.clock = JiraClock(clock)
        self.signing = SigningURL(config.jira.base_url, config.jira.signing_url)
        self.token_file = TokenFile(
            config.token.path, config.jira.base_url, config.jira.consumer_key
        )
        self.renewal_mark = self.token_file.renewal_mark
        self._token: TokenCredentials | None = None
        self._token_error: SidecarError | None = None
        self._taken_at = 0.0
        self._looked_at = NEVER
        self._outlived: TokenCredentials | None = None
        self._key_watch = FileWatch(
            config.jira.private_key, config.jira.private_key_passphrase_file
        )
        self._private_key = self._load_key()
        self.signer = self._new_signer()

    @property
    def base_url(self) -> BaseURL:
        """The URL that we reach Jira by."""
        return self._jira.base_url

    @property
    def consumer_key(self) -> str:
        """Who we are to the application link."""
        return self._jira.consumer_key

    @property
    def fingerprint(self) -> str:
        """The public key's SHA-256, in hex."""
        return keys.fingerprint(self._private_key)

    @property
    def clock_difference(self) -> float | None:
        """Jira's clock minus ours, in seconds; None until it is known."""
        return self.clock.difference

    @property
    def signing_url(self) -> BaseURL:
        """What Jira believes its own URL is."""
        return self.signing.url

    def token(self) -> TokenCredentials:
        """The token as it is on disk now; NotAuthorized or ConfigError where none is usable."""
        if self.token_file.changed():
            self._load_token()
        if self._token is None:
            raise self._token_error or NotAuthorized(
                "There is no access token for Jira yet.", "run `sidecar auth`"
            )
        return self._token

    def look(self) -> TokenCredentials:
        """Like token(), for every request: key and token are as they are on disk, or just were."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS and self._token is not None:
            return self._token
        self._looked_at = now
        if self._key_watch.changed():
            self._reload_key()
        return self.token()

    def known_token(self) -> TokenCredentials | None:
        """The token last read, without a look at the disk."""
        return self._token

    def use(self, token: TokenCredentials, *, instead_of: TokenCredentials | None = None) -> None:
        """Go on with a token that was just stored.

        One that could not be stored is used `instead_of` the one on disk, which is dead.
        """
        self._outlived = instead_of
        self._take(token)

    def unsaved_token(self) -> TokenCredentials | None:
        """The token in use, if it is in memory only, and none that counts more is on disk."""
        token = self.token()
        return None if self._outlived is None else token

    def lifetime(self) -> tuple[float, float] | None:
        """What is left of the token's life, and what was left when we got it, in seconds."""
        if self._token is None or self._token.expires_at is None:
            return None
        return (
            self._token.expires_at - self._clock(),
            self._token.expires_at - self._taken_at,
        )

    def reload(self) -> None:
        """Read key and token again, changed or not; what is broken is reported and refused."""
        self._reload_key()
        self._load_token()

    def prepare(
        self,
        method: str,
        path: str,
        parameters: Iterable[EncodedPair] | LongParameters,
        url: BaseURL | None = None,
    ) -> Prepared:
        """Put together all but the signature of a request in our name.

        `path` is the target's, context path included; it is signed below the URL that Jira
        believes to be its own, or below `url`.
        """
        token = self.look()
        url = url or self.signing.url
        correction = self.clock.correction
        uri = signing_uri(self._jira.base_url, url, path)
        unsigned = self.signer.prepare(method, uri, parameters, token.token.reveal())
        return Prepared(unsigned, self.signer, token, url, correction)

    def sign(
        self,
        method: str,
        path: str,
        parameters: Iterable[EncodedPair],
        url: BaseURL | None = None,
    ) -> Signed:
        """Sign a request with our token, here and now; see prepare()."""
        self._looked_at = NEVER
        prepared = self.prepare(method, path, parameters, url)
        return prepared.signed(prepared.signer.signature(prepared.base_string))

    def is_our_token(self, authorization: bytes) -> bool:
        """Whether an Authorization field carries our own access token."""
        token = self.known_token()
        return token is not None and percent_encode(token.token.reveal()).encode() in authorization

    def warnings(self) -> list[str]:
        """What `run` should say about the key and the token at its start."""
        found = keys.key_warnings(self._private_key)
        try:
            token = self.token()
        except SidecarError as error:
            reason = error.message.rstrip(".")
            found.append(f"{reason}: requests are answered with 503. What to do: {error.hint}.")
            return found
        if self.renewal_mark.is_about(token):
            found.append(
                "The renewal of the access token was cut short when the sidecar last ran. Jira may"
                " have dropped the one that is stored: if it answers token_rejected, run"
                " `sidecar auth`."
            )
        if token.session_handle is not None:
            found += self._store_warnings(token)
        return found

    def _store_warnings(self, token: TokenCredentials) -> list[str]:
        error = self.token_file.store_error()
        if error is None:
            return []
        reason = f"{error.message.rstrip('.')}. What to do: {error.hint}."
        return [f"The access token cannot be renewed, for no new one could be stored: {reason}"]

    def expiry_warning(self) -> str | None:
        """What to say of a token that ends within 30 days."""
        token, lifetime = self._token, self.lifetime()
        if token is None or lifetime is None or lifetime[0] > WARNING_SECONDS:
            return None
        assert token.expires_at is not None
        end = _when(token.expires_at)
        if token.is_renewable(token.expires_at):
            if (error := self.token_file.store_error()) is None:
                return f"The access token ends on {end}; it is renewed before that."
            reason = f"{error.message.rstrip('.')}. What to do: {error.hint}."
            return f"The access token ends on {end}, and no new one could be stored: {reason}"
        verb, when = ("ends", "before that") if lifetime[0] > 0 else ("ended", "now")
        return (
            f"The access token {verb} on {end}, and Jira gave nothing to renew it with: run"
            f" `sidecar auth` {when}."
        )

    def _take(self, token: TokenCredentials | None) -> None:
        if token != self._token:
            self._taken_at = self._clock()
        self._token = token
        self._token_error = None

    def _load_token(self) -> None:
        try:
            found = self.token_file.load()
        except SidecarError as error:
            self._token_error = error
            if self._token is not None:
                log.error("%s; going on with the token from before (%s)", error.message, error.hint)
            return
        outlived = self._outlived
        if outlived is not None and (found is None or found.token == outlived.token):
            return  # its successor could not be stored yet
        if self._token is not None and found is None:
            log.error(
                "%s is gone: every request is answered with 503 until you run `sidecar auth`",
                self.token_file.path,
            )
        elif self._token is not None and found != self._token:
            log.info("another access token was found in %s and is used now", self.token_file.path)
        self._outlived = None
        self._take(found)

    def _load_key(self) -> RSAPrivateKey:
        self._key_watch.seen()
        key = keys.load_private_key(self._jira.private_key, self._jira.private_key_passphrase_file)
        keys.verify_signing(key)
        return key

    def _new_signer(self) -> Signer:
        return Signer(self._private_key, self._jira.consumer_key, clock=self.clock.now)

    def _reload_key(self) -> None:
        before = self.fingerprint
        try:
            self._private_key = self._load_key()
        except SidecarError as error:
            log.error("%s; going on with the key from before (%s)", error.message, error.hint)
            return
        if self.fingerprint == before:
            return
        self.signer = self._new_signer()
        log.info("the private key has changed: its fingerprint is %s now", self.fingerprint)


def _when(time: float) -> str:
    """A moment by the calendar of this machine."""
    return f"{datetime.fromtimestamp(time):%Y-%m-%d at %H:%M}"
