"""Which header fields pass through the sidecar, and how they change (RFC 9110 §7.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from sidecar.errors import ProtocolError, RequestRefused
from sidecar.http.cache import Cache
from sidecar.http.fields import CACHED_BYTES, FRAMING, USER_AGENT, Field, Fields, Received

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

ACT_AS = b"x-sidecar-act-as"
"""Names the user that a two-legged request acts as; see access/acting.py."""

# These would make Jira take the caller for somebody else, tell Jira of the web page that asks, or
# make Jira see another method or URL than the one that is signed.
_REQUEST_DROPPED = HOP_BY_HOP | {
    b"authorization",
    b"cookie",
    b"cookie2",
    b"expect",  # answered here
    b"forwarded",
    b"host",  # ours comes first
    b"origin",
    b"referer",
    b"x-http-destinationurl",
    b"x-real-ip",
    ACT_AS,
    b"x-sidecar-key",
}
_REQUEST_DROPPED_PREFIXES = (
    b"sec-",
    b"x-forwarded-",
    b"x-http-method",
    b"x-original-",
    b"x-override-",
    b"x-rewrite-",
)
_REQUEST_DROPPED_SUFFIX = b"-override"

_RESPONSE_DROPPED = HOP_BY_HOP | {
    b"alt-svc",
    b"proxy-status",
    b"set-cookie",
    b"set-cookie2",
    b"sidecar-problem",
    b"strict-transport-security",
}
_RESPONSE_DROPPED_PREFIXES = (b"access-control-",)

# A browser's User-Agent makes Jira's XSRF check refuse a POST, and one of WebDAV's makes its OAuth
# filter look away, so that the request is anonymous.
_REPLACED_AGENT = re.compile(
    rb"\b(?:Mozilla|Opera|WebDAVFS|WebDAVLib|Microsoft-WebDAV-MiniRedir)/", re.IGNORECASE
)
_CONTROL = bytes([*range(9), *range(10, 32), 127])
"""No field's value holds these (RFC 9110 §5.5)."""
_GZIP = re.compile(rb"(?:\A|(?<=,))[ \t]*+(gzip|x-gzip|\*)[ \t]*+(?:;([^,]*+)|(?=,|\Z))")
_ZERO_WEIGHT = re.compile(rb"q=0(?:\.0*+)?")
_TAG = re.compile(rb'("[^"]*+"?)|((?:\A|,)[ \t]*+)W/')
"""An entity tag's quoted part, or what stands before it: text within quotes is the tag's own."""
_KEEPING = frozenset({b"close", b"keep-alive"})
"""What most Connection fields say; it names no field."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


_Fate = Enum(
    "_Fate",
    "KEEP DROP MALFORMED CONNECTION URL LINK ETAG OF_BODY"
    " ACCEPT_ENCODING USER_AGENT ATLASSIAN_TOKEN REQUEST_ID RANGE IF_MATCH",
)


_SPECIAL = {
    b"connection": _Fate.CONNECTION,
    b"accept-encoding": _Fate.ACCEPT_ENCODING,
    b"user-agent": _Fate.USER_AGENT,
    b"x-atlassian-token": _Fate.ATLASSIAN_TOKEN,
    b"x-request-id": _Fate.REQUEST_ID,
    b"range": _Fate.RANGE,
    b"if-match": _Fate.IF_MATCH,
}


_RESPONSE_SPECIAL = {
    b"connection": _Fate.CONNECTION,
    b"location": _Fate.URL,
    b"content-location": _Fate.URL,
    b"link": _Fate.LINK,
    b"etag": _Fate.ETAG,
    # These describe the bytes of the body, and are wrong once it has changed.
    b"content-length": _Fate.OF_BODY,
    b"content-encoding": _Fate.OF_BODY,
    b"content-md5": _Fate.OF_BODY,
    b"digest": _Fate.OF_BODY,
    b"content-digest": _Fate.OF_BODY,
    b"repr-digest": _Fate.OF_BODY,
}


def _request_fate(name: bytes) -> _Fate:
    lower = name.lower()
    if special := _SPECIAL.get(lower):
        return special
    # Servers that read fields as environment variables cannot tell `_` from `-`.
    dashed = lower.replace(b"_", b"-")
    if (
        dashed in _REQUEST_DROPPED
        or dashed.startswith(_REQUEST_DROPPED_PREFIXES)
        or dashed.endswith(_REQUEST_DROPPED_SUFFIX)
    ):
        return _Fate.DROP
    if dashed != lower and dashed in FRAMING:
        return _Fate.DROP
    return _Fate.KEEP


def _response_fate(name: bytes) -> _Fate:
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        return _Fate.MALFORMED
    if special := _RESPONSE_SPECIAL.get(lower):
        return special
    if lower in _RESPONSE_DROPPED or lower.startswith(_RESPONSE_DROPPED_PREFIXES):
        return _Fate.DROP
    return _Fate.KEEP


_request_fates = Cache(_request_fate, len, entries=512, size=CACHED_BYTES)
_response_fates = Cache(_response_fate, len, entries=512, size=CACHED_BYTES)


class _Forwarded(NamedTuple):
    """What becomes of a request's fields, but for its own id."""

    host: bytes
    fields: Fields
    is_identified: bool


def request_fields(raw: Iterable[Field], host: bytes, request_id: bytes) -> Fields:
    """The fields of a client's request as they go to Jira, Host first, Authorization not yet.

    `raw` are the fields received, `host` is upstream's authority, `request_id` is sent as
    X-Request-Id unless the client names one.  The caller adds framing fields other than
    Content-Length.  Raises RequestRefused (400) for a value that isn't UTF-8.
    """
    known = raw.forwarded if type(raw) is Received else None
    if not isinstance(known, _Forwarded) or known.host != host:
        known = _forwarded(raw, host)
        if type(raw) is Received:  # a client's next request may have the very same
            raw.forwarded = known
    return (
        list(known.fields)
        if known.is_identified
        else [*known.fields, (b"X-Request-Id", request_id)]
    )


def _forwarded(raw: Iterable[Field], host: bytes) -> _Forwarded:
    kept: Fields = [(b"Host", host)]
    connection: list[bytes] = []
    encodings: list[bytes] = []
    ranged = tokened = identified = False
    for field in raw:
        name, value = field
        fate = _request_fates[name]
        if fate is _Fate.DROP:
            continue
        if not value.isascii():
            _require_utf8(name, value)
        match fate:
            case _Fate.CONNECTION:
                connection.append(value)
                continue
            case _Fate.ACCEPT_ENCODING:
                encodings.append(value)
                continue
            case _Fate.USER_AGENT if _REPLACED_AGENT.search(value):
                field = (name, USER_AGENT)
            case _Fate.RANGE:
                ranged = True
            case _Fate.IF_MATCH:
                field = (name, strong_tags(value))
            case _Fate.ATLASSIAN_TOKEN:
                tokened = True
            case _Fate.REQUEST_ID:
                identified = True
        kept.append(field)
    if connection and (nominated := nominated_fields(connection) - FRAMING):
        kept = [field for field in kept if field[0].lower() not in nominated]
        tokened = tokened and b"x-atlassian-token" not in nominated
        identified = identified and b"x-request-id" not in nominated
        if b"accept-encoding" in nominated:
            encodings = []
    if encodings:
        gzip = not ranged and accepts_gzip(encodings)
        kept.append((b"Accept-Encoding", b"gzip" if gzip else b"identity"))
    if not tokened:
        kept.append((b"X-Atlassian-Token", b"no-check"))
    return _Forwarded(host, kept, identified)


def response_fields(
    raw: Sequence[Field],
    rewrite: Callable[[Field], Field] | None = None,
    *,
    body_changes: bool = False,
) -> Fields:
    """The fields of Jira's answer as they go to the client.

    `rewrite` makes Location, Content-Location and Link lead to the client's own address.  If the
    body changes, the fields that describe its bytes are left out and the ETag becomes weak (RFC
    9110 §8.8).  Raises ProtocolError if a field holds control bytes: a reader could take them for
    the end of the field.
    """
    kept = _kept(raw)
    if kept is None or _has_control(raw):
        raise _malformed()
    passing = kept.with_other_body if body_changes else kept.with_its_body
    fields = [raw[at] for at in passing]
    for at, fate in kept.edited:
        place = passing.index(at)
        if fate is _Fate.ETAG:
            fields[place] = _weak(raw[at]) if body_changes else raw[at]
        elif rewrite:
            fields[place] = rewrite(raw[at])
    options = [raw[at][1].lower() for at in kept.connection]
    if not _KEEPING.issuperset(options) and (nominated := nominated_fields(options) - FRAMING):
        fields = [field for field in fields if field[0].lower() not in nominated]
    return fields


def _has_control(fields: Sequence[Field]) -> bool:
    if type(fields) is Received and fields.are_plain:
        return False
    text = b"".join([value for _, value in fields])
    return len(text.translate(None, _CONTROL)) != len(text)


class _Kept(NamedTuple):
    """Which of an answer's fields pass, by their places, as far as their names tell."""

    with_its_body: list[int]
    with_other_body: list[int]
    """Those that still describe it once its bytes have changed."""
    edited: list[tuple[int, _Fate]]
    connection: list[int]


def _kept(raw: Sequence[Field]) -> _Kept | None:
    """Which fields pass; None where a name is malformed.  Names that came before are known."""
    if type(raw) is not Received:
        return _kept_of([name for name, _ in raw])
    known = raw.names.kept
    if not isinstance(known, _Kept):
        known = _kept_of([name for name, _ in raw])
        raw.names.kept = known
    return known


def _kept_of(names: list[bytes]) -> _Kept | None:
    fates = [*enumerate([_response_fates[name] for name in names])]
    if any(fate is _Fate.MALFORMED for _, fate in fates):
        return None
    passing = [(at, f) for at, f in fates if f not in (_Fate.DROP, _Fate.CONNECTION)]
    return _Kept(
        [at for at, _ in passing],
        [at for at, fate in passing if fate is not _Fate.OF_BODY],
        [(at, fate) for at, fate in passing if fate in (_Fate.ETAG, _Fate.URL, _Fate.LINK)],
        [at for at, fate in fates if fate is _Fate.CONNECTION],
    )


def strong_tags(if_match: bytes) -> bytes:
    """Return an If-Match without the `W/` of its tags: most likely we have put them there.

    A weak tag never matches there (RFC 9110 §13.1.1), so that none is lost by it.
    """
    if b"W/" not in if_match:
        return if_match
    return _TAG.sub(lambda tag: tag[1] or tag[2], if_match)


def _weak(field: Field) -> Field:
    return field if field[1].startswith(b"W/") else (field[0], b"W/" + field[1])


def _malformed() -> ProtocolError:
    return ProtocolError("Jira's answer has a header field with control characters in it.")


def nominated_fields(connection: Iterable[bytes]) -> set[bytes]:
    """The lower-case names that Connection fields list (RFC 9110 §7.6.1)."""
    options = set(b",".join(connection).lower().split(b","))
    return {option.strip(b" \t") for option in options} - _KEEPING - {b""}


def accepts_gzip(values: Sequence[bytes]) -> bool:
    """Whether Accept-Encoding fields allow gzip (RFC 9110 §12.5.3)."""
    allowed: dict[bytes, bool] = {}
    for coding, parameters in _GZIP.findall(b",".join(values).lower()):
        weight = parameters.translate(None, b" \t")
        allowed[coding] = _ZERO_WEIGHT.fullmatch(weight) is None
    for coding in (b"gzip", b"x-gzip", b"*"):
        if coding in allowed:
            return allowed[coding]
    return False


def _require_utf8(name: bytes, value: bytes) -> None:
    try:
        value.decode()
    except UnicodeDecodeError:
        raise RequestRefused(
            400,
            f"The value of the header field {name.decode('ascii', 'replace')} is not UTF-8.",
            "send UTF-8 or percent-encode it",
        ) from None
