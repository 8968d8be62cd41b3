"""Imports point one way, and only the edge knows aiohttp."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sidecar"

# From the ground up: a package imports only from itself and from what stands above it here.
ORDER = [
    "__init__",
    "errors",
    "credentials",
    "signing",
    "http",
    "jira",
    "access",
    "config",
    "files",
    "net",
    "telemetry",
    "downstream",
    "upstream",
    "account",
    "signin",
    "proxy",
    "server",
    "check",
    "sandbox",
    "commands",
    "cli",
    "__main__",
]
PURE = {"errors", "credentials", "http", "jira", "access"}
AIOHTTP = {"downstream", "upstream", "server", "sandbox"}


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _package(path: Path) -> str:
    """The package that a module is in, or the module itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports: at its top, inside a function, or for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
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
            assert imported.partition(".")[0] in {"__init__", "errors", "sandbox"}, path


def test_the_list_names_what_there_is() -> None:
    assert set(ORDER) == {_package(path) for path in _modules()}


@pytest.mark.xfail(strict=True, reason="the clients' connection and its listener know each other")
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
