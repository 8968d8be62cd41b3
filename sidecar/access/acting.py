"""Whom a caller may act as: `X-Sidecar-Act-As`, judged by access.act_as; pure.

Jira takes the name that a two-legged request carries for the user, if the application link allows
impersonation: whoever chooses the name chooses the rights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sidecar.access.rules import denied
from sidecar.errors import ConfigError, RequestRefused
from sidecar.http.fields import Field, Received
from sidecar.http.forwarding import ACT_AS, nominated_fields
from sidecar.http.shown import printable, quoted

_LENGTH = len(ACT_AS)
_CONNECTION_LENGTH = len(b"connection")
_LONGEST = 255
"""Characters: as long as Jira's column for user names."""
_CALLER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
"""What a file in the folder access.key_file may be called."""
_EXAMPLE = 'a pattern looks like "ci-*", or "NAME: ci-*" for the caller with the key NAME'


class UserPatterns:
    """The list access.act_as, ready to judge names."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Compile the patterns; ConfigError names the one that makes no sense."""
        self._patterns: dict[str | None, list[re.Pattern[str]]] = {}
        for text in texts:
            caller, pattern = _read(text)
            self._patterns.setdefault(caller, []).append(pattern)

    @property
    def callers(self) -> set[str]:
        """The callers that have patterns of their own."""
        return {caller for caller in self._patterns if caller is not None}

    def allow(self, user: str, caller: str | None) -> bool:
        """Whether the caller of that name, None for one without, may act as the user."""
        patterns = [*self._patterns.get(None, ())]
        if caller is not None:
            patterns += self._patterns.get(caller, ())
        return any(pattern.fullmatch(user) for pattern in patterns)


class Acting:
    """Tells whom a request acts as."""

    def __init__(
        self, texts: Sequence[str] = (), *, two_legged: bool = False, user: str | None = None
    ) -> None:
        """`user` is jira.act_as, for requests that name none; `texts` is access.act_as."""
        self._allowed = UserPatterns(texts)
        self._two_legged = two_legged
        self._user = user

    def user(self, fields: Sequence[Field], caller: str | None) -> str | None:
        """The user to name to Jira; None leaves that to the link, or to the access token.

        RequestRefused is 400 for a field that could be read in two ways, and 403 for a user that
        the configuration doesn't allow this caller.
        """
        named = _named(fields)
        if named is None:
            return self._user
        if not self._two_legged:
            raise denied(
                "The request names a user to act as, and an access token acts as its own alone.",
                "jira.two_legged",
            )
        if not self._allowed.allow(named, caller):
            who = f"The caller {quoted(caller)}" if caller is not None else "This caller"
            raise denied(f"{who} may not act as {quoted(named)}.", "access.act_as")
        return named


def _named(fields: Sequence[Field]) -> str | None:
    """The value of X-Sidecar-Act-As, None where it isn't there; RequestRefused (400)."""
    if type(fields) is Received and fields.names.any_spelling.isdisjoint((ACT_AS, b"connection")):
        return None
    found: list[bytes] = []
    for name, value in fields:
        length = len(name)  # most fields are told apart by it
        if length == _CONNECTION_LENGTH and name.lower() == b"connection":
            if any(_is_act_as(option) for option in nominated_fields([value])):
                raise _ambiguous("is named in Connection, and so ends here", "leave it out there")
        elif length == _LENGTH and _is_act_as(name.lower()):
            if b"_" in name:
                raise _ambiguous("is spelled with an underscore", "spell it X-Sidecar-Act-As")
            found.append(value)
    if len(found) > 1:
        raise _ambiguous("is repeated", "name one user")
    return _user(found[0]) if found else None


def _is_act_as(lower_name: bytes) -> bool:
    """Servers that read fields as environment variables cannot tell `_` from `-`."""
    return lower_name.replace(b"_", b"-") == ACT_AS


def _user(value: bytes) -> str:
    try:
        user = value.strip(b" \t").decode()
    except UnicodeDecodeError:
        raise _ambiguous("is not UTF-8", "send the user's name in UTF-8") from None
    if not user:
        raise _ambiguous("is empty", "name a user, or leave it out")
    if "," in user:
        raise _ambiguous("has a comma, which separates the values of a field", "name one user")
    if not user.isprintable() or len(user) > _LONGEST:
        raise _ambiguous("is not a user's name", "send the name as Jira shows it")
    return user


def _ambiguous(problem: str, hint: str) -> RequestRefused:
    return RequestRefused(400, f"The field X-Sidecar-Act-As {problem}.", hint)


def _read(text: str) -> tuple[str | None, re.Pattern[str]]:
    """Split "NAME: ci-*" and compile the pattern; ConfigError."""
    name, colon, pattern = text.partition(":")
    caller = name.strip() if colon else None
    pattern = (pattern if colon else text).strip()
    if caller is not None and not _CALLER.fullmatch(caller):
        raise _senseless(text, "what stands before the colon is not a caller's name")
    if not pattern:
        raise _senseless(text, "it names no user")
    if "," in pattern or not pattern.isprintable():
        raise _senseless(text, "no request can name a user with a comma or a control character")
    if "**" in pattern:
        raise _senseless(text, "one * stands for any number of characters")
    return caller, re.compile(_expression(pattern))


def _expression(pattern: str) -> str:
    """Translate a pattern so that matching takes linear time, as rules.py does for paths."""
    first, *rest = map(re.escape, pattern.split("*"))
    if not rest:
        return first
    middle = "".join(f"(?>.*?{literal})" for literal in rest[:-1])
    return f"{first}{middle}.*{rest[-1]}"


def _senseless(text: str, problem: str) -> ConfigError:
    return ConfigError(f'access.act_as: "{printable(text)}" makes no sense: {problem}', _EXAMPLE)
