"""What is opened as a file of the user's, and what is refused without holding anybody up."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sidecar.commands.sample_client import read_sample_client
from sidecar.errors import ConfigError
from sidecar.files.regular import open_regular
from sidecar.net import tls


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


@pytest.fixture(params=["FIFO", "folder", "device", "socket", "link to a FIFO"])
def irregular(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "irregular"
    if request.param == "FIFO":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to("fifo")
    return path


def test_anything_else_is_refused_at_once(irregular: Path) -> None:
    with pytest.raises(OSError, match=r"not a regular file|Is a directory|No such device"):
        open_regular(irregular)


def test_whoever_reads_files_of_the_user_refuses_it(irregular: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sample_client(irregular)
    with pytest.raises(ConfigError, match=r"jira\.ca_file cannot be read"):
        tls.client_context(irregular, None, None)
    with pytest.raises(ConfigError, match=r"jira\.client_certificate cannot be read"):
        tls.client_context(None, irregular, None)
