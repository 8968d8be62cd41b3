"""Foreign text made fit to be shown: nothing in it that a terminal, a log or a parser acts upon."""

from __future__ import annotations

_ASCII = dict.fromkeys((*range(32), 127), "?")


def printable(text: str, limit: int = 200) -> str:
    """Return the text on one line: U+FFFD for what is unprintable, at most `limit` characters."""
    text = text[:limit]
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text])


def printable_ascii(text: str, limit: int = 200) -> str:
    """Return the text fit for a field: "?" for all but printable ASCII, at most `limit` long."""
    return text[:limit].encode("ascii", "replace").decode().translate(_ASCII)


def quoted(text: str, limit: int = 60) -> str:
    """Return the text in double quotes, printable, for a message."""
    return f'"{printable(text, limit)}…"' if len(text) > limit else f'"{printable(text, limit)}"'


def full_name(user: str | None, display_name: str | None) -> str:
    """Return a Jira user's names as people say them: `Alana Example (alana)`."""
    if user and display_name and display_name != user:
        return f"{printable(display_name)} ({printable(user)})"
    return printable(user or "somebody")


def sf_string(text: str, limit: int = 1000) -> str:
    """Return the text as a string of RFC 8941 §3.3.3, of at most so many characters of its own."""
    plain = printable_ascii(text, limit).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


def escaped(text: str) -> str:
    """Return the text on one line; what is unprintable is written as Python writes it."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else repr(char)[1:-1] for char in text])


def escaped_ascii(text: str) -> str:
    """Return the text as printable ASCII; all else is written as Python writes it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([char if char == "\\" else ascii(char)[1:-1] for char in text])
