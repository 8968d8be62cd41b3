"""The access token and the request token on disk: JSON, private, bound to one Jira and consumer.

Nothing here deletes an access token, and nothing replaces what is not ours to replace.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sidecar.credentials import LATEST, Secret, TemporaryCredentials, TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, StoreError
from sidecar.files.private import FileWatch, read_private, write_private
from sidecar.http.shown import quoted
from sidecar.http.target import BaseURL

VERSION = 1
_LOCK_RETRY = 0.05  # seconds; a renewal takes one round trip to Jira


class TokenFile:
    """The access token's file, `token.path`."""

    def __init__(self, path: Path, base_url: BaseURL, consumer_key: str) -> None:
        self.path = path
        self._owner = _Owner(base_url, consumer_key)
        self._watch = FileWatch(path)

    def load(self) -> TokenCredentials | None:
        """Return the token, None where there is no file.

        Raises ConfigError for a file that is damaged, of a newer version or open to others, and
        NotAuthorized for a token of another Jira or consumer.
        """
        self._watch.seen()
        return self._credentials()

    def _credentials(self) -> TokenCredentials | None:
        document = _read(self.path, "token")
        if document is None:
            return None
        credentials = _token_from(document, self.path)
        self._owner.refuse_others(document, self.path, "token")
        return credentials

    def changed(self) -> bool:
        """Whether the file is another than at the last load() or save(); costs one stat."""
        return self._watch.changed()

    def ensure_replaceable(self) -> None:
        """Raise StoreError where save() would destroy something else than this Jira's token.

        A file that others can read stays a ConfigError: its token may be somebody else's by now.
        """
        try:
            self._credentials()
        except NotAuthorized as error:
            hint = "set token.path to a file of its own, or move this one away"
            raise StoreError(f"{error.message}; it is not replaced", hint) from None
        except DamagedFile as error:
            raise StoreError(f"{error.message}; it is not replaced", error.hint) from None

    def save(self, credentials: TokenCredentials) -> None:
        """Store a token whole and private; StoreError where it can't be, see ensure_replaceable."""
        self.ensure_replaceable()
        self._watch.seen(write_private(self.path, self.encode(credentials)))

    def encode(self, credentials: TokenCredentials) -> bytes:
        """Return what the file of a token of this Jira's holds."""
        return _encode(
            {"version": VERSION, **self._owner.as_json(), **_token_to(credentials)},
        )

    @asynccontextmanager
    async def locked(self, patience: float = 60) -> AsyncIterator[None]:
        """Hold the lock that keeps a second process, or task, from renewing at the same time.

        It is a file beside the token's that stays; StoreError after `patience` seconds.
        """
        path = self.path.with_name(f".{self.path.name}.lock")
        descriptor = _open_lock(path)
        try:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + patience
            while not _try_lock(descriptor, path):
                if loop.time() > deadline:
                    message = f"{path}: another process has held the lock for {patience:g} s"
                    raise StoreError(message, "stop the other sidecar that uses this token")
                await asyncio.sleep(_LOCK_RETRY)
            yield
        finally:
            os.close(descriptor)  # which gives up the lock


class RequestTokenFile:
    """The request token that `auth --begin` leaves for `auth --verifier`, beside `token.path`."""

    def __init__(self, token_path: Path, base_url: BaseURL, consumer_key: str) -> None:
        self.path = token_path.with_name(f"request_{token_path.name}")
        self._owner = _Owner(base_url, consumer_key)

    def save(self, credentials: TemporaryCredentials) -> None:
        """Store a request token, in place of an earlier one; StoreError where it cannot be."""
        document = {
            "version": VERSION,
            **self._owner.as_json(),
            "request_token": credentials.token.reveal(),
            "request_token_secret": credentials.token_secret.reveal(),
            "issued_at": credentials.issued_at,
        }
        write_private(self.path, _encode(document))

    def load(self) -> TemporaryCredentials:
        """Return the request token; NotAuthorized where no dance of this Jira's has begun."""
        hint = "run `sidecar auth --begin` first"
        document = _read(self.path, "request token")
        if document is None:
            raise NotAuthorized("no sign-in has begun", hint)
        read = _Reader(document, self.path, "request token")
        credentials = TemporaryCredentials(
            token=Secret(read.text("request_token")),
            token_secret=Secret(read.text("request_token_secret", may_be_empty=True)),
            issued_at=read.time("issued_at") or 0.0,
        )
        self._owner.refuse_others(document, self.path, "request token", hint)
        return credentials

    def remove(self) -> None:
        """Remove it once it is used up; StoreError where it cannot be."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            message = f"{self.path}: cannot be removed: {error.strerror}"
            raise StoreError(message, "remove it yourself") from None


class DamagedFile(ConfigError):
    """A file that is no token file, or a newer sidecar's."""


class _Owner:
    """The Jira and consumer that a token belongs to."""

    def __init__(self, base_url: BaseURL, consumer_key: str) -> None:
        self._base_url = base_url
        self._consumer_key = consumer_key

    def as_json(self) -> dict[str, str]:
        return {"base_url": str(self._base_url), "consumer_key": self._consumer_key}

    def refuse_others(
        self, document: dict[str, Any], path: Path, what: str, hint: str = ""
    ) -> None:
        """Raise NotAuthorized where the document belongs to another Jira or consumer."""
        read = _Reader(document, path, what)
        base_url, consumer_key = read.text("base_url"), read.text("consumer_key")
        if (base_url, consumer_key) == (str(self._base_url), self._consumer_key):
            return
        hint = hint or "set token.path to a file of its own, then run `sidecar auth`"
        theirs = f"{quoted(base_url)} (consumer key {quoted(consumer_key)})"
        ours = f"{self._base_url} (consumer key {quoted(self._consumer_key)})"
        raise NotAuthorized(f"{path}: the {what} is for {theirs}, not for {ours}", hint)


class _Reader:
    """Takes a document's values out by name and type; DamagedFile where they do not fit."""

    def __init__(self, document: dict[str, Any], path: Path, what: str) -> None:
        self._document = document
        self._path = path
        self._what = what

    def text(self, name: str, *, may_be_empty: bool = False) -> str:
        value = self._document.get(name)
        if not isinstance(value, str) or not (value or may_be_empty):
            raise damaged(self._path, self._what, f'"{name}" is missing or no text')
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self._document.get(name) is None else self.text(name)

    def time(self, name: str) -> float | None:
        value = self._document.get(name)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value < 2**53:  # false for NaN too
            raise damaged(self._path, self._what, f'"{name}" is no time')
        return float(value) if value < LATEST else None


def damaged(path: Path, what: str, reason: str) -> DamagedFile:
    """Make the error for a file that cannot be understood; it stays where it is."""
    hint = f"move {path} away, then run `sidecar auth`"
    if what == "request token":
        hint = "run `sidecar auth --begin` again"
    return DamagedFile(f"{path}: the {what} file is damaged: {reason}", hint)


def _read(path: Path, what: str) -> dict[str, Any] | None:
    """Return the document of a token file, None where there is no file."""
    try:
        data = read_private(path, what)
    except FileNotFoundError:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise damaged(path, what, "it is not JSON, or ends early") from None
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(version, int) or version < 1:
        raise damaged(path, what, "it is no token file of the sidecar")
    if version > VERSION:
        raise DamagedFile(
            f"{path}: the {what} file has version {version}, and this sidecar knows {VERSION}",
            "a newer sidecar wrote it: use that one, or set token.path to another file",
        )
    return document


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def _token_to(credentials: TokenCredentials) -> dict[str, Any]:
    handle = credentials.session_handle
    return {
        "token": credentials.token.reveal(),
        "token_secret": credentials.token_secret.reveal(),
        "session_handle": handle.reveal() if handle else None,
        "expires_at": credentials.expires_at,
        "session_expires_at": credentials.session_expires_at,
        "user": credentials.user,
        "display_name": credentials.display_name,
        "server_url": credentials.server_url,
    }


def _token_from(document: dict[str, Any], path: Path) -> TokenCredentials:
    read = _Reader(document, path, "token")
    handle = read.optional_text("session_handle")
    return TokenCredentials(
        token=Secret(read.text("token")),
        token_secret=Secret(read.text("token_secret", may_be_empty=True)),
        session_handle=Secret(handle) if handle else None,
        expires_at=read.time("expires_at"),
        session_expires_at=read.time("session_expires_at"),
        user=read.optional_text("user"),
        display_name=read.optional_text("display_name"),
        server_url=read.optional_text("server_url"),
    )


def _open_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        hint = f"{path.parent} must be a folder that the sidecar's user can write to"
        raise StoreError(f"{path}: cannot be written: {error.strerror}", hint) from None


def _try_lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        hint = "keep the token on a file system that knows flock, see token.path"
        raise StoreError(f"{path}: cannot be locked: {error.strerror}", hint) from None
    return True
