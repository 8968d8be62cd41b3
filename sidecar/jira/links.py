"""Rewrites links in Jira's answers, so that they lead to the address that the client uses.

A link is a JSON string that begins with one of Jira's URLs and is the value of one of KEYS.  Its
scheme and authority are replaced; its path with the context path, and every other byte of the
text, stay.  A name or URL spelled with \\uXXXX is not recognised: Jira writes only `\\/`.

A link can be told by its surroundings, without parsing the text from its start.  In JSON
text (RFC 8259) the bytes `"self":"https://…` whose first quote has no backslash before it are
always a member of an object: that quote cannot end a string, for a letter follows it and not
`,` `:` `]` `}` or whitespace; it cannot stand inside one, where every quote has a backslash.  So
it begins a string, which is `self`, as no quote or backslash follows before the next quote; and a
string before a colon is a name.  What is not JSON goes by the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from sidecar.http.cache import Cache

KEYS = (
    "self", "next", "prev", "base", "NNxNN", "agent", "content", "iconUrl", "baseUrl", "viewUrl",
    "nextPage", "prevPage", "jiraRest", "thumbnail", "avatarUrl", "searchUrl", "previousPage",
    "web",
)  # fmt: skip
"""Names whose values Jira makes; N is a digit (48x48).  Not `url`: its values are people's."""

_BASE_URL = re.compile(
    r"""(https?)://(\[[0-9a-f:.]+\]|[^][\s/?#@:"\\<>]+)(?::([1-9][0-9]*)?)?(/[^\s?#"\\<>]*)?""",
    re.IGNORECASE,
)
_ORIGIN = re.compile(rb"""(https?:)//([^\s/?#@"\\<>\x00-\x1f\x7f-\xff]+)""")
_JSON_TYPE = re.compile(
    rb"""[ \t]*(?:application/json|[^ \t;/,]+/[^ \t;/,]+\+json)[ \t]*(?:;[^,]*)?""",
    re.IGNORECASE,
)
"""No comma: of a list, such as `application/json;,text/html`, browsers take the last type
(https://fetch.spec.whatwg.org/#concept-header-extract-mime-type)."""
_LINK_PART = re.compile(rb'"(?:[^"\\]|\\.)*+"?|<[^>]*+>?', re.DOTALL)
"""What RFC 8288 §3 has in a Link field: a parameter's quoted string, or a target in brackets."""


def _is_json(content_type: bytes) -> bool:
    return _JSON_TYPE.fullmatch(content_type) is not None


_json_types = Cache(_is_json, len, entries=64, size=16 * 1024)


def may_hold_links(content_type: bytes) -> bool:
    """Say whether a body of this Content-Type is JSON, whatever its parameters."""
    return _json_types[content_type]


class Links:
    """What counts as a link to Jira, and where it leads instead.

    `jira_urls` are base URLs; one that is not an http(s) URL matches nothing.  `client_origin` is
    the client's scheme and Host, as `http://localhost:8088`; ValueError if it is no such thing.
    """

    __slots__ = ("_jira", "_lead", "_origin")

    def __init__(self, jira_urls: Iterable[str], client_origin: bytes) -> None:
        origin = _ORIGIN.fullmatch(client_origin)
        if origin is None:
            raise ValueError(f"{client_origin!r} is not a scheme and an authority")
        self._jira = _known[frozenset(jira_urls)]
        self._origin = client_origin
        # An answer's links begin alike: most are looked up.
        led: Callable[[bytes], bytes] = partial(_led, *origin.groups())
        self._lead = Cache(led, len, entries=16, size=8 * 1024).__getitem__

    def url(self, value: bytes) -> bytes:
        """Lead a URL, the whole value of Location or Content-Location, to the client's origin."""
        match = self._jira.url.match(value)
        return self._origin + value[match.end() :] if match else value

    def field(self, field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        """Lead Location, Content-Location or Link to the client's origin."""
        name, value = field
        return name, self.link_field(value) if name.lower() == b"link" else self.url(value)

    def link_field(self, value: bytes) -> bytes:
        """Lead every `<URI>` of a Link field to the client's origin; parameters stay."""
        return _LINK_PART.sub(self._link_part, value)

    def _link_part(self, match: re.Match[bytes]) -> bytes:
        part = match[0]
        if part.startswith(b"<") and part.endswith(b">"):
            return b"<" + self.url(part[1:-1]) + b">"
        return part

    def rewriter(self) -> LinkRewriter:
        """Return a rewriter for one body."""
        return LinkRewriter(self._jira, self._origin, self._lead)


class LinkRewriter:
    """Rewrites the links of one JSON body, which may come in any pieces.

    How it is split never changes the output.  Only what may become a link is held back until more
    comes: the beginning of a value, no longer than one of Jira's base URLs.
    """

    __slots__ = ("_context", "_held", "_jira", "_lead", "_origin")

    def __init__(self, jira: _Jira, origin: bytes, lead: Callable[[bytes], bytes]) -> None:
        self._jira = jira
        self._origin = origin
        self._lead = lead
        self._context = b""  # passed on already, and needed to judge what comes
        self._held = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Take the next bytes of the body, return what can be passed on; all, of the last."""
        passed = len(self._context)
        buffer = b"".join((self._context, self._held, data)) if passed or self._held else data
        if last:
            self._context = self._held = b""
            text = buffer
        else:
            self._context, self._held = self._jira.unfinished(buffer)
            text = buffer[: -len(self._held)] if self._held else buffer
        rewritten = self._rewritten(text)
        return rewritten[passed:] if passed else rewritten

    def finish(self) -> bytes:
        """Return what was held back: the body is at its end."""
        if not self._context and not self._held:
            return b""
        rest = self._rewritten(self._context + self._held)[len(self._context) :]
        self._context = self._held = b""
        return rest

    def _rewritten(self, text: bytes) -> bytes:
        plainly = self._jira.led_plainly(text, self._origin)
        return self._jira.led(text, self._lead) if plainly is None else plainly


def _led(scheme: bytes, authority: bytes, beginning: bytes) -> bytes:
    """Return `": "http://localhost` for `: "https://jira.example.com`; slashes stay as written."""
    return _BEGINNING.sub(rb'"\g<1>%b\g<2>%b' % (scheme, authority), beginning)


class _Address(NamedTuple):
    """One of Jira's base URLs; `ports` are the ways to write its port, colon included."""

    scheme: bytes
    host: bytes
    ports: tuple[bytes, ...]
    path: bytes

    @classmethod
    def parse(cls, url: str) -> _Address | None:
        match = _BASE_URL.fullmatch(url)
        if match is None:
            return None
        parts = (part.encode("utf-8", "surrogatepass") for part in match.groups(""))
        scheme, host, port, path = parts
        default = b"443" if scheme.lower() == b"https" else b"80"
        # RFC 3986 §6.2.3: an empty port and the default one mean the same as none.
        ports = (b"", b":", b":" + default) if port in (b"", default) else (b":" + port,)
        return cls(scheme.lower(), host.lower(), ports, path.rstrip(b"/"))

    def pattern(self, slash: bytes, end: bytes) -> bytes:
        """Match the scheme and authority of a URL that is ours or below; its parts end at `end`."""
        # RFC 3986 §6.2.2.1: scheme and host count in any letter case, the path as it is.
        host, path = re.escape(self.host), re.escape(self.path).replace(b"/", slash)
        origin = rb"(?i:%b):%b(?i:%b)%b" % (self.scheme, slash * 2, host, _any(self.ports))
        return origin + rb"(?=%b%b)" % (path, end)

    @property
    def authority(self) -> bytes:
        """What every link has behind its slashes, in any letter case; a port may follow."""
        return self.host + (self.ports[0] if len(self.ports) == 1 else b"")

    @property
    def plain(self) -> bytes:
        """The beginning of a link as Jira spells it, from the quote after its name on."""
        return b'":"%b://%b%b%b' % (self.scheme, self.host, self.ports[0], self.path)

    def clear_pattern(self) -> bytes:
        """Match behind `authority` where it is clear what it belongs to.

        That is a plain link, or what people write: no quote stands before the scheme.
        """
        url = b"%b://%b" % (self.scheme, self.authority)
        rest = self.plain.removeprefix(b'":"' + url)
        name = _after_names(rb"(?s:.{%d})" % len(self.plain))
        link = rb'(?<=":"%b)%b(?=["?#/])%b' % (re.escape(url), re.escape(rest), name)
        return rb'(?:%b|(?<=[^"]%b))' % (link, re.escape(url))

    def may_become(self, text: bytes) -> bool:
        """Say whether `text`, the beginning of a JSON string, may go on to be one of our links."""
        text = text.replace(rb"\/", b"/")
        open_escape = text.endswith(b"\\")
        if open_escape:
            text = text[:-1] + b"/"
        for port in self.ports:
            origin = self.scheme + b"://" + self.host + port
            url = origin + self.path + (b"/" if open_escape else b"")
            if url.startswith(text[: len(origin)].lower() + text[len(origin) :]):
                return True
        return False


class _Jira:
    """The patterns that recognise links to some of Jira's addresses."""

    __slots__ = ("addresses", "link", "plain", "unclear", "url")

    def __init__(self, addresses: list[_Address]) -> None:
        self.addresses = addresses
        self.url = re.compile(_any(a.pattern(b"/", rb"(?:[/?#]|\Z)") for a in addresses))
        value = _any(a.pattern(_SLASH, rb'(?:["?#]|\\?/)') for a in addresses)
        # From the quote after a name to the authority's end, split off without the quote: `re`
        # is faster so.  Most quotes have no link behind them, so a glance there comes first.
        self.link = re.compile(rb'"(?=%b[hH])%b(%b%b)' % (_COLON, _AFTER_NAME, _COLON, value))
        self.plain = {a.plain: a.path for a in addresses}
        authorities = _any({re.escape(a.authority): None for a in addresses})
        clear = _any(a.clear_pattern() for a in addresses)
        unclear = rb"(?i:%b)(?!%b)" % (authorities, clear)
        # Where no slash can be escaped, `re` need not stop at each of them.
        self.unclear = re.compile(b"//" + unclear), re.compile(b"/" + unclear)

    def led(self, text: bytes, lead: Callable[[bytes], bytes]) -> bytes:
        """Lead the links of a text, however they are spelled."""
        parts = self.link.split(text)  # text, beginning of a link, text, …
        parts[1::2] = map(lead, parts[1::2])
        return b"".join(parts)

    def led_plainly(self, text: bytes, origin: bytes) -> bytes | None:
        """Lead the links of a text that are spelled as Jira spells them, in a third of the time.

        None where a string begins with an address of Jira's and is no such link: it may be one
        in another spelling.  None also where links lead to several addresses.
        """
        if self.unclear[b"\\" in text].search(text):
            return None
        found = [beginning for beginning in self.plain if beginning in text]
        if len(found) > 1:
            return None
        return text.replace(found[0], b'":"' + origin + self.plain[found[0]]) if found else text

    def unfinished(self, text: bytes) -> tuple[bytes, bytes]:
        """Find what at the end of `text` may be the beginning of a link.

        Return the name and colon, without the space around them, and what there is of the value;
        without a name, a last backslash, for it would escape the quote that may come.
        """
        for quote in _last_quotes(text):
            match = _UNFINISHED.match(text, quote)
            if match is None:
                continue
            name, colon, value = match.groups(b"")
            if not value or any(address.may_become(value[1:]) for address in self.addresses):
                return name + colon, value
        return (b"\\" if text.endswith(b"\\") else b""), b""


def _compile(urls: frozenset[str]) -> _Jira:
    return _Jira([address for url in sorted(urls) if (address := _Address.parse(url))])


# Compiling takes a millisecond: Jira's URLs seldom change, the client's Host may.
_known = Cache(_compile, lambda urls: sum(map(len, urls)), entries=16, size=128 * 1024)


def _last_quotes(text: bytes) -> Iterator[int]:
    """The last three quotes, from the left: an unfinished link has no more."""
    quotes: list[int] = []
    end = len(text)
    while len(quotes) < 3 and (end := text.rfind(b'"', 0, end)) >= 0:
        quotes.append(end)
    return reversed(quotes)


def _any(patterns: Iterable[bytes]) -> bytes:
    return rb"(?:%b)" % (b"|".join(patterns) or b"(?!)")


def _name(length: int | None = None) -> bytes:
    """Match one of KEYS, or one of those of a certain length."""
    keys = [key for key in KEYS if length in (None, len(key))]
    return _any(key.replace("N", "[0-9]").encode() for key in keys)


_SLASH = rb"\\?/"
_SPACE = rb"[ \t\n\r]*+"
_COLON = rb'%b:%b"' % (_SPACE, _SPACE)

_BEGINNING = re.compile(rb"(%b)[^:]+:((?:%b){2}).+" % (_COLON, _SLASH))
"""What follows a name, up to the end of the value's authority."""


def _after_names(text: bytes) -> bytes:
    """Match behind a name of KEYS, the quotes around it, and what `text` matches."""
    return _any(
        # `re` looks back only by fixed lengths.
        rb'(?<=(?<!\\)"%b%b)' % (_name(length), text)
        for length in dict.fromkeys(map(len, KEYS))
    )


_AFTER_NAME = _after_names(b'"')

_UNFINISHED = re.compile(
    rb'(?<!\\)("(?:%b"|[0-9A-Za-z]{0,%d}\Z))%b(?:(:)%b("[^"]*+)?+)?+\Z'
    % (_name(), max(map(len, KEYS)), _SPACE, _SPACE)
)
"""A name, or the beginning of one, with what there is of colon and value."""
