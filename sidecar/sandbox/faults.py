"""Switches that make the sandbox fail as a real Jira can, to be set and undone at any time."""

from __future__ import annotations

from dataclasses import dataclass, fields

ABSURD_RETRY_AFTER = 9223372036854775807
"""A `Retry-After` that a real Jira has sent: Java's Long.MAX_VALUE."""


@dataclass(slots=True)
class Faults:
    """The switches, all off at first; the sentence below each says what it does."""

    clock_offset: float = 0.0
    """Seconds by which Jira's clock is ahead of the real one, in checks and in `Date`."""
    perceived_scheme: str | None = None
    """The scheme that Tomcat's connector believes in (server.xml's `scheme`)."""
    perceived_host: str | None = None
    """The host that the connector believes in (`proxyName`)."""
    perceived_port: int | None = None
    """The port that the connector believes in (`proxyPort`)."""
    perceived_prefix: str | None = None
    """What Jira sees in place of the context path when a proxy rewrites paths."""
    dropped_parameter: str | None = None
    """A query or form parameter of this name never reaches Jira."""
    strip_authorization: bool = False
    """Something on the way removes `Authorization`: every request is anonymous."""
    revoked: bool = False
    """Every access token has been revoked by its user: token_rejected."""
    expired: bool = False
    """Every access token counts as expired; `Sandbox.expire` lets single ones expire."""
    inactive_user: bool = False
    """The user may not log in: 401, an empty body and no oauth_problem."""
    link_gone: bool = False
    """The application link was deleted: token_rejected, and consumer_key_unknown for new tokens."""
    three_legged: bool | None = None
    """Whether users may be asked for their approval; None: as the link was made.

    Without it permission_denied, when a request token is asked for and after a right signature.
    """
    two_legged: bool | None = None
    """Whether the link allows two-legged OAuth, else a nameless 401; None: as the link was made."""
    execute_as: str | None = None
    """The link's *Execute as* user; empty: there is none; None: as the link was made."""
    impersonation: bool | None = None
    """Whether a two-legged request may name its user; None: as the link was made."""
    problem: str | None = None
    """Every signed request is refused with this oauth_problem, such as other versions have."""
    nonce_used: int = 0
    """How many of the next signed requests are refused with nonce_used."""
    sso_redirect: bool = False
    """An SSO gateway answers everything with a 302 to its login page."""
    sso_html: bool = False
    """An SSO gateway answers everything with 200 and a login page in HTML."""
    rate_limited: int | None = None
    """429 for every REST request, with this number as `Retry-After`."""
    rate_capacity: int | None = None
    """Size of each user's token bucket for REST requests on each node; None: no limit."""
    rate_fill: int = 1
    """Tokens that a bucket gets back at each interval."""
    rate_interval: int = 1
    """Seconds between two fillings of a bucket."""
    nodes: int = 1
    """Nodes of this Jira, which take turns; each has nonces and buckets of its own."""
    parameter_limit: int = 10_000
    """Parameters of query and form that count (Tomcat's maxParameterCount); the rest is dropped."""
    unavailable: bool = False
    """503 for everything, as the reverse proxy of a Jira that restarts gives it."""
    latency: float = 0.0
    """Seconds that pass before a request is looked at, and so before its timestamp is checked."""
    slow: float = 0.0
    """Seconds that pass between reading a request and sending the head of its answer."""
    cut_off: int | None = None
    """The connection is closed after so many bytes of an answer's body."""
    reset: bool = False
    """The connection is reset (RST) in place of an answer."""
    refuse_encoded_slash: bool = False
    """`%2F` in a path is a 400, as at Tomcat; a reverse proxy often decodes it first."""
    refuse_long_heads: bool = False
    """A request line with fields of more than 8 KiB is a 400: Tomcat's maxHttpHeaderSize, which an
    administrator can raise.
    """
    unsigned_tools: bool = False
    """`/_sandbox/…` answers without a signature too."""

    def clear(self) -> None:
        """Undo every switch."""
        for field in fields(self):
            setattr(self, field.name, field.default)

    def throw(self, switches: dict[str, object]) -> None:
        """Set switches by name, as JSON brings them; ValueError names the one that does not fit."""
        kinds: dict[str, tuple[type, ...]] = {
            field.name: _accepted(str(field.type)) for field in fields(self)
        }
        for name, value in switches.items():
            if name not in kinds or type(value) not in kinds[name]:
                raise ValueError(f"no fault {name} = {value!r}")
        for name, value in switches.items():
            setattr(self, name, value)


def _accepted(annotation: str) -> tuple[type, ...]:
    """The JSON types of an annotation such as `int | None`; a float may be written as an int."""
    known: dict[str, tuple[type, ...]] = {
        "float": (float, int),
        "int": (int,),
        "bool": (bool,),
        "str": (str,),
        "None": (type(None),),
    }
    return tuple(kind for part in annotation.split(" | ") for kind in known[part])
