"""Problems with OAuth, as Jira's answers tell them.

Jira names a problem as OAuth's Problem Reporting extension does: in `WWW-Authenticate`, and as a
form in the body.  Or it names none, and answers as only an unsigned request should be answered.
Nothing that Jira sends makes these functions raise; no text of theirs holds a parameter's value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote

from sidecar.credentials import TokenCredentials
from sidecar.http.fields import Fields, first, values
from sidecar.http.shown import sf_string
from sidecar.jira.explanations import EXPLANATIONS, Explanation

# Jira's Tomcat puts no more than 8 KiB into a head; a base string in a body is encoded once more.
# What is longer is not Jira's, and is not read: that takes time in proportion.
_CHALLENGES_LIMIT = 16 * 1024
_BODY_LIMIT = 64 * 1024
_MOST_PARAMETERS = 64

# A parameter in the challenges of all schemes: the separator is ", " or ",", and realms and other
# schemes stand between.  Look-behind and limit keep the time in proportion to the text's length.
_PARAMETER = re.compile(
    r"(?<![\w-])([\w-]{1,64})[ \t]*=[ \t]*"
    r'(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s,;"]*))',
    re.ASCII,
)
_FORM = re.compile(rb"[A-Za-z0-9%._~+*&=:/-]+")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,50}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEY_EXCEPTION = re.compile(
    rb"Bad signature length(?:: got (\d{1,5}) but was expecting (\d{1,5}))?|need to set public key"
)
"""What Java and the OAuth library say of a key of another size, and of a link without one."""
NOT_JIRA = "not_jira"
"""The problem of an answer that something in front of Jira has given."""
_OF_ONE_REQUEST = frozenset({NOT_JIRA, "nonce_used", "too_many_parameters"})
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_TIMESTAMPS = re.compile(r"\s*([0-9]{1,11})\s*-\s*([0-9]{1,11})\s*")


@dataclass(frozen=True, slots=True)
class Problem:
    """An OAuth problem by name, with all that Jira says about it."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Decoded; the base string among them holds the access token."""
    meaning: str = ""
    """The explanation that fits, where it is not that of the name."""

    @property
    def label(self) -> str:
        """The name, or "other" for one that we don't know: for metrics, which must stay few."""
        return self.name if self.name in EXPLANATIONS else "other"

    @property
    def may_be_about_us(self) -> bool:
        """Whether it leaves open that Jira refuses us, and not this one request."""
        return self.name not in _OF_ONE_REQUEST


_LISTED_IN = {
    "parameter_absent": "oauth_parameters_absent",
    "parameter_rejected": "oauth_parameters_rejected",
}


class ActsAs(Enum):
    """Whom Jira is to take a signed request for."""

    TOKEN = "the access token's user"  # noqa: S105
    LINK = "the application link's Execute as user"
    NAMED = "the user that the request names"

    @classmethod
    def of(cls, token: TokenCredentials | None, named: str | None) -> ActsAs:
        """Tell it by the token that a request was signed with, and by the user that it names."""
        if token is None or not token.is_two_legged:
            return cls.TOKEN
        return cls.LINK if named is None else cls.NAMED


_NOT_LET_IN = {
    ActsAs.TOKEN: Problem("user_may_not_log_in"),
    ActsAs.LINK: Problem("two_legged_not_allowed"),
    ActsAs.NAMED: Problem("two_legged_not_allowed", meaning="impersonation_not_allowed"),
}
_ANONYMOUS = {
    ActsAs.TOKEN: Problem("anonymous"),
    ActsAs.LINK: Problem("anonymous", meaning="link_is_nobody"),
    ActsAs.NAMED: Problem("anonymous", meaning="requestor_is_nobody"),
}


def parse_problem(
    status: int, fields: Fields, body: bytes | None = None, acts_as: ActsAs = ActsAs.TOKEN
) -> Problem | None:
    """Find what is wrong with the answer to a request that was signed for a resource, if anything.

    Besides OAuth's problems: `anonymous`, for a 401 that names none `user_may_not_log_in` or
    `two_legged_not_allowed`, and `key_size_mismatch`.
    """
    if status >= 400 and (problem := oauth_problem(fields, body)):
        return _of_resource(problem, acts_as)
    if status == 500 and "oauth_signature" in _challenge_parameters(fields):
        return Problem("key_size_mismatch")
    user = _value(fields, b"x-ausername")
    # A user that Jira knows and does not let in gets an empty 401; an unknown one, a body.
    is_empty = body == b"" or _value(fields, b"content-length") == b"0"
    if status == 401 and (not user or (user == b"anonymous" and is_empty)):
        return _NOT_LET_IN[acts_as]
    # 429 and 5xx may come from a filter in front of the one that looks at signatures; a 401 that
    # names a user is Jira's "you lack the permission".
    if user == b"anonymous" and status < 500 and status != 429:
        return _ANONYMOUS[acts_as]
    return None


def _of_resource(problem: Problem, acts_as: ActsAs) -> Problem:
    """What a problem means that is about a resource: there it is not about a sign-in."""
    if acts_as is not ActsAs.TOKEN and problem.name.startswith("token_"):
        return replace(problem, meaning="two_legged_unknown")
    if problem.name != "permission_denied":
        return problem
    if acts_as is ActsAs.TOKEN:
        return replace(problem, name="three_legged_not_allowed")
    return replace(_NOT_LET_IN[acts_as], parameters=problem.parameters)


def hides_its_reason(status: int, fields: Fields) -> bool:
    """Whether Tomcat answered because Jira's answer was too long: a bare 500, with no field of it.

    A signature_invalid quotes the base string in its head, of which Tomcat sends 8 KiB at most.
    """
    bare = (b"www-authenticate", b"x-arequestid", b"x-ausername", b"content-type")
    return status == 500 and all(first(fields, name) is None for name in bare)


def token_endpoint_problem(status: int, fields: Fields, body: bytes) -> Problem | None:
    """Find the problem in the answer of a token endpoint, where nobody is signed in.

    An error in checking the signature is a page there, with Java's exception in it.
    """
    if status >= 400 and (problem := oauth_problem(fields, body)):
        return problem
    if status != 500 or (found := _KEY_EXCEPTION.search(body[:_BODY_LIMIT])) is None:
        return None
    if found[1] is None:
        return Problem("key_size_mismatch")
    ours, theirs = (str(8 * int(size)) for size in found.groups())
    return Problem("key_size_mismatch", {"key_bits": ours, "link_key_bits": theirs})


def foreign_answer(
    path: str, status: int, fields: Fields, origins: Iterable[str]
) -> Problem | None:
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
        return Problem(NOT_JIRA)
    return None


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that the whole of a body is, as in Jira's own answers; None otherwise."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


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
    left = _CHALLENGES_LIMIT
    for value in values(fields, b"www-authenticate"):
        for name, quoted, bare in _PARAMETER.findall(value[:left].decode(errors="replace")):
            if _is_oauth(name):
                text = re.sub(r"\\(.)", r"\1", quoted) or bare
                parameters.setdefault(name.lower(), unquote(text))
        left = max(0, left - len(value))
    return parameters


def _form_parameters(body: bytes) -> dict[str, str]:
    """Return the oauth_* parameters of a body that is a form and nothing else."""
    body = body.strip()
    if len(body) > _BODY_LIMIT or body.count(b"&") > _MOST_PARAMETERS or not _FORM.fullmatch(body):
        return {}
    pairs = parse_qsl(body.decode(), keep_blank_values=True)
    return {name.lower(): value for name, value in reversed(pairs) if _is_oauth(name)}


def _is_oauth(name: str) -> bool:
    return name.lower().startswith(("oauth_", "xoauth_"))


def explain(problem: Problem) -> Explanation:
    """Say what the problem means, where it may come from and what to do."""
    known = EXPLANATIONS.get(problem.meaning or problem.name)
    if known is None:
        return Explanation(
            f'Jira refuses the request with "{problem.name}", which is not a known OAuth problem.',
            ("another version of Jira's OAuth plugin", "a gateway in front of Jira"),
            "look into Jira's log at the time of the request",
        )
    if theirs := problem.parameters.get("link_key_bits"):
        sizes = f"{theirs} bits there, {problem.parameters['key_bits']} here"
        return known._replace(sentence=f"{known.sentence[:-1]}: {sizes}.")
    listed = problem.parameters.get(_LISTED_IN.get(problem.name, ""))
    if not listed:
        return known
    pairs = listed.split("&")[:_MOST_PARAMETERS]
    names = ", ".join(shown_names(pair.partition("=")[0] for pair in pairs))
    return known._replace(sentence=f"{known.sentence[:-1]}: {names}.")


def problem_field(problem: Problem, hint: str | None = None) -> bytes:
    """Return the value of `Sidecar-Problem`: a token and a quoted hint (RFC 8941 §3.3)."""
    text = explain(problem).hint if hint is None else hint
    return f"{problem.name}; hint={sf_string(text, 400)}".encode()


def shown_names(names: Iterable[str]) -> tuple[str, ...]:
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
