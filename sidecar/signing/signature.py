"""RFC 5849 §3.4–3.6 as Jira reads it: parameters, base string URI, signature base string; pure.

Where Jira's servlet engine departs from the RFC, this module follows the engine ("Tomcat": measured
on Tomcat 9), because it is the engine that checks the signature.

Parameters are signed percent-encoded.  Most of a query already is, and is not decoded first.  The
type `Encoded` tells encoded from decoded text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NewType
from urllib.parse import unquote, unquote_to_bytes

Encoded = NewType("Encoded", str)
"""Text that is percent-encoded by RFC 5849 §3.6."""
EncodedPair = tuple[Encoded, Encoded]

DEFAULT_PORTS = {"http": 80, "https": 443}
FORM_TYPE = "application/x-www-form-urlencoded"
FORM_LIMIT = 2 * 1024 * 1024
"""Bytes: Tomcat's maxPostSize.  A larger form is not parsed at all."""

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")
_UNRESERVED_OR_PERCENT = re.compile(r"[A-Za-z0-9._~%-]*")
_OCTETS = [
    chr(octet) if _UNRESERVED.fullmatch(chr(octet)) else f"%{octet:02X}" for octet in range(256)
]
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")

# What §3.6 writes differently in a form-encoded text: `,` `+` `%2c` `%7E` `%41`.  Octets beyond
# ASCII and a stray `%` match, too, and have no entry in _RECODED: they need more than one octet.
_NOT_ENCODED = re.compile(
    r"[^A-Za-z0-9._~=&-]"
    r"(?:(?<!%)|(?!(?:[01][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[BCDF]))(?:[0-9A-Fa-f]{2})?)"
)
_RECODED = {
    form: _OCTETS[octet]
    for octet in range(128)
    for form in (chr(octet), f"%{octet:02x}", f"%{octet:02X}")
} | {"+": "%20"}
del _RECODED["%"]


def _spelled(name: str) -> str:
    """A pattern for a name, any of whose letters may be percent-encoded."""
    return "".join(f"(?:{char}|%{ord(char):x}|%{ord(char.upper()):x})" for char in name)


# Controls and spaces around the name, and the case of its letters, do not count.
_SPACE = r"(?:%[01][0-9a-f]|%20|[\x00-\x20+])*+"
_NAME_ENDS = rf"(?={_SPACE}(?:[=&]|\Z))"
_RESERVED_NAME = re.compile(
    rf"(?:\A|&){_SPACE}({_spelled('x')}?{_spelled('oauth_')}[\w.%-]{{0,32}}"
    rf"|{_spelled('os_')}(?:{_spelled('username')}|{_spelled('password')}){_NAME_ENDS})",
    re.IGNORECASE | re.ASCII,
)
_USER_ID = re.compile(
    rf"(?:\A|&){_SPACE}({_spelled('user_id')}){_NAME_ENDS}", re.IGNORECASE | re.ASCII
)


def percent_encode(text: str) -> Encoded:
    """Encode the UTF-8 form of a text, all but the unreserved characters (RFC 5849 §3.6)."""
    if _UNRESERVED.fullmatch(text):
        return Encoded(text)
    return Encoded("".join(map(_OCTETS.__getitem__, text.encode())))


def decode_query(query: str) -> list[tuple[str, str]]:
    """Return the parameters of an ASCII query in their order, as a servlet gets them.

    `&` alone separates; `x=` and a bare `x` are both empty; a pair with an empty name, or with a
    `%` that begins no octet, is dropped; `+` is a space; malformed UTF-8 is U+FFFD.  (Tomcat)
    """
    pairs = [pair.partition("=") for pair in query.split("&") if not has_stray_percent(pair)]
    return [(_form_decode(name), _form_decode(value)) for name, _, value in pairs if name]


def decode_form(body: bytes) -> list[tuple[str, str]]:
    """Return the parameters of form content: none if it is larger than FORM_LIMIT.  (Tomcat)"""
    return decode_query(body.decode("latin-1")) if len(body) <= FORM_LIMIT else []


def encode_query(query: str) -> list[EncodedPair]:
    """Return decode_query's parameters percent-encoded, most often without decoding them."""
    try:
        encoded = _NOT_ENCODED.sub(_recode, query)
    except KeyError:
        return encode_parameters(decode_query(query))
    pairs = [pair.partition("=") for pair in encoded.split("&")]
    return [(Encoded(n), Encoded(v.replace("=", "%3D"))) for n, _, v in pairs if n]


def encode_form(body: bytes) -> list[EncodedPair]:
    """Return decode_form's parameters, percent-encoded for the signature."""
    return encode_query(body.decode("latin-1")) if len(body) <= FORM_LIMIT else []


def encode_parameters(parameters: Iterable[tuple[str, str]]) -> list[EncodedPair]:
    """Percent-encode names and values (RFC 5849 §3.4.1.3.2, step 1)."""
    return [(percent_encode(name), percent_encode(value)) for name, value in parameters]


def is_form(method: str, content_type: str | None) -> bool:
    """Tell whether a body's parameters are signed.

    RFC 5849 §3.4.1.3.1 wants it for every method; Tomcat parses forms on POST alone, and wants
    the media type in lower case, with or without parameters.
    """
    if method != "POST" or content_type is None:
        return False
    return content_type.partition(";")[0].strip(" \t") == FORM_TYPE


def reserved_name(parameters: str) -> str | None:
    """Return the first name by which Jira would take us for somebody else, if there is one.

    oauth_* and xoauth_* are OAuth's; os_username and os_password are those of Jira's login, which
    it reads on any page (Seraph's PasswordBasedLoginFilter).
    """
    match = _RESERVED_NAME.search(parameters)
    return unquote(match[1]) if match else None


def names_requestor(parameters: str) -> bool:
    """Tell whether a two-legged request would name its user by these.

    Jira looks for xoauth_requestor_id, which is reserved anyway, and else for user_id.
    """
    return _USER_ID.search(parameters) is not None


def base_string_uri(scheme: str, host: str, port: int, path: str) -> str:
    """Put together the base string URI: default port left out, path as it is (RFC 5849 §3.4.1.2).

    Scheme and host are in lower case already; an IPv6 host comes without its brackets.
    """
    authority = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[scheme]:
        authority = f"{authority}:{port}"
    return f"{scheme}://{authority}{path}"


def signature_base_string(method: str, uri: str, parameters: Iterable[EncodedPair]) -> str:
    """Return the signature base string (RFC 5849 §3.4.1.1) of a base string URI and parameters."""
    normalized = "&".join([f"{name}={value}" for name, value in sorted(parameters)])
    return start_of_base_string(method, uri) + within_base_string(normalized)


def start_of_base_string(method: str, uri: str) -> str:
    """Return what comes before the parameters in a signature base string."""
    return f"{method}&{_encode_uri(uri)}&"


def within_base_string(normalized: str) -> str:
    """Percent-encode normalized parameters, or a piece of them."""
    return normalized.replace("%", "%25").replace("&", "%26").replace("=", "%3D")


def authorization_header(parameters: Sequence[EncodedPair]) -> str:
    """Write protocol parameters as the value of `Authorization` (RFC 5849 §3.5.1)."""
    return "OAuth " + ", ".join([f'{name}="{value}"' for name, value in parameters])


def has_stray_percent(text: str) -> bool:
    """Whether a `%` in it begins no octet: Tomcat drops such a parameter of a form."""
    return _STRAY_PERCENT.search(text) is not None


def _form_decode(text: str) -> str:
    return decode_utf8(unquote_to_bytes(text.replace("+", " ").encode("latin-1")))


def decode_utf8(octets: bytes) -> str:
    """Decode as Java does; what is malformed becomes U+FFFD."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        # Java, as Python, puts one U+FFFD for each maximal malformed part, but takes an encoded
        # surrogate (ED A0 80) for one part where Python sees three.  (OpenJDK 17)
        return _ENCODED_SURROGATE.sub(b"\xff", octets).decode(errors="replace")


def _recode(match: re.Match[str]) -> str:
    return _RECODED[match[0]]


def _encode_uri(uri: str) -> Encoded:
    """percent_encode(uri), in three steps where `%`, `/` and `:` are all there is to encode."""
    encoded = uri.replace("%", "%25").replace("/", "%2F").replace(":", "%3A")
    return Encoded(encoded) if _UNRESERVED_OR_PERCENT.fullmatch(encoded) else percent_encode(uri)
