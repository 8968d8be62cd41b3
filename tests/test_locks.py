"""Whatever is installed by `make` is named with its hash: nothing else can come in."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
SERVE = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["fast"],
]
RUN = [
    *SERVE,
    *GROUPS["build"],
    *PROJECT["build-system"]["requires"],
]
LOCKS = {"install": SERVE, "run": RUN, "dev": [*RUN, *GROUPS["dev"]], "tools": GROUPS["tools"]}

NEWEST = (
    "\t$(VENV)/newest/bin/pip install --quiet --disable-pip-version-check --upgrade $(UNLOCKED)"
)
"""What is tried is what nobody knows yet, so no hash of it either."""

_ENTRY = re.compile(
    r"^(?P<pin>[a-z0-9-]+(?:\[[a-z,]+\])?==(?P<version>[0-9][0-9.]*)(?: ; .+?)?)"
    r"(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n(?:    #.*\n)*",
    re.MULTILINE,
)


def locked(name: str) -> dict[str, str]:
    """The version of each package in a lock file; AssertionError if a line is anything else."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    versions = {Requirement(entry["pin"]).name: entry["version"] for entry in _ENTRY.finditer(text)}
    rest = [line for line in _ENTRY.sub("", text).splitlines() if not line.startswith("#")]
    assert rest == [], "neither a pin with its hashes nor a comment"
    return versions


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_by_hash_whatever_pyproject_asks_for(name: str) -> None:
    versions = locked(name)
    for text in LOCKS[name]:
        wanted = Requirement(text)
        assert wanted.name in versions, f"run `make lock`: {name}.txt lacks {text}"
        assert wanted.specifier.contains(versions[wanted.name]), f"run `make lock`: {text}"


def test_what_runs_is_tested_in_the_same_version() -> None:
    assert locked("install").items() <= locked("run").items()
    assert locked("run").items() <= locked("dev").items()


def test_the_oldest_aiohttp_that_is_tested_is_the_oldest_that_is_admitted() -> None:
    [wanted] = [Requirement(text) for text in RUN if Requirement(text).name == "aiohttp"]
    assert str(wanted.specifier) == f">={locked('oldest')['aiohttp']}", "run `make lock`"
    assert f"is admitted, {locked('oldest')['aiohttp']}," in (ROOT / "README.md").read_text()


def test_make_installs_nothing_that_is_not_locked() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    for name in ("INSTALL", "LOCKED"):
        makefile = makefile.replace(
            f"$({name})", re.findall(rf"^{name} := (.*)$", makefile, re.M)[0]
        )
    lines = [line for line in makefile.splitlines() if re.search(r"^\t.*pip install ", line)]
    lines.remove(NEWEST)
    assert len(lines) >= 4
    for line in lines:
        locked_or_ours = "--require-hashes" in line or "--no-deps --no-build-isolation" in line
        assert locked_or_ours, line


def test_packages_and_images_install_nothing_that_is_not_locked() -> None:
    scripts = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    lines = [
        line
        for path in scripts
        for line in path.read_text(errors="replace").replace("\\\n", " ").splitlines()
        if "--requirement" in line or "--no-deps" in line or "pip install" in line
    ]
    assert len(lines) >= 4
    for line in lines:
        ours = "--no-deps --no-build-isolation" in line
        assert ours or "--require-hashes --only-binary :all:" in line, line


def test_what_is_wanted_with_extras_is_pinned_with_them() -> None:
    """pip takes any release for `coverage[toml]` where the pin says `coverage`."""
    text = (ROOT / "requirements" / "dev.txt").read_text()
    pins = [Requirement(entry["pin"]) for entry in _ENTRY.finditer(text)]
    extras = {pin.name: pin.extras for pin in pins}
    checked = 0
    for pin in pins:
        try:
            wanted = [Requirement(line) for line in metadata.requires(pin.name) or []]
        except metadata.PackageNotFoundError:  # for another platform
            continue
        for one in wanted:
            if any(_applies(one, extra) for extra in (*pin.extras, "")):
                pinned = extras[canonicalize_name(one.name)]
                assert one.extras <= pinned, f"{pin.name} wants {one}: run `make lock`"
                checked += bool(one.extras)
    assert checked


def _applies(wanted: Requirement, extra: str) -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})
