"""Disks that do not do what is asked of them."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest


def unplaceable(monkeypatch: pytest.MonkeyPatch, number: int = errno.EBUSY) -> None:
    """Let nothing be renamed over `token.json`, as where it is mounted by itself."""
    rename = os.replace

    def refuse(source: str, target: str, **folders: Any) -> None:
        if os.path.basename(target) == "token.json":
            raise OSError(number, os.strerror(number))
        rename(source, target, **folders)

    monkeypatch.setattr(os, "replace", refuse)
