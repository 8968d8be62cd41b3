"""Entity properties: any JSON value that an application keeps with an issue, comment or project."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, NoReturn
from urllib.parse import quote

from sidecar.sandbox.answers import JSON, Answer, BadRequest, Call, answer_errors, answer_json
from sidecar.sandbox.bounds import keep
from sidecar.sandbox.catalog import PROJECTS, TYPES, USERS
from sidecar.sandbox.issues import Issues
from sidecar.sandbox.router import Router

LONGEST_VALUE: Final = 32_768
"""Characters: Jira's jira.entity.property.limit."""
LONGEST_KEY: Final = 255
MOST_PROPERTIES: Final = 1_000
"""Of one entity."""
MOST_ENTITIES: Final = 10_000

Find = Callable[[Call, str], str | None]
"""Gives what tells an entity from every other, or None where there is none of this name."""


class PropertyResources:
    """GET, PUT and DELETE of `…/properties[/KEY]`; a value is kept as the text that was sent."""

    def __init__(self, base: str, issues: Issues) -> None:
        self.base = base
        self.issues = issues
        self._held: dict[str, dict[str, str]] = {}

    def register(self, router: Router) -> None:
        """Take the paths of every kind of entity that can have properties."""
        for path, find in (
            ("rest/api/2/issue/*", self._issue),
            ("rest/api/2/comment/*", self._comment),
            ("rest/api/2/project/*", _project),
            ("rest/api/2/issuetype/*", _issue_type),
            ("rest/api/2/user", _user),
            ("rest/agile/1.0/board/*", _only("1")),
            ("rest/agile/1.0/sprint/*", _only("2")),
        ):
            _Properties(self, path, find).register(router)

    def of(self, entity: str) -> dict[str, str]:
        """The properties of an entity: JSON texts by key."""
        if entity not in self._held:
            keep(self._held, entity, {}, MOST_ENTITIES)
        return self._held[entity]

    def _issue(self, call: Call, name: str) -> str | None:
        issue = self.issues.find(name)
        return None if issue is None else f"issue/{issue['id']}"

    def _comment(self, call: Call, number: str) -> str | None:
        every = (
            comment
            for issue in self.issues
            if issue["fields"].get("comment")
            for comment in issue["fields"]["comment"]["comments"]
        )
        return next((f"comment/{number}" for comment in every if comment["id"] == number), None)


class _Properties:
    """The three resources below one kind of entity."""

    def __init__(self, held: PropertyResources, path: str, find: Find) -> None:
        self._held = held
        self._path = path
        self._find = find

    def register(self, router: Router) -> None:
        """Take the list and its entries."""
        router.add("GET", self._path + "/properties", self.keys)
        router.add("GET", self._path + "/properties/*", self.read)
        router.add("PUT", self._path + "/properties/*", self.write)
        router.add("DELETE", self._path + "/properties/*", self.delete)

    def _of(self, call: Call, wild: tuple[str, ...]) -> dict[str, str] | None:
        entity = self._find(call, wild[0] if "*" in self._path else "")
        return None if entity is None else self._held.of(entity)

    async def keys(self, call: Call, *wild: str) -> Answer:
        """List the keys."""
        properties = self._of(call, wild)
        if properties is None:
            return _no_entity()
        owner = self._path.replace("*", quote(wild[0], safe="")) if wild else self._path
        address = f"{self._held.base}/{owner}/properties/"
        keys = [{"self": address + quote(key, safe=""), "key": key} for key in properties]
        return answer_json({"keys": keys})

    async def read(self, call: Call, *wild: str) -> Answer:
        """Give a property, its value as the text that was put."""
        properties = self._of(call, wild)
        if properties is None:
            return _no_entity()
        if (value := properties.get(wild[-1])) is None:
            return _no_property(wild[-1])
        key = json.dumps(wild[-1], ensure_ascii=False)
        return Answer(200, f'{{"key":{key},"value":{value}}}'.encode(), JSON)

    async def write(self, call: Call, *wild: str) -> Answer:
        """Keep a value: 201 for a new key, 200 for one that was there."""
        properties = self._of(call, wild)
        if properties is None:
            return _no_entity()
        key, value = wild[-1], read_value(await call.body.read(4 * LONGEST_VALUE))
        if len(key) > LONGEST_KEY:
            raise BadRequest(f"The length of the property key must be less than {LONGEST_KEY}.")
        if key not in properties and len(properties) >= MOST_PROPERTIES:
            raise BadRequest(f"The sandbox keeps no more than {MOST_PROPERTIES} of these")
        status = 200 if key in properties else 201
        properties[key] = value
        return Answer(status)

    async def delete(self, call: Call, *wild: str) -> Answer:
        """Forget a property."""
        properties = self._of(call, wild)
        if properties is None:
            return _no_entity()
        return _no_property(wild[-1]) if properties.pop(wild[-1], None) is None else Answer(204)


def read_value(data: bytes) -> str:
    """Give the text of a JSON value, spaces and escapes as they are; BadRequest if it is none."""
    try:
        text = data.decode()
        json.loads(text, parse_constant=_no_constant, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The property value is not valid JSON: {error}") from None
    if len(text) > LONGEST_VALUE:
        raise BadRequest(f"The value cannot be longer than {LONGEST_VALUE} characters.")
    return text


def _no_constant(name: str) -> NoReturn:
    """Python's parser takes NaN and Infinity, which RFC 8259 does not have."""
    raise ValueError(f"{name} is no JSON")


def _project(call: Call, name: str) -> str | None:
    found = (number for key, (number, _) in PROJECTS.items() if name in (key, number))
    return next((f"project/{number}" for number in found), None)


def _issue_type(call: Call, number: str) -> str | None:
    return f"issuetype/{number}" if number in TYPES else None


def _user(call: Call, _: str) -> str | None:
    name = call.parameter("username") or call.parameter("userKey") or call.user
    return f"user/{name}" if name in USERS else None


def _only(number: str) -> Find:
    """The one board, the one sprint."""
    return lambda call, name: f"{call.segments[2]}/{name}" if name == number else None


def _no_entity() -> Answer:
    return answer_errors(404, "The entity that the properties belong to does not exist.")


def _no_property(key: str) -> Answer:
    return answer_errors(404, f"The property '{key}' does not exist.")
