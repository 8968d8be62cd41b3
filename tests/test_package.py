"""What is shipped, and what is checked before it is."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_every_file_of_the_package_and_says_that_it_is_typed(
    tmp_path: Path,
) -> None:
    """`py.typed` tells type checkers that our annotations count (PEP 561)."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("sidecar/")}
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "sidecar").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == ours
    assert "sidecar/py.typed" in held


def test_a_commit_passes_the_checks_that_ci_makes() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.findall(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[0]
    checks = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    hooks = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert hooks == checks
