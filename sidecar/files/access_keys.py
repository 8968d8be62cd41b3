"""The access keys: one file, or a folder with a file for each caller, by what they hold now.

A changed key counts from the next request on.  A file that has become one that cannot be used is
reported, and its caller's key from before stays; one that is gone takes its caller with it.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sidecar.access.acting import UserPatterns
from sidecar.access.keys import Holder, KeyRing, digest
from sidecar.config.tables import Access
from sidecar.errors import ConfigError, as_sentence
from sidecar.files.private import Signature, read_private, signature_of
from sidecar.http.shown import quoted

log = logging.getLogger(__name__)

MOST_CALLERS = 256
"""Files in a folder of keys: to read so many takes some 8 ms, in which nothing else is done."""
YOUNG_SECONDS = 0.05
"""A file that was written in the last moment may be written again in the same tick of its file
system's clock, which is 10 ms at most on Linux: it is read again until it is older."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_NAMED = 5
_WHAT = "access key"
_NEVER_SEEN: Signature = ()  # no file's

Digests = dict[str | None, bytes]
"""The digest of each caller's key; None is the caller of the one key without a name."""


class Reading(NamedTuple):
    """What a look at the files has found."""

    digests: Digests
    seen: dict[str | None, Signature | None]
    """Each file as it was just before it was read, by its caller's name."""
    whole: Signature | None
    """The folder as it was just before it was listed; of the one file, the file."""
    problems: dict[str, str]
    """What is wrong, each with what to do."""

    def refuse(self) -> None:
        """Raise ConfigError where anything is wrong; it names the first few things that are."""
        if not self.problems:
            return
        messages, hints = list(self.problems), list(self.problems.values())[:_MOST_NAMED]
        if len(messages) > _MOST_NAMED:
            messages[_MOST_NAMED:] = [f"and {len(messages) - _MOST_NAMED} more"]
        raise ConfigError("; ".join(messages), "; ".join(dict.fromkeys(hints)))


class AccessKeys:
    """The keys that access.key_file leads to."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file, or anything in the folder, cannot be used."""
        self._path = path
        self._reading = read_access_keys(path)
        self._reading.refuse()
        self._ring = KeyRing(self._reading.digests)

    def holder(self, shown: Sequence[bytes]) -> Holder | None:
        """Whose key is among the texts that were shown, by what the files hold now.

        A right key costs a look at the folder and at its own file, a wrong one at every file.
        """
        found = self._ring.holder(shown)
        looked_at = self._reading.seen if found is None else (found.name,)
        if not self._changed(looked_at):
            return found
        self._read_again()
        return self._ring.holder(shown)

    def _changed(self, names: Iterable[str | None]) -> bool:
        seen = self._reading.seen
        if signature_of(self._path) != self._reading.whole:
            return True
        return any(signature_of(_file(self._path, name)) != seen.get(name) for name in names)

    def _read_again(self) -> None:
        before, self._reading = self._reading, read_access_keys(self._path, self._reading.digests)
        self._ring = KeyRing(self._reading.digests)
        for message, hint in self._reading.problems.items():
            if message not in before.problems:
                log.warning(
                    "%s; what could be read before stays in use. What to do: %s",
                    message,
                    as_sentence(hint),
                )
        if (change := _change(before.digests, self._reading.digests)) is not None:
            log.info("the access keys have changed, and count from now on: %s", change)
        if before.digests and not self._reading.digests:
            log.warning("%s holds no access key any more: nobody gets in", self._path)


def read_access_keys(path: Path, before: Mapping[str | None, bytes] | None = None) -> Reading:
    """Read the file, or every file of the folder.

    `before` has the digests that hold at this moment, where the sidecar is running: they stay for
    a file that cannot be read or understood, and decide who keeps a key that two files hold.
    """
    reading = Reading({}, {}, _settled(signature_of(path)), {})
    known = before or {}
    try:
        names = _listed(path)
    except ConfigError as error:
        reading.problems[error.message] = error.hint
        return reading._replace(digests=dict(known))
    if not names and before is None:
        hint = f"put a long random text into {path}/NAME, mode 0600, for each caller NAME"
        reading.problems[f"{path}: there is no access key in this folder"] = hint
    for name in names:
        try:
            _read_one(path, name, reading)
        except FileNotFoundError:
            if before is None:
                file = _file(path, name)
                reading.problems[f"{file}: the {_WHAT} file does not exist"] = _hint(file)
        except ConfigError as error:
            reading.problems[error.message] = error.hint
            if name in known:
                reading.digests[name] = known[name]
    _drop_doubles(path, reading, known)
    return reading


def any_key(path: Path) -> bytes:
    """One of the keys that a running sidecar lets in, for a request of our own; ConfigError."""
    read_access_keys(path).refuse()
    file = _file(path, _listed(path)[0])
    return _key(read_private(file, _WHAT), file)


def is_own_folder(path: Path) -> bool:
    """Whether it is a folder of keys of the user who asks."""
    try:
        info = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()


def without_key(access: Access) -> list[str]:
    """Say which of the callers that access.act_as names have no key, if the keys can be read."""
    callers = UserPatterns(access.act_as).callers
    if access.key_file is None or not callers:
        return []
    reading = read_access_keys(access.key_file)
    missing = [] if reading.problems else sorted(callers - reading.digests.keys())
    return [
        f"access.act_as names {quoted(name)}, and {access.key_file} has no key of that name"
        for name in missing
    ]


def _read_one(path: Path, name: str | None, reading: Reading) -> None:
    if name is not None and not _NAME.fullmatch(name):
        hint = "rename or remove it: a name has at most 64 letters, digits, dots, _ and -"
        raise ConfigError(f"{path}: {quoted(name)} cannot be a caller's name", hint)
    file = _file(path, name)
    reading.seen[name] = _settled(signature_of(file))
    reading.digests[name] = digest(_key(read_private(file, _WHAT), file))


def _listed(path: Path) -> list[str | None]:
    """The callers that have a file, None alone where `path` is no folder; ConfigError."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return [None]
        names = sorted(name for name in os.listdir(path) if not _is_skipped(path, name))
    except FileNotFoundError:
        return [None]  # reading it will tell
    except OSError as error:
        hint = f"let the user who runs the sidecar (uid {os.geteuid()}) list it: mode 0700"
        message = f"{path}: the folder of access keys cannot be read: {error.strerror}"
        raise ConfigError(message, hint) from None
    if len(names) > MOST_CALLERS:
        hint = "is access.key_file the right folder? It holds nothing but a file for each caller"
        raise ConfigError(f"{path}: more than {MOST_CALLERS} files of access keys", hint)
    return list(names)


def _is_skipped(folder: Path, name: str) -> bool:
    return name.startswith(".") or os.path.isdir(os.path.join(folder, name))


def _drop_doubles(path: Path, reading: Reading, known: Mapping[str | None, bytes]) -> None:
    """Let nobody in by a key that two files hold, but for the caller who had it before."""
    holders: dict[bytes, list[str]] = {}
    for name, key in reading.digests.items():
        holders.setdefault(key, []).append(name or "")
    for key, names in holders.items():
        if len(names) == 1:
            continue
        for name in names:
            if known.get(name) != key:
                del reading.digests[name]
        who = " and ".join(map(quoted, names))
        hint = "give each caller a key of its own, or remove all of these files but one"
        reading.problems[f"{path}: {who} hold the same access key"] = hint


def _key(content: bytes, path: Path) -> bytes:
    """The key in a file; one that no client can send in a field is refused (RFC 9110 §5.5)."""
    key = content.rstrip(b"\r\n")
    if not key:
        raise ConfigError(f"{path}: the access key is empty", _hint(path))
    text = key.decode("utf-8", "replace")
    if "\ufffd" in text or not text.isprintable():
        message = f"{path}: the access key is not one line of text: no client could send it"
        raise ConfigError(message, _hint(path))
    if text != text.strip():
        raise ConfigError(
            f"{path}: the access key has a space at its beginning or end", _hint(path)
        )
    return key


def _hint(path: Path) -> str:
    return f"put a long random text on one line into {path}, mode 0600; see access.key_file"


def _file(path: Path, name: str | None) -> Path:
    return path if name is None else path / name


def _settled(signature: Signature | None) -> Signature | None:
    """A file's signature, unless the file is so young that it may change and look the same."""
    if signature is None or abs(time.time_ns() - signature[1]) > YOUNG_SECONDS * 1e9:
        return signature
    return _NEVER_SEEN


def _change(before: Digests, after: Digests) -> str | None:
    """What has become of the keys, by their callers' names."""
    if before == after:
        return None
    parts = {
        "new": after.keys() - before.keys(),
        "changed": {name for name in after.keys() & before.keys() if after[name] != before[name]},
        "gone": before.keys() - after.keys(),
    }
    return "; ".join(
        f"{word}: {', '.join(sorted(name or 'the one key' for name in names))}"
        for word, names in parts.items()
        if names
    )
