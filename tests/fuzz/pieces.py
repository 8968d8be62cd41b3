"""What the property tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sidecar.errors import ProtocolError, RequestRefused

Result = TypeVar("Result")


def words(text: str) -> list[str]:
    """The words of a text: a long list that is easy on the eyes."""
    return text.split()


def attempt(work: Callable[[], Result]) -> Result | RequestRefused | ProtocolError:
    """What comes of it, a refusal included; every other exception is a failure."""
    try:
        return work()
    except (RequestRefused, ProtocolError) as error:
        return error
