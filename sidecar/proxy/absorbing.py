"""Takes up Jira's 429s: what may be sent again waits for its turn instead of being refused.

Whose turn it is says pacing/.  A request waits without a connection slot, counts among those that
wait, and leaves with its client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

from sidecar.account.identity import Identity
from sidecar.downstream.request import Request
from sidecar.http.fields import Fields
from sidecar.jira.rate_limits import read
from sidecar.net.peers import is_loopback
from sidecar.pacing.kept import KeptResponse
from sidecar.pacing.lines import Lines, Turn
from sidecar.proxy.outgoing import Exchanged
from sidecar.proxy.slots import Slot, Slots
from sidecar.telemetry.record import Record
from sidecar.telemetry.troubles import Troubles
from sidecar.upstream.exchange import UpstreamResponse

_AT_ONCE = 0.005
"""Seconds: whoever's turn came within so much was not held."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
"""Seconds before a request is sent again of which Jira says that it may be at once: each pause
doubles the last.  A Jira that refuses it all the same would be asked thousands of times."""


class Absorber:
    """Lets requests wait while Jira says 429."""

    def __init__(
        self, lines: Lines, slots: Slots, identity: Identity, troubles: Troubles, seconds: float
    ) -> None:
        """`seconds` is how long a request may be held altogether; 0 passes on every 429."""
        self._lines = lines
        self._slots = slots
        self._identity = identity
        self._troubles = troubles
        self._seconds = seconds

    async def wait_first(
        self, request: Request, record: Record, acting_as: str | None
    ) -> KeptResponse | None:
        """Wait for a turn before the request is sent, where others of its user wait.

        Where its turn comes too late, what Jira has said to one of them is the answer.  Without
        that, or where Jira wants no request for so long, Jira says it itself.  Raises Overloaded.
        """
        user = self._user(acting_as)
        if user not in self._lines.lines or not self._seconds:
            return None
        self._slots.check_room()
        with self._slots.one_more_waits():
            turn = await self._wait(user, request, record, self._deadline(record))
        line = self._lines.lines.get(user)
        if turn is not Turn.TOO_FAR or line is None or line.refusal is None:
            return None
        return line.refusal.copy()

    async def absorb(
        self,
        exchanged: Exchanged,
        request: Request,
        record: Record,
        slot: Slot,
        acting_as: str | None,
        again: Callable[[], Awaitable[Exchanged]],
        close: Callable[[Exchanged], None],
        *,
        may_repeat: bool,
    ) -> Exchanged:
        """Note what an answer says of the rate limit; if it is 429, wait and send `again`.

        Any 429 that is not absorbed is what was exchanged.
        """
        user, deadline = self._user(acting_as), self._deadline(record)
        while True:
            response = exchanged.response
            self._note(user, response)
            if response.status != 429:
                return exchanged
            kept = None
            again_at = _again_at(response.fields, record)
            if may_repeat and isinstance(response, UpstreamResponse):
                try:
                    kept = await self._keep(user, request, record, response, deadline, again_at)
                except BaseException:
                    close(exchanged)
                    raise
            if kept is None:
                self._say_passed(user, response.fields)
                return exchanged
            close(exchanged)
            async with slot.given_up():
                turn = await self._wait(user, request, record, deadline, again_at)
            if turn is not Turn.COME:
                self._say_passed(user, kept.fields)
                return exchanged._replace(response=kept)
            record.absorbed += 1
            exchanged = await again()

    async def _keep(
        self,
        user: str,
        request: Request,
        record: Record,
        response: UpstreamResponse,
        deadline: float,
        again_at: float,
    ) -> KeptResponse | None:
        """What Jira has said, in memory, where the request may wait; else None."""
        line = self._lines.lines.get(user)
        if line is None or line.too_late(_caller(request, record), deadline, again_at):
            return None
        kept = await KeptResponse.of(response)
        if kept is None or not self._slots.has_room:
            return None
        line.refusal = kept.for_others(request.message.method)
        return kept

    async def _wait(
        self,
        user: str,
        request: Request,
        record: Record,
        deadline: float,
        again_at: float | None = None,
    ) -> Turn:
        loop = asyncio.get_running_loop()
        since, caller = loop.time(), _caller(request, record)
        try:
            return await self._lines.wait(user, caller, deadline, again_at)
        finally:
            seconds = loop.time() - since
            record.held += seconds if seconds > _AT_ONCE else 0.0

    def _deadline(self, record: Record) -> float:
        """When a request will have been held for as long as it may be."""
        return asyncio.get_running_loop().time() + self._seconds - record.held

    def _note(self, user: str, response: UpstreamResponse | KeptResponse) -> None:
        if not self._seconds:
            return
        is_refused = response.status == 429
        seconds = response.first_byte_seconds
        if self._lines.note(user, response.fields, seconds, refused=is_refused):
            self._troubles.limited(
                f"Jira limits the rate of requests{_of(user)}{_limit(response.fields)}: they wait"
                f" for their turn, {self._seconds:g} s at most.",
                self._hint(),
            )

    def _say_passed(self, user: str, fields: Fields) -> None:
        """Tell of a 429 that goes to the client."""
        self._troubles.limited(
            f"Jira refused a request{_of(user)} for its rate limit{_limit(fields)}, and the 429"
            " was passed on: it could not wait for its turn, or not so long.",
            self._hint(),
            passed=True,
        )

    def _hint(self) -> str:
        return (
            "send fewer requests, or have an administrator of Jira exempt the consumer key"
            f" {self._identity.consumer_key} from the rate limit"
            " (-Dcom.atlassian.ratelimiting.whitelisted-oauth-consumers in Jira's setenv.sh) or"
            " the user (System, Rate limiting, Exemptions)"
        )

    def _user(self, acting_as: str | None) -> str:
        """Whose bucket it is: Jira tells no letter case of its users apart."""
        token = self._identity.token.last_read
        return (acting_as or (token.user if token else "") or "").casefold()


def _again_at(refusal: Fields, record: Record) -> float:
    """When Jira wants to be asked again, by the loop's clock."""
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(record.absorbed, 10))
    return asyncio.get_running_loop().time() + max(pause, read(refusal, time.time()).wait)


def _caller(request: Request, record: Record) -> Hashable:
    """Who takes turns: the holder of a named key, else the process or machine that is known.

    On loopback it is the connection: processes cannot be told apart there, and each program such
    as curl has one of its own.
    """
    connection = request.connection
    if record.caller:
        return record.caller
    if connection.process:
        return connection.process
    if connection.client and not is_loopback(connection.client):
        return (connection.client,)
    return connection.client, id(connection)


def _of(user: str) -> str:
    return f" of {user}" if user else ""


def _limit(fields: Fields) -> str:
    bucket = read(fields, 0).bucket
    if not bucket.is_known:
        return ""
    return f" ({bucket.fill} each {bucket.interval:g} s, {bucket.size} at most)"
