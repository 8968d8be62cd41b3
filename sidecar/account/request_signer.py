"""Signing requests for one Jira: by its clock, and for the URL that it believes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sidecar.account.clock import JiraClock
from sidecar.account.signing_url import SigningURL
from sidecar.credentials import TokenCredentials
from sidecar.http.target import BaseURL, signing_uri
from sidecar.signing.long_parameters import LongParameters
from sidecar.signing.signature import EncodedPair
from sidecar.signing.signer import Signer, Unsigned


class Signed(NamedTuple):
    """A signature, with what it was made from."""

    authorization: bytes
    base_string: bytes
    """For a comparison with Jira's; it holds the token."""
    token: TokenCredentials | None
    """What it was signed with besides the key; None where a request token is asked for."""
    url: BaseURL
    """What Jira was believed to call itself."""
    clock_correction: float
    """Seconds between our clock and the timestamp."""
    nonce: str
    """What tells this request from all others."""

    def __repr__(self) -> str:
        return f"Signed(…, url={self.url!r})"


class Prepared(NamedTuple):
    """A request that waits for its signature, which another process may make."""

    unsigned: Unsigned
    signer: Signer
    token: TokenCredentials | None
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
            self.unsigned.nonce,
        )

    def sign(self) -> Signed:
        """The request with a signature that is made here and now."""
        return self.signed(self.signer.signature(self.base_string))

    def __repr__(self) -> str:
        return f"Prepared(…, url={self.url!r})"


class RequestSigner:
    """What all requests to one Jira are signed by; a changed key puts another `signer` in it."""

    def __init__(
        self, base_url: BaseURL, signer: Signer, clock: JiraClock, signing_url: SigningURL
    ) -> None:
        self.base_url = base_url
        self.signer = signer
        self.clock = clock
        self.signing_url = signing_url

    def prepare(
        self,
        method: str,
        path: str,
        parameters: Iterable[EncodedPair] | LongParameters,
        token: TokenCredentials | None,
        *,
        extra: Sequence[tuple[str, str]] = (),
        url: BaseURL | None = None,
    ) -> Prepared:
        """Put together all but the signature of a request.

        `path` is the target's, context path included; it is signed below the URL that Jira
        believes to be its own, or below `url`.  `extra` are more protocol parameters.
        """
        url = url or self.signing_url.url
        correction = self.clock.correction
        uri = signing_uri(self.base_url, url, path)
        secret = None if token is None else token.token.reveal()
        unsigned = self.signer.prepare(method, uri, parameters, secret, extra)
        return Prepared(unsigned, self.signer, token, url, correction)
