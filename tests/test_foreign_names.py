"""No private name of a dependency is used: not imported, not read, not overridden."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.source import parsed

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "sidecar").rglob("*.py"))

DOCUMENTED = {
    "_exit",  # os._exit: the Python library reference, "os"
    "_srcfile",  # logging._srcfile: Python's Logging HOWTO, "Optimization"
    "_fields", "_replace", "_asdict", "_make",  # collections.namedtuple
}  # fmt: skip


def _name(path: Path) -> str:
    """`sidecar.http.target`"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in DOCUMENTED


def _imported(tree: ast.Module) -> Iterator[str]:
    """Private names and modules of others that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in full:
            package, *rest = name.split(".")
            if package not in ("sidecar", "tests", "benchmarks", "__future__"):
                yield from (name for part in rest if _is_private(part))


def _touched(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Every private attribute that is named, and what it is an attribute of."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name):
                pass
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                args=[owner, ast.Constant(value=str(name)), *_],
            ):
                pass
            case _:
                continue
        if _is_private(name):
            yield owner, name


def _is_self(owner: ast.expr) -> bool:
    if isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name):
        return owner.func.id == "super"
    return isinstance(owner, ast.Name) and owner.id in ("self", "cls")


def _own_names(tree: ast.AST) -> set[str]:
    """The private names that the classes in a tree have, or give their objects."""
    names = {name for owner, name in _touched(tree) if _is_self(owner)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                names |= set(_defined(inner))
    return {name for name in names if _is_private(name)}


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement in the body of a class defines."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.AnnAssign(target=ast.Name() as target):
            yield target.id
        case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
            names = ast.literal_eval(value)
            yield from [names] if isinstance(names, str) else names
        case ast.Assign():
            yield from (each.id for each in statement.targets if isinstance(each, ast.Name))


def _read_of_others(tree: ast.Module) -> Iterator[str]:
    """Private attributes of anything but `self`.

    A method may look into another object of its class, where that is a name of its own.
    """
    own = _own_names(tree)
    for owner, name in _touched(tree):
        is_alike = isinstance(owner, ast.Name) and name in own
        if not _is_self(owner) and not is_alike:
            yield f"{ast.unparse(owner)}.{name}"


def _classes(module: object, tree: ast.AST) -> Iterator[tuple[type, ast.ClassDef]]:
    """The classes of a module, as they are and as they are written."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            found = getattr(module, node.name)
            assert isinstance(found, type)
            yield found, node
            yield from _classes(found, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [each.name for each in ast.walk(node) if isinstance(each, ast.ClassDef)]
            assert not inner, f"{inner}: a class in a function cannot be looked up"
        else:
            yield from _classes(module, node)


@cache
def _foreign_names(base: type) -> frozenset[str]:
    """The private names that a class of others has, or gives its objects."""
    names = {name for name in vars(base) if _is_private(name)}
    try:
        source = textwrap.dedent(inspect.getsource(base))
    except (OSError, TypeError):  # written in C
        return frozenset(names)
    return frozenset(names | _own_names(parsed(source)))


def _shared_with_bases(path: Path, tree: ast.Module) -> Iterator[str]:
    """Private names of a class that a class of others, which it is made from, has too."""
    if not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)):
        return  # `__main__` must not be imported
    for ours, written in _classes(importlib.import_module(_name(path)), tree):
        own = _own_names(ast.Module([written], []))
        for base in ours.__mro__:
            if base.__module__.partition(".")[0] != "sidecar":
                for name in sorted(own & _foreign_names(base)):
                    yield f"{ours.__name__}.{name} is {base.__module__}.{base.__qualname__}'s"


def findings(path: Path) -> list[str]:
    """Whatever private names of others a module uses."""
    tree = parsed(path.read_text())
    return sorted({*_imported(tree), *_read_of_others(tree), *_shared_with_bases(path, tree)})


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_uses_no_private_name_of_others(path: Path) -> None:
    assert findings(path) == []


HOSTILE = """
import asyncio
import logging
from aiohttp._http_parser import HttpRequestParser
from aiohttp.http_exceptions import _reason

class Handler(logging.Handler):
    _name = "mine"

class Loop(asyncio.Protocol):
    def look(self, transport):
        self._mine = transport._sock
        return getattr(self._mine, "_closed", os._exit)
"""


def test_what_is_looked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_foreign_names._name", lambda _: "sidecar.hostile")
    hostile = types.ModuleType("sidecar.hostile")
    monkeypatch.setitem(sys.modules, "sidecar.hostile", hostile)
    body = HOSTILE.replace("from aiohttp", "# from aiohttp")
    exec(compile(body, "hostile.py", "exec"), vars(hostile))
    file = tmp_path / "hostile.py"
    file.write_text(HOSTILE)
    assert findings(file) == [
        "Handler._name is logging.Handler's",
        "aiohttp._http_parser.HttpRequestParser",
        "aiohttp.http_exceptions._reason",
        "self._mine._closed",
        "transport._sock",
    ]
