"""The access token on disk: JSON, private, bound to one Jira and consumer.

Nothing here deletes an access token, and nothing replaces what is not ours to replace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError, StoreError
from sidecar.files.document import (
    FIRST_BYTES,
    VERSION,
    DamagedFile,
    NewerFile,
    Owner,
    Reader,
    encode,
    parse,
    read,
)
from sidecar.files.lock import locked, locked_if_free
from sidecar.files.machine import other_machine, this_machine
from sidecar.files.private import (
    FileWatch,
    make_folders,
    prove_writable,
    read_private,
    signature_of,
    storing,
    write_private,
)
from sidecar.files.renewal_mark import RenewalMark
from sidecar.files.successor import Successor, digest
from sidecar.http.target import BaseURL

MARGIN_BYTES = 128
"""Bytes by which a new token, its handle and its times may be longer than the old ones: Jira's all
have 32 characters."""
_NO_TOKEN = "0" * 64  # as long as any digest


class TokenFile:
    """The access token's file, `token.path`."""

    def __init__(self, path: Path, base_url: BaseURL, consumer_key: str) -> None:
        self.path = path
        self._owner = Owner(base_url, consumer_key)
        self.renewal_mark = RenewalMark(path)
        self._successor = Successor(path)
        self._watch = FileWatch(path, self._successor.path)
        self._stored_on: Any = None  # by the last that was read

    def load(self) -> TokenCredentials | None:
        """Return the token, None where there is none.

        Raises ConfigError for a file that is damaged, of a newer version or open to others, and
        NotAuthorized for a token of another Jira or consumer.
        """
        self._watch.seen()
        try:
            in_place = self._in_place()
        except NewerFile:
            raise
        except DamagedFile:
            if (kept := self._kept_beside(lambda _: True)) is not None:
                return kept
            raise
        return self._kept_beside(_replacing(in_place)) or in_place

    def changed(self) -> bool:
        """Whether the token may be another than at the last load() or save(); costs two stats."""
        return self._watch.changed()

    def other_machine(self) -> str:
        """The name of the machine that stored the token, if it is a copy from elsewhere; or ""."""
        return other_machine(self._stored_on, self.path)

    def open_folder(self) -> None:
        """Have NFS ask its server which files are in the folder now, as opendir(3) has it do."""
        with suppress(OSError):
            folder = Path(os.path.realpath(self.path)).parent
            os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def ensure_replaceable(self) -> None:
        """Raise StoreError where save() would destroy something else than this Jira's token.

        A file that others can read stays a ConfigError: its token may be somebody else's by now.
        """
        self._refuse_foreign()
        try:
            self._in_place()
        except DamagedFile as error:
            raise StoreError(f"{error.message}; it is not replaced", error.hint) from None

    def prove_replaceable(self) -> None:
        """Prove that save() will work by doing what it does; StoreError says why it would not.

        To be called under the lock.  The file takes its own place: nothing short of that shows
        one that is mounted by itself, immutable, or another user's in a sticky folder.  A token
        that was kept beside it is put in place first.
        """
        self.put_in_place()
        self._refuse_foreign()
        before = signature_of(self.path)
        try:
            content = read_private(self.path, "token")
        except FileNotFoundError:
            prove_writable(self.path, FIRST_BYTES)
        else:
            write_private(self.path, content, only_over=before)
            self.ensure_replaceable()

    def prove_storable(self) -> None:
        """Do all that a renewal does with files; StoreError.  To be called under the lock."""
        self.prove_replaceable()
        with self.reserved():
            self.renewal_mark.prove_settable()
        self._successor.discard()

    def store_error(self) -> SidecarError | None:
        """Why a renewal could not store its token; None if it can, or is under way elsewhere."""
        try:
            with locked_if_free(self.path) as is_ours:
                if is_ours:
                    self.prove_storable()
        except SidecarError as error:
            return error
        return None

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Hold room for a token that Jira is asked for: see Successor."""
        self._successor.reserve(self._room())
        try:
            yield
        except BaseException:
            self._successor.discard()
            raise

    def save(self, credentials: TokenCredentials) -> None:
        """Store a token whole and private; StoreError where it can't be, see ensure_replaceable.

        Where it only could not be put in place, that is KeptBeside: it is on disk and counts.
        """
        self.ensure_replaceable()
        data = self.encode(credentials)
        try:
            written = write_private(self.path, data)
        except StoreError as error:
            self._keep_beside(credentials, error)
        self._successor.discard()
        self._stored_on = this_machine()
        self._watch.seen(written, None)

    def put_in_place(self) -> None:
        """Store a token that could only be kept beside its place until now; StoreError.

        To be called under the lock.  Nothing is done where there is none that counts.
        """
        try:
            kept = self._kept_beside(_replacing(self._in_place()))
        except (NewerFile, NotAuthorized):
            return  # ensure_replaceable() says why
        except DamagedFile:
            kept = self._kept_beside(lambda _: True)
        if kept is not None:
            write_private(self.path, self.encode(kept))
            self._successor.discard()

    def encode(self, credentials: TokenCredentials) -> bytes:
        """Return what the file of a token of this Jira's holds."""
        return encode(self._document(credentials), self.path)

    def locked(self, patience: float = 60) -> AbstractAsyncContextManager[None]:
        """Hold the lock that keeps a second process, or task, from renewing at the same time.

        StoreError where another has held it for `patience` seconds; see lock.py.
        """
        return locked(self.path, patience)

    def make_folder(self) -> None:
        """Make the folder that the token is in, where it is missing; StoreError."""
        with storing(self.path):
            make_folders(Path(os.path.realpath(self.path)).parent)

    def _document(self, credentials: TokenCredentials) -> dict[str, Any]:
        document = {"version": VERSION, **self._owner.as_json(), **_token_to(credentials)}
        ours = this_machine()
        return document if ours is None else {**document, "stored_on": ours}

    def _refuse_foreign(self) -> None:
        """Raise StoreError where the token in place is another Jira's or consumer's."""
        try:
            self._in_place()
        except NotAuthorized as error:
            hint = "set token.path to a file of its own, or move this one away"
            raise StoreError(f"{error.message}; it is not replaced", hint) from None
        except DamagedFile:
            return

    def _room(self) -> int:
        """Bytes that a renewed token may need: it is as long as the old one, or nearly."""
        try:
            in_place = self._in_place()
        except DamagedFile:
            in_place = None
        return FIRST_BYTES if in_place is None else len(self._to_keep(in_place)) + MARGIN_BYTES

    def _in_place(self) -> TokenCredentials | None:
        document = read(self.path, "token")
        return None if document is None else self._token_from(document)

    def _token_from(self, document: dict[str, Any]) -> TokenCredentials:
        credentials = _token_from(document, self.path)
        self._owner.refuse_others(document, self.path, "token")
        self._stored_on = document.get("stored_on")
        return credentials

    def _keep_beside(self, credentials: TokenCredentials, error: StoreError) -> NoReturn:
        """Keep a token that could not be put in place; KeptBeside, or StoreError if that fails."""
        in_place = self._in_place()
        replaced = None if in_place is None else digest(in_place.token)
        self._successor.keep(self._to_keep(credentials, replaced))
        raise KeptBeside(
            f"{error.message}; the new token is kept in {self._successor.path}, where it counts",
            error.hint,
        ) from None

    def _to_keep(self, credentials: TokenCredentials, replaced: str | None = _NO_TOKEN) -> bytes:
        document = {**self._document(credentials), "replaces": replaced}
        return encode(document, self._successor.path)

    def _kept_beside(self, is_next: Callable[[str | None], bool]) -> TokenCredentials | None:
        """The token that is to take the place of the one that it names, if `is_next` says so."""
        data = self._successor.read()
        if data is None:
            return None
        try:
            document = parse(data, self._successor.path, "new token")
            kept = self._token_from(document)
        except SidecarError:
            return None  # room that was reserved, or half a token
        return kept if is_next(document.get("replaces")) else None


def _replacing(in_place: TokenCredentials | None) -> Callable[[str | None], bool]:
    """Whether a token that was kept beside is to replace the one that is in place now.

    Where another has been put there since, by a sign-in, that one counts.
    """
    name = None if in_place is None else digest(in_place.token)
    return lambda replaced: replaced == name


class KeptBeside(StoreError):
    """A new token is on disk and counts, and could not be put in place of the old one yet."""


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
