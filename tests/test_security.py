"""SECURITY.md promises nothing that no test shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.source import parsed

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py)::([A-Za-z_:0-9]+)`", TEXT)))


def names_in(path: Path) -> set[str]:
    """The tests of a module, those in classes as `Class::test`."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    found = set()
    for node in parsed(path.read_text()).body:
        if isinstance(node, functions):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if isinstance(one, functions)}
    return found


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_a_test_that_it_names_is_there(path: str, test: str) -> None:
    assert test in names_in(ROOT / path)


def test_every_way_to_be_attacked_is_shown_to_fail() -> None:
    assert len(NAMED) > 30
    assert TEXT.count("`tests/") == len(re.findall(r"`tests/[a-z_/]+\.py::", TEXT))
