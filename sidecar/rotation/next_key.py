"""The private key that is to follow: it waits beside the one in use until Jira accepts it.

At any moment each key is whole under some name, whatever fails: the new one is linked into its
place, the old one gets a second name before the new one takes its first.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.errors import StoreError
from sidecar.files import keys
from sidecar.files.private import NameTaken, read_private, storing, sync_folder, write_private

KEY_PROBLEMS = frozenset({"signature_invalid", "key_size_mismatch"})
"""What Jira says of our signature once the application link has another public key."""


class NextKey:
    """`private_key.pem.new` beside the real `private_key.pem`, whatever links lead to that."""

    def __init__(self, private_key: Path, passphrase_file: Path | None) -> None:
        self._private_key = private_key
        self._passphrase_file = passphrase_file

    @property
    def _place(self) -> Path:
        """The real file: Kubernetes leads its links elsewhere when a Secret changes."""
        return Path(os.path.realpath(self._private_key))

    @property
    def path(self) -> Path:
        """Where the key waits."""
        return self._place.with_name(f"{self._place.name}.new")

    def is_there(self) -> bool:
        """Whether a key waits."""
        return os.path.lexists(self.path)

    def load(self) -> RSAPrivateKey | None:
        """Return the key that waits, None where none does; ConfigError for one of no use."""
        if not self.is_there():
            return None
        key = keys.load_private_key(self.path, self._passphrase_file)
        keys.verify_signing(key)
        return key

    def add(self, key: RSAPrivateKey) -> bool:
        """Have a key wait, with owner, mode and passphrase of the one in use; StoreError.

        False where another waits already: two processes may have made one each.
        """
        passphrase = keys.read_passphrase(self._passphrase_file) if self._passphrase_file else None
        with storing(self.path):
            like = os.stat(self._place)
        try:
            write_private(
                self.path, keys.private_key_pem(key, passphrase), like=like, only_new=True
            )
        except NameTaken:
            return False
        return True

    def put_aside(self) -> Path | None:
        """Give up the key that waits, and return where it is kept; StoreError."""
        if not self.is_there():
            return None
        return self._second_name(self.path, and_drop=True)

    def take_place(self, key: RSAPrivateKey) -> Path | None:
        """Put the key that waits in the place of the one in use, which is kept; StoreError.

        Returns where the old one is now; None where another process did all that.
        """
        with storing(self._place):
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._refuse_another(self._place, key)
                return None
            try:
                with suppress(OSError):  # without locks what is looked at below has to do
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                return self._exchange(descriptor, key)
            finally:
                os.close(descriptor)

    def _exchange(self, locked: int, key: RSAPrivateKey) -> Path | None:
        """Exchange the keys, if the file that is `locked` is still the one that waits."""
        try:
            is_same = os.path.samestat(os.stat(self.path), os.fstat(locked))
        except FileNotFoundError:
            is_same = False
        self._refuse_another(self.path if is_same else self._place, key)
        if not is_same:
            return None
        kept = self._second_name(self._place)
        os.replace(self.path, self._place)
        self._sync()
        return kept

    def _refuse_another(self, path: Path, key: RSAPrivateKey) -> None:
        found = keys.load_private_key(path, self._passphrase_file)
        if keys.fingerprint(found) != keys.fingerprint(key):
            raise StoreError(
                f"{path}: this is no longer the key that Jira was asked about",
                "run `sidecar init --rotate-key` again: it says what to enter in Jira",
            )

    def _second_name(self, path: Path, *, and_drop: bool = False) -> Path:
        """Keep a key as NAME.bak, NAME.bak2, …, whichever is free."""
        for number in itertools.count(1):
            kept = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
            with suppress(NameTaken), storing(kept):
                self._copy(path, kept)
                if and_drop:
                    path.unlink()
                self._sync()
                return kept
        raise AssertionError("there is always a free number")

    @staticmethod
    def _copy(path: Path, kept: Path) -> None:
        """Give a file another name; or its content, where there can be no second name."""
        try:
            os.link(path, kept)
        except FileExistsError:
            raise NameTaken from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            data = read_private(path, "private key")
            write_private(kept, data, like=os.stat(path), only_new=True)

    def _sync(self) -> None:
        folder = os.open(self._place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_folder(folder)
        finally:
            os.close(folder)
