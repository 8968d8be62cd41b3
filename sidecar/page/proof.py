"""Whether a form comes from the owner's own browser, on the page of this very process.

Contract: our own Origin, `Sec-Fetch-Site: same-origin`, a token of this process, and a one-time
code of `sidecar open`, or the grant that it was exchanged for; by a loopback name or https alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest

from sidecar.access.callers import LOOPBACK_NAMES, Caller
from sidecar.credentials import Secret
from sidecar.errors import NotAuthorized, RequestRefused
from sidecar.http.fields import values
from sidecar.proxy.visit import Visit
from sidecar.proxy.wrong_keys import WrongKeys
from sidecar.signin.one_time_code import CodeRefused
from sidecar.signin.ownership import Ownership

_SPECULATIVE = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")


class NotProved(NotAuthorized):
    """The owner's browser, perhaps, but not in a way that can be believed."""

    status = 403


class Proof:
    """Judges the forms that change who the sidecar is."""

    def __init__(self, ownership: Ownership, wrong_codes: WrongKeys | None = None) -> None:
        self._ownership = ownership
        self._wrong = wrong_codes or WrongKeys()

    async def of_owner(self, visit: Visit, form: Mapping[str, str]) -> Secret:
        """The grant of the browser that sent this form; a code is exchanged for one.

        RequestRefused where no browser of ours sent it, NotAuthorized where its owner may try
        again; a wrong code is answered slowly.
        """
        check_origin(visit)
        if not is_private(visit.caller):
            raise NotProved(
                "Nobody signs in over plain http to a name that is not this machine's own:"
                " whoever is on the way could read along.",
                "use https, or http://localhost through a tunnel (ssh -L 8088:localhost:8088)",
            )
        if not _same(form.get("process", ""), self._ownership.process_token):
            raise NotProved(
                "The sidecar was restarted after this page was loaded.",
                "open the page again, and run `sidecar open` again",
            )
        if self._ownership.holds(form.get("grant", "")):
            return Secret(form["grant"])
        return await self._exchanged(form.get("code", ""))

    async def _exchanged(self, text: str) -> Secret:
        code = text.rpartition("code=")[2].strip()  # somebody may paste the whole address
        try:
            if not code:
                raise CodeRefused(
                    "Whoever may call the sidecar may not sign in for its owner.",
                    "run `sidecar open` where the sidecar runs: it opens this page with a one-time"
                    " code",
                )
            return self._ownership.claim(code)
        except CodeRefused as refused:
            refused.ends_connection = not await self._wrong.hold_back()
            raise


def check_origin(visit: Visit) -> None:
    """Demand what a browser says of a form on our own page; RequestRefused (403) else.

    check_caller() has refused any other Origin; here there must be one.
    """
    origin, site = values(visit.fields, b"origin"), values(visit.fields, b"sec-fetch-site")
    if visit.caller.as_proxy or len(origin) != 1 or site != [b"same-origin"]:
        raise _refused("Only the sidecar's own page, in a browser, can send this.")


def check_arrival(visit: Visit) -> None:
    """Demand that a browser comes here from Jira, as its user sees; RequestRefused else.

    A frame or a script's request is no navigation of the user's, and looking ahead is none yet.
    """
    if visit.method != "GET":
        raise RequestRefused(
            405,
            "A browser comes back from Jira by GET alone.",
            proxy_error="http_request_denied",
            fields=(("Allow", "GET"),),
        )
    if any(values(visit.fields, name) for name in _SPECULATIVE):
        raise RequestRefused(
            503, "This address is not for looking ahead.", proxy_error="http_request_denied"
        )
    mode, dest = (values(visit.fields, name) for name in (b"sec-fetch-mode", b"sec-fetch-dest"))
    if visit.caller.as_proxy or mode != [b"navigate"] or dest != [b"document"]:
        raise _refused("Only a browser that comes from Jira can open this.")


def is_private(caller: Caller) -> bool:
    """Whether nobody between the browser and us can read or change what is sent."""
    return caller.scheme == "https" or _name(caller.host) in LOOPBACK_NAMES


def _name(host: str) -> str:
    """The name in a Host such as localhost:8088 or [::1]:8088."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower()


def _same(text: str, expected: str) -> bool:
    return compare_digest(text.encode("utf-8", "replace"), expected.encode())


def _refused(message: str) -> RequestRefused:
    return RequestRefused(403, message, proxy_error="http_request_denied")
