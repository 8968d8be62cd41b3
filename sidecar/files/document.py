"""Files that hold a token: JSON, private, bound to one Jira and consumer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sidecar.credentials import LATEST, Secret, TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, StoreError
from sidecar.files.private import SECRET_LIMIT, read_private
from sidecar.http.shown import quoted
from sidecar.http.target import BaseURL

VERSION = 1
FIRST_BYTES = 4096
"""Room that a token needs where there is none yet; Jira's makes a file of some 450 bytes."""


class DamagedFile(ConfigError):
    """A file that is no token file, or a newer sidecar's."""


class NewerFile(DamagedFile):
    """A newer sidecar's token file."""


class Owner:
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
        read = Reader(document, path, what)
        base_url, consumer_key = read.text("base_url"), read.text("consumer_key")
        if (base_url, consumer_key) == (str(self._base_url), self._consumer_key):
            return
        changed = "jira.consumer_key" if base_url == str(self._base_url) else "jira.base_url"
        hint = hint or (
            f"if {changed} is not what it should be, set it right; if this is another Jira beside"
            " that one, set token.path to a file of its own, then run `sidecar auth`; if it takes"
            " the place of that one, run `sidecar auth --replace`"
        )
        theirs = f"{quoted(base_url)} (consumer key {quoted(consumer_key)})"
        ours = f"{self._base_url} (consumer key {quoted(self._consumer_key)})"
        raise NotAuthorized(f"{path}: the {what} is for {theirs}, not for {ours}", hint)


class Reader:
    """Takes a document's values out by name and type; DamagedFile where they do not fit."""

    def __init__(self, document: dict[str, Any], path: Path, what: str) -> None:
        self._document = document
        self._path = path
        self._what = what

    def text(self, name: str, *, may_be_empty: bool = False) -> str:
        value = self._document.get(name)
        if not isinstance(value, str) or not (value or may_be_empty):
            raise damaged(self._path, self._what, f'"{name}" is missing or no text')
        if not _is_unicode(value):
            raise damaged(self._path, self._what, f'"{name}" is no text: half a surrogate pair')
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
    hint = (
        f"move {path} away, then run `sidecar auth`; or run `sidecar auth --replace`, which keeps"
        f" it as {path.name}.bak"
    )
    if what == "request token":
        hint = "run `sidecar auth --begin` again"
    return DamagedFile(f"{path}: the {what} file is damaged: {reason}", hint)


def _is_unicode(text: str) -> bool:
    """Whether text can be encoded; JSON's "\\ud800" alone is none (RFC 8259 §8.2)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read(path: Path, what: str) -> dict[str, Any] | None:
    """Return the document of a token file, None where there is no file."""
    try:
        return parse(read_private(path, what), path, what)
    except FileNotFoundError:
        return None


def parse(data: bytes, path: Path, what: str) -> dict[str, Any]:
    """Return the document that a token file holds; DamagedFile where that is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise damaged(path, what, "it is not JSON, or ends early") from None
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or type(version) is not int or version < 1:  # True is an int
        raise damaged(path, what, "it is no token file of the sidecar")
    if version > VERSION:
        raise NewerFile(
            f"{path}: the {what} file has version {version}, and this sidecar knows {VERSION}",
            "a newer sidecar wrote it: use that one, or set token.path to another file",
        )
    return document


def encode(document: dict[str, Any], path: Path) -> bytes:
    """Write a document as the file at `path` will hold it; StoreError if read() would refuse it."""
    if not all(_is_unicode(value) for value in document.values() if isinstance(value, str)):
        raise StoreError(
            f"{path}: the new token is not stored, for it is no text: half a surrogate pair",
            "copy it again from where it comes from",
        )
    data = json.dumps(document, indent=2).encode() + b"\n"
    if len(data) > SECRET_LIMIT:
        raise StoreError(
            f"{path}: the new token is not stored, for it has more than 64 KiB",
            "Jira's tokens have 32 characters: what answers may not be Jira",
        )
    return data


def token_to_json(credentials: TokenCredentials) -> dict[str, Any]:
    """What a token's file says of the token itself."""
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


def token_from_json(document: dict[str, Any], path: Path) -> TokenCredentials:
    """Read a token out of its file's document; DamagedFile where that holds none."""
    reader = Reader(document, path, "token")
    handle = reader.optional_text("session_handle")
    return TokenCredentials(
        token=Secret(reader.text("token")),
        token_secret=Secret(reader.text("token_secret", may_be_empty=True)),
        session_handle=Secret(handle) if handle else None,
        expires_at=reader.time("expires_at"),
        session_expires_at=reader.time("session_expires_at"),
        user=reader.optional_text("user"),
        display_name=reader.optional_text("display_name"),
        server_url=reader.optional_text("server_url"),
    )
