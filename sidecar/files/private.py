"""Files that hold secrets: read only where nobody else can read them, written private and whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from sidecar.config.handing_over import how_to_hand_over
from sidecar.errors import DESCRIPTORS_HINT, ConfigError, StoreError, is_out_of_descriptors

SECRET_LIMIT = 64 * 1024  # bytes; a 16384-bit key in PEM has 13 KiB

Signature = tuple[int, ...]
"""What tells one state of a file from another, without reading it."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""For os.open: a new file; O_EXCL follows no link either."""
_ABANDONED = 60.0  # seconds; writing a file of a few kB takes milliseconds


class NameTaken(Exception):
    """A file was to be new, and one of its name is there."""


def read_secret(path: Path, what: str, hint: str = "") -> bytes:
    """Return the content of a secret file; ConfigError says why there is none.

    `what` names it in messages ("private key"), `hint` says how to get one that is missing.
    """
    try:
        return read_private(path, what)
    except FileNotFoundError:
        raise ConfigError(f"{path}: the {what} file does not exist", hint) from None


def read_private(path: Path, what: str) -> bytes:
    """Like read_secret, but a missing file stays a FileNotFoundError.

    What is checked is what is read: the rule applies to the open descriptor.  O_NONBLOCK keeps a
    FIFO from holding us up.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, what, error) from None
    try:
        refuse_unless_private(os.fstat(descriptor), path, what)
        return _read_all(descriptor, path, what)
    except OSError as error:
        raise _unreadable(path, what, error) from None
    finally:
        os.close(descriptor)


def refuse_unless_private(info: os.stat_result, path: Path, what: str) -> None:
    """Raise ConfigError for a file that is not ours alone, nor root's in the way of systemd.

    A regular file, ours with no group or other permission, or root's with no group write and no
    permission for others (systemd shows its credentials as root's, 0440).
    """
    mode = stat.S_IMODE(info.st_mode)
    if not stat.S_ISREG(info.st_mode):
        raise ConfigError(f"{path}: the {what} is not a regular file", "put it into a plain file")
    if info.st_size > SECRET_LIMIT:
        raise ConfigError(*_too_large(path, what))
    user = os.geteuid()
    if info.st_uid == user and not mode & 0o077:
        return
    if info.st_uid == 0 and not mode & 0o027:
        return
    hint = how_to_hand_over(path, user=user, is_ours=info.st_uid == user)
    if info.st_uid not in (user, 0):
        raise ConfigError(f"{path}: the {what} file is another user's (uid {info.st_uid})", hint)
    if mode & 0o067 == 0o060:  # Kubernetes gives it the group of a volume at each mount
        hint += '; if a pod\'s fsGroup opened it, set fsGroupChangePolicy: "OnRootMismatch" there'
    raise ConfigError(f"{path}: the {what} file is open to others (mode {mode:04o})", hint)


def _read_all(descriptor: int, path: Path, what: str) -> bytes:
    data = b""
    while piece := os.read(descriptor, SECRET_LIMIT + 1 - len(data)):
        data += piece
        if len(data) > SECRET_LIMIT:  # it grew since fstat
            raise ConfigError(*_too_large(path, what))
    return data


def _too_large(path: Path, what: str) -> tuple[str, str]:
    return f"{path}: larger than 64 KiB", f"this is no {what}"


def _unreadable(path: Path, what: str, error: OSError) -> ConfigError:
    if error.errno == errno.ENXIO:  # a socket
        return ConfigError(f"{path}: the {what} is not a regular file", "put it into a plain file")
    if is_out_of_descriptors(error):
        return ConfigError(f"{path}: the {what} cannot be read: {error.strerror}", DESCRIPTORS_HINT)
    user = os.geteuid()
    hint = f"it must be a file of the user who runs the sidecar (uid {user}), mode 0600"
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = how_to_hand_over(path, user=user, is_ours=False)
    return ConfigError(f"{path}: the {what} cannot be read: {error.strerror}", hint)


class FileWatch:
    """Notices that one of several files has changed; each look costs one stat for each file."""

    def __init__(self, *paths: Path | None) -> None:
        self._paths = [os.fspath(path) for path in paths if path is not None]  # stat is quicker so
        self._seen: list[Signature | None] = [None] * len(self._paths)

    def changed(self) -> bool:
        """Whether a file is another than when seen() was called; before that, whether one is."""
        return self._now() != self._seen

    def seen(self, *signatures: Signature | None) -> None:
        """Take the files as they are now, or as `signatures` has them (None: gone), for known.

        To be called before they are read: a file that is replaced in between then looks changed
        once too often, not never.
        """
        self._seen = list(signatures) or self._now()

    def _now(self) -> list[Signature | None]:
        return [_signature_at(path) for path in self._paths]


def _signature_at(path: str) -> Signature | None:
    try:
        return _signature(os.stat(path))
    except OSError:
        return None


def signature_of(path: Path) -> Signature | None:
    """What tells this state of a file from another; None where there is no file."""
    return _signature_at(os.fspath(path))


def _signature(info: os.stat_result) -> Signature:
    # Mode and owner too: a chmod that makes a file acceptable is a change.
    return info.st_ino, info.st_mtime_ns, info.st_size, info.st_mode, info.st_uid


def write_private(
    path: Path,
    data: bytes,
    *,
    room: int = 0,
    only_over: Signature | None = None,
    like: os.stat_result | None = None,
    only_new: bool = False,
) -> Signature:
    """Write a file of mode 0600: at any moment either the old one or the new one is there, whole.

    Missing folders are made, 0700.  A symbolic link stays and its target is replaced.  Returns
    the new file's signature.  Raises StoreError; only when the folder itself cannot be
    synchronised is the new file in place then.

    With `room`, the disk must have so many bytes for it.  With `only_over`, a file that is another
    than that by the time of the rename stays, and its signature is returned.  With `like`, the new
    file has the owner, group and mode of that.  With `only_new`, a file that is there stays, and
    that is NameTaken.
    """
    path = Path(os.path.realpath(path))
    with storing(path):
        make_folders(path.parent)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        put = _link if only_new else _rename
        try:
            written = _replace(folder, path, data, room, only_over, like, put)
            sync_folder(folder)
            _sweep(folder, path.name, written.st_mtime)
        finally:
            os.close(folder)
    return _signature(written)


def prove_writable(path: Path, room: int) -> None:
    """Prove that write_private() can make a file of `room` bytes; StoreError says why it can't.

    A file of another name beside it is put in place and removed again.
    """
    real = Path(os.path.realpath(path))
    probe = real.with_name(f".{real.name}.{secrets.token_hex(8)}.tmp")  # swept up if we are killed
    try:
        write_private(probe, b"", room=room)
    except StoreError as error:
        message = error.message.replace(str(probe), str(path))
        raise StoreError(message, error.hint.replace(str(probe), str(path))) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def remove_file(path: Path) -> bool:
    """Remove a file; whether it was there.  StoreError where it stays."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        message = f"{path}: cannot be removed: {error.strerror}"
        raise StoreError(message, f"remove it yourself: rm {shlex.quote(str(path))}") from None
    return True


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Make a StoreError of every OSError: `path` is the file that was to be written."""
    try:
        yield
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror}"
        raise StoreError(message, _write_hint(path, error)) from None


def make_folders(folder: Path) -> None:
    """Make a folder, and those above it, where they are missing: 0700."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    with contextlib.suppress(FileExistsError):  # made by another process; a file fails below
        os.mkdir(folder, 0o700)


def _replace(
    folder: int,
    path: Path,
    data: bytes,
    room: int,
    only_over: Signature | None,
    like: os.stat_result | None,
    put: Callable[[int, str, str], None],
) -> os.stat_result:
    """Write a temporary file beside `path` and `put` it there; return the file's status."""
    temporary = f".{path.name}.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, CREATE, 0o600, dir_fd=folder)
    try:
        try:
            fill(descriptor, data, room)
            if like is not None:
                _resemble(descriptor, like)
            written = os.fstat(descriptor)
        finally:
            os.close(descriptor)  # may fail too: NFS reports a full disk here
        if only_over is not None and _signature(found := os.stat(path)) != only_over:
            os.unlink(temporary, dir_fd=folder)
            return found
        put(folder, temporary, path.name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    return written


def _rename(folder: int, temporary: str, name: str) -> None:
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _link(folder: int, temporary: str, name: str) -> None:
    """Give a file its name; NameTaken where another has it: link(2) tells."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise NameTaken from None
    os.unlink(temporary, dir_fd=folder)


def _resemble(descriptor: int, like: os.stat_result) -> None:
    """Give a file the owner, group and mode of another; OSError where we may not."""
    info = os.fstat(descriptor)
    if (info.st_uid, info.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(descriptor, like.st_uid, like.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def fill(descriptor: int, data: bytes, room: int = 0) -> None:
    """Make `data` the content of an open file, on disk; `room` bytes are allocated before."""
    if room > len(data):
        _write_all(descriptor, bytes(room))
        os.fsync(descriptor)
        os.lseek(descriptor, 0, os.SEEK_SET)
    _write_all(descriptor, data)
    os.ftruncate(descriptor, len(data))
    os.fsync(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = os.write(descriptor, rest)
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        rest = rest[written:]


def sync_folder(folder: int) -> None:
    """Bring a folder's names to the disk."""
    try:
        os.fsync(folder)
    except OSError as error:
        # Some file systems (FUSE, SMB) cannot; theirs is then a rename as safe as it gets.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _sweep(folder: int, name: str, now: float) -> None:
    """Remove what writers that were killed left behind; `now` is by the file system's clock."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            if entry.startswith(f".{name}.") and entry.endswith(".tmp"):
                age = now - os.stat(entry, dir_fd=folder, follow_symlinks=False).st_mtime
                if age > _ABANDONED:
                    os.unlink(entry, dir_fd=folder)


def _write_hint(path: Path, error: OSError) -> str:
    if is_out_of_descriptors(error):
        return DESCRIPTORS_HINT
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full, or your quota used up: free some space for {path.parent}"
    if error.errno in (errno.EBUSY, errno.EXDEV):
        return (
            f"{path.name} is mounted by itself, so that no other file can take its place: mount"
            f" the folder {path.parent} instead"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = f"{path.parent} must be a folder that you can write to"
        if error.errno == errno.EPERM:
            file = shlex.quote(str(path))
            hint += (
                f"; `lsattr {file}` shows an immutable file, and in a folder with the sticky bit"
                " only a file's owner can replace it"
            )
        return hint
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return f"{path} must be a file's path, and all before its last / folders"
    return f"see whether the disk of {path.parent} is in order"
