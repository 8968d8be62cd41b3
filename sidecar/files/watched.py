"""What is made of files, and made anew when one of them has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from sidecar.errors import ConfigError, as_sentence
from sidecar.files.private import FileWatch

log = logging.getLogger(__name__)

T = TypeVar("T")


class Watched(Generic[T]):
    """Something that is read from files.  Where they change to what cannot be used, it stays."""

    def __init__(self, what: str, make: Callable[[], T], *files: Path | None) -> None:
        """`what` names it in the log.  Raises ConfigError for files that cannot be used."""
        self._what = what
        self._make = make
        self._watch = FileWatch(*files)
        self._watch.seen()
        self.current = make()

    def refresh(self) -> bool:
        """Look at the files, at the price of a stat each; whether they made another."""
        if not self._watch.changed():
            return False
        self._watch.seen()
        try:
            self.current = self._make()
        except ConfigError as error:
            log.warning(
                "%s; the %s that was read before stays in use. What to do: %s",
                error,
                self._what,
                as_sentence(error.hint),
            )
            return False
        log.info("the %s has changed, and counts from now on", self._what)
        return True

    def latest(self) -> T:
        """What the files make now."""
        self.refresh()
        return self.current
