"""Renders the HTML pages.  Whatever is put into a template is text, never markup.

Importing this imports Jinja2, which takes 30 ms and 4 MB: it is imported when somebody first asks
for a page.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import re
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sidecar.http.shown import printable

_BEHIND_SLASHES = re.compile(r"(?<=[^/]/)(?=[^/])")
"""script.js has the same."""
LONGEST = 10_000
"""Characters of one line of a text that is shown."""


class Templates:
    """The templates of one package, and those that all share."""

    def __init__(self, package: str) -> None:
        """`package` has a folder `templates`; base.html and message.html are everybody's."""
        self._environment = Environment(
            loader=ChoiceLoader([PackageLoader(package), PackageLoader("sidecar.html")]),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_text,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["breakable"] = breakable

    def render(self, name: str, **values: Any) -> bytes:
        """A page whose style is at /_sidecar/page/style.css."""
        return self._render(name, stands_alone=False, **values)

    def render_alone(self, name: str, **values: Any) -> bytes:
        """A page that brings its style along; `alone_fields()` are the fields that admit it."""
        return self._render(name, stands_alone=True, style=Markup(STYLE), **values)  # noqa: S704

    def _render(self, name: str, **values: Any) -> bytes:
        """Render, and let go of what was shown.

        Jinja2 leaves its context in a cycle, with all values; the collector, which is told to be
        rare (server/run.py), would find it late.
        """
        page = self._environment.get_template(name).render(**values).encode()
        gc.collect(0)
        return page


def _text(value: Any) -> Any:
    """What a template is given, with nothing in it that a screen or a terminal acts upon."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isprintable() and len(value) <= LONGEST:
        return value
    return "\n".join([printable(line, LONGEST) for line in value.split("\n")])


def breakable(text: str) -> Markup:
    """A text that, where it is too long for a line, breaks behind a slash and not within a word."""
    return Markup("<wbr>").join(_BEHIND_SLASHES.split(_text(text)))


STYLE = files("sidecar.html").joinpath("style.css").read_text("utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
