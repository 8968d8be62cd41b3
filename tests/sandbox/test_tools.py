from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.sandbox import Sandbox
from sidecar.sandbox.tools import PATTERN
from tests.support.sandbox_client import SandboxClient


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
async def test_a_download_has_its_size(client: SandboxClient, size: int, chunked: str) -> None:
    answer = await client.call("GET", f"/_sandbox/bytes?n={size}{chunked}")
    assert answer.body == (PATTERN * (size // len(PATTERN) + 1))[:size]
    if chunked:
        assert answer["Transfer-Encoding"] == "chunked"
    else:
        assert answer["Content-Length"] == str(size)


async def test_a_drip_waits_for_each_release(client: SandboxClient) -> None:
    target = client.context + "/_sandbox/drip?pieces=3&size=2&gate=g"
    async with await client.wire() as wire:
        await wire.send(
            client.message("GET", target, ("Authorization", client.sign("GET", target)))
        )
        assert (await wire.head())[0] == 200
        for letter in (b"A", b"B", b"C"):
            client.sandbox.release("g")
            assert await wire.reader.readexactly(7) == b"2\r\n" + letter * 2 + b"\r\n"
        assert await wire.reader.readexactly(5) == b"0\r\n\r\n"


async def test_a_drip_can_be_compressed_piece_by_piece(client: SandboxClient) -> None:
    answer = await client.call(
        "GET", "/_sandbox/drip?pieces=3&type=text/plain", ("Accept-Encoding", "gzip")
    )
    assert answer["Content-Encoding"] == "gzip"


async def test_events_are_sent_as_they_happen(client: SandboxClient) -> None:
    answer = await client.call("GET", "/_sandbox/events?n=2&interval=0")
    assert answer["Content-Type"] == "text/event-stream"
    assert answer.body == b"id: 0\ndata: tick 0\n\nid: 1\ndata: tick 1\n\n"


async def test_a_long_json_text_is_json(client: SandboxClient) -> None:
    answer = await client.call("GET", "/_sandbox/json?n=300000")
    assert 250_000 < len(answer.body) < 350_000
    assert json.loads(answer.body)["issues"][-1]["self"].startswith(client.sandbox.url)


async def test_the_echo_says_what_arrived(client: SandboxClient) -> None:
    body = b"\x00\xff" * 100
    answer = await client.call("DELETE", "/_sandbox/echo/x?y=1+2", ("X-Y", "z"), body=body)
    said = answer.json()
    assert said["method"] == "DELETE"
    assert ["X-Y", "z"] in said["headers"]
    assert said["parameters"] == [["y", "1 2"]]
    assert said["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert said["user"] == "alana"


@pytest.mark.parametrize(
    ("query", "status", "suffix"),
    [("", 302, "/rest/api/2/myself"), ("?to=/x&status=307", 307, "/x")],
)
async def test_a_redirect_leads_into_this_jira(
    client: SandboxClient, query: str, status: int, suffix: str
) -> None:
    answer = await client.call("GET", "/_sandbox/redirect" + query)
    assert (answer.status, answer["Location"]) == (status, client.sandbox.url + suffix)


async def test_a_redirect_can_lead_away(client: SandboxClient) -> None:
    answer = await client.call("GET", "/_sandbox/redirect?to=https://e.example/")
    assert answer["Location"] == "https://e.example/"


@pytest.mark.parametrize("query", ["n=x", "n=1.5"])
async def test_a_number_must_be_one(client: SandboxClient, query: str) -> None:
    assert (await client.call("GET", f"/_sandbox/bytes?{query}")).status == 400
    assert (await client.call("GET", "/_sandbox/events?interval=soon")).status == 400


def pem(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


async def test_a_public_key_can_be_sent_once(
    sandbox: Sandbox, client: SandboxClient, private_key: RSAPrivateKey
) -> None:
    path = client.context + "/_sandbox/public-key"
    key: RSAPublicKey = private_key.public_key()
    assert (await client.request("POST", path, body=pem(key))).status == 409
    sandbox.public_key = None
    assert (await client.call("GET", "/rest/api/2/myself")).status == 500
    elliptic = generate_ec(SECP256R1()).public_key()
    for wrong in (b"nonsense", pem(elliptic)):
        assert (await client.request("POST", path, body=wrong)).status == 400
    assert (await client.request("POST", path, body=pem(key))).status == 204
    assert (await client.call("GET", "/rest/api/2/myself")).status == 200
