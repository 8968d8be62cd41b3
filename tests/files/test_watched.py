"""What is read from files follows them, and what cannot be used changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sidecar.errors import ConfigError
from sidecar.files.watched import AccessKeyFile, Watched
from tests.conftest import MakeSidecar, Running
from tests.support.raw_upstream import RawUpstream


class Made:
    """Reads a file, and counts how often; a file that says "broken" cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        try:
            text = self.path.read_text()
        except OSError:
            raise ConfigError(f"{self.path} is gone", "bring it back") from None
        if text == "broken":
            raise ConfigError(f"{self.path} is broken", "mend it")
        return text


@pytest.fixture
def made(tmp_path: Path) -> Made:
    path = tmp_path / "file"
    path.write_text("first")
    return Made(path)


def replace(path: Path, text: str) -> None:
    """Put another file in its place, as whoever renews one does."""
    other = path.with_name("other")
    other.write_text(text)
    other.chmod(0o600)
    other.replace(path)


def test_a_file_is_read_once_until_it_changes(made: Made) -> None:
    watched = Watched("thing", made, made.path, None)
    for _ in range(3):
        assert watched.latest() == "first"
        assert not watched.refresh()
    assert made.times == 1
    replace(made.path, "second")
    assert watched.refresh()
    assert watched.latest() == "second"
    assert made.times == 2


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("how", ["broken", "gone"])
def test_what_cannot_be_used_is_reported_once_and_the_old_stays(
    made: Made, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched("thing", made, made.path)
    if how == "broken":
        replace(made.path, "broken")
    else:
        made.path.unlink()
    for _ in range(3):
        assert watched.latest() == "first"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "the thing that was read before stays in use. What to do: " in record.getMessage()
    replace(made.path, "second")
    assert watched.latest() == "second"


def test_at_the_start_it_must_be_good(made: Made) -> None:
    replace(made.path, "broken")
    with pytest.raises(ConfigError, match="broken"):
        Watched("thing", made, made.path)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "access.key"
    path.touch(0o600)
    path.write_text("first key\n")
    return path


def test_an_access_key_that_is_gone_lets_nobody_in_and_one_that_is_broken_changes_nothing(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = AccessKeyFile(key_file)
    assert key() == b"first key"
    replace(key_file, "")
    assert key() == b"first key"
    key_file.unlink()
    assert key() == b""
    assert "nobody gets in" in caplog.text
    assert "first key" not in caplog.text
    replace(key_file, "second key")
    assert key() == b"second key"
    with pytest.raises(ConfigError, match="does not exist"):
        AccessKeyFile(key_file.with_name("missing"))


async def test_a_changed_access_key_counts_at_once(
    upstream: RawUpstream, make_sidecar: MakeSidecar, key_file: Path
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t", access__key_file=str(key_file))

    async def statuses(running: Running) -> list[int]:
        keys = ("first key", "second key", "")
        return [(await running.get("/x", ("X-Sidecar-Key", key))).status for key in keys]

    assert await statuses(sidecar) == [200, 401, 401]
    replace(key_file, "second key")
    assert await statuses(sidecar) == [401, 200, 401]
    remove(key_file)
    assert await statuses(sidecar) == [401, 401, 401]
