from __future__ import annotations

import hashlib
import os
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import BadRequest
from sidecar.sandbox.rest_files import read_multipart, read_range
from tests.support.sandbox_client import SandboxClient
from tests.support.wire import Response

NO_CHECK = ("X-Atlassian-Token", "no-check")
UPLOAD = "/rest/api/2/issue/JJ-2/attachments"
DATA = os.urandom(1000)


def multipart(name: str, data: bytes) -> tuple[tuple[str, str], bytes]:
    """A form with one file, and its Content-Type."""
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = b"--b\r\n" + head.encode() + b"Content-Type: text/x\r\n\r\n" + data + b"\r\n--b--\r\n"
    return ("Content-Type", "multipart/form-data; boundary=b"), body


@pytest.fixture
def client(sandbox: Sandbox, private_key: RSAPrivateKey) -> SandboxClient:
    return SandboxClient(sandbox, private_key, sandbox.grant().token)


async def attach(client: SandboxClient, name: str, data: bytes) -> Response:
    kind, body = multipart(name, data)
    return await client.call("POST", UPLOAD, NO_CHECK, kind, body=body)


@pytest.fixture
async def path(client: SandboxClient) -> str:
    """The path of an attachment that holds DATA, below the context path."""
    [about] = (await attach(client, "x.bin", DATA)).json()
    return str(urlsplit(about["content"]).path.removeprefix(client.context))


async def test_five_megabytes_go_up_and_come_down(client: SandboxClient) -> None:
    data = os.urandom(5 << 20)
    [about] = (await attach(client, "größe 50%/🖍.bin", data)).json()
    assert (about["filename"], about["size"]) == ("größe 50%/🖍.bin", len(data))
    assert about["mimeType"] == "text/x"
    assert about["content"].startswith(client.sandbox.url + "/secure/attachment/")
    path = urlsplit(about["content"]).path.removeprefix(client.context)
    down = await client.call("GET", path)
    assert hashlib.sha256(down.body).digest() == hashlib.sha256(data).digest()
    issue = (await client.call("GET", "/rest/api/2/issue/JJ-2")).json()
    assert issue["fields"]["attachment"] == [about]
    meta = f"/rest/api/2/attachment/{about['id']}"
    assert (await client.call("GET", meta)).json() == about
    assert (await client.call("DELETE", meta)).status == 204
    assert (await client.call("GET", path)).status == 404


async def test_an_upload_needs_the_xsrf_token(client: SandboxClient) -> None:
    kind, body = multipart("x", b"y")
    assert (await client.call("POST", UPLOAD, kind, body=body)).status == 403


async def test_an_upload_that_is_none_is_a_400(client: SandboxClient) -> None:
    kind = ("Content-Type", "multipart/form-data; boundary=b")
    for body in (b"", b"--b\r\n\r\n", b"--b--", b"--b\r\nX: y\r\n\r\nz\r\n--b--"):
        assert (await client.call("POST", UPLOAD, NO_CHECK, kind, body=body)).status == 400


def test_a_file_name_may_stand_without_quotes() -> None:
    body = b"--b\r\nContent-Disposition: form-data; name=file; filename=a b.bin\r\n\r\nx\r\n--b--"
    [(name, _, data)] = read_multipart("multipart/form-data; boundary=b", body)
    assert (name, data) == ("a b.bin", b"x")


async def test_attachments_are_bounded(
    client: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.sandbox.rest_files.MOST_TOTAL", 10)
    assert (await attach(client, "x", b"123456")).status == 200
    assert (await attach(client, "x", b"123456")).status == 413
    monkeypatch.setattr("sidecar.sandbox.rest_files.MOST_BYTES", 10)
    assert (await attach(client, "x", b"1")).status == 413


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        *(("bytes=0-9", 0, 10), ("bytes=990-", 990, 1000), ("bytes=-5", 995, 1000)),
        *(("bytes=999-2000", 999, 1000), ("bytes=-5000", 0, 1000), ("BYTES=1-1", 1, 2)),
    ],
)
async def test_a_range_is_a_206(
    client: SandboxClient, path: str, asked: str, start: int, end: int
) -> None:
    answer = await client.call("GET", path, ("Range", asked), ("Accept-Encoding", "gzip"))
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer["Content-Range"] == f"bytes {start}-{end - 1}/1000"


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
async def test_a_range_past_the_end_is_a_416(client: SandboxClient, path: str, asked: str) -> None:
    answer = await client.call("GET", path, ("Range", asked))
    assert (answer.status, answer["Content-Range"]) == (416, "bytes */1000")


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=-", "bytes=x", "lines=1-2", "bytes=0-1,4-5"])
async def test_other_ranges_are_ignored(client: SandboxClient, path: str, asked: str) -> None:
    answer = await client.call("GET", path, ("Range", asked))
    assert (answer.status, answer.body) == (200, DATA)


async def test_validators_work(client: SandboxClient, path: str) -> None:
    etag = (await client.call("GET", path))["ETag"]
    for known in (etag, f'"x", W/{etag}', "*"):
        answer = await client.call("GET", path, ("If-None-Match", known))
        assert (answer.status, answer.body) == (304, b"")
        assert answer["ETag"] == etag
    assert (await client.call("GET", path, ("If-None-Match", '"x"'))).status == 200
    part = ("Range", "bytes=0-1")
    assert (await client.call("GET", path, part, ("If-Range", etag))).status == 206
    assert (await client.call("GET", path, part, ("If-Range", '"x"'))).status == 200


async def test_head_tells_the_size(client: SandboxClient, path: str) -> None:
    answer = await client.call("HEAD", path)
    assert (answer.status, answer["Content-Length"], answer.body) == (200, "1000", b"")


@given(st.lists(st.binary()), st.sampled_from(["b", "----WebKit'()+_,-./:=?"]))
def test_a_multipart_form_is_read_as_it_was_written(files: list[bytes], boundary: str) -> None:
    delimiter = b"--" + boundary.encode()
    files = [data for data in files if delimiter not in data]
    head = b'\r\nContent-Disposition: form-data; name="file"; filename="a\\"b"\r\n\r\n'
    body = b"".join(delimiter + head + data + b"\r\n" for data in files)
    body = b"preamble\r\n" * (not files) + body + delimiter + b"--\r\n"
    read = read_multipart(f'multipart/form-data; x=y; boundary="{boundary}"', body)
    assert read == [('a"b', "application/octet-stream", data) for data in files]


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(BadRequest):
        read_multipart("multipart/form-data", b"")


@given(st.text(alphabet="bytes=-0123456789, "), st.integers(0, 1000))
def test_any_range_lies_within_the_file_or_is_empty(text: str, size: int) -> None:
    window = read_range(text, size)
    if window is not None and window[0] < window[1]:
        assert 0 <= window[0] < window[1] <= size


JSON_FILE = b'{"self": "http://127.0.0.1/jira/rest/api/2/issue/1",\r\n "key": "JJ-2"}\n'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


async def attach_as(client: SandboxClient, media_type: str, data: bytes) -> dict[str, str]:
    head = b'Content-Disposition: form-data; name="file"; filename="a.x"\r\n'
    body = b"--b\r\n" + head + f"Content-Type: {media_type}\r\n\r\n".encode() + data
    kind = ("Content-Type", "multipart/form-data; boundary=b")
    answer = await client.call("POST", UPLOAD, NO_CHECK, kind, body=body + b"\r\n--b--\r\n")
    about: dict[str, str] = answer.json()[0]
    return about


@pytest.mark.parametrize(
    "path",
    [
        "/secure/attachment/{}/a.x",
        "//secure;v=1//attachment/{};x/another%20name",
        "/s/en_AU/1.0/_/secure/attachment/{}/a.x",
        "/rest/api/2/attachment/content/{}",
        "/s/x/_/rest/api/latest/attachment/content/{}.json",
    ],
)
async def test_a_file_comes_back_byte_for_byte_by_every_path(
    client: SandboxClient, path: str
) -> None:
    about = await attach_as(client, "application/json", JSON_FILE)
    answer = await client.call("GET", path.format(about["id"]), ("Accept-Encoding", "gzip"))
    assert answer.body == JSON_FILE
    assert answer["Content-Length"] == str(len(JSON_FILE))
    assert answer["Content-Type"] == "application/json"
    assert answer["ETag"].startswith('"')
    assert answer.all("Content-Encoding") == []


async def test_only_a_picture_has_a_thumbnail(client: SandboxClient) -> None:
    picture = await attach_as(client, "image/png", PNG)
    path = urlsplit(picture["thumbnail"]).path.removeprefix(client.context)
    answer = await client.call("GET", path)
    assert (answer.status, answer.body, answer["Content-Type"]) == (200, PNG, "image/png")
    text = await attach_as(client, "text/plain", b"hello")
    for number in (text["id"], "1"):
        path = f"/secure/thumbnail/{number}/_thumb_{number}.png"
        assert (await client.call("GET", path)).status == 404
