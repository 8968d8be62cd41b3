"""Python source, read for what it says."""

from __future__ import annotations

import ast
import gc
from functools import cache


@cache
def parsed(source: str) -> ast.Module:
    """Parse a module, with the garbage collector at rest.

    Where a finalizer runs within it, CPython 3.11 loses count of its recursion and raises
    SystemError (https://github.com/python/cpython/issues/106905).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if was_enabled:
            gc.enable()
