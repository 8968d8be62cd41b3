"""Secret files: who may be able to read them, and that they are never half written."""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import ConfigError, StoreError
from sidecar.files import private as private_files
from sidecar.files.private import (
    read_private,
    read_secret,
    refuse_unless_private,
    write_private,
)

OLD, NEW = b"old " * 5000, b"new " * 5000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A private file in a folder of its own."""
    path = tmp_path / "state" / "token.json"
    write_private(path, OLD)
    return path


def refusal(path: Path, what: str = "token") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_secret(path, what)
    return caught.value


# --- the rule ---


def info(mode: int, owner: int, size: int = 100) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, owner, 0, size, 0, 0, 0))


US, ROOT, OTHER = 1000, 0, 1001


@pytest.mark.parametrize(
    ("mode", "owner", "is_accepted"),
    [
        (0o600, US, True),
        (0o400, US, True),
        (0o700, US, True),
        (0o640, US, False),
        (0o604, US, False),
        (0o610, US, False),
        (0o440, ROOT, True),
        (0o400, ROOT, True),
        (0o640, ROOT, True),
        (0o600, ROOT, True),
        (0o660, ROOT, False),
        (0o444, ROOT, False),
        (0o441, ROOT, False),
        (0o600, OTHER, False),
        (0o440, OTHER, False),
    ],
)
@pytest.mark.parametrize("user", [US, ROOT])
def test_a_secret_is_ours_alone_or_roots_as_systemd_shows_it(
    monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, is_accepted: bool, user: int
) -> None:
    """Where we are root, both halves of the rule speak of our files."""
    owner = {US: user, ROOT: ROOT, OTHER: OTHER}[owner]
    is_accepted = is_accepted or (user == owner == ROOT and not mode & 0o027)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    path = Path("/k/my key.pem")
    if is_accepted:
        refuse_unless_private(info(stat.S_IFREG | mode, owner), path, "private key")
        return
    with pytest.raises(ConfigError) as caught:
        refuse_unless_private(info(stat.S_IFREG | mode, owner), path, "private key")
    assert "chmod 600 '/k/my key.pem'" in caught.value.hint
    assert ("chown" in caught.value.hint) is (owner != user)
    assert (f"mode {mode:04o}" if owner != OTHER else "uid 1001") in str(caught.value)


@pytest.mark.parametrize(("mode", "is_named"), [(0o660, True), (0o644, False), (0o666, False)])
def test_what_a_pods_fs_group_opened_is_refused_with_what_to_set_there(
    mode: int, is_named: bool
) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_unless_private(info(stat.S_IFREG | mode, os.geteuid()), Path("/v/t"), "token")
    assert caught.value.hint.startswith("chmod 600 /v/t")
    assert ("fsGroupChangePolicy" in caught.value.hint) is is_named


@pytest.mark.parametrize("kind", [stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_only_regular_files_are_secrets(kind: int) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        refuse_unless_private(info(kind | 0o600, os.geteuid()), Path("/k"), "private key")


def test_a_secret_file_has_64_kib_at_most(file: Path) -> None:
    file.write_bytes(b"x" * 64 * 1024)
    assert len(read_secret(file, "token")) == 64 * 1024
    file.write_bytes(b"x" * (64 * 1024 + 1))
    assert "larger than 64 KiB" in str(refusal(file))


def test_a_file_that_grows_after_it_was_judged_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"x" * 100_000)
    monkeypatch.setattr(private_files, "refuse_unless_private", lambda *_: None)
    assert "larger than 64 KiB" in str(refusal(file))


def test_the_hint_is_a_command_that_mends_it(file: Path) -> None:
    file.chmod(0o644)
    error = refusal(file)
    assert str(error) == f"{file}: the token file is open to others (mode 0644)"
    subprocess.run(shlex.split(error.hint), check=True)
    assert read_secret(file, "token") == OLD


def test_symbolic_links_are_followed(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file.name)
    assert read_secret(link, "token") == OLD
    file.chmod(0o644)
    assert "open to others" in str(refusal(link))


def test_a_fifo_a_socket_a_folder_and_a_device_hold_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "fifo", tmp_path / "socket", tmp_path, Path("/dev/zero")):
            assert "not a regular file" in str(refusal(path)), path


def test_what_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "the token cannot be read: Too many levels" in str(refusal(loop))
    (tmp_path / "file").touch()
    assert "cannot be read: Not a directory" in str(refusal(tmp_path / "file" / "x"))
    error = refusal(tmp_path / "none")
    assert str(error) == f"{tmp_path}/none: the token file does not exist"
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "none", "token")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_file_that_we_may_not_read_is_explained(file: Path) -> None:
    file.parent.chmod(0o755)
    for folder in file.parents[1:4]:
        folder.chmod(folder.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        error = refusal(file)
    finally:
        os.seteuid(0)
    assert "the token cannot be read: Permission denied" in str(error)
    assert error.hint.startswith(f"chown 65534 {file}")


def test_an_error_while_reading_is_explained_and_leaks_no_descriptor(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_descriptors()
    monkeypatch.setattr(private_files, "os", FaultyOS(fail_at=0, calls=("read",)))
    assert "cannot be read: Input/output error" in str(refusal(file))
    assert open_descriptors() == before


# --- writing ---


class FaultyOS:
    """The os module, in which the n-th of the listed calls fails; 0 is the first."""

    CALLS = ("mkdir", "open", "write", "fsync", "fstat", "close", "replace")

    def __init__(self, fail_at: int, code: int = errno.EIO, calls: tuple[str, ...] = CALLS) -> None:
        self._fail_at = fail_at
        self._code = code
        self._calls = calls
        self.made: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self._calls:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.made.append(name)
            if len(self.made) != self._fail_at + 1:
                return real(*args, **kwargs)
            if name == "close":  # Linux: the descriptor is gone even if close fails
                real(*args)
            raise OSError(self._code, os.strerror(self._code))

        return call


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


SEQUENCE = ["open", "open", "write", "fsync", "fstat", "close", "replace", "fsync", "close"]


def test_the_sequence_is_write_sync_rename_sync(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = FaultyOS(fail_at=99)
    monkeypatch.setattr(private_files, "os", faulty)
    write_private(file, NEW)
    assert faulty.made == SEQUENCE


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("step", range(len(SEQUENCE)))
def test_whatever_call_fails_the_file_is_whole_and_nothing_is_left_over(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: int, code: int
) -> None:
    before = open_descriptors()
    faulty = FaultyOS(step, code)
    monkeypatch.setattr(private_files, "os", faulty)
    with pytest.raises(StoreError) as caught:
        write_private(file, NEW)
    assert faulty.made[step] == SEQUENCE[step]
    is_renamed = step > SEQUENCE.index("replace")
    assert file.read_bytes() == (NEW if is_renamed else OLD)
    assert os.listdir(file.parent) == [file.name]
    assert str(caught.value) == f"{file}: cannot be written: {os.strerror(code)}"
    assert caught.value.hint
    assert caught.value.exit_code == 73
    assert open_descriptors() == before


@pytest.mark.parametrize("step", range(len(SEQUENCE) + 1))
def test_whatever_call_fails_a_first_write_leaves_the_file_whole_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = tmp_path / "new" / "token.json"
    monkeypatch.setattr(private_files, "os", FaultyOS(step))
    with pytest.raises(StoreError):
        write_private(path, NEW)
    if path.exists():
        assert path.read_bytes() == NEW
    assert {entry.name for entry in path.parent.glob("*")} <= {path.name}


class SparingOS(FaultyOS):
    """The os module, whose writes take a few bytes at a time, and at last none."""

    def __init__(self, room: int) -> None:
        super().__init__(99, calls=())
        self._room = room

    def write(self, descriptor: int, data: memoryview) -> int:
        piece = data[: min(700, self._room)]
        self._room -= len(piece)
        return os.write(descriptor, piece) if piece else 0


def test_short_writes_are_continued(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "os", SparingOS(room=10**9))
    write_private(file, NEW)
    assert file.read_bytes() == NEW


def test_a_write_that_gets_nowhere_ends(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "os", SparingOS(room=1000))
    with pytest.raises(StoreError, match="nothing was written"):
        write_private(file, NEW)
    assert file.read_bytes() == OLD


def test_ctrl_c_in_the_middle_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_private(file, NEW)
    assert file.read_bytes() == OLD
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synchronised_is_no_failure(
    file: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(private_files, "os", FaultyOS(SEQUENCE.index("replace") + 1, code))
    write_private(file, NEW)
    assert file.read_bytes() == NEW


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        monkeypatch.setattr(private_files, "_write_all", lambda _, data: os.write(full, data))
        with pytest.raises(StoreError, match="No space left") as caught:
            write_private(file, NEW)
    finally:
        os.close(full)
    assert "free some space" in caught.value.hint
    assert file.read_bytes() == OLD


def test_files_and_folders_are_private_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.umask(0)
    modes: list[int] = []

    class WatchingOS(FaultyOS):
        def open(self, path: Any, *args: Any, **kwargs: Any) -> int:
            descriptor = os.open(path, *args, **kwargs)
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return descriptor

    monkeypatch.setattr(private_files, "os", WatchingOS(99))
    write_private(tmp_path / "a" / "b" / "secret", NEW)
    assert modes == [0o700, 0o600]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_what_somebody_put_at_the_temporary_name_is_not_written_to(
    file: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "00")
    theirs = file.with_name("theirs")
    planted = file.with_name(f".{file.name}.00.tmp")
    if kind == "file":
        planted.write_bytes(b"theirs")
    else:
        planted.symlink_to(theirs)
    if kind == "link":
        theirs.write_bytes(b"theirs")
    with pytest.raises(StoreError, match="File exists"):
        write_private(file, NEW)
    assert file.read_bytes() == OLD
    if kind == "dangling link":
        assert not theirs.exists()
    else:
        assert planted.read_bytes() == b"theirs"


def test_an_open_file_becomes_private_when_it_is_replaced(file: Path) -> None:
    file.chmod(0o666)
    write_private(file, NEW)
    assert read_secret(file, "token") == NEW


def test_a_symbolic_link_stays_one(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file.name)
    write_private(link, NEW)
    assert link.is_symlink()
    assert file.read_bytes() == NEW


def test_what_is_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    long = tmp_path / ("x" * 300)
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y", tmp_path / "folder", long):
        with pytest.raises(StoreError, match="cannot be written") as caught:
            write_private(path, NEW)
        assert "folders" in caught.value.hint
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_what_killed_writers_left_behind_is_swept_away_in_time(file: Path) -> None:
    stale, fresh, foreign = (
        file.with_name(name)
        for name in (".token.json.00aa.tmp", ".token.json.11bb.tmp", ".other.json.22cc.tmp")
    )
    for path in (stale, fresh, foreign):
        path.touch()
    for path in (stale, foreign):
        os.utime(path, (0, path.stat().st_mtime - 100))
    write_private(file, NEW)
    assert not stale.exists()
    assert fresh.exists()
    assert foreign.exists()


DYING = """
import os, signal, sys
from pathlib import Path
from sidecar.files import private

class DyingOS:
    left = int(sys.argv[2])
    def __getattr__(self, name):
        if name in ("open", "write", "fsync", "fstat", "close", "replace"):
            if DyingOS.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            DyingOS.left -= 1
        return getattr(os, name)

private.os = DyingOS()
private.write_private(Path(sys.argv[1]), b"new " * 5000)
"""


@pytest.mark.parametrize("step", range(len(SEQUENCE)))
def test_a_kill_at_any_step_leaves_the_file_whole(file: Path, step: int) -> None:
    result = subprocess.run([sys.executable, "-c", DYING, file, str(step)], check=False)
    assert result.returncode == -9
    assert file.read_bytes() == (NEW if step > SEQUENCE.index("replace") else OLD)


WRITING = """
import sys
from pathlib import Path
from sidecar.files.private import write_private

while True:
    for letter in b"ab":
        write_private(Path(sys.argv[1]), bytes([letter]) * 50_000)
        sys.stdout.write(".")
        sys.stdout.flush()
"""


def test_a_kill_at_a_random_moment_leaves_the_file_whole(file: Path) -> None:
    for count in range(1, 8):
        command = [sys.executable, "-c", WRITING, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            writer.stdout.read(count)
            writer.kill()
        assert file.read_bytes() in (b"a" * 50_000, b"b" * 50_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=64 * 1024))
def test_what_is_written_is_read_back(tmp_path: Path, data: bytes) -> None:
    write_private(tmp_path / "secret", data)
    assert read_secret(tmp_path / "secret", "secret") == data
