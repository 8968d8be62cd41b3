"""Finds the handler of a path by walking a tree of segments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sidecar.sandbox.answers import Answer

Handler = Callable[..., Awaitable[Answer]]
"""Takes the call and the segments that stood for `*`."""


@dataclass(slots=True)
class Route:
    """The handlers of one path, by method."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    public: bool = False
    """Whether an anonymous request gets through."""

    @property
    def allow(self) -> str:
        """The value of `Allow`."""
        return ", ".join(sorted({*self.handlers, *(["HEAD"] if "GET" in self.handlers else [])}))


class Router:
    """A tree of segments; `*` is any one segment, a last `**` any number of them."""

    def __init__(self) -> None:
        self._tree: dict[str, Any] = {}

    def add(self, methods: str, path: str, handler: Handler, *, public: bool = False) -> None:
        """Serve `GET|POST` style methods at a path such as `rest/api/2/issue/*`."""
        node = self._tree
        for segment in path.split("/"):
            node = node.setdefault(segment, {})
        route: Route = node.setdefault("", Route())
        route.public = route.public or public
        route.handlers.update(dict.fromkeys(methods.split("|"), handler))

    def find(self, segments: list[str]) -> tuple[Route, list[str]] | None:
        """Give the route and what stood for its `*`; a literal segment goes before `*`."""
        node = self._tree
        wild: list[str] = []
        for segment in segments:
            if "**" in node:
                return node["**"][""], wild
            if segment not in ("", "*", "**") and segment in node:
                node = node[segment]
            elif "*" in node:
                node = node["*"]
                wild.append(segment)
            else:
                return None
        route = node.get("") or node.get("**", {}).get("")
        return (route, wild) if route else None
