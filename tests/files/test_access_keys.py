"""The access keys: one file or a folder of them, followed as they change."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.access.keys import Holder
from sidecar.errors import ConfigError
from sidecar.files import access_keys
from sidecar.files.access_keys import MOST_CALLERS, YOUNG_SECONDS, AccessKeys, any_key
from sidecar.files.private import signature_of
from tests.conftest import MakeSidecar, Running
from tests.support.raw_upstream import RawUpstream
from tests.support.waiting import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the one key."""
    path = tmp_path / "access_key"
    put(path, "first key\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the keys of two callers, and with what is skipped there."""
    path = tmp_path / "keys"
    path.mkdir()
    for name in ("build", "deploy"):
        put(path / name, f"word of {name}\n")
    (path / "old").mkdir()
    put(path / ".build.swp", "word of build\n")
    return path


def put(path: Path, text: str | bytes, mode: int = 0o600) -> None:
    """Write a file in place, private from its first moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text.encode() if isinstance(text, str) else text)


def replace(path: Path, text: str) -> None:
    """Put another file in its place, as whoever renews one does."""
    put(path.with_name(".other"), text)
    path.with_name(".other").replace(path)


def remove(path: Path) -> None:
    path.unlink()


def names(keys: AccessKeys, *shown: str) -> list[str | None]:
    """Who is let in by each of these keys: a name, "the one" or None."""
    found = [keys.holder([text.encode()]) for text in shown]
    return [None if holder is None else holder.name or "the one" for holder in found]


def refusal(path: Path) -> ConfigError:
    """What a start says of such a key or folder."""
    with pytest.raises(ConfigError) as caught:
        AccessKeys(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    assert "word of" not in caught.value.message + caught.value.hint
    return caught.value


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# --- one file ---


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"correct horse\n", b"correct horse"),
        (b"correct horse\r\n\n", b"correct horse"),
        ("schlüssel".encode(), "schlüssel".encode()),
        (b"=" * 64 * 1024, b"=" * 64 * 1024),
    ],
)
def test_a_key_is_one_line_without_its_end(file: Path, content: bytes, key: bytes) -> None:
    put(file, content)
    assert AccessKeys(file).holder([key]) == Holder(None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\r\n\n", "is empty"),
        (b"correct\nhorse\n", "not one line of text"),
        (b"correct\rhorse", "not one line of text"),
        (b"correct\0horse", "not one line of text"),
        (b"correct\thorse", "not one line of text"),
        (bytes(range(160, 200)), "not one line of text"),
        (b"\xffcorrect horse", "not one line of text"),
        (b" correct horse", "a space"),
        (b"correct horse \n", "a space"),
    ],
)
def test_a_key_that_no_client_can_send_is_refused(
    file: Path, folder: Path, content: bytes, problem: str
) -> None:
    put(file, content)
    put(folder / "build", content)
    for path, named in ((file, file), (folder, folder / "build")):
        error = refusal(path)
        assert error.message.startswith(f"{named}: the access key ")
        assert problem in error.message
        assert "access.key_file" in error.hint
        assert "horse" not in error.message + error.hint


def test_a_file_that_is_missing_or_open_to_others_is_refused(file: Path) -> None:
    missing = refusal(file.with_name("none"))
    assert "the access key file does not exist" in missing.message
    assert "access.key_file" in missing.hint
    file.chmod(0o644)
    assert "open to others (mode 0644)" in refusal(file).message


def test_one_that_is_gone_lets_nobody_in_and_one_that_is_broken_changes_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = AccessKeys(file)
    assert names(keys, "first key") == ["the one"]
    replace(file, "")
    assert names(keys, "first key") == ["the one"]
    file.unlink()
    assert names(keys, "first key", "") == [None, None]
    assert "nobody gets in" in caplog.text
    assert "first key" not in caplog.text
    replace(file, "second key")
    assert names(keys, "second key", "first key") == ["the one", None]


# --- a folder ---


def test_each_file_is_a_caller_but_for_folders_and_names_with_a_dot_in_front(folder: Path) -> None:
    put(folder / "Ci_2.a-b", "third\n")
    put(folder / ("n" * 64), "fourth\n")
    keys = AccessKeys(folder)
    shown = ("word of build", "word of deploy", "third", "fourth", "build", "")
    assert names(keys, *shown) == ["build", "deploy", "Ci_2.a-b", "n" * 64, None, None]


def _empty(folder: Path) -> None:
    for name in ("build", "deploy"):
        (folder / name).unlink()


def _twice(folder: Path) -> None:
    put(folder / "deploy", "word of build\r\n")


def _open(folder: Path) -> None:
    (folder / "deploy").chmod(0o604)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "pipe", 0o600)


def _odd(folder: Path) -> None:
    put(folder / "de ploy\n", "x")


def _long(folder: Path) -> None:
    put(folder / ("n" * 65), "x")


def _dangling(folder: Path) -> None:
    (folder / "ci").symlink_to("nowhere")


def _many(folder: Path) -> None:
    for number in range(MOST_CALLERS):
        put(folder / f"n{number}", f"key {number}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_empty, "there is no access key in this folder"),
        (_twice, '"build" and "deploy" hold the same access key'),
        (_open, "deploy: the access key file is open to others (mode 0604)"),
        (_fifo, "pipe: the access key is not a regular file"),
        (_odd, "cannot be a caller's name"),
        (_long, "cannot be a caller's name"),
        (_dangling, "ci: the access key file does not exist"),
        (_many, f"more than {MOST_CALLERS} files"),
    ],
)
def test_a_folder_in_which_anything_is_wrong_is_refused(
    folder: Path, make: Callable[[Path], None], said: str
) -> None:
    make(folder)
    assert said in refusal(folder).message


def test_many_faults_are_named_and_not_all(folder: Path) -> None:
    for number in range(9):
        put(folder / f"n{number}", "")
    error = refusal(folder)
    assert error.message.count("is empty") == 5
    assert error.message.endswith("; and 4 more")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_folder_that_cannot_be_listed_is_refused_and_later_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "keys"
        folder.mkdir()
        put(folder / "build", "word of build")
        for path in (folder.parent, folder, folder / "build"):
            os.chown(path, nobody, -1)
        os.seteuid(nobody)
        try:
            keys = AccessKeys(folder)
            folder.chmod(0)
            assert "cannot be read: Permission denied" in refusal(folder).message
            assert names(keys, "word of build", "wrong") == ["build", None]
            folder.chmod(0o700)
            assert names(keys, "word of build") == ["build"]
        finally:
            os.seteuid(0)
    assert len(warnings(caplog)) == 1


def test_a_caller_who_comes_changes_or_goes_counts_at_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys = AccessKeys(folder)
    put(folder / "build-2", "new word of build")
    assert names(keys, "word of build", "new word of build") == ["build", "build-2"]
    (folder / "build").unlink()
    assert names(keys, "word of build", "new word of build") == [None, "build-2"]
    put(folder / "deploy", "another")
    assert names(keys, "word of deploy", "another") == [None, "deploy"]
    for name in ("build-2", "deploy"):
        (folder / name).unlink()
    assert names(keys, "new word of build", "another") == [None, None]
    assert warnings(caplog) == [f"{folder} holds no access key any more: nobody gets in"]
    put(folder / "build", "back")
    assert names(keys, "back") == ["build"]
    for change in ("new: build-2", "gone: build", "changed: deploy", "gone: build-2, deploy"):
        assert f"count from now on: {change}" in caplog.text


def test_a_folder_that_is_gone_lets_nobody_in_until_it_is_back(folder: Path) -> None:
    keys = AccessKeys(folder)
    folder.rename(folder.with_name("away"))
    assert names(keys, "word of build") == [None]
    folder.with_name("away").rename(folder)
    assert names(keys, "word of build") == ["build"]


def test_what_is_broken_is_reported_once_and_nobody_else_is_affected(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = AccessKeys(folder)
    put(folder / "build", "")
    put(folder / "no name", "x")
    put(folder / "ci", "y")
    (folder / "deploy").unlink()
    for _ in range(2):
        shown = ("word of build", "y", "x", "", "word of deploy")
        assert names(keys, *shown) == ["build", "ci", None, None, None]
    empty, odd = warnings(caplog)
    assert empty.startswith(f"{folder}/build: the access key is empty; what could be read before ")
    assert '"no name" cannot be a caller\'s name' in odd


def test_of_two_who_hold_one_key_the_one_who_had_it_before_keeps_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys overlap like this: `cp build build-old`, then a new key into `build`."""
    keys = AccessKeys(folder)
    shutil.copy(folder / "build", folder / "build-old")
    assert names(keys, "word of build") == ["build"]
    assert '"build" and "build-old" hold the same access key' in warnings(caplog)[0]
    replace(folder / "build", "new word of build")
    assert names(keys, "word of build", "new word of build") == ["build-old", "build"]


def test_a_key_that_two_have_got_at_once_lets_neither_in(folder: Path) -> None:
    keys = AccessKeys(folder)
    for name in ("build", "deploy"):
        put(folder / name, "one for both")
    assert names(keys, "one for both", "word of build", "word of deploy") == [None, None, None]


def test_links_are_followed_as_kubernetes_swaps_them(folder: Path, tmp_path: Path) -> None:
    """A Secret's files lead through `..data`, which is renamed over when the Secret changes."""
    mounted = tmp_path / "mounted"
    for version, names_in_it in (("1", ("build", "deploy")), ("2", ("build",))):
        (mounted / f"..{version}").mkdir(parents=True)
        for name in names_in_it:
            put(mounted / f"..{version}" / name, f"{name} {version}")
    (mounted / "..data").symlink_to("..1")
    for name in ("build", "deploy"):
        (mounted / name).symlink_to(f"..data/{name}")
    keys = AccessKeys(mounted)
    assert names(keys, "build 1", "deploy 1") == ["build", "deploy"]
    (mounted / "..data_tmp").symlink_to("..2")
    (mounted / "..data_tmp").rename(mounted / "..data")
    assert names(keys, "build 1", "build 2", "deploy 1") == [None, "build", None]
    (mounted / "deploy").unlink()  # last of all
    link = tmp_path / "link"
    link.symlink_to(mounted)
    assert names(AccessKeys(link), "build 2") == ["build"]


def test_a_file_may_become_a_folder_and_a_folder_a_file(file: Path, folder: Path) -> None:
    """`access.key_file` is a link that is led elsewhere."""
    link = file.with_name("link")
    link.symlink_to(file)
    keys = AccessKeys(link)
    assert names(keys, "first key", "word of build") == ["the one", None]
    for target, found in ((folder, [None, "build"]), (file, ["the one", None])):
        link.unlink()
        link.symlink_to(target)
        assert names(keys, "first key", "word of build") == found


# --- at what price ---


def test_a_right_key_costs_a_look_at_two_files_and_nothing_is_read_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        put(folder / f"n{number}", f"key {number}")
    age(folder)
    keys = AccessKeys(folder)
    looked_at: list[Path] = []

    def look(path: Path) -> object:
        looked_at.append(path)
        return signature_of(path)

    monkeypatch.setattr(access_keys, "signature_of", look)
    monkeypatch.setattr(access_keys, "read_private", None)
    assert names(keys, "key 7") == ["n7"]
    assert looked_at == [folder, folder / "n7"]
    looked_at.clear()
    assert names(keys, "wrong") == [None]
    assert len(looked_at) == 53


def age(folder: Path) -> None:
    """Let folder and files have been there for a while."""
    for path in (*folder.iterdir(), folder):
        os.utime(path, (1_900_000_000, 1_700_000_000))


def test_a_file_that_is_written_twice_in_a_moment_is_read_twice(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system's clock has not moved on, both states look the same from outside."""
    keys = AccessKeys(file)
    before = os.stat(file)
    put(file, "other key\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert signature_of(file) == (before.st_ino, before.st_mtime_ns, 10, 0o100600, os.geteuid())
    assert names(keys, "first key", "other key") == [None, "the one"]
    monkeypatch.setattr(access_keys, "YOUNG_SECONDS", -1)
    assert names(keys, "other key") == ["the one"]
    monkeypatch.setattr(access_keys, "read_private", None)
    assert names(keys, "other key") == ["the one"]
    assert YOUNG_SECONDS >= 0.01


# --- with the sidecar around ---


@pytest.mark.usefixtures("hasty")
async def test_a_changed_key_counts_at_once(
    upstream: RawUpstream, make_sidecar: MakeSidecar, file: Path
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t", access__key_file=str(file))
    assert await statuses(sidecar, "first key", "second key", "") == [200, 401, 401]
    replace(file, "second key")
    assert await statuses(sidecar, "first key", "second key", "") == [401, 200, 401]
    remove(file)
    assert await statuses(sidecar, "first key", "second key", "") == [401, 401, 401]


@pytest.mark.usefixtures("hasty")
async def test_the_log_says_whose_key_it_was_and_where_it_came_from(
    upstream: RawUpstream,
    make_sidecar: MakeSidecar,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sidecar = await make_sidecar(upstream.url, token="t", access__key_file=str(folder))
    assert await statuses(sidecar, "word of build", "wrong") == [200, 401]
    await until(lambda: caplog.text.count(" client=127.0.0.1") == 2)
    assert caplog.text.count(" client=127.0.0.1 caller=build\n") == 1
    assert caplog.text.count("caller=") == 1
    assert "word of" not in caplog.text


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys are answered as soon as any other."""
    monkeypatch.setattr("sidecar.proxy.wrong_keys.DELAY_SECONDS", 0.0)


async def statuses(running: Running, *keys: str) -> list[int]:
    return [(await running.get("/x", ("X-Sidecar-Key", key))).status for key in keys]


def test_for_a_request_of_our_own_any_key_will_do(file: Path, folder: Path) -> None:
    assert any_key(file) == b"first key"
    assert any_key(folder) == b"word of build"
    for path in (file, folder / "build"):
        path.chmod(0o644)
    for keys in (file, folder):
        with pytest.raises(ConfigError, match="open to others"):
            any_key(keys)
