"""What Jira's OAuth provider refuses, in plain words: reading, explaining, comparing.

A problem comes as OAuth's Problem Reporting extension has it, in `WWW-Authenticate` and as a form
in the body, or, without any name, as an answer that only an unsigned request should get.  Pure:
an answer in, knowledge out; what can be healed is healed elsewhere.  Nothing here ever raises on
what Jira sends, and no text holds a parameter's value.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from sidecar.fields import Fields, first
from sidecar.signature import DEFAULT_PORTS

_BODY_LIMIT = 64 * 1024  # a base string is at most Tomcat's 8 KiB of head, encoded thrice

# Challenges of all schemes together: the separator is ", " or ",", and realms and other schemes
# stand between.  The look-behind and the limit keep this linear in what an upstream can send.
_PARAMETER = re.compile(
    r"(?<![\w-])([\w-]{1,64})[ \t]*=[ \t]*"
    r'(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s,;"]*))',
    re.ASCII | re.DOTALL,
)
_FORM = re.compile(rb"[A-Za-z0-9%._~+*&=:/-]+")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,50}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_TIMESTAMPS = re.compile(r"\s*([0-9]{1,11})\s*-\s*([0-9]{1,11})\s*")

# RFC 9110 §5.6.7: IMF-fixdate, RFC 850's and asctime's form.
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2,8}, ([0-9]{2})[ -]([A-Z][a-z]{2})[ -]([0-9]{4}|[0-9]{2}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_ASCTIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-9][0-9]) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})"
)


class Remedy(Enum):
    """What may heal a problem; the request is then sent once more, with new nonce and timestamp."""

    NONE = "none"
    CLOCK = "clock"
    """Learn Jira's clock from acceptable_timestamps, else from Date."""
    AGAIN = "again"
    """A new nonce is enough."""
    RENEW = "renew"
    """Renew the access token with its session handle."""
    RELOAD = "reload"
    """Take the token on disk, if it is newer than ours."""
    COMPARE = "compare"
    """compare_base_strings may find the URL that Jira believes in."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An OAuth problem by name, with all that Jira says about it."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Decoded; the base string among them holds the access token."""

    @property
    def label(self) -> str:
        """The name, or "other" for one that we don't know: for metrics, which must stay few."""
        return self.name if self.name in _EXPLANATIONS else "other"


class Explanation(NamedTuple):
    """What a problem means."""

    sentence: str
    causes: tuple[str, ...]
    """The likeliest first."""
    hint: str
    """What to do: ASCII."""
    remedy: Remedy = Remedy.NONE


_RUN_AUTH = "run: sidecar auth"
_LEAVE_ALONE = (
    "let whatever stands between here and Jira (reverse proxy, gateway, firewall)"
    " pass requests on unchanged"
)
_GATEWAY = "a reverse proxy or gateway on the way changes the Authorization field"
_GIVE_KEY = "give the application link's incoming side the key that sidecar public-key prints"
_LINK = "the application link is disabled or was deleted"

_EXPLANATIONS = {
    "parameter_absent": Explanation(
        "Jira misses OAuth parameters.",
        (_GATEWAY, "the Authorization field is too long for something on the way"),
        _LEAVE_ALONE,
    ),
    "parameter_rejected": Explanation(
        "Jira does not accept an OAuth parameter.",
        (
            "a parameter that begins with oauth_ came twice, also in the query",
            "the callback is not an absolute http or https URL",
            _GATEWAY,
        ),
        "send no oauth_ parameters of your own; " + _LEAVE_ALONE,
    ),
    "version_rejected": Explanation(
        "Jira does not accept OAuth version 1.0.",
        (_GATEWAY, "what answers is not Jira Data Center or Server"),
        "check jira.base_url; Jira Cloud has no OAuth 1.0a",
    ),
    "signature_method_rejected": Explanation(
        "Jira does not accept RSA-SHA1 signatures from this application link.",
        (
            "the application link has no public key on its incoming side",
            'the application link is one for OAuth 2.0 ("External application")',
        ),
        _GIVE_KEY,
    ),
    "timestamp_refused": Explanation(
        "Jira's clock and this machine's are more than five minutes apart.",
        (
            "this machine's clock is wrong",
            "the clock of Jira's machine is wrong",
            "the request waited somewhere for more than five minutes",
        ),
        "set this machine's clock and Jira's, with NTP for good",
        Remedy.CLOCK,
    ),
    "nonce_used": Explanation(
        "Jira has seen this very request before.",
        ("a reverse proxy or gateway on the way sent the request a second time",),
        "let whatever stands between here and Jira not repeat requests",
        Remedy.AGAIN,
    ),
    "signature_invalid": Explanation(
        "Jira computes another signature than ours.",
        (
            "a reverse proxy lets Jira believe in another scheme, host or port",
            "something on the way rewrites the path or the query",
            "the public key in the application link is not that of our private key",
        ),
        "run: sidecar check; compare the application link's key with: sidecar public-key",
        Remedy.COMPARE,
    ),
    "consumer_key_unknown": Explanation(
        "Jira knows no application link with our consumer key.",
        ("jira.consumer_key is not the link's incoming Consumer Key", _LINK, "another Jira"),
        "make jira.consumer_key and the application link's Consumer Key the same",
    ),
    "consumer_key_rejected": Explanation(
        "Jira does not accept our consumer key.",
        (_LINK, "jira.consumer_key is not the link's incoming Consumer Key"),
        "check the application link's incoming side in Jira's administration",
    ),
    "consumer_key_refused": Explanation(
        "Jira refuses our consumer key for now.",
        (_LINK,),
        "check the application link's incoming side in Jira's administration",
    ),
    "token_rejected": Explanation(
        "Jira does not know our token.",
        (
            "the user has revoked it (Profile, Authorized applications)",
            "another process has renewed it",
            _LINK,
            "Jira was restored from a backup, or is another Jira",
        ),
        _RUN_AUTH,
        Remedy.RELOAD,
    ),
    "token_expired": Explanation(
        "Our token has come to its end.",
        ("an access token lives five years, a request token ten minutes",),
        _RUN_AUTH,
        Remedy.RENEW,
    ),
    "token_revoked": Explanation(
        "Our access token was revoked.",
        ("the user has revoked it (Profile, Authorized applications)",),
        _RUN_AUTH,
        Remedy.RELOAD,
    ),
    "token_used": Explanation(
        "The request token was used before.",
        ("its approval page was opened twice", "another process finished the same dance"),
        _RUN_AUTH,
    ),
    "permission_unknown": Explanation(
        "The user has neither allowed nor denied the access yet.",
        ("the approval page waits for its Allow button",),
        "open the URL that sidecar auth shows, choose Allow, then finish the dance",
    ),
    "permission_denied": Explanation(
        "The access was denied.",
        ("the user chose Deny", _LINK, "the token's session is over"),
        _RUN_AUTH + " and choose Allow",
    ),
    "user_refused": Explanation(
        "The user has refused the access.",
        ("the user chose Deny",),
        _RUN_AUTH + " and choose Allow",
    ),
    "additional_authorization_required": Explanation(
        "Jira wants the user's approval once more.",
        ("the access that was approved does not cover this request",),
        _RUN_AUTH,
    ),
    "anonymous": Explanation(
        "Jira answered as if the request had not been signed.",
        (
            "a reverse proxy or gateway between here and Jira drops the Authorization field",
            "Jira's OAuth plugin is disabled",
            "the user may not log in",
        ),
        "let the reverse proxy in front of Jira pass Authorization on unchanged",
    ),
    "user_may_not_log_in": Explanation(
        "Jira did not let the user in, though it names no fault in the signature.",
        (
            "the user is inactive or has no licence (application access)",
            "a reverse proxy or gateway between here and Jira drops the Authorization field",
            "a gateway in front of Jira wants a login of its own",
        ),
        "let an administrator check that the user is active and has application access; else let "
        "the reverse proxy pass Authorization on unchanged",
    ),
    "not_jira": Explanation(
        "What answers is not Jira but something in front of it.",
        (
            "a single sign-on gateway wants a login of its own",
            "jira.base_url has the wrong scheme, name or port",
            "a captive portal of this network",
        ),
        "let the gateway pass requests below /rest/ on to Jira, or make jira.base_url an address"
        " that reaches Jira itself; sidecar check looks closer",
    ),
    "unreadable": Explanation(
        "Jira refuses the request with an OAuth problem whose name makes no sense.",
        ("a gateway in front of Jira garbles the answer",),
        _LEAVE_ALONE,
    ),
}

_LISTED_IN = {
    "parameter_absent": "oauth_parameters_absent",
    "parameter_rejected": "oauth_parameters_rejected",
}


def parse_problem(status: int, fields: Fields, body: bytes | None = None) -> Problem | None:
    """Find what is wrong with the answer to a request that an access token signed, if anything.

    Besides OAuth's problems: `anonymous` and, for a 401 that names none, `user_may_not_log_in`.
    """
    if status >= 400 and (problem := oauth_problem(fields, body)):
        return problem
    user = _value(fields, b"x-ausername")
    # Whom Jira knows and doesn't let in gets an empty 401; whom it doesn't know reads so in one.
    is_empty = body == b"" or _value(fields, b"content-length") == b"0"
    if status == 401 and (not user or (user == b"anonymous" and is_empty)):
        return Problem("user_may_not_log_in")
    # 429 and 5xx may come from a filter in front of the one that looks at signatures; a 401 that
    # names a user is Jira's "you lack the permission".
    if user == b"anonymous" and status < 500 and status != 429:
        return Problem("anonymous")
    return None


def not_jira(path: str, status: int, fields: Fields, origins: Iterable[str]) -> Problem | None:
    """See whether a login page or gateway answered: with HTML for REST, or by leading elsewhere.

    Jira names itself in X-AREQUESTID; `path` is without the context path, `origins` are Jira's.
    """
    if status in _REDIRECTS:
        origin = _ORIGIN.match(_value(fields, b"location").decode("latin-1"))
        is_odd = origin is not None and origin[0].lower() not in origins
    elif status == 200 and path.startswith("/rest/"):
        is_odd = _value(fields, b"content-type").lower().startswith(b"text/html")
    else:
        return None
    if is_odd and not (_value(fields, b"x-arequestid") or _value(fields, b"x-ausername")):
        return Problem("not_jira")
    return None


def _value(fields: Fields, name: bytes) -> bytes:
    """The first value of a field, b"" if there is none."""
    return first(fields, name) or b""


def oauth_problem(fields: Fields, body: bytes | None = None) -> Problem | None:
    """Read an error answer's OAuth problem from its challenges and, what they lack, its body."""
    parameters = _challenge_parameters(fields)
    if body is not None:
        form = _form_parameters(body)
        named = parameters.get("oauth_problem")
        if named is None or form.get("oauth_problem", named) == named:
            parameters = form | parameters
    name = parameters.get("oauth_problem", "").strip().lower()
    if not name:
        return None
    return Problem(name if _NAME.fullmatch(name) else "unreadable", parameters)


def _challenge_parameters(fields: Fields) -> dict[str, str]:
    """Return the oauth_* parameters of every `WWW-Authenticate`; the first of a name counts."""
    parameters: dict[str, str] = {}
    for field_name, value in fields:
        if field_name.lower() == b"www-authenticate":
            for name, quoted, bare in _PARAMETER.findall(value.decode("utf-8", "replace")):
                if _is_oauth(name):
                    text = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) or bare
                    parameters.setdefault(name.lower(), unquote(text))
    return parameters


def _form_parameters(body: bytes) -> dict[str, str]:
    """Return the oauth_* parameters of a body that is a form and nothing else."""
    body = body.strip()
    if len(body) > _BODY_LIMIT or not _FORM.fullmatch(body):
        return {}
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True)
    return {name.lower(): value for name, value in reversed(pairs) if _is_oauth(name)}


def _is_oauth(name: str) -> bool:
    return name.lower().startswith(("oauth_", "xoauth_"))


def explain(problem: Problem) -> Explanation:
    """Say what the problem means, where it may come from and what to do."""
    known = _EXPLANATIONS.get(problem.name)
    if known is None:
        return Explanation(
            f'Jira refuses the request with "{problem.name}", which is not a known OAuth problem.',
            ("another version of Jira's OAuth plugin", "a gateway in front of Jira"),
            "look into Jira's log at the time of the request",
        )
    listed = problem.parameters.get(_LISTED_IN.get(problem.name, ""))
    if not listed:
        return known
    names = ", ".join(_names(pair.partition("=")[0] for pair in listed.split("&")))
    return known._replace(sentence=f"{known.sentence[:-1]}: {names}.")


def problem_field(problem: Problem, hint: str | None = None) -> bytes:
    """Return the value of `Sidecar-Problem`: a token and a quoted hint (RFC 8941 §3.3)."""
    text = explain(problem).hint if hint is None else hint
    quoted = _ascii(text, 400).replace("\\", "\\\\").replace('"', '\\"')
    return f'{problem.name}; hint="{quoted}"'.encode("ascii")


def _ascii(text: str, limit: int) -> str:
    """Return the text fit for a field or a log line: printable ASCII, at most `limit` long."""
    return re.sub(r"[^ -~]", "?", text[:limit])


def _names(names: Iterable[str]) -> tuple[str, ...]:
    """Return parameter names fit to be shown, sorted, at most eight.

    JSON that is labelled as a form (`curl -d`) has its content where a name should be.
    """
    decoded = (unquote(name) for name in names)
    shown = {name if _PARAMETER_NAME.fullmatch(name) else "(an odd name)" for name in decoded}
    return tuple(sorted(shown)[:8])


def acceptable_timestamps(problem: Problem) -> tuple[int, int] | None:
    """Return the first and last Unix time that Jira accepts; Jira's clock is in the middle."""
    match = _TIMESTAMPS.fullmatch(problem.parameters.get("oauth_acceptable_timestamps", ""))
    if match is None or int(match[1]) > int(match[2]):
        return None
    return int(match[1]), int(match[2])


@lru_cache(maxsize=16)  # an upstream's Date changes once a second
def http_date(value: bytes) -> int | None:
    """Return the Unix time of an HTTP date in any of its three forms, None if it is none."""
    text = value.decode("latin-1").strip()
    if match := _HTTP_DATE.fullmatch(text):
        day, month, year, *clock = match.groups()
    elif match := _ASCTIME.fullmatch(text):
        month, day, *clock, year = match.groups()
    else:
        return None
    hour, minute, second = map(int, clock)
    if len(year) == 2:
        year = ("19" if year >= "70" else "20") + year
    try:
        at = datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, tzinfo=UTC)
    except ValueError:  # no such month, day, hour or minute
        return None
    return timegm(at.utctimetuple()) + second if second <= 60 else None


@dataclass(frozen=True, slots=True)
class Difference:
    """How Jira's signature base string differs from ours; holds no parameter's value."""

    parts: tuple[str, ...]
    """method, scheme, host, port, path prefix, path, parameters, order, encoding; unreadable."""
    sentence: str
    hint: str
    """What to do: ASCII."""
    perceived: str | None = None
    """The base URL that Jira believes in, if signing for it would be accepted."""
    connector: str = ""
    """The attributes of Tomcat's <Connector> that would make Jira believe in our URL."""
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class _BaseString(NamedTuple):
    method: str
    scheme: str
    host: str
    """Bracketed if IPv6."""
    port: int
    path: str
    parameters: list[tuple[str, str]]

    def __repr__(self) -> str:
        return "_BaseString(…)"

    def base_url(self, prefix: str) -> str:
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{prefix}"


_PARTS = ("method", "scheme", "host", "port")
_URI = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?(/.*)?", re.DOTALL)


def compare_base_strings(theirs: str, ours: str, context_path: str = "") -> Difference:
    """Compare Jira's base string with ours, part by part (RFC 5849 §3.4.1.1).

    `context_path` is the path of the URL that we signed for: "" or "/jira".
    """
    their, our = _read_base_string(theirs), _read_base_string(ours)
    if their is None or our is None:
        sentence = "Jira names a signature base string that cannot be read."
        return Difference(("unreadable",), sentence, _EXPLANATIONS["signature_invalid"].hint)
    if theirs == ours:
        sentence = (
            "Jira signs the very text that we sign, and still finds our signature wrong: "
            "the public key in the application link is not that of our private key."
        )
        return Difference((), sentence, _GIVE_KEY)
    missing, extra, changed = _compare_parameters(their.parameters, our.parameters)
    prefix = _path_prefix(their.path, our.path, context_path)
    parts = _differing_parts(their, our, prefix)
    names = {"were lost": missing, "were added": extra, "were changed": changed}
    if prefix is None or not {"scheme", "host", "port", "path prefix"}.issuperset(parts):
        sentence = _changes(their, our, parts, names)
        return Difference(parts, sentence, _LEAVE_ALONE, None, "", missing, extra, changed)
    perceived, connector = their.base_url(prefix), _connector(our)
    sentence = (
        f"Jira believes that its URL is {perceived}, and we ask for {our.base_url(context_path)}."
    )
    return Difference(parts, sentence, _fix(parts, perceived, connector), perceived, connector)


def _read_base_string(text: str) -> _BaseString | None:
    parts = text.split("&")
    match = _URI.fullmatch(unquote(parts[1])) if len(parts) == 3 else None
    if match is None or not parts[0].isascii() or int(match[3] or 0) > 65535:
        return None
    pairs = [pair.partition("=") for pair in unquote(parts[2]).split("&") if pair]
    return _BaseString(
        _ascii(parts[0], 20),
        match[1],
        match[2],
        int(match[3] or DEFAULT_PORTS[match[1]]),
        match[4] or "/",
        [(name, value) for name, _, value in pairs],
    )


def _path_prefix(theirs: str, ours: str, context_path: str) -> str | None:
    """Return Jira's context path if the paths are the same below it, else None."""
    if theirs == ours:
        return context_path
    below = ours.removeprefix(context_path)
    prefix = theirs.removesuffix(below)
    # What is below must be more than a slash, or any path would end with it.
    if len(below) < 2 or prefix == theirs or not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", prefix):
        return None
    return prefix


def _differing_parts(theirs: _BaseString, ours: _BaseString, prefix: str | None) -> tuple[str, ...]:
    parts = [name for name in _PARTS if getattr(theirs, name) != getattr(ours, name)]
    if theirs.path != ours.path:
        parts.append("path" if prefix is None else "path prefix")
    if Counter(theirs.parameters) != Counter(ours.parameters):
        parts.append("parameters")
    elif theirs.parameters != ours.parameters:
        parts.append("order")
    return tuple(parts) or ("encoding",)


def _compare_parameters(
    theirs: list[tuple[str, str]], ours: list[tuple[str, str]]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the names that are missing from theirs, extra there, or have another value."""
    lost = {name for name, _ in Counter(ours) - Counter(theirs)}
    gained = {name for name, _ in Counter(theirs) - Counter(ours)}
    return _names(lost - gained), _names(gained - lost), _names(lost & gained)


def _connector(ours: _BaseString) -> str:
    """Return what makes Tomcat's getRequestURL() say what the reverse proxy's clients ask for."""
    secure = "true" if ours.scheme == "https" else "false"
    return (
        f'scheme="{ours.scheme}" secure="{secure}" proxyName="{ours.host}" proxyPort="{ours.port}"'
    )


def _fix(parts: Iterable[str], perceived: str, connector: str) -> str:
    """Say how Jira is told its real URL, or we the one that it believes in."""
    fixes = []
    if {"scheme", "host", "port"} & set(parts):
        fixes.append(f"give the <Connector> in Jira's server.xml {connector}")
    if "path prefix" in parts:
        fixes.append("make Jira's context path that of the reverse proxy")
    return f'{" and ".join(fixes)}; or set jira.signing_url = "{perceived}"'


def _changes(
    theirs: _BaseString,
    ours: _BaseString,
    parts: Iterable[str],
    names: Mapping[str, tuple[str, ...]],
) -> str:
    """Say what something on the way made of the request."""
    changes = []
    if "method" in parts:
        changes.append(f"the method {ours.method} became {theirs.method}")
    if {"scheme", "host", "port"} & set(parts):
        changes.append(f"{ours.base_url('')} became {theirs.base_url('')}")
    if "path" in parts:
        changes.append(_path_change(theirs.path, ours.path))
    changes += [f"parameters {verb}: {', '.join(some)}" for verb, some in names.items() if some]
    changes += [f"Jira has another {what}" for what in ("order", "encoding") if what in parts]
    return f"On the way to Jira the request was changed: {'; '.join(changes)}."


def _path_change(theirs: str, ours: str) -> str:
    if unquote(theirs) == unquote(ours):
        return "the path was encoded or decoded"
    if re.sub("/+", "/", theirs) == re.sub("/+", "/", ours):
        return "slashes in the path were merged"
    return f"the path became {_ascii(theirs, 100)}"
