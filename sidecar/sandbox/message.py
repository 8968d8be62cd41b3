"""An OAuth message as the net.oauth library in Jira's provider reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from sidecar.sandbox.java import JavaException
from sidecar.sandbox.tomcat import to_text

REQUIRED: Final = frozenset(
    "oauth_" + name
    for name in ("consumer_key", "token", "signature_method", "signature", "timestamp", "nonce")
)
"""Jira looks at OAuth only when all six are there; else the request goes on as anonymous."""

_SCHEME = re.compile(r"\s*(\w*)\s+(.*)", re.DOTALL | re.ASCII)
_PAIR = re.compile(r'([^\s=]*)\s*=\s*"([^"]*)"', re.DOTALL)


class OAuthProblem(Exception):
    """A refusal of the OAuth problem-reporting extension, with its further parameters."""

    def __init__(self, problem: str, **further: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.parameters = [("oauth_problem", problem), *further.items()]


def percent_encode(text: str) -> str:
    """RFC 5849 §3.6: only letters, digits and `-._~` stay."""
    return quote(text, safe="~", errors="replace")


def read_authorization(values: Iterable[str]) -> list[tuple[str, str]]:
    """Give the parameters of every `Authorization: OAuth` field, without realm.

    net.oauth splits at commas, skips what is not name="value" and form-decodes both.
    """
    parameters: list[tuple[str, str]] = []
    for value in values:
        scheme = _SCHEME.fullmatch(value)
        if scheme and scheme[1].lower() == "oauth":
            pairs = (_PAIR.fullmatch(part.strip()) for part in scheme[2].split(","))
            parameters += [(_decode(pair[1]), _decode(pair[2])) for pair in pairs if pair]
    return [(name, value) for name, value in parameters if name.lower() != "realm"]


def _decode(text: str) -> str:
    """java.net.URLDecoder: `+` is a space and a stray `%` an IllegalArgumentException."""
    if "%" not in text and "+" not in text:
        return text
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise JavaException("URLDecoder: Illegal hex characters in escape (%) pattern")
    return to_text(unquote_to_bytes(text.replace("+", " ")))


def base_string_uri(scheme: str, host: str, port: int | None, path: str) -> str:
    """RFC 5849 §3.4.1.2, the path byte for byte as sent; JavaException for a raw `[`, `]`, `|`."""
    if any(character in path for character in "[]|"):
        raise JavaException("java.net.URISyntaxException: Illegal character in path")
    scheme = scheme.lower()
    default = {"http": 80, "https": 443}.get(scheme)
    authority = host.lower() if port in (None, default) else f"{host.lower()}:{port}"
    return f"{scheme}://{authority}{path or '/'}"


def normalize(parameters: Iterable[tuple[str, str]]) -> str:
    """RFC 5849 §3.4.1.3.2: encode, sort, join; oauth_signature is left out."""
    encoded = sorted(
        (percent_encode(name), percent_encode(value))
        for name, value in parameters
        if name != "oauth_signature"
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


@dataclass(frozen=True, slots=True)
class Message:
    """A request as the OAuth provider sees it."""

    method: str
    uri: str
    """The base string URI."""
    parameters: Sequence[tuple[str, str]]
    """Those of the Authorization fields, the query and a form body."""
    servlet_parameters: Sequence[tuple[str, str]] = ()
    """Those of the query and a form body alone."""
    node: int = 0
    """Which node of Jira it came to."""

    def get(self, name: str) -> str | None:
        """The first value of a parameter."""
        return next((value for this, value in self.parameters if this == name), None)

    @property
    def requestor(self) -> str | None:
        """Whom a two-legged request names: `xoauth_requestor_id`, else `user_id`."""
        for wanted in ("xoauth_requestor_id", "user_id"):
            for name, value in self.servlet_parameters:
                if name == wanted:
                    return value
        return None

    def require(self, *names: str) -> None:
        """Raise parameter_absent, naming what is missing."""
        if absent := [name for name in names if self.get(name) is None]:
            raise OAuthProblem("parameter_absent", oauth_parameters_absent="&".join(absent))

    def signature_base_string(self) -> str:
        """RFC 5849 §3.4.1.1."""
        parts = (self.method.upper(), self.uri, normalize(self.parameters))
        return "&".join(percent_encode(part) for part in parts)


def is_complete(parameters: Iterable[tuple[str, str]]) -> bool:
    """Whether Jira takes these for an OAuth request at all."""
    return {name for name, _ in parameters} >= REQUIRED
