"""Asking Jira, unsigned and signed, with what `run` would heal healed and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.config.load import Config
from sidecar.credentials import TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, SidecarError
from sidecar.files import keys
from sidecar.http.fields import USER_AGENT, Fields, first
from sidecar.http.http_date import http_date
from sidecar.http.shown import printable
from sidecar.http.target import BaseURL, signing_uri
from sidecar.jira.base_strings import Difference, compare_base_strings
from sidecar.jira.explanations import Remedy
from sidecar.jira.problems import (
    Problem,
    acceptable_timestamps,
    explain,
    oauth_problem,
    parse_problem,
)
from sidecar.jira.refusals import Consumer, DanceStep, refused
from sidecar.signing.signature import encode_query
from sidecar.signing.signer import Signer
from sidecar.upstream.pool import Answer, Upstream, UpstreamRequest

REQUEST_TOKEN = "/plugins/servlet/oauth/request-token"  # noqa: S105
_LIMIT = 1 << 20
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, with what is wrong with it if its request was signed."""

    answer: Answer
    clock_difference: float | None
    """Jira's clock minus ours, in seconds; None where the answer tells no time."""
    problem: Problem | None = None
    base_string: str = field(default="", repr=False)

    @property
    def user(self) -> str:
        """The user that Jira took us for; "" where it does not say, or means nobody."""
        user = (first(self.answer.fields, b"x-ausername") or b"").decode("utf-8", "replace")
        return "" if user == "anonymous" else printable(user)


class Asker:
    """Asks one Jira; may be led to another context path, clock or signing URL on the way."""

    def __init__(
        self,
        config: Config,
        upstream: Upstream,
        key: RSAPrivateKey | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.base = config.jira.base_url
        self.difference: Difference | None = None
        """Between the URL that Jira believes in and ours, where that alone was wrong."""
        self.refused_time = False
        """Whether Jira refused a time that its own `Date` had told."""
        self.clock_difference: float | None = None
        """Jira's clock minus ours, in seconds: what is signed goes by it."""
        self._now = clock
        self._signing_url = config.jira.signing_url
        self._upstream = upstream
        self._key = key
        self._consumer_key = config.jira.consumer_key
        self._signer = (
            None if key is None else Signer(key, self._consumer_key, clock=self._jiras_time)
        )

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign with."""
        return self._signer is not None

    def move(self, base: BaseURL) -> None:
        """Go on with another context path on the same host."""
        if self._signing_url == self.base:
            self._signing_url = base
        self.base = base

    async def unsigned(self, target: str) -> Asked:
        """Ask as anybody."""
        request = UpstreamRequest("GET", target, self._fields("GET"))
        return Asked(*await self._send(request))

    async def request_token(self) -> Asked:
        """Ask for a request token, which needs no token and lapses unused after ten minutes."""
        return await self._ask("POST", REQUEST_TOKEN, "", None, [("oauth_callback", "oob")])

    async def signed(self, path: str, query: str, token: TokenCredentials) -> Asked:
        """Ask as the token's user."""
        return await self._ask("GET", path, query, token.token.reveal(), [])

    async def _ask(
        self, method: str, path: str, query: str, token: str | None, extra: list[tuple[str, str]]
    ) -> Asked:
        for _ in range(_TRIES):
            asked = await self._ask_once(method, path, query, token, extra)
            if asked.problem is None or not self._heal(asked):
                break
        return asked

    async def _ask_once(
        self,
        method: str,
        path: str,
        query: str,
        token: str | None,
        extra: Sequence[tuple[str, str]],
    ) -> Asked:
        assert self._signer is not None
        target = self.base.path + path
        uri = signing_uri(self.base, self._signing_url, target)
        parameters = encode_query(query) if query else []
        unsigned = self._signer.prepare(method, uri, parameters, token, extra)
        authorization = unsigned.authorization(self._signer.signature(unsigned.base_string))
        fields = self._fields(method)
        fields.append((b"Authorization", authorization))
        whole = f"{target}?{query}" if query else target
        answer, clock_difference = await self._send(UpstreamRequest(method, whole, fields))
        base_string = unsigned.base_string.decode("ascii")
        return Asked(answer, clock_difference, _problem(answer, token), base_string)

    def _heal(self, asked: Asked) -> bool:
        """Whether another try may do better, with what was learnt."""
        assert asked.problem is not None
        match explain(asked.problem).remedy:
            case Remedy.CLOCK:
                self.refused_time = True
                return self._learn_time(asked)
            case Remedy.AGAIN:
                return True
            case Remedy.COMPARE:
                difference = self._compare(asked)
                if difference is not None and difference.perceived is not None:
                    return self._believe(difference, difference.perceived)
        return False

    def _believe(self, difference: Difference, url: str) -> bool:
        try:
            self._signing_url = BaseURL.parse(url)
        except ValueError:  # port 0, for example
            return False
        self.difference = difference
        return True

    def _learn_time(self, asked: Asked) -> bool:
        assert asked.problem is not None
        told = asked.clock_difference
        if accepted := acceptable_timestamps(asked.problem):
            told = sum(accepted) / 2 - self._now()
        is_new = told is not None and told != self.clock_difference
        self.clock_difference = told
        return is_new

    def _jiras_time(self) -> float:
        return self._now() + (self.clock_difference or 0.0)

    def _compare(self, asked: Asked) -> Difference | None:
        assert asked.problem is not None
        theirs = asked.problem.parameters.get("oauth_signature_base_string")
        if not theirs:
            return None
        return compare_base_strings(theirs, asked.base_string, self._signing_url.path)

    def error(self, asked: Asked, step: DanceStep) -> SidecarError:
        """The error for a problem that is left."""
        assert asked.problem is not None
        name = asked.problem.name
        if name == "signature_invalid":
            difference = self._compare(asked)
            if difference is not None and not difference.parts:
                return self._key_does_not_fit()
        elif name == "signature_method_rejected":
            explanation = explain(asked.problem)
            return ConfigError(explanation.sentence, explanation.hint)
        elif name in ("token_rejected", "token_revoked"):
            explanation = explain(asked.problem)
            causes = "; or ".join(explanation.causes[:2])
            return NotAuthorized(explanation.sentence, f"run `sidecar auth`; likely {causes}")
        elif name == "user_may_not_log_in":
            return NotAuthorized(
                "Jira takes our signature and does not let the user in.",
                "have a Jira administrator see that the user is active and has application access"
                " to Jira",
            )
        fingerprint = keys.fingerprint(self._key) if self._key is not None else ""
        consumer = Consumer(self.base, self._signing_url, self._consumer_key, fingerprint)
        return refused(step, asked.problem, consumer, asked.base_string)

    def _key_does_not_fit(self) -> ConfigError:
        assert self._key is not None
        return ConfigError(
            "The public key in Jira's application link does not belong to our private key: Jira"
            " signs the very text that we sign, and finds our signature invalid.",
            "compare: in Jira open Application links, edit the link, Incoming authentication; its"
            " Public key must be what `sidecar public-key` prints, whose SHA-256 is"
            f" {keys.fingerprint(self._key)} (saved as a file: openssl pkey -pubin -in FILE"
            " -outform DER | sha256sum). If it is not, enter ours there",
        )

    def _fields(self, method: str) -> Fields:
        fields = [
            (b"Host", self.base.authority.encode("ascii")),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", USER_AGENT),
            (b"X-Atlassian-Token", b"no-check"),
        ]
        return [*fields, (b"Content-Length", b"0")] if method == "POST" else fields

    async def _send(self, request: UpstreamRequest) -> tuple[Answer, float | None]:
        """Send, and compare the clocks: Jira looked at its own half a round trip ago."""
        response = await self._upstream.send(request)
        answered_at = self._now() - response.first_byte_seconds / 2
        try:
            body = b""
            while len(body) < _LIMIT and (piece := await response.read()):
                body += piece
        finally:
            response.close()
        answer = Answer(response.status, response.fields, body)
        date = first(answer.fields, b"date")
        shown = http_date(date) if date is not None else None
        if shown is None or first(answer.fields, b"age") is not None:  # a cache's answer is old
            return answer, None
        return answer, shown + 0.5 - answered_at  # `Date` has whole seconds, cut off


def _problem(answer: Answer, token: str | None) -> Problem | None:
    """What is wrong with a signed request's answer, if anything.

    An empty 401 is how Jira keeps out a user who may not log in, whatever else it says.
    """
    if token is None:  # nobody is signed in at the token endpoints
        return oauth_problem(answer.fields, answer.body) if answer.status >= 400 else None
    problem = parse_problem(answer.status, answer.fields, answer.body)
    is_anonymous = problem is not None and problem.name == "anonymous"
    if is_anonymous and answer.status == 401 and not answer.body.strip():
        return Problem("user_may_not_log_in")
    return problem
