"""Imports point one way, and only the edge knows aiohttp."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sidecar"

# From the bottom up: a module imports from its own layer and those below, never from above.
LAYERS = [
    # words that everybody uses
    {"__init__", "errors", "credentials", "record"},
    # what is known, without I/O
    {"signature", "fields", "target", "links", "access", "options"}
    | {"base_strings", "explanations", "http_date", "problems", "rules"},
    # tools for one thing each
    {
        "backpressure",
        "boundaries",
        "callback",
        "clock",
        "failures",
        "logs",
        "malformed",
        "notify",
        "places",
        "private_files",
    }
    | {
        "prompt",
        "refusals",
        "settings",
        "signer",
        "signing_child",
        "slots",
        "tls",
        "tomlfile",
        "troubles",
    },
    # what is on disk
    {"config", "keys", "metrics", "renewal_mark", "sample_client", "signing_process"},
    {"signatures", "signing_url", "store"},
    {"identity", "provision", "rewriting", "sockets"},
    # the two edges: clients and Jira
    {"bodies", "connection", "exchange", "incoming", "listener", "receiving", "replies"}
    | {"upstream", "upstream_connection"},
    # steps of the dance, of healing, of an answer
    {"authorize", "check", "dance", "healing", "local", "oneshot", "relay", "renewal"},
    {"proxy", "sending"},
    {"generation", "server"},
    {"sandbox"},
    {"demo", "service"},
    {"cli", "__main__"},
]
PURE = LAYERS[0] | LAYERS[1]
AIOHTTP = {"bodies", "connection", "exchange", "failures", "incoming", "listener"} | {
    "malformed",
    "receiving",
    "sandbox",
    "server",
    "upstream",
    "upstream_connection",
}
SIGNING_SIDE = {"signature", "target", "signer"}


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    """The module's name within the package; subpackages count as one."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside, but not for types alone."""
    tree = ast.parse(path.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "sidecar":
            yield from (f"sidecar.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _layer(module: str) -> int:
    for number, layer in enumerate(LAYERS):
        if module in layer:
            return number
    raise AssertionError(f"{module} stands in no layer: give it one in this test")


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    module = _name(path)
    for imported in _imports(path):
        package, _, rest = imported.partition(".")
        if package != "sidecar":
            continue
        target = rest.partition(".")[0] or "__init__"
        if target.startswith("__version__"):
            continue
        assert _layer(target) <= _layer(module), f"{module} imports {target}"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_edge_imports_aiohttp(path: Path) -> None:
    if any(name.partition(".")[0] == "aiohttp" for name in _imports(path)):
        assert _name(path) in AIOHTTP


def test_pure_modules_do_no_io() -> None:
    forbidden = {"asyncio", "socket", "ssl", "os", "threading", "subprocess", "logging"}
    for path in _modules():
        if _name(path) in PURE and path.parent == PACKAGE:
            found = {name.partition(".")[0] for name in _imports(path)} & forbidden
            assert not found, f"{path.name} imports {found}"


def test_the_sandbox_shares_no_code_with_the_signer() -> None:
    for path in (PACKAGE / "sandbox").rglob("*.py"):
        for imported in _imports(path):
            assert imported.removeprefix("sidecar.") not in SIGNING_SIDE, path


def test_every_layer_names_modules_that_exist() -> None:
    assert set().union(*LAYERS) == {_name(path) for path in _modules()}


def test_no_module_imports_itself_through_others() -> None:
    imports: dict[str, set[str]] = {}
    for path in _modules():
        imported = {name.split(".")[1] for name in _imports(path) if name.startswith("sidecar.")}
        imports.setdefault(_name(path), set()).update(imported - {_name(path)})

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join((*above, module))
        for imported in imports.get(module, ()):
            visit(imported, (*above, module))

    visit("cli", ())
