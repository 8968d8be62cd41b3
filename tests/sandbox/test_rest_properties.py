from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import BadRequest
from sidecar.sandbox.rest_properties import LONGEST_VALUE, MOST_PROPERTIES, read_value
from tests.support.sandbox_client import SandboxClient
from tests.support.wire import Response

JSON = ("Content-Type", "application/json")
ISSUE = "/rest/api/2/issue/JJ-2/properties"
ENTITIES = [
    "/rest/api/2/issue/JJ-2",
    "/rest/api/2/issue/10300",
    "/rest/api/2/comment/10100",
    "/rest/api/2/project/JJ",
    "/rest/api/2/issuetype/1",
    "/rest/agile/1.0/board/1",
    "/rest/agile/1.0/sprint/2",
]


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


async def put(client: SandboxClient, path: str, value: bytes) -> Response:
    return await client.call("PUT", path, JSON, body=value)


@pytest.mark.parametrize("entity", ENTITIES)
async def test_a_property_is_made_changed_listed_and_deleted(
    client: SandboxClient, entity: str
) -> None:
    address = f"{entity}/properties"
    assert (await put(client, address + "/my.key", b"1")).status == 201
    changed = await put(client, address + "/my.key", b'{"a": "b"}')
    assert (changed.status, changed.body) == (200, b"")
    got = await client.call("GET", address + "/my.key")
    assert got.body == b'{"key":"my.key","value":{"a": "b"}}'
    listed = (await client.call("GET", address)).json()
    assert listed == {"keys": [{"self": f"{client.sandbox.url}{address}/my.key", "key": "my.key"}]}
    assert (await client.call("DELETE", address + "/my.key")).status == 204
    assert (await client.call("GET", address + "/my.key")).status == 404
    assert (await client.call("DELETE", address + "/my.key")).status == 404
    assert (await client.call("GET", address)).json() == {"keys": []}


VALUES = [
    b'"http://127.0.0.1/jira/rest"', b" [1.0, 1e400, 100000000000000000000] ", b"null", b"false",
    rb'{"self":"http:\/\/a","b":"\u00e4","a":1,"a":2}', '"Größe 🖍"'.encode(), rb'"\ud800"',
    b"9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
async def test_a_value_comes_back_as_it_was_sent(client: SandboxClient, value: bytes) -> None:
    await put(client, ISSUE + "/k", value)
    assert (await client.call("GET", ISSUE + "/k")).body == b'{"key":"k","value":' + value + b"}"


@pytest.mark.parametrize("value", [b"", b"{", b"NaN", b"\xff", b"'a'", b"[" * 30_000, b"1 2"])
async def test_what_is_no_json_is_refused(client: SandboxClient, value: bytes) -> None:
    assert (await put(client, ISSUE + "/k", value)).status == 400
    assert (await client.call("GET", ISSUE + "/k")).status == 404


async def test_key_and_value_have_their_longest(client: SandboxClient) -> None:
    assert (await put(client, f"{ISSUE}/{'k' * 255}", b"1")).status == 201
    assert (await put(client, f"{ISSUE}/{'k' * 256}", b"1")).status == 400
    fits = b'"' + b"x" * (LONGEST_VALUE - 2) + b'"'
    assert (await put(client, ISSUE + "/k", fits)).status == 201
    assert (await put(client, ISSUE + "/k", b" " + fits)).status == 400
    assert (await put(client, ISSUE + "/k", fits * 10)).status == 413


async def test_an_entity_has_so_many_properties(
    client: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.sandbox.rest_properties.MOST_PROPERTIES", 1)
    assert MOST_PROPERTIES > 1
    assert (await put(client, ISSUE + "/a", b"1")).status == 201
    assert (await put(client, ISSUE + "/b", b"1")).status == 400
    assert (await put(client, ISSUE + "/a", b"2")).status == 200


async def test_a_user_is_named_by_a_parameter_or_is_oneself(client: SandboxClient) -> None:
    address = "/rest/api/2/user/properties/k"
    assert (await put(client, address, b'"mine"')).status == 201
    for query, status in (("", 200), ("?username=alana", 200), ("?userKey=admin", 404)):
        assert (await client.call("GET", address + query)).status == status, query
    assert (await client.call("GET", address + "?username=nobody")).status == 404


@pytest.mark.parametrize(
    "entity",
    [
        "issue/JJ-9999", "comment/1", "project/NO", "issuetype/99", "board/3", "sprint/3",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_unknown_entity_has_no_properties(
    client: SandboxClient, entity: str, method: str
) -> None:
    api = "agile/1.0" if entity.startswith(("board", "sprint")) else "api/2"
    body = b"1" if method == "PUT" else b""
    answer = await client.call(method, f"/rest/{api}/{entity}/properties/k", JSON, body=body)
    assert answer.status == 404
    assert (await client.call("GET", f"/rest/{api}/{entity}/properties")).status == 404


async def test_a_key_may_hold_anything(client: SandboxClient) -> None:
    for key in ("a/b", "%", "ü", 'say "hello"', "a;b", "?", "*", "**"):
        path = f"{ISSUE}/{quote(key, safe='')}"
        assert (await put(client, path, b"1")).status == 201, key
        assert (await client.call("GET", path)).json() == {"key": key, "value": 1}


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_any_json_value_will_do(value: object) -> None:  # fmt: skip
    text = json.dumps(value)
    assert read_value(text.encode()) == text


def test_a_refusal_says_what_is_wrong() -> None:
    with pytest.raises(BadRequest, match="not valid JSON"):
        read_value(b"nope")
