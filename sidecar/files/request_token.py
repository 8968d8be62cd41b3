"""The request token that `auth --begin` leaves for `auth --verifier`, beside `token.path`."""

from __future__ import annotations

from pathlib import Path

from sidecar.credentials import Secret, TemporaryCredentials
from sidecar.errors import ConfigError, NotAuthorized
from sidecar.files.document import FIRST_BYTES, VERSION, Owner, Reader, encode, read
from sidecar.files.private import prove_writable, read_private, remove_file, write_private
from sidecar.http.target import BaseURL


class RequestTokenFile:
    """`request_token.json`, where the token is `token.json`."""

    def __init__(self, token_path: Path, base_url: BaseURL, consumer_key: str) -> None:
        self.path = token_path.with_name(f"request_{token_path.name}")
        self._owner = Owner(base_url, consumer_key)

    def prove_storable(self) -> None:
        """Prove that save() will work by doing what it does; StoreError says why it would not."""
        try:
            write_private(self.path, read_private(self.path, "request token"))
        except FileNotFoundError:
            prove_writable(self.path, FIRST_BYTES)
        except ConfigError:  # another user's, who ran the sidecar once: of no use to us
            write_private(self.path, b"")

    def save(self, credentials: TemporaryCredentials) -> None:
        """Store a request token, in place of an earlier one; StoreError where it cannot be."""
        document = {
            "version": VERSION,
            **self._owner.as_json(),
            "request_token": credentials.token.reveal(),
            "request_token_secret": credentials.token_secret.reveal(),
            "issued_at": credentials.issued_at,
        }
        write_private(self.path, encode(document, self.path))

    def load(self) -> TemporaryCredentials:
        """Return the request token; NotAuthorized where no dance of this Jira's has begun."""
        hint = "run `sidecar auth --begin` first"
        document = read(self.path, "request token")
        if document is None:
            raise NotAuthorized("no sign-in has begun", hint)
        reader = Reader(document, self.path, "request token")
        credentials = TemporaryCredentials(
            token=Secret(reader.text("request_token")),
            token_secret=Secret(reader.text("request_token_secret", may_be_empty=True)),
            issued_at=reader.time("issued_at") or 0.0,
        )
        self._owner.refuse_others(document, self.path, "request token", hint)
        return credentials

    def remove(self) -> None:
        """Remove it once it is used up; StoreError where it cannot be."""
        remove_file(self.path)
