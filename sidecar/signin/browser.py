"""Which browser shows Jira's page: never one that would take the terminal from our own prompt."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

TEXT_BROWSERS = frozenset({
    "w3m", "lynx", "links", "links2", "elinks", "browsh", "netrik", "retawq", "chawan", "cha",
    "edbrowse", "www-browser",
})  # fmt: skip
"""Browsers of the terminal; www-browser is Debian's name for the one that is installed."""
_GRAPHICAL = [
    "x-www-browser", "gnome-www-browser", "firefox", "firefox-esr", "google-chrome",
    "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge", "brave-browser",
    "epiphany", "konqueror",
]  # fmt: skip
_DESKTOP = "xdg-open"
_CHOOSERS = frozenset([_DESKTOP, "sensible-browser", "gio", "gvfs-open", "gnome-open", "exo-open"])
"""They open a graphical browser where there is a display, and else one of the terminal."""

_STDERR = 2

Opener = Callable[[str], bool]


class Choice(NamedTuple):
    """What opens a page here, or why nothing does."""

    open: Opener | None
    reason: str = ""
    """One line for the user; empty if there is a browser."""


def choose(environ: Mapping[str, str], platform: str = sys.platform) -> Choice:
    """Choose the browser: $BROWSER, else the desktop's; none over SSH or without a display."""
    if environ.get("BROWSER", "").strip():
        return _named(environ, platform)
    if any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")):
        return Choice(None, "No browser is opened over SSH.")
    if platform == "darwin":
        return Choice(_opener(["open"], environ))
    if not _has_display(environ):
        return Choice(None, "No browser is opened: there is no graphical display here.")
    for name in (_DESKTOP, *_GRAPHICAL):
        if _is_graphical([name], environ, platform):
            return Choice(_opener([name], environ))
    return Choice(None, "No browser is opened: no graphical one was found.")


def _named(environ: Mapping[str, str], platform: str) -> Choice:
    """The first command of $BROWSER that is no browser of the terminal, as webbrowser has it."""
    for text in environ["BROWSER"].split(os.pathsep):
        words = _words(text)
        if words and _is_graphical(words, environ, platform):
            return Choice(_opener(words, environ))
    return Choice(
        None, "No browser is opened: BROWSER names none that has a window of its own here."
    )


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError:  # a quote without its end
        return []
    return words[:-1] if words[-1:] == ["&"] else words


def _is_graphical(words: list[str], environ: Mapping[str, str], platform: str) -> bool:
    """Whether a command is there, and neither is nor leads to a browser of the terminal."""
    program = shutil.which(words[0], path=environ.get("PATH", os.defpath))
    if program is None:
        return False
    named = {os.path.basename(word) for text in words for word in re.split(r"[\s;&|]+", text)}
    names = {*named, os.path.basename(program), os.path.basename(os.path.realpath(program))}
    if names & TEXT_BROWSERS:
        return False
    if not names & _CHOOSERS or platform == "darwin":
        return True
    if not _has_display(environ):
        return False
    if "sensible-browser" not in names:
        return True
    others = {key: value for key, value in environ.items() if key != "BROWSER"}
    return any(_is_graphical([name], others, platform) for name in _GRAPHICAL[:2])


def _has_display(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _opener(words: list[str], environ: Mapping[str, str]) -> Opener:
    """Run a command for a URL, far from the terminal and from our standard output."""
    environment = dict(environ)
    if words[0] == _DESKTOP:  # without this it tries the browsers of the terminal, too
        environment.setdefault("BROWSER", os.pathsep.join(_GRAPHICAL))

    def run(url: str) -> bool:
        command = [word.replace("%s", url) for word in words]
        if command == words:
            command.append(url)
        done = subprocess.run(  # noqa: S603 - the user's own choice
            command,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,  # what it says is no result of ours
            start_new_session=True,
        )
        return done.returncode == 0

    return run
