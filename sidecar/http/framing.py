"""Which request heads are well-formed, and how long the body behind one is (RFC 9112 §2 to §6).

Whatever two readers of HTTP could read differently is refused here, before anything else looks at
it.  A refusal names the kind of fault in our own words and never quotes the sender.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sidecar.errors import RequestRefused
from sidecar.http.fields import Field, lacks, values
from sidecar.http.methods import KNOWN_METHODS
from sidecar.http.target import absolute_form

MAX_FIELDS = 128
"""As many fields a head may have; Tomcat and Apache take 100."""

END_OF_HEAD = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 §5.6.2
_REQUEST_LINE = re.compile(rb"([A-Z-]++) ([!-~]++) HTTP/1\.[01]\r\n")
_NOT_IN_TARGET = re.compile(rb"[^!-~]")
_OTHER_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
FIELD_LINES = re.compile(rb"(?:" + _TOKEN + rb"++:[\t -~\x80-\xff]*+\r\n)*+\r\n")
"""Any number of field lines, none of them folded, and the empty line behind them."""

ODD_BYTE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")
"""A control byte, or a CR or LF that is no part of a line's end: no head may have any."""

# RFC 9110 allows each of these once in a message; of Host and the two that frame the body a second
# one is how requests are smuggled.
_ONCE = re.compile(
    rb"\r\n((?i:content-(?:length|location|range|type)|etag|host|max-forwards|server"
    rb"|transfer-encoding|user-agent)):([^\r]*+)"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")  # of 64 bits, as much as any sender can mean
_TRAILING_SPACE = re.compile(rb"(?<![\t ])[\t ]++(?=\r\n)")  # each run of spaces is tried once
_TLS_HANDSHAKE = b"\x16\x03"


def check_beginning(head: bytes, seen: int, limit: int) -> None:
    """Refuse what cannot become a head of at most `limit` bytes, whatever follows it.

    The first `seen` bytes were looked at before.  RequestRefused is 400 or 431.
    """
    if len(head) > limit:
        raise too_large()
    if head.startswith(_TLS_HANDSHAKE):
        raise _tls()
    look_from = max(0, seen - 1)
    end_of_line = head.find(b"\r\n")
    odd = ODD_BYTE.search(head, look_from)
    if odd is not None:
        is_in_line = end_of_line < 0 or odd.start() < end_of_line
        raise _bad_request_line(head[: odd.end()]) if is_in_line else malformed()
    if end_of_line >= look_from:
        request_line(head, limit)


def request_line(head: bytes, limit: int) -> re.Match[bytes]:
    """The line `METHOD SP target SP HTTP/1.x CRLF` of a whole head: its groups are the first two.

    RequestRefused is 400, or 431 for a head of more than `limit` bytes.
    """
    if len(head) > limit:
        raise too_large()
    line = _REQUEST_LINE.match(head)
    if line is None or line[1] not in KNOWN_METHODS:
        raise _bad_request_line(head.partition(b"\r\n")[0])
    if not line[2].startswith(b"/"):
        absolute_form(line[2].decode())
    return line


def body_length(fields: bytes) -> int | None:
    """The length of the body behind a head; None if it is chunked.

    `fields` is all that follows `HTTP/1.` in the head.  RequestRefused (400, 431) where they are
    malformed or ambiguous.
    """
    if fields.count(b"\n") > MAX_FIELDS + 2:
        raise RequestRefused(
            431, "The request has too many header fields.", f"{MAX_FIELDS} at most"
        )
    if FIELD_LINES.fullmatch(fields, 3) is None:
        raise malformed()
    once = _fields_allowed_once(fields)
    if b"host" not in once:
        raise _not_one_host()
    coding, length = once.get(b"transfer-encoding"), once.get(b"content-length")
    if coding is not None:
        if fields.startswith(b"0") or coding.lower() != b"chunked":
            raise _ambiguous_coding()
        if length is not None:
            raise malformed()
        return None
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise malformed()
    return int(length)


def without_trailing_space(head: bytes) -> bytes:
    """The head without the white space that may stand behind a value (RFC 9112 §5.1).

    Before 3.14.4 aiohttp's parser takes it for part of the value.
    """
    if b" \r\n" in head or b"\t\r\n" in head:
        return _TRAILING_SPACE.sub(b"", head)
    return head


def check_expectation(fields: Iterable[Field]) -> None:
    """Refuse (417) to meet any expectation but 100-continue (RFC 9110 §10.1.1)."""
    if lacks(fields, b"expect"):
        return
    if any(value.lower() != b"100-continue" for value in values(fields, b"expect")):
        raise RequestRefused(417, "The only expectation that is met here is 100-continue.")


def too_late() -> RequestRefused:
    """The refusal of a head that did not come to its end."""
    return RequestRefused(408, "The request's head was not complete in time.")


def too_large() -> RequestRefused:
    """The refusal of a head that is longer than `limits.head_bytes`."""
    return RequestRefused(
        431,
        "The request's head is too large.",
        "limits.head_bytes sets the limit; long JQL can go into the body of a POST to"
        " /rest/api/2/search",
    )


def malformed() -> RequestRefused:
    """The refusal of a head that breaks a rule which has no words of its own."""
    return RequestRefused(
        400, "The request is malformed.", "its header fields, lengths or chunks break HTTP's rules"
    )


def unknown_method() -> RequestRefused:
    """The refusal of a method that is none."""
    return RequestRefused(400, "The request's method is not one that HTTP knows.")


def bad_body(why: str) -> RequestRefused:
    """The refusal of a body that is malformed or ended early."""
    return RequestRefused(400, f"The request's body cannot be understood: {why}.")


def _fields_allowed_once(fields: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in _ONCE.findall(fields):
        name = name.lower()
        if name in found:
            raise _repeated(name)
        found[name] = value.strip(b"\t ")
    return found


def _repeated(name: bytes) -> RequestRefused:
    if name == b"host":
        return _not_one_host()
    return _ambiguous_coding() if name == b"transfer-encoding" else malformed()


def _ambiguous_coding() -> RequestRefused:
    return RequestRefused(
        400,
        "The request's Transfer-Encoding is ambiguous.",
        "only the one coding chunked, in HTTP/1.1, is taken",
    )


def _not_one_host() -> RequestRefused:
    return RequestRefused(400, "The request needs exactly one Host field.")


def _tls() -> RequestRefused:
    return RequestRefused(
        400,
        "This port speaks plain http, and the request came in TLS.",
        "use http://, or set listen.tls_certificate and listen.tls_key",
    )


def _bad_request_line(line: bytes) -> RequestRefused:
    """What is wrong with a request line, or with one that has come as far as an odd byte."""
    if line.startswith(_TLS_HANDSHAKE):
        return _tls()
    method, *others = line.split(b" ")
    if method not in KNOWN_METHODS:
        return unknown_method()
    if others and _NOT_IN_TARGET.search(others[0]):
        return RequestRefused(
            400,
            "The request target is malformed.",
            "percent-encode é as %C3%A9, a space as %20",
        )
    if len(others) == 2 and _OTHER_VERSION.fullmatch(others[1]):
        return RequestRefused(400, "The request's HTTP version is neither 1.0 nor 1.1.")
    return RequestRefused(
        400,
        "The request line is malformed.",
        "HTTP/1.0 and 1.1 only; percent-encode a space as %20",
    )
