"""The owner's browser, as far as its requests go: what it reads off the page, and what it posts."""

from __future__ import annotations

import asyncio
import re
import time
from html import unescape
from urllib.parse import urlencode, urlsplit

from sidecar.commands.open_page import address
from tests.conftest import Running
from tests.support.dancing import FORM, decide
from tests.support.wire import Response

ARRIVAL = (
    ("Sec-Fetch-Site", "cross-site"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
)
"""What a browser says when Jira's page has sent it here."""
SIGN_IN = "/_sidecar/page/sign-in"


class Owner:
    """Somebody who can read the state folder, before a browser."""

    def __init__(self, sidecar: Running) -> None:
        self.sidecar = sidecar
        self.origin = f"http://{sidecar.authority}"
        self.process = sidecar.server.ownership.process_token
        self.grant = ""

    def fields(self) -> list[tuple[str, str]]:
        """What a browser says of a form on the sidecar's own page."""
        return [("Origin", self.origin), ("Sec-Fetch-Site", "same-origin")]

    async def code(self, age: float = 0.0) -> str:
        """A code as `sidecar open` gave it so many seconds ago."""
        when = time.time() - age
        url = await asyncio.to_thread(address, self.sidecar.config, lambda: when)
        return url.partition("#code=")[2]

    async def post(self, path: str, **form: str) -> Response:
        """Post one of the page's forms."""
        return await self.posted(path, self.fields(), **form)

    async def posted(self, path: str, fields: list[tuple[str, str]], **form: str) -> Response:
        """Post one of the page's forms with other fields than a browser's."""
        values = {"process": self.process, "grant": self.grant, **form}
        body = urlencode(values).encode()
        return await self.sidecar.request("POST", path, FORM, *fields, body=body)

    async def own(self) -> None:
        """Do what the page's script does with the code in the address."""
        answer = await self.post("/_sidecar/page/owner", code=await self.code())
        assert answer.status == 200, answer
        self.grant = answer.json()["grant"]

    async def begin(self) -> str:
        """Press *Sign in*; the URL of Jira's approval page."""
        await self.own()
        return link_to_jira(await self.post(SIGN_IN))

    async def decide(self, url: str, *, deny: bool = False, user: str = "alana") -> str:
        """Press Allow, or Deny, in Jira as a user; where Jira sends the browser."""
        answer = await decide(f"{url}&os_username={user}", deny=deny)
        assert answer.status in (302, 303), answer
        return answer["Location"]

    async def arrive(self, location: str, *fields: tuple[str, str]) -> Response:
        """Follow Jira's redirect as a browser does."""
        parts = urlsplit(location)
        return await self.sidecar.get(f"{parts.path}?{parts.query}", *(fields or ARRIVAL))


def link_to_jira(page: Response) -> str:
    """The link on the page that *Sign in* is answered with."""
    assert page.status == 200, page
    match = re.search(r'href="(http[^"]+oauth_token=\w+)"', page.body.decode())
    assert match, page
    return unescape(match[1])


def title(page: Response) -> str:
    """The heading of a page."""
    match = re.search(r"<h1>(.*?)</h1>", page.body.decode())
    assert match, page
    return unescape(match[1])


def hidden(page: Response, name: str) -> str:
    """The value of a hidden field."""
    match = re.search(rf'name="{name}" value="([^"]*)"', page.body.decode())
    assert match, page
    return unescape(match[1])
