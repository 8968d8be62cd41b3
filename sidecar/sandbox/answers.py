"""What handlers take and give: a request as Tomcat hands it to Jira, and an answer."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sidecar.sandbox.record import Fields, Request

JSON = "application/json;charset=UTF-8"
FORM = "application/x-www-form-urlencoded"


class Body(Protocol):
    """A request's body, read once."""

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def read(self, limit: int) -> bytes:
        """Read the whole body; raise TooLarge if it is longer than `limit` bytes."""
        ...


class TooLarge(Exception):
    """A body is larger than what this endpoint keeps in memory."""


class BadRequest(Exception):
    """Jira refuses a request; the text becomes its errorMessages."""


@dataclass(slots=True)
class Call:
    """One request, decoded, with the user that it acts as."""

    record: Request
    path: str
    """As sent, context path included."""
    segments: list[str]
    """The path behind the context path, decoded, without empty segments."""
    parameters: list[tuple[str, str]]
    """Query and form parameters, as Tomcat decodes them."""
    body: Body
    base: str
    """The URL that Jira calls itself by."""
    user: str | None = None
    """The user's name; None for an anonymous request."""
    node: int = 0
    """The number of the node of Jira that the request came to."""

    @property
    def method(self) -> str:
        """The request's method."""
        return self.record.method

    @property
    def fields(self) -> Fields:
        """The request's header fields."""
        return self.record.fields

    def parameter(self, name: str, default: str = "") -> str:
        """The first value of a parameter."""
        return next((value for this, value in self.parameters if this == name), default)

    def number(self, name: str, default: int) -> int:
        """A parameter that is a number; BadRequest if it is none."""
        text = self.parameter(name)
        if not text:
            return default
        if not re.fullmatch(r"-?[0-9]{1,15}", text):
            raise BadRequest(f"{name} must be a number")
        return int(text)

    def seconds(self, name: str, default: float) -> float:
        """A parameter that is a time of at most a minute; BadRequest if it is none."""
        text = self.parameter(name)
        if not re.fullmatch(r"[0-9]{0,2}(\.[0-9]{1,6})?", text):
            raise BadRequest(f"{name} must be a number of seconds")
        return min(float(text), 60.0) if text else default

    async def json(self, limit: int = 1 << 20) -> dict[str, Any]:
        """The body, a JSON object of at most `limit` bytes; BadRequest if it is none."""
        text = await self.body.read(limit)
        try:
            value = json.loads(text or b"{}")
        except ValueError as error:
            raise BadRequest(f"Unexpected character in the JSON: {error}") from None
        if not isinstance(value, dict):
            raise BadRequest("Can not deserialize instance of the request")
        return value


@dataclass(slots=True)
class Answer:
    """What Jira answers, without the fields that every answer carries."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    length: int | None = None
    """The length of a streamed body; None sends it in chunks."""
    bare: bool = False
    """Whether no field of Jira's is added, because something in front of Jira answers."""
    raw: bytes | None = None
    """Bytes to send as they are instead of everything else; the connection is then closed."""


def answer_json(value: object, status: int = 200, **fields: str) -> Answer:
    """Give a value as JSON, as compactly as Jira does; `_` in a field's name stands for `-`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    pairs = [(name.replace("_", "-"), text) for name, text in fields.items()]
    return Answer(status, text.encode("utf-8", "surrogatepass"), JSON, pairs)


def answer_errors(status: int, *messages: str, **errors: str) -> Answer:
    """Give Jira's ErrorCollection."""
    return answer_json({"errorMessages": list(messages), "errors": errors}, status)


def answer_page(title: str, content: str, status: int = 200) -> Answer:
    """Give a page of HTML."""
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"</head>\n<body>{content}</body></html>\n"
    )
    return Answer(status, text.encode(), "text/html;charset=UTF-8")


def tomcat_error(status: int, message: str) -> Answer:
    """Give Tomcat's own error page, for a request that never reached Jira."""
    title = f"HTTP Status {status}"
    page = answer_page(title, f"<h1>{title}</h1><p><b>Message</b> {message}</p>", status)
    if status in (400, 500):
        page.fields.append(("Connection", "close"))
    page.bare = True
    return page


def paged(items: Sequence[Any], start: int, size: int, name: str) -> dict[str, Any]:
    """One page of a list in the shape that Jira gives it."""
    window = list(items[start : start + size])
    return {"startAt": start, "maxResults": size, "total": len(items), name: window}
