"""The key that waits: made once, private as the one in use, and in its place without a loss."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.errors import ConfigError, SidecarError, StoreError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.rotation.next_key import NextKey


@pytest.fixture
def place(tmp_path: Path, private_key: RSAPrivateKey) -> Path:
    path = tmp_path / "keys" / "private_key.pem"
    write_private(path, keys.private_key_pem(private_key))
    return path


def waiting(place: Path) -> NextKey:
    return NextKey(place, None)


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.parent.iterdir())


def is_at(path: Path, key: RSAPrivateKey) -> bool:
    return keys.fingerprint(keys.load_private_key(path)) == keys.fingerprint(key)


def test_where_none_waits_there_is_none(place: Path) -> None:
    assert not waiting(place).is_there()
    assert waiting(place).load() is None


def test_it_waits_and_then_takes_the_place_of_the_old_one_which_is_kept(
    place: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    assert waiting(place).add(other_key)
    assert is_at(place, private_key)
    found = waiting(place).load()
    assert found is not None
    kept = waiting(place).take_place(found)
    assert kept is not None
    assert is_at(place, other_key)
    assert is_at(kept, private_key)
    assert names(place) == ["private_key.pem", "private_key.pem.bak"]


def test_of_two_that_make_one_at_once_the_first_counts(
    place: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    assert waiting(place).add(other_key)
    assert not waiting(place).add(private_key)
    assert is_at(waiting(place).path, other_key)
    assert names(place) == ["private_key.pem", "private_key.pem.new"]


def test_of_two_that_put_it_in_place_at_once_both_are_right(
    place: Path, other_key: RSAPrivateKey
) -> None:
    waiting(place).add(other_key)
    assert waiting(place).take_place(other_key) is not None
    assert waiting(place).take_place(other_key) is None
    assert names(place) == ["private_key.pem", "private_key.pem.bak"]


def test_another_process_may_have_done_it_since_the_file_was_opened(
    place: Path, other_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(place).add(other_key)

    def lock(*_: int) -> None:
        monkeypatch.undo()
        waiting(place).take_place(other_key)

    monkeypatch.setattr(fcntl, "flock", lock)
    assert waiting(place).take_place(other_key) is None
    assert is_at(place, other_key)
    assert names(place) == ["private_key.pem", "private_key.pem.bak"]


def test_a_key_that_jira_was_not_asked_about_takes_no_place(
    place: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    waiting(place).add(other_key)
    with pytest.raises(StoreError, match="no longer the key") as caught:
        waiting(place).take_place(keys.generate_private_key(1024))
    assert "--rotate-key" in caught.value.hint
    assert is_at(place, private_key)
    assert is_at(waiting(place).path, other_key)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440])
def test_it_has_owner_and_mode_of_the_one_in_use(
    place: Path, other_key: RSAPrivateKey, mode: int
) -> None:
    place.chmod(mode)
    if os.geteuid() == 0:
        os.chown(place, 0 if mode & 0o040 else 4321, 1234)
    before = place.stat()
    waiting(place).add(other_key)
    info = waiting(place).path.stat()
    assert stat.S_IMODE(info.st_mode) == mode
    assert (info.st_uid, info.st_gid) == (before.st_uid, before.st_gid)


def test_it_has_the_passphrase_of_the_one_in_use(
    place: Path, tmp_path: Path, other_key: RSAPrivateKey
) -> None:
    write_private(tmp_path / "passphrase", b"open sesame\n")
    next_key = NextKey(place, tmp_path / "passphrase")
    next_key.add(other_key)
    assert b"ENCRYPTED" in next_key.path.read_bytes()
    found = next_key.load()
    assert found is not None
    assert keys.fingerprint(found) == keys.fingerprint(other_key)


def test_links_stay(place: Path, tmp_path: Path, other_key: RSAPrivateKey) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(place)
    waiting(link).add(other_key)
    waiting(link).take_place(other_key)
    assert link.is_symlink()
    assert is_at(link, other_key)


def test_a_link_that_leads_elsewhere_now_is_followed(
    place: Path, tmp_path: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    """As Kubernetes has it when a Secret gets a second key."""
    link = tmp_path / "link.pem"
    link.symlink_to(place)
    next_key = waiting(link)
    assert not next_key.is_there()
    later = tmp_path / "later" / place.name
    write_private(later, keys.private_key_pem(private_key))
    write_private(later.with_name(f"{place.name}.new"), keys.private_key_pem(other_key))
    link.unlink()
    link.symlink_to(later)
    assert next_key.load() is not None


def test_one_that_is_given_up_is_kept(
    place: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    assert waiting(place).put_aside() is None
    for number in ("", "2"):
        waiting(place).add(other_key)
        kept = waiting(place).put_aside()
        assert kept is not None
        assert kept.name == f"private_key.pem.new.bak{number}"
        assert is_at(kept, other_key)
        assert not waiting(place).is_there()
    assert is_at(place, private_key)


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_one_that_makes_no_sense_is_named(place: Path, content: bytes) -> None:
    write_private(waiting(place).path, content)
    with pytest.raises(ConfigError, match=r"private_key\.pem\.new"):
        waiting(place).load()


def test_without_links_the_old_one_is_copied(
    place: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey, monkeypatch: Any
) -> None:
    waiting(place).add(other_key)
    link = os.link

    def refuse(source: Any, target: Any, **more: Any) -> None:
        if more:
            link(source, target, **more)
        else:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    kept = waiting(place).take_place(other_key)
    assert kept is not None
    assert is_at(kept, private_key)


CALLS = ("open", "write", "fsync", "link", "unlink", "replace", "fchmod", "ftruncate")


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("failure", [Cut(), OSError(28, "No space left on device")])
def test_wherever_it_ends_no_key_is_lost(
    place: Path,
    private_key: RSAPrivateKey,
    other_key: RSAPrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    """Each call that changes a file fails once, as if the power or the disk's room went there."""
    for number in range(40):
        left = number

        def wrapped(real: Any) -> Any:
            def call(*words: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise failure
                return real(*words, **more)

            return call

        fresh = place.parent / str(number) / place.name
        write_private(fresh, keys.private_key_pem(private_key))
        with monkeypatch.context() as patched, suppress(Cut, SidecarError):
            for name in CALLS:
                patched.setattr(os, name, wrapped(getattr(os, name)))
            waiting(fresh).add(other_key)
            made = True
            waiting(fresh).take_place(other_key)
        found = [keys.load_private_key(path) for path in fresh.parent.glob("private_key.pem*")]
        fingerprints = {keys.fingerprint(key) for key in found}
        assert keys.fingerprint(private_key) in fingerprints
        assert is_at(fresh, private_key) or is_at(fresh, other_key)
        if is_at(fresh, other_key) and left >= 0:
            assert made
            return
    raise AssertionError("it takes more calls than were tried")
