"""What is read from files follows them, and what cannot be used changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sidecar.errors import ConfigError
from sidecar.files.watched import Watched


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
