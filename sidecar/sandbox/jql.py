"""A small JQL: comparisons joined by AND, OR, NOT and parentheses; ORDER BY is read and ignored."""

from __future__ import annotations

import operator as order
import re
from collections.abc import Callable

from sidecar.sandbox.answers import BadRequest
from sidecar.sandbox.catalog import Thing

Test = Callable[[Thing], bool]
Read = Callable[[Thing], list[str]]
Order = Callable[[str, str], bool]

_TOKEN = re.compile(
    r"""\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(!=|!~|>=|<=|[=~(),<>])|([^\s"'=~(),!<>]+))"""
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2})?")
_ORDERS: dict[str, Order] = {"<": order.lt, "<=": order.le, ">": order.gt, ">=": order.ge}
_MOST_TOKENS = 20_000
_DEEPEST = 50


def compile_jql(jql: str, user: str | None) -> Test:
    """Give the test that a JQL query puts to each issue; BadRequest for what is not understood."""
    return _Parser(jql, user).parse()


class _Parser:
    """Recursive descent, from OR down to a single comparison."""

    def __init__(self, jql: str, user: str | None) -> None:
        self._tokens = _tokenize(jql)
        self._at = 0
        self._depth = 0
        self._user = user

    def parse(self) -> Test:
        """Read the whole query."""
        if not self._tokens or self._word() == "order":
            return lambda issue: True
        test = self._either()
        if self._at < len(self._tokens) and self._word() != "order":
            raise self._error(f"Expecting either 'OR' or 'AND' but got '{self._text()}'.")
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._word() in ("or", "||"):
            self._at += 1
            tests.append(self._both())
        return lambda issue: any(test(issue) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._word() in ("and", "&&"):
            self._at += 1
            tests.append(self._one())
        return lambda issue: all(test(issue) for test in tests)

    def _one(self) -> Test:
        if self._word() == "not":
            self._at += 1
            test = self._nested(self._one)
            return lambda issue: not test(issue)
        if self._word() == "(":
            self._at += 1
            test = self._nested(self._either)
            self._expect(")")
            return test
        return self._comparison()

    def _nested(self, read: Callable[[], Test]) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("The query is too deep.")
        test = read()
        self._depth -= 1
        return test

    def _comparison(self) -> Test:
        name = self._take()
        if name.lower() not in _READERS:
            raise self._error(
                f"Field '{name}' does not exist or you do not have permission to view it."
            )
        read = _READERS[name.lower()]
        operator = self._take().lower()
        if operator in ("not", "is") and self._word() in ("in", "not"):
            operator += " " + self._take().lower()
        if operator in ("in", "not in"):
            wanted = {value.lower() for value in self._list()}
            positive = operator == "in"
            return lambda issue: bool(wanted & _lower(read(issue))) == positive
        value = self._value()
        if operator in ("is", "is not") and value.lower() in ("empty", "null"):
            return lambda issue: (not read(issue)) == (operator == "is")
        if operator in ("=", "!="):
            return lambda issue: (value.lower() in _lower(read(issue))) == (operator == "=")
        if operator in ("~", "!~"):
            words = re.findall(r"\w+", value.lower())
            return lambda issue: _contains(read(issue), words) == (operator == "~")
        if operator in _ORDERS and name.lower() in ("created", "updated"):
            return self._when(name, _ORDERS[operator], read, value)
        raise self._error(f"The operator '{operator}' is not supported by the '{name}' field.")

    def _when(self, name: str, holds: Order, read: Read, value: str) -> Test:
        """Compare a time with `2024-01-31` or `2024/01/31 18:59`, as far as that is precise."""
        wanted = value.replace("/", "-")
        if not _DATE.fullmatch(wanted):
            raise self._error(f"Date value '{value}' for field '{name}' is invalid.")
        length = len(wanted)
        return lambda issue: holds(read(issue)[0].replace("T", " ")[:length], wanted)

    def _list(self) -> list[str]:
        self._expect("(")
        values = [self._value()]
        while self._word() == ",":
            self._at += 1
            values.append(self._value())
        self._expect(")")
        return values

    def _value(self) -> str:
        value = self._take()
        if value.lower() == "currentuser" and self._word() == "(":
            self._at += 1
            self._expect(")")
            return self._user or ""
        return value

    def _text(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else "<EOF>"

    def _word(self) -> str:
        """The next token in lower case; empty at the end and for a quoted one."""
        if self._at < len(self._tokens) and not self._tokens[self._at][1]:
            return self._tokens[self._at][0].lower()
        return ""

    def _take(self) -> str:
        if self._at >= len(self._tokens) or self._word() in ("(", ")", ","):
            raise self._error(f"Expecting a field or value but got '{self._text()}'.")
        self._at += 1
        return self._tokens[self._at - 1][0]

    def _expect(self, token: str) -> None:
        if self._word() != token:
            raise self._error(f"Expecting '{token}' but got '{self._text()}'.")
        self._at += 1

    @staticmethod
    def _error(text: str) -> BadRequest:
        return BadRequest(f"Error in the JQL Query: {text}")


def _tokenize(jql: str) -> list[tuple[str, bool]]:
    """Give the tokens, each with whether it was quoted."""
    tokens: list[tuple[str, bool]] = []
    jql = jql.strip()
    at = 0
    while at < len(jql):
        match = _TOKEN.match(jql, at)
        if match is None or len(tokens) > _MOST_TOKENS:
            raise BadRequest(f"Error in the JQL Query: the character '{jql[at]}' is not expected.")
        quoted, symbol, word = match.groups()
        text = re.sub(r"\\(.)", r"\1", quoted[1:-1]) if quoted else symbol or word
        tokens.append((text, quoted is not None))
        at = match.end()
    return tokens


def _named(name: str, *keys: str) -> Read:
    """Read the values of a field by any of the keys that it can be called by."""

    def read(issue: Thing) -> list[str]:
        value = issue["fields"].get(name)
        return [str(value[key]) for key in keys if key in value] if value else []

    return read


def _texts(*names: str) -> Read:
    def read(issue: Thing) -> list[str]:
        return [value for name in names if (value := issue["fields"].get(name))]

    return read


def _comments(issue: Thing) -> list[str]:
    return [comment["body"] for comment in issue["fields"]["comment"]["comments"]]


def _everything(issue: Thing) -> list[str]:
    return [*_texts("summary", "description", "environment")(issue), *_comments(issue)]


def _key(issue: Thing) -> list[str]:
    return [issue["key"], issue["id"]]


def _labels(issue: Thing) -> list[str]:
    return [str(label) for label in issue["fields"]["labels"] or []]


_READERS: dict[str, Read] = {
    "assignee": _named("assignee", "name", "displayName", "emailAddress"),
    "comment": _comments,
    "created": _texts("created"),
    "creator": _named("creator", "name", "displayName", "emailAddress"),
    "description": _texts("description"),
    "id": _key,
    "issue": _key,
    "issuekey": _key,
    "issuetype": _named("issuetype", "name", "id"),
    "key": _key,
    "labels": _labels,
    "priority": _named("priority", "name", "id"),
    "project": _named("project", "key", "name", "id"),
    "reporter": _named("reporter", "name", "displayName", "emailAddress"),
    "resolution": _named("resolution", "name", "id"),
    "status": _named("status", "name", "id"),
    "summary": _texts("summary"),
    "text": _everything,
    "type": _named("issuetype", "name", "id"),
    "updated": _texts("updated"),
}


def _lower(values: list[str]) -> set[str]:
    return {value.lower() for value in values}


def _contains(values: list[str], words: list[str]) -> bool:
    """Whether every word of the query occurs in the texts together."""
    text = "\n".join(values).lower()
    return all(word in text for word in words)
