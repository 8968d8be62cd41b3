"""What an option of the configuration is, and how its value is read; pure.

A reader takes a value of the option's kind, as TOML has it, and returns what the program works
with.  ValueError says in a phrase what is wrong, and never quotes what may be a secret.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sidecar.credentials import Secret
from sidecar.http.methods import METHODS
from sidecar.http.shown import quoted
from sidecar.http.target import BaseURL

_YEAR = 365 * 24 * 3600
_PATH_MAX = 4096  # Linux's PATH_MAX
_LONGEST_NAME = 255  # as long as Jira's column for user names

_KEY_TEXT = re.compile(r"\n|-----BEGIN|^MI[A-Za-z0-9+/=]{60,}")
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
_PROXY = re.compile(
    r"http://(?:[^@/?#\s]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s*]+")
_RULE = re.compile(rf"(?:\*|{'|'.join(METHODS)})[ \t]+/\S*", re.IGNORECASE)


class Kind(Enum):
    """The TOML type that an option's value has."""

    TEXT = "a string"
    WHOLE = "an integer"
    NUMBER = "a number"
    SWITCH = "true or false"
    TEXTS = "a list of strings"


@dataclass(frozen=True, slots=True)
class Option:
    """Everything about an option except its name."""

    kind: Kind
    read: Callable[[Any], object]
    help: str
    default: object = None
    """As TOML writes it; None if there is none, or if it depends on the environment."""
    example: object = None
    """Shown if there is no default, or if the default explains nothing."""
    default_note: str = ""
    """Describes a default that depends on the environment."""
    required: bool = False
    flag: str = ""
    """The command-line flag that overrides it."""


def option(kind: Kind, read: Callable[[Any], object], help: str, **more: Any) -> Any:  # noqa: A002
    """Declare a dataclass field as an option."""
    return field(metadata={"option": Option(kind, read, help, **more)})


@dataclass(frozen=True, slots=True)
class TCPAddress:
    """Host (a name, or an IP address without brackets) and port to listen on; port 0 picks one."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: 127.0.0.0/8, ::1 or localhost."""
        if self.host.lower() == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return address.is_loopback and getattr(address, "ipv4_mapped", None) is None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket to listen on."""

    path: Path

    @property
    def is_local(self) -> bool:
        return True

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TCPAddress | UnixAddress


# --- kinds: TOML's value, or a text from the environment ---


def check_kind(kind: Kind, value: object) -> None:
    """Raise ValueError unless `value` is of the kind; an integer is a number, a boolean is not."""
    fits = {
        Kind.TEXT: isinstance(value, str),
        Kind.WHOLE: isinstance(value, int) and not isinstance(value, bool),
        Kind.NUMBER: isinstance(value, int | float) and not isinstance(value, bool),
        Kind.SWITCH: isinstance(value, bool),
        Kind.TEXTS: isinstance(value, list) and all(isinstance(item, str) for item in value),
    }
    if not fits[kind]:
        only = " only" if kind is Kind.TEXTS and isinstance(value, list) else ""
        raise ValueError(f"must be {kind.value}{only or ', not ' + _type_name(value)}")


def _type_name(value: object) -> str:
    names = {bool: "a boolean", str: "a string", int: "an integer", float: "a float"}
    names |= {list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


def from_text(kind: Kind, text: str) -> object:
    """Read a value of the kind from an environment variable; lists are comma-separated."""
    text = text.strip()
    if kind is Kind.TEXTS:
        return [item for item in map(str.strip, text.split(",")) if item]
    if kind is Kind.SWITCH:
        switches = {"true": True, "1": True, "yes": True, "on": True}
        switches |= {"false": False, "0": False, "no": False, "off": False}
        if text.lower() not in switches:
            raise ValueError(f"must be {kind.value}")
        return switches[text.lower()]
    if kind is Kind.TEXT:
        return text
    try:
        return int(text) if kind is Kind.WHOLE else float(text)
    except ValueError:
        raise ValueError(f"must be {kind.value}") from None


def to_toml(value: object) -> str:
    """Write a string, number, boolean or list of strings as TOML does (TOML 1.0 § String)."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(to_toml, value))}]"
    # JSON's escapes are TOML's, only that TOML wants DEL escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


# --- readers ---


def base_url(text: str) -> BaseURL:
    """Read Jira's URL."""
    return BaseURL.parse(text)


def consumer_key(text: str) -> str:
    """Read a consumer key: printable text without the spaces at its ends that pasting adds."""
    text = _from_c_locale(text)
    if not text:
        raise ValueError("must not be empty")
    if text != text.strip() or not text.isprintable():
        raise ValueError("must have no control character, and no space at its ends")
    return text


def user_name(text: str) -> str:
    """Read a Jira user's name."""
    text = _from_c_locale(text)
    if not text:
        raise ValueError("must not be empty")
    if text != text.strip() or not text.isprintable():
        raise ValueError("must have no control character, and no space at its ends")
    if len(text) > _LONGEST_NAME:
        raise ValueError(f"must have no more than {_LONGEST_NAME} characters")
    return text


def _from_c_locale(text: str) -> str:
    """Read an argument or variable as UTF-8 where the locale is ASCII alone (PEP 383)."""
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        return text


def file_path(text: str) -> Path:
    """Read the path of a file; refuse a file's content given by mistake, without quoting it."""
    if not text:
        raise ValueError("must not be empty")
    if _KEY_TEXT.search(text):
        raise ValueError("must be the path of a file, not what the file holds")
    if "\0" in text or len(text) > _PATH_MAX:
        raise ValueError("is no path that a file can have")
    return Path(text)


def proxy_url(text: str) -> Secret:
    """Read an outbound proxy's URL, which may hold a password."""
    if text.lower().startswith("https://"):
        raise ValueError("must be an http:// URL: TLS to the proxy itself is not supported")
    match = _PROXY.fullmatch(text)
    if match is None or not text.isprintable():
        raise ValueError("must be an http:// URL of host and port, without a path")
    if match["port"] is not None:
        _port(match["port"], least=1)
    return Secret(text)


def address(text: str) -> Address:
    """Read HOST:PORT, [IPv6]:PORT or unix:PATH."""
    if text.startswith("unix:"):
        return UnixAddress(_socket_path(text.removeprefix("unix:")))
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted(text)} is not HOST:PORT, [IPv6]:PORT or unix:/PATH")
    host = match["v6"] or match["name"]
    if not (_is_ipv6(host) if match["v6"] else _HOST.fullmatch(host)):
        raise ValueError(f"{quoted(text)} has no valid host")
    return TCPAddress(host, _port(match["port"], least=0))


def addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    """Read addresses to listen on: one at least, none twice."""
    if not texts:
        raise ValueError("must name one address at least")
    read = tuple(map(address, texts))
    for index, one in enumerate(read):
        if one in read[:index] and not (isinstance(one, TCPAddress) and one.port == 0):
            raise ValueError(f"names {one} twice")
    return read


def _socket_path(text: str) -> Path:
    path = file_path(text)
    if text.startswith("@"):
        raise ValueError("must not be an abstract socket: anybody on the machine could connect")
    return path


def _port(text: str, *, least: int) -> int:
    port = int(text)
    if not least <= port <= 65535:
        raise ValueError(f"has port {port}, and ports are {least} to 65535")
    return port


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def file_mode(text: str) -> int:
    """Read the permission bits of a unix socket, which its owner must be able to use."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"{quoted(text)} is not an octal mode such as 0600")
    mode = int(text, 8)
    if mode & 0o600 != 0o600:
        raise ValueError(f"{quoted(text)} would keep the owner out")
    return mode


def seconds(value: float) -> float:
    """Read a duration."""
    if not 0 < value <= _YEAR:
        raise ValueError(f"must be seconds, above 0 and up to a year, not {_number(value)}")
    return float(value)


def seconds_or_zero(value: float) -> float:
    """Read a duration that may be none."""
    return seconds(value) if value else 0.0


def between(least: int, most: int) -> Callable[[int], int]:
    """Make a reader of integers from `least` to `most`."""

    def read(value: int) -> int:
        if not least <= value <= most:
            raise ValueError(f"must be from {least} to {most}, not {_number(value)}")
        return value

    return read


def _number(value: float) -> str:
    return "a number that large" if abs(value) > 1e15 else str(value)


def one_of(*names: str) -> Callable[[str], str]:
    """Make a reader of one of several words, in any letter case."""

    def read(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"must be {', '.join(names[:-1])} or {names[-1]}, not {quoted(text)}")
        return text.lower()

    return read


def switch(value: bool) -> bool:
    """Read true or false."""
    return value


def hosts(texts: Sequence[str]) -> tuple[str, ...]:
    """Check the form of Host values; sidecar/access parses them."""
    for text in texts:
        if not text or not text.isprintable() or any(char in text for char in "/@*, "):
            raise ValueError(f"{quoted(text)} is not a host name, with or without :PORT")
    return tuple(texts)


def origins(texts: Sequence[str]) -> tuple[str, ...]:
    """Check the form of browser origins; sidecar/access parses them."""
    for text in texts:
        if not _ORIGIN.fullmatch(text.removesuffix("/")) or not text.isprintable():
            raise ValueError(f"{quoted(text)} is not an origin, scheme://host[:port]")
    return tuple(texts)


def rules(texts: Sequence[str]) -> tuple[str, ...]:
    """Check the form of access rules; sidecar/access parses them."""
    for text in texts:
        if not _RULE.fullmatch(text.strip()) or not text.isprintable():
            raise ValueError(f"{quoted(text)} is not a rule: a method or *, a space, a path")
    return tuple(texts)


def user_patterns(texts: Sequence[str]) -> tuple[str, ...]:
    """Check patterns of user names by their looks; sidecar/access reads them."""
    for text in texts:
        if not text.strip() or not text.isprintable():
            raise ValueError(f"{quoted(text)} is not a pattern of user names")
    return tuple(map(_from_c_locale, texts))
