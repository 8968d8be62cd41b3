"""ARCHITECTURE.md's ordered list of packages is what the imports say, and every room is small."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source import parsed

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sidecar"

_ROOM = re.compile(r"^\d+\. `(?P<name>\w+)(?:/|\.py)`: (?P<purpose>.+)$", re.MULTILINE)
ROOMS = {
    room["name"]: room["purpose"] for room in _ROOM.finditer((ROOT / "ARCHITECTURE.md").read_text())
}
# From the ground up: a package imports only from itself and from what stands above it here.
ORDER = ["__init__", *ROOMS, "__main__"]
PURE = {"errors", "credentials", "http", "jira", "access"}
AIOHTTP = {"downstream", "upstream", "server", "sandbox"}


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _tested_modules() -> list[Path]:
    """All modules that hold code of their own: not those that only gather names."""
    return [path for path in _modules() if path.stem != "__init__"]


def _package(path: Path) -> str:
    """The package that a module is in, or the module itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports: at its top, inside a function, or for types alone."""
    for node in ast.walk(parsed(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: name the package in full"
            for alias in node.names:
                inner = PACKAGE.parent.joinpath(*node.module.split("."), alias.name)
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def _ours(path: Path) -> Iterator[str]:
    """The modules of the sidecar that a file imports, each without `sidecar.` in front."""
    for name in _imports(path):
        package, _, rest = name.partition(".")
        if package == "sidecar":
            yield rest or "__init__"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_up_the_list(path: Path) -> None:
    place = ORDER.index(_package(path))
    for imported in _ours(path):
        assert ORDER.index(imported.partition(".")[0]) <= place, f"{path} imports {imported}"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_edge_imports_aiohttp(path: Path) -> None:
    if any(name.partition(".")[0] == "aiohttp" for name in _imports(path)):
        assert _package(path) in AIOHTTP


def test_pure_packages_do_no_io() -> None:
    forbidden = {"asyncio", "socket", "ssl", "os", "threading", "subprocess", "logging"}
    for path in _modules():
        if _package(path) in PURE:
            found = {name.partition(".")[0] for name in _imports(path)} & forbidden
            assert not found, f"{path} imports {found}"


def test_the_sandbox_shares_no_code_with_the_signer() -> None:
    for path in (PACKAGE / "sandbox").rglob("*.py"):
        for imported in _ours(path):
            assert imported.partition(".")[0] in {"__init__", "errors", "sandbox"} or (
                imported == "net.accepting"  # which knows of sockets, and of nothing that is sent
            ), path


def test_the_list_names_what_there_is() -> None:
    assert set(ORDER) == {_package(path) for path in _modules()}


def test_the_list_says_what_each_package_says_of_itself() -> None:
    for name, purpose in ROOMS.items():
        file = PACKAGE / name / "__init__.py"
        text = (file if file.exists() else PACKAGE / f"{name}.py").read_text()
        docstring = ast.get_docstring(parsed(text)) or ""
        assert docstring.partition("\n")[0] == purpose, name


def test_only_what_everybody_uses_lies_outside_the_packages() -> None:
    outside = {path.stem for path in PACKAGE.glob("*.py")}
    assert outside == {"__init__", "__main__", "errors", "credentials"}


def test_packages_and_modules_are_small() -> None:
    for folder in {path.parent for path in _modules()} - {PACKAGE / "sandbox"}:
        assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= 12, folder
    for path in _modules():
        assert len(path.read_text().splitlines()) <= 350, path


@pytest.mark.parametrize("path", _tested_modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_has_a_test_module(path: Path) -> None:
    place = path.relative_to(PACKAGE)
    tests = ROOT / "tests" / place.with_name(f"test_{path.stem.strip('_')}.py")
    assert tests.exists(), f"write {tests.relative_to(ROOT)}"


def test_no_module_imports_itself_through_others() -> None:
    modules = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in _modules()
    }
    imports = {
        name: {other for other in _ours(path) if other in modules and other != name}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join((*above, module))
        if module not in done:
            for imported in sorted(imports[module]):
                visit(imported, (*above, module))
            done.add(module)

    for module in modules:
        visit(module, ())


def test_loggers_are_named_after_their_modules() -> None:
    for path in _modules():
        names = set(re.findall(r"logging\.getLogger\((.*?)\)", path.read_text()))
        if path == PACKAGE / "telemetry" / "logs.py":  # sets up all of them
            names -= {"", '"sidecar"'}
        assert names <= {"__name__"}, path
