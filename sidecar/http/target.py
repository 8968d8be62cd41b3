"""Makes of a client's request target the one that is signed and sent (RFC 9112 §3.2, RFC 3986)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from sidecar.errors import RequestRefused
from sidecar.http.cache import Cache
from sidecar.http.shown import printable_ascii
from sidecar.signing.signature import (
    DEFAULT_PORTS,
    base_string_uri,
    names_requestor,
    percent_encode,
    reserved_name,
)

LONGEST_URL = 2000
"""Characters of a base URL: no browser or proxy ever took many more for granted."""
KNOWN_BYTES = 64 * 1024
"""Targets that are remembered, together: a sixteenth of it is far more than most URLs have."""
_LONGEST_AUTHORITY = 300
"""A name of 253 characters, brackets and a port."""

_BASE_URL = re.compile(r"(?i:(https?)://)([^/?#]*)([^?#]*)([?#].*)?")
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/?#\\%\s]+))(?::([0-9]{0,5}))?")
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")

# Most targets: nothing to encode, no parameter that needs decoding to be judged, and in the path
# no segment that begins with a dot, and no `;` `%25` `%2E` `%2F` `%3B` `%5C` or control.
_PLAIN = re.compile(
    r"""
    ( (?: / (?!\.)
          (?: [A-Za-z0-9._~!$&'()*+,=:@-]++
            | % (?! 2[5EFef] | 3[Bb] | 5[Cc] | 7[Ff] | [01] ) [0-9A-Fa-f]{2} )*+ )++ )
    (?: \?
        ( (?: & | (?! [Xx]?[Oo][Aa][Uu][Tt][Hh]_ | [Oo][Ss]_ )
                  (?: [A-Za-z0-9._~!$'()*,;:@/?-]++ | %5[BD] )++
                  (?: = (?: [A-Za-z0-9._~!$'()*+,;:@/?=-]++ | %[0-9A-Fa-f]{2} )*+ )?+
                  (?: & | \Z ) )*+ ) )?+
    """,
    re.VERBOSE,
)
_UNSAFE = {char: f"%{ord(char):02X}" for char in '"<>^`{|}[]'}
_NEVER = re.compile(r'[^!"$-~]')
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOT_SEGMENT = re.compile(rb"(?:\A|[/\\])\.{1,2}(?:;[^/\\]*)?(?:[/\\]|\Z)")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class BaseURL:
    """Where Jira is: scheme, authority and context path, in normal form."""

    scheme: str
    host: str
    """Lower case, without brackets; an IDN host as its A-labels."""
    port: int
    path: str
    """The context path: "" or "/jira", never with a slash at its end."""
    authority: str = field(init=False, repr=False)
    """`host[:port]`: a default port is left out, IPv6 stands in brackets."""
    origin: str = field(init=False, repr=False)
    """`scheme://host[:port]`."""

    def __post_init__(self) -> None:
        origin = base_string_uri(self.scheme, self.host, self.port, "")
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "authority", origin.partition("://")[2])

    def __str__(self) -> str:
        return self.origin + self.path

    @classmethod
    def parse(cls, text: str) -> BaseURL:
        """Read an http or https URL; ValueError says in a sentence what is wrong."""
        if len(text) > LONGEST_URL:
            raise ValueError(f"the URL must have no more than {LONGEST_URL} characters")
        if any(char.isspace() for char in text):
            raise ValueError("the URL must hold no spaces")
        match = _BASE_URL.fullmatch(text)
        if match is None:
            raise ValueError("the URL must begin with http:// or https://")
        scheme, authority, path, rest = match[1].lower(), match[2], match[3], match[4]
        if "@" in authority:
            raise ValueError("the URL must hold no user name or password")
        if rest:
            raise ValueError("the URL must have no query (?) and no fragment (#)")
        parsed = _parse_authority(authority)
        if parsed is None:
            raise ValueError("the URL's host or port is malformed")
        host, port = parsed
        try:
            path = _clean_path(_encode_unsafe(path.rstrip("/")))
        except RequestRefused as refused:
            raise ValueError(f"the URL's path cannot be used: {refused.message}") from None
        return cls(scheme, host, port or DEFAULT_PORTS[scheme], path)

    def is_same_authority(self, scheme: str, authority: str) -> bool:
        """Whether `scheme://authority` names this host and port.

        A port that is left out, or is its scheme's default, also stands for our scheme's default:
        through `http_proxy` an https Jira can only be asked for as http://.
        """
        parsed = _parse_authority(authority)
        if scheme not in DEFAULT_PORTS or parsed is None or parsed[0] != self.host:
            return False
        theirs = parsed[1] or DEFAULT_PORTS[scheme]
        defaults = DEFAULT_PORTS[scheme], DEFAULT_PORTS[self.scheme]
        return theirs == self.port or (theirs, self.port) == defaults


class Target(NamedTuple):
    """An origin-form target that is clean: it is signed and sent as it is."""

    path: str
    query: str | None
    """None without a `?`; a bare trailing `?` is an empty query."""

    def __str__(self) -> str:
        return self.path if self.query is None else f"{self.path}?{self.query}"


def clean(raw: str, context_path: str) -> Target:
    """Make an origin-form target RFC 3986-clean, byte for byte otherwise, below the context path.

    Octets beyond ASCII may come decoded or as surrogates of surrogateescape.  RequestRefused (400)
    names what cannot be signed and sent as the client means it.  Clients ask again and again for
    the same: paths that came before are known.  What a query asks for is kept nowhere.
    """
    return _clean(raw, context_path) if "?" in raw else _cleaned[raw, context_path]


def _clean(raw: str, context_path: str) -> Target:
    match = _PLAIN.fullmatch(raw)
    path, query = match.groups() if match else _clean_with_care(_encode_unsafe(raw))
    if not context_path or path == context_path or path.startswith(context_path + "/"):
        return Target(path, query)
    return Target(context_path + path, query)


_cleaned: Cache[tuple[str, str], Target] = Cache(
    lambda asked: _clean(*asked), lambda asked: len(asked[0]), entries=512, size=KNOWN_BYTES
)


def absolute_form(raw: str) -> tuple[str, str, str]:
    """Split an absolute-form target into scheme, authority and origin-form (RFC 9112 §3.2.2).

    RequestRefused (400) if it is not an http or https URL with a host and without userinfo.
    """
    match = _BASE_URL.match(raw)
    if match is None:
        raise RequestRefused(
            400,
            "The request target is neither a path nor an http or https URL.",
            "send a path such as /rest/api/2/myself",
        )
    authority = match[2]
    if "@" in authority:
        raise RequestRefused(
            400, "The request target holds a user name or password.", "remove what is before the @"
        )
    if not authority.isascii() or _parse_authority(authority) is None:
        raise RequestRefused(
            400, "The request target's host or port is malformed.", "send a path without them"
        )
    rest = raw[match.end(2) :]
    return match[1].lower(), authority, rest if rest.startswith("/") else f"/{rest}"


def signing_uri(base: BaseURL, signing: BaseURL, path: str) -> str:
    """Return the base string URI of a clean path at `base`, as it looks from `signing`."""
    return signing.origin + signing.path + path[len(base.path) :]


def refuse_reserved(parameters: str, part: str) -> None:
    """Raise RequestRefused if a query or form (`part`) has a parameter of OAuth or of a login.

    Jira would take it for one of ours: it could change who we are.
    """
    if name := reserved_name(parameters):
        raise RequestRefused(
            400,
            f"The {part} has a parameter {printable_ascii(name)}, which only the sidecar may set.",
            "leave oauth_*, xoauth_*, os_username and os_password out: the sidecar signs requests",
        )


def refuse_requestor(parameters: str, part: str) -> None:
    """Raise RequestRefused if a query or form (`part`) of a two-legged request names its user."""
    if names_requestor(parameters):
        raise RequestRefused(
            400,
            f"The {part} has a parameter user_id, by which Jira would take us for that user.",
            "leave user_id out; the field X-Sidecar-Act-As names a user that access.act_as allows",
        )


def acting_as(target: Target, user: str | None) -> Target:
    """Name the user of a two-legged request to Jira, which takes the first that is named."""
    if user is None:
        return target
    name = f"xoauth_requestor_id={percent_encode(user)}"
    return Target(target.path, f"{name}&{target.query}" if target.query else name)


def _parse_authority(authority: str) -> tuple[str, int | None] | None:
    """Split `host[:port]` into BaseURL's host and the port, if any; None if it is malformed."""
    match = _AUTHORITY.fullmatch(authority) if len(authority) <= _LONGEST_AUTHORITY else None
    if match is None:
        return None
    port = int(match[3]) if match[3] else None
    if port is not None and not 0 < port <= 65535:
        return None
    try:
        if match[1]:
            return ipaddress.IPv6Address(match[1]).compressed, port
        host = match[2].encode("idna").decode().lower()
        if not match[2].isascii() and host.encode().decode("idna") != match[2].lower():
            return None  # IDNA 2003 would make strasse of straße: another host
    except ValueError:
        return None
    return (host, port) if _HOST_NAME.fullmatch(host) else None


def _clean_with_care(raw: str) -> tuple[str, str | None]:
    if not raw.startswith("/"):
        raise RequestRefused(
            400,
            "The request target does not begin with a slash.",
            "send a path such as /rest/api/2/myself",
        )
    path, mark, query = raw.partition("?")
    path = _clean_path(path)
    if not mark:
        return path, None
    _refuse_characters(query)
    query = _STRAY_PERCENT.sub("%25", query).replace("\\", "%5C")
    refuse_reserved(query, "query")
    return path, query


def _clean_path(path: str) -> str:
    _refuse_characters(path)
    if _STRAY_PERCENT.search(path):
        raise RequestRefused(
            400, "The path has a % that begins no encoded octet.", "percent-encode % as %25"
        )
    octets = path.encode()
    _refuse_segments(octets)
    for _ in range(3):  # Jira, its gateways and its plugins may each decode once
        if b"%" not in octets:
            break
        octets = unquote_to_bytes(octets)
        _refuse_segments(octets)
    return path


def _encode_unsafe(text: str) -> str:
    for char, encoded in _UNSAFE.items():
        text = text.replace(char, encoded)
    return text


def _refuse_segments(path: bytes) -> None:
    """Refuse what a server may resolve or cut off: it would see another path than was signed."""
    if b"\\" in path:
        problem = "a backslash"
        hint = "separate segments with /; Jira's Tomcat takes no %5C in a path, only in a query"
    elif _CONTROL.search(path):
        problem, hint = "a control character", "remove it: no path in Jira has one"
    elif _DOT_SEGMENT.search(path):
        problem, hint = "a . or .. segment", "send the path that it stands for"
    else:
        return
    raise RequestRefused(400, f"The path has {problem}, plain or percent-encoded.", hint)


def _refuse_characters(text: str) -> None:
    """Refuse what must never stand in a target as it is, and say how it is encoded."""
    match = _NEVER.search(text)
    if match is None:
        return
    char = match[0]
    if char == "#":
        problem = "a #"
        hint = "percent-encode # as %23; a fragment is not sent"
    elif char == " ":
        problem, hint = "a space", "percent-encode a space as %20"
    elif char.isascii():
        problem, hint = "a control character", f"percent-encode it as {quote(char)}"
    else:
        problem = "a character that is not ASCII"
        hint = _encoding_hint(text[match.start() :])
    raise RequestRefused(400, f"The request target has {problem}.", hint)


def _encoding_hint(text: str) -> str:
    """Name the first character and its encoding, or an example if the text is not UTF-8."""
    try:
        char = text.encode(errors="surrogateescape").decode(errors="replace")[0]
    except UnicodeEncodeError:
        char = "\N{REPLACEMENT CHARACTER}"
    if char == "\N{REPLACEMENT CHARACTER}" or not char.isprintable():
        return "percent-encode its UTF-8 form, é as %C3%A9"
    return f"percent-encode {char} as {quote(char)}"
