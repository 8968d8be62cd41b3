"""The access token on disk: JSON, private, bound to one Jira and consumer.

Only remove() deletes an access token, and only replace() replaces one that is not ours; the rest
keep what they cannot understand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from sidecar.credentials import TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, SidecarError, StoreError
from sidecar.files.document import (
    FIRST_BYTES,
    VERSION,
    DamagedFile,
    NewerFile,
    Owner,
    encode,
    parse,
    read,
    token_from_json,
    token_to_json,
)
from sidecar.files.lock import locked, locked_if_free
from sidecar.files.machine import other_machine, this_machine
from sidecar.files.private import (
    FileWatch,
    Signature,
    make_folders,
    prove_writable,
    read_private,
    remove_file,
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
        self._former_known = signature_of(self.former)

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

    def prove_replaceable(self, *, replace: bool = False) -> None:
        """Prove that save() will work by doing what it does; StoreError says why it would not.

        To be called under the lock.  The file takes its own place: nothing short of that shows
        one that is mounted by itself, immutable, or another user's in a sticky folder.  A token
        that was kept beside it is put in place first.
        """
        self._former_known = signature_of(self.former)
        if replace:
            self._whoever_owns().put_in_place()
        else:
            self.put_in_place()
            self._refuse_foreign()
        before = signature_of(self.path)
        try:
            content = read_private(self.path, "token")
        except FileNotFoundError:
            prove_writable(self.path, FIRST_BYTES)
        else:
            write_private(self.path, content, only_over=before)
            if replace:
                prove_writable(self.former, len(content))
            else:
                self.ensure_replaceable()

    def prove_storable(self, *, replace: bool = False) -> None:
        """Do all that a renewal does with files; StoreError.  To be called under the lock."""
        self.prove_replaceable(replace=replace)
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

    @property
    def former(self) -> Path:
        """Where replace() keeps the token that it replaces: `token.json.bak`."""
        real = Path(os.path.realpath(self.path))
        return real.with_name(f"{real.name}.bak")

    def replace(self, credentials: TokenCredentials) -> None:
        """Store a token in place of any other, which is kept; under the lock.  StoreError.

        At any moment the old one is whole: in its place, or as `former`.  Where another sign-in has
        kept it there since prove_storable(), it stays, and only what that one stored is replaced.
        """
        data = self.encode(credentials)
        self._whoever_owns().put_in_place()
        if signature_of(self.former) == self._former_known:
            with suppress(FileNotFoundError):
                kept = read_private(self.path, "token")
                self._former_known = write_private(self.former, kept)
        written = write_private(self.path, data)
        self._stored(written)

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
        self._stored(written)

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

    def left(self) -> list[Path]:
        """The files that are there of sign-ins, renewals and replacements; StoreError.

        The lock is none of them: others may hold it, and there is nothing in it.
        """
        real = Path(os.path.realpath(self.path))
        files = [self.path, real, self.former, self._successor.path, self.renewal_mark.path]
        with storing(self.path), suppress(FileNotFoundError):
            marks = (f".{real.name}.", f"..{real.name}.")
            files += [
                path
                for path in real.parent.iterdir()
                if path.name.startswith(marks) and path.name.endswith(".tmp")
            ]
        return [path for path in dict.fromkeys(files) if os.path.lexists(path)]

    def remove(self) -> list[Path]:
        """Remove all that is left(), and return it; under the lock.  StoreError."""
        return [path for path in self.left() if remove_file(path)]

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
        document = {"version": VERSION, **self._owner.as_json(), **token_to_json(credentials)}
        ours = this_machine()
        return document if ours is None else {**document, "stored_on": ours}

    def _refuse_foreign(self) -> None:
        """Raise StoreError where the token in place is another Jira's or consumer's."""
        try:
            self._in_place()
        except NotAuthorized as error:
            hint = (
                "set token.path to a file of its own; or replace this token by `sidecar auth"
                f" --replace`, which keeps it as {self.former.name}"
            )
            raise StoreError(f"{error.message}; it is not replaced", hint) from None
        except DamagedFile:
            return

    def _room(self) -> int:
        """Bytes that a renewed token may need: it is as long as the old one, or nearly."""
        try:
            in_place = self._in_place()
        except (DamagedFile, NotAuthorized):
            in_place = None
        return FIRST_BYTES if in_place is None else len(self._to_keep(in_place)) + MARGIN_BYTES

    def _stored(self, written: Signature) -> None:
        """Note that a token is in place now, and that no other is to follow."""
        self._successor.discard()
        self._stored_on = this_machine()
        self._watch.seen(written, None)

    def _whoever_owns(self) -> TokenFile:
        """The same file, as the sidecar sees it whose token is in it."""
        try:
            document = read(self.path, "token") or {}
            base_url = BaseURL.parse(str(document.get("base_url")))
        except (ConfigError, ValueError):
            return self
        return TokenFile(self.path, base_url, str(document.get("consumer_key")))

    def _in_place(self) -> TokenCredentials | None:
        document = read(self.path, "token")
        return None if document is None else self._token_from(document)

    def _token_from(self, document: dict[str, Any]) -> TokenCredentials:
        credentials = token_from_json(document, self.path)
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
