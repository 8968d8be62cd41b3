"""Writes a configuration file that explains every option; pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import fields

import tomli

from sidecar.config import options
from sidecar.config.edit import with_values
from sidecar.config.settings import OPTIONS, TABLES

_HEADER = (
    "Configuration of jira-oauth-sidecar. A line like #key = value shows a key's default, or an "
    "example where it has none. An environment variable such as SIDECAR_JIRA_BASE_URL overrides "
    "the key, here jira.base_url. Relative paths are relative to this file."
)

_TITLES = {
    "jira": "Which Jira, as whom, and the way there",
    "token": "Where the access token is kept",
    "listen": "Where the sidecar listens; sockets that systemd passes replace the addresses",
    "access": "Who may do what",
    "links": "Links in Jira's answers",
    "timeouts": "How long things may take; there is no limit on a whole request",
    "limits": "How much at once, and how large",
    "log": "What is written to stderr",
    "admin": "The listener for monitoring",
}
"""Not the docstrings of the tables: `python -OO` drops those."""


def rewritten(
    data: bytes | None, values: Mapping[str, object], defaults: Mapping[str, object]
) -> tuple[str, list[str]]:
    """Write `values` into what a file holds, and `defaults` where it sets none of them.

    The second is what is in doubt: a file that cannot be understood is written anew, as is one
    that is not there.
    """
    everything = {**values, **defaults}
    if data is None:
        return render(everything), []
    try:
        text = data.decode("utf-8-sig")
        document = tomli.loads(text)
        more = dict(defaults)
        for name in defaults:
            table, _, key = name.partition(".")
            if key in document.get(table, {}):
                del more[name]
        return with_values(text, {**values, **more}), []
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        return render(everything), [f"written anew, without the settings that it had: {reason}"]


def render(values: Mapping[str, object]) -> str:
    """Write a configuration file that explains every option, with `values` set by option name."""
    parts = [_comment(_HEADER)]
    for table, cls in TABLES.items():
        parts += ["", "", f"# --- {_TITLES[table]} ---", f"[{table}]"]
        for one in fields(cls):
            parts += ["", *_entry(f"{table}.{one.name}", values)]
    return "\n".join(parts) + "\n"


def example() -> str:
    """Write config.example.toml."""
    return render({name: str(one.example) for name, one in OPTIONS.items() if one.required})


def _entry(name: str, values: Mapping[str, object]) -> list[str]:
    one, key = OPTIONS[name], name.partition(".")[2]
    note = one.default_note or ("none" if one.default is None and not one.required else "")
    lines = [_comment(f"{one.help} Default: {note}." if note else one.help)]
    if name in values:
        return [*lines, f"{key} = {options.to_toml(values[name])}"]
    value = one.example if one.default is None else one.default
    return [*lines, f"#{key} = {options.to_toml(value)}"]


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, 86, break_on_hyphens=False))
