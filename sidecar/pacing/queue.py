"""A queue in which callers take turns, and each one's requests wait in their order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits."""

    @property
    def caller(self) -> Hashable:
        """Whose it is."""


W = TypeVar("W", bound=Waiting)


class FairQueue(Generic[W]):
    """Callers in the order of their turns; whoever had one goes behind the others."""

    def __init__(self) -> None:
        self._callers: OrderedDict[Hashable, deque[W]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[W]:
        for waiting in self._callers.values():
            yield from waiting

    def add(self, one: W, *, first: bool = False) -> None:
        """Let one wait; `first` is for who had a turn that came to nothing."""
        waiting = self._callers.setdefault(one.caller, deque())
        if first:
            waiting.appendleft(one)
            self._callers.move_to_end(one.caller, last=False)
        else:
            waiting.append(one)
        self._size += 1

    def next(self) -> W:
        """Take out the one whose turn it is; KeyError where nobody waits."""
        caller, waiting = self._callers.popitem(last=False)
        one = waiting.popleft()
        if waiting:
            self._callers[caller] = waiting
        self._size -= 1
        return one

    def remove(self, one: W) -> None:
        """Take out one that waits no more; nothing happens where it is not here."""
        waiting = self._callers.get(one.caller)
        if waiting is None or one not in waiting:
            return
        waiting.remove(one)
        self._size -= 1
        if not waiting:
            del self._callers[one.caller]

    def ahead_of(self, caller: Hashable) -> int:
        """How many would have their turn before the caller's next request."""
        own = len(self._callers.get(caller, ()))
        others = [w for each, w in self._callers.items() if each != caller]
        return own + sum(min(len(waiting), own + 1) for waiting in others)
