"""The state of Atlassian's sample client: its config.properties, a Java properties file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.config import options
from sidecar.credentials import Secret
from sidecar.errors import ConfigError
from sidecar.files.keys import parse_private_key
from sidecar.files.regular import open_regular
from sidecar.http.target import BaseURL

_LIMIT = 64 * 1024
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_KEY = re.compile(r"((?:\\.|[^\\:= \t\f])*)[ \t\f]*[:=]?[ \t\f]*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SampleClient:
    """What the sample client knew; None for what it did not know yet."""

    base_url: BaseURL | None = None
    consumer_key: str | None = None
    private_key: RSAPrivateKey | None = None
    access_token: Secret | None = None


def read_sample_client(path: Path) -> SampleClient:
    """Read config.properties; ConfigError names the file and the line of what cannot be used.

    Its `secret` is the verifier and its `request_token` has expired: both are left out.
    """
    found = {name: one for name, one in parse_properties(_text(path)).items() if one.value.strip()}
    key, token = found.get("private_key"), found.get("access_token")
    where = f"{path}:{key.line}: private_key" if key else ""
    client = SampleClient(
        _value(found, "jira_home", options.base_url, f"{path}", "--base-url"),
        _value(found, "consumer_key", options.consumer_key, f"{path}", "--consumer-key"),
        parse_private_key(key.value.encode("latin-1", "replace"), None, where) if key else None,
        Secret(token.value.strip()) if token else None,
    )
    if not (client.base_url or client.consumer_key or client.private_key):
        message = f"{path}: there is no jira_home, consumer_key or private_key in it"
        raise ConfigError(message, "it should be the sample client's config.properties")
    return client


T = TypeVar("T")


def _value(
    found: Mapping[str, Property], name: str, read: Callable[[str], T], path: str, flag: str
) -> T | None:
    if name not in found:
        return None
    try:
        return read(found[name].value.strip())
    except ValueError as error:
        message = f"{path}:{found[name].line}: {name}: {error}"
        raise ConfigError(message, f"mend it there, or give {flag}") from None


def _text(path: Path) -> str:
    try:
        with open_regular(path) as stream:
            data = stream.read(_LIMIT + 1)
    except OSError as error:
        hint = "--from takes the config.properties of Atlassian's sample client"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint) from None
    if len(data) > _LIMIT:
        raise ConfigError(f"{path}: larger than 64 KiB", "this is no config.properties")
    return data.decode("latin-1")  # Properties.load(InputStream): "ISO 8859-1 character encoding"


@dataclass(frozen=True, slots=True)
class Property:
    """A property's value and the line that it begins on."""

    value: str
    line: int

    def __repr__(self) -> str:
        return f"Property(…, line={self.line})"


def parse_properties(text: str) -> dict[str, Property]:
    """Parse a Java properties file as java.util.Properties.load() does; the last of twins wins."""
    properties = {}
    for number, line in _logical_lines(text):
        match = _KEY.match(line)
        assert match
        properties[_unescape(match[1])] = Property(_unescape(line[match.end() :]), number)
    return properties


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Join lines that end in an odd number of backslashes; leave out blank lines and comments."""
    logical: list[tuple[int, str]] = []
    is_continued = False
    for number, natural in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        line = natural.lstrip(" \t\f")
        if is_continued:
            logical[-1] = (logical[-1][0], logical[-1][1] + line)
        elif not line or line[0] in "#!":
            continue
        else:
            logical.append((number, line))
        backslashes = len(line) - len(line.rstrip("\\"))
        is_continued = backslashes % 2 == 1
        if is_continued:
            logical[-1] = (logical[-1][0], logical[-1][1][:-1])
    return logical


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else _CONTROLS.get(match[2], match[2])

    return _ESCAPE.sub(character, text)
