"""Decides, before anything else, whether a caller may do this: by Host, Origin, key and rules.

The order is fixed, and whoever uses this module keeps it:

    check_caller     exactly one allowed Host, no other site's browser page     400, 421, 403
    preflight        an allowed origin's CORS question is answered (204), without a key
    check_key        the access key, where one is configured                    401
    check_request    read_only, access.deny, access.allow (rules.py)            403

Field names are compared in any letter case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sidecar.access.keys import KeyRefused, KeyRing, Keys, digest, keys_shown
from sidecar.access.rules import Rules, denied
from sidecar.errors import ConfigError, RequestRefused
from sidecar.http.cache import Cache
from sidecar.http.fields import Received, first
from sidecar.http.methods import METHODS
from sidecar.http.shown import quoted
from sidecar.http.target import BaseURL
from sidecar.signing.signature import DEFAULT_PORTS

Fields = Sequence[tuple[bytes, bytes]]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_CALLER_FIELDS = frozenset({b"host", b"origin", b"sec-fetch-site"})

# RFC 3986 §3.2.2 without userinfo, sub-delims and percent-encoding: nobody's host name needs
# them, and "127.0.0.1, evil.test" or "localhost@evil.test" must not be one.
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?")
_TOKENS = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")

_PREFLIGHT_HEADERS = b"Accept, Authorization, Content-Type, X-Atlassian-Token, X-Sidecar-Key"
# Named one by one: with `*` every field would be open, Authorization still would not.
_EXPOSED = (
    b"Content-Disposition, Content-Range, ETag, Link, Location, Proxy-Status, Retry-After, "
    b"Sidecar-Problem, X-AREQUESTID, X-AUSERNAME, X-RateLimit-Limit, X-RateLimit-Remaining, "
    b"X-Request-Id, X-Seraph-LoginReason"
)
_JUDGED = 256
_JUDGED_BYTES = 16 * 1024


class Caller(NamedTuple):
    """Somebody who passed the Host and Origin checks."""

    scheme: str
    """http or https, of the connection or of an absolute-form target."""
    host: str
    """The Host value as sent, for links that lead back here."""
    origin: str | None = None
    """The browser page's origin as sent, if it is one of access.origins: it is owed CORS fields."""
    as_proxy: bool = False
    """We were used as an HTTP proxy for Jira's own name: links stay Jira's."""
    name: str | None = None
    """The name of the access key that was shown, where keys have names."""


class AccessControl:
    """The `access` table of the configuration, ready to judge requests."""

    def __init__(
        self,
        *,
        base_url: BaseURL,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
        key: bytes | Keys | None = None,
        read_only: bool = False,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
    ) -> None:
        """Compile the table; ConfigError names the entry that makes no sense.

        `key` is the one key, or the keys as they are at each request.
        """
        self._base_url = base_url
        self._hosts = frozenset(map(_host_entry, hosts)) | {(name, None) for name in LOOPBACK_NAMES}
        self._origins = frozenset(map(_origin_entry, origins))
        if key == b"":
            raise ConfigError("access.key_file is empty", "put a long random text into it")
        self._keys = KeyRing({None: digest(key)}) if isinstance(key, bytes) else key
        self._rules = Rules(base_url.path, read_only=read_only, allow=allow, deny=deny)
        self._judged: Cache[tuple[str, bytes], Caller] = Cache(
            lambda at: self._judge_host(*at),
            lambda at: len(at[1]),
            entries=_JUDGED,
            size=_JUDGED_BYTES,
        )

    def check_caller(
        self, fields: Fields, scheme: str, absolute: tuple[str, str] | None = None
    ) -> Caller:
        """Judge Host, Origin and Sec-Fetch-Site; RequestRefused is 400, 421 or 403.

        `scheme` is the connection's; `absolute` is scheme and authority of an absolute-form target.
        """
        if absolute is None and (host := _host_alone(fields)) is not None:
            return self._judged[scheme, host]
        found, repeated = _caller_fields(fields)
        host = found.get(b"host")
        if host is None or b"host" in repeated:
            fault = "no Host" if host is None else "more than one Host"
            raise RequestRefused(400, f"The request has {fault}.", "send one Host field")
        if absolute is None:
            caller = self._judged[scheme, host]
        else:
            caller = self._judge_absolute(absolute, host)
        if len(found) == 1:
            return caller
        if repeated:
            raise _foreign("The request repeats a field that browsers send once.")
        return self._judge_browser(caller, found.get(b"origin"), found.get(b"sec-fetch-site"))

    def preflight(self, method: str, fields: Fields, caller: Caller) -> list[tuple[bytes, bytes]]:
        """Return the fields of the 204 that answers an allowed origin's preflight, else []."""
        if method != "OPTIONS" or caller.origin is None:
            return []
        asked = {name.lower(): value for name, value in fields}
        if b"access-control-request-method" not in asked:
            return []
        wanted = asked.get(b"access-control-request-headers", b"")
        answer = [
            (b"Access-Control-Allow-Origin", caller.origin.encode()),
            (b"Access-Control-Allow-Methods", ", ".join(METHODS).encode()),
            (
                b"Access-Control-Allow-Headers",
                wanted if _TOKENS.fullmatch(wanted) else _PREFLIGHT_HEADERS,
            ),
            (b"Access-Control-Max-Age", b"600"),
            (b"Vary", b"Origin"),
        ]
        if asked.get(b"access-control-request-private-network") == b"true":
            answer.append((b"Access-Control-Allow-Private-Network", b"true"))
        return answer

    def cors_fields(self, caller: Caller) -> list[tuple[bytes, bytes]]:
        """Return what to add to any answer to this caller, a refusal included.

        Credentials are not allowed: cookies are dropped anyway, and a page sends its key itself.
        """
        if not self._origins:
            return []
        if caller.origin is None:
            return [(b"Vary", b"Origin")]
        return [
            (b"Access-Control-Allow-Origin", caller.origin.encode()),
            (b"Access-Control-Expose-Headers", _EXPOSED),
            (b"Vary", b"Origin"),
        ]

    def check_key(self, fields: Fields) -> str | None:
        """Demand an access key, if there is one, in any of its three places; else KeyRefused.

        Returns the name of the caller whose key it is, where keys have names.
        """
        if self._keys is None:
            return None
        shown = keys_shown(fields)
        holder = self._keys.holder(shown) if shown else None
        if holder is None:
            raise KeyRefused(is_wrong=bool(shown))
        return holder.name

    def check_request(self, method: str, path: str) -> None:
        """Judge by read_only, deny and allow; RequestRefused is 403.  See Rules.check()."""
        self._rules.check(method, path)

    def _judge_host(self, scheme: str, value: bytes) -> Caller:
        """Judge a Host; 421 if it is not allowed."""
        name, port = _endpoint(value, scheme)
        if (name, None) not in self._hosts and (name, port) not in self._hosts:
            raise _misdirected(value)
        return Caller(scheme, value.decode())

    def _judge_absolute(self, absolute: tuple[str, str], host: bytes) -> Caller:
        """Judge a target such as http://jira.example.com/rest: its authority must be the Host.

        RFC 9112 §3.2.2 has a proxy ignore the Host; two names in one request are a trap.
        """
        scheme, authority = absolute[0].lower(), absolute[1].encode(errors="surrogateescape")
        if scheme not in DEFAULT_PORTS:
            raise RequestRefused(400, "The request target is neither http nor https.")
        if _endpoint(authority, scheme) != _endpoint(host, scheme):
            raise RequestRefused(400, "The request target names another host than the Host field.")
        if self._base_url.is_same_authority(scheme, authority.decode()):
            return Caller(scheme, host.decode(), as_proxy=True)
        return self._judge_host(scheme, host)

    def _judge_browser(self, caller: Caller, origin: bytes | None, site: bytes | None) -> Caller:
        """Judge the fields that only a browser sends; pages of other sites are refused."""
        if origin is not None:
            named = _normal_origin(origin.decode("latin-1"))
            if named is not None and named in self._origins:
                return caller._replace(origin=origin.decode())
            if named is None or named != _normal_origin(f"{caller.scheme}://{caller.host}"):
                raise _foreign("The request comes from a web page of another origin.")
        if site is not None and site not in (b"same-origin", b"none"):
            raise _foreign("The request comes from a web page of another site.")
        return caller


def without_site(fields: Fields) -> Fields:
    """The fields without Sec-Fetch-Site, if that stands once: where another site leads back here.

    For the one request that Jira's approval page redirects to.
    """
    others = [(name, value) for name, value in fields if name.lower() != b"sec-fetch-site"]
    return others if len(fields) - len(others) == 1 else fields


def check_admin(fields: Fields) -> None:
    """Judge a request at admin.address: no web page may ask, whatever its origin; else 403."""
    for name, value in fields:
        name = name.lower()
        if name == b"origin" or (name == b"sec-fetch-site" and value != b"none"):
            raise denied("The request comes from a web page, which may not ask here.")


def _host_alone(fields: Fields) -> bytes | None:
    """The Host of what no browser sends; None where more has to be looked at."""
    if type(fields) is not Received:
        return None
    names = fields.names
    if b"origin" in names.firsts or b"sec-fetch-site" in names.firsts or b"host" in names.repeated:
        return None
    return first(fields, b"host")


def _caller_fields(fields: Fields) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Pick Host, Origin and Sec-Fetch-Site, and the names among them that are repeated."""
    if type(fields) is Received and _CALLER_FIELDS.isdisjoint(fields.names.repeated):
        there = _CALLER_FIELDS.intersection(fields.names.firsts)
        return {name: fields[fields.names.firsts[name]][1] for name in there}, []
    found: dict[bytes, bytes] = {}
    repeated = []
    for name, value in fields:
        name = name.lower()
        if name in _CALLER_FIELDS:
            if name in found:
                repeated.append(name)
            found[name] = value
    return found, repeated


def _authority(value: bytes) -> tuple[str, int | None]:
    """Split "Name[:port]" into lower-case name and port; RequestRefused (400) if malformed."""
    match = _AUTHORITY.fullmatch(value)
    port = int(match[2]) if match and match[2] else None
    if match is None or (port is not None and port > 65535):
        raise RequestRefused(
            400, "The Host is not a name with or without a port.", "send it like localhost:8088"
        )
    return match[1].decode().lower(), port


def _endpoint(value: bytes, scheme: str) -> tuple[str, int]:
    name, port = _authority(value)
    return name, DEFAULT_PORTS[scheme] if port is None else port


def _normal_origin(text: str) -> str | None:
    """Return the origin in lower case without its default port, None if it is no such origin."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, name, port = match.groups()
    if port is None or int(port) == DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{name}"
    return f"{scheme}://{name}:{int(port)}" if int(port) <= 65535 else None


def _host_entry(entry: str) -> tuple[str, int | None]:
    try:
        return _authority(_bracketed(entry.strip()).encode())
    except (RequestRefused, UnicodeEncodeError):
        raise ConfigError(
            f'access.hosts: "{entry}" is not a host name',
            'an entry looks like "sidecar.internal" or "sidecar.internal:8088"',
        ) from None


def _origin_entry(entry: str) -> str:
    origin = _normal_origin(entry.strip().removesuffix("/"))
    if origin is None:
        raise ConfigError(
            f'access.origins: "{entry}" is not an origin',
            'an entry looks like "https://tools.example.com"; "*" and "null" are never allowed',
        )
    return origin


def _bracketed(name: str) -> str:
    """Put an IPv6 address into the brackets that a Host field has."""
    return f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name


def _misdirected(host: bytes) -> RequestRefused:
    return RequestRefused(
        421,
        f"The Host {quoted(host.decode())} is not one that this sidecar answers to.",
        "use localhost or 127.0.0.1, or add the name to access.hosts",
        proxy_error="http_request_denied",
    )


def _foreign(message: str) -> RequestRefused:
    hint = "if the page may act as you in Jira, add its origin to access.origins"
    return RequestRefused(403, message, hint, proxy_error="http_request_denied")
