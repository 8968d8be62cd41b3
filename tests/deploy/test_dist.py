"""The wheel and the sdist: complete, and described as others expect it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

from sidecar import __version__
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return folder


def wheel(folder: Path) -> zipfile.ZipFile:
    (path,) = folder.glob("*.whl")
    assert path.name == f"jira_oauth_sidecar-{__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def metadata(folder: Path) -> Message:
    with wheel(folder) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def test_its_metadata_says_who_what_where_and_for_which_python(built: Path) -> None:
    found = metadata(built)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["License-File"] == "LICENSE"
    assert found["Requires-Python"] == ">=3.11"
    assert found["Description-Content-Type"] == "text/markdown"
    assert found["Summary"]
    assert found["Author"]
    links = {text.partition(",")[0] for text in found.get_all("Project-URL", [])}
    assert links >= {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    kinds = found.get_all("Classifier", [])
    assert "Typing :: Typed" in kinds
    for minor in (11, 12, 13, 14):
        assert f"Programming Language :: Python :: 3.{minor}" in kinds


def test_the_wheel_has_the_package_and_nothing_else(built: Path) -> None:
    with wheel(built) as archive:
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "sidecar = sidecar.cli:main" in archive.read(entry_points).decode()
    inside = {name.partition("/")[0] for name in names}
    assert inside == {"sidecar", f"jira_oauth_sidecar-{__version__}.dist-info"}
    assert "sidecar/py.typed" in names
    ours = {path for path in (ROOT / "sidecar").rglob("*") if path.is_file()}
    expected = {str(path.relative_to(ROOT)) for path in ours if "__pycache__" not in path.parts}
    assert expected <= set(names)


def test_the_sdist_has_what_tests_and_packages_are_made_from(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("Makefile", "README.md", "LICENSE", "requirements/install.txt", "deploy/stage"):
        assert name in names
    for name in ("systemd/sidecar.service", "tests/conftest.py", "sidecar/sandbox/JJ-2.json"):
        assert name in names
    assert not any(name.startswith((".venv", "dist", "build")) for name in names)
