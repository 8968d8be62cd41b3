"""Ten thousand nasty targets: Jira's reading of each agrees with our signature."""

from __future__ import annotations

import asyncio
import random
import string

from sidecar.sandbox import Sandbox
from tests.conftest import Running

TARGETS = 10_000
CONNECTIONS = 8

PATH_PIECES = [
    "a", "B9", "-._~", "!$&'()*+,;=:@", "%41", "%7e", "%2F", "%C3%BC", "%F0%9F%98%80", "%FF",
    "//", "/", ";v=1", ";", '"', "<", ">", "^", "`", "{", "|", "}", "[", "]", "...", ".a", "%252e",
]  # fmt: skip
QUERY_PIECES = [
    "a", "Z", "=", "&", "&&", "=x", "x=", ";", "+", "~", "*", "%", "%z", "50%", "%FF", "%C3",
    "%C3%BC", "%ED%A0%80", "%F0%9F%98%80", "%00", "%0A", "%2B", "%26", "%3D", "\\", "/", "?", ":",
    "@", "!", "$", "'", "(", ")", ",", "[", "]", "{", "}", "|", '"', "<", ">", "^", "`", ".", "..",
    "jql=project+%3D+JJ", "oauth", "fields=a,b", "a=1&a=1", "a=2&a=1",
]  # fmt: skip
FORM_PIECES = [*QUERY_PIECES, "ü", "😀", " ", "\r\n", '{"a": 1}', "%zz=1&"]
REFUSED_IN_PATH = [
    "\\", "%", "%4", "%zz", "/../", "/./", "/%2e%2e/", "/..;x=1/", "%5c", "%0d", "%00",
    "/%252e%252e/", "/..%2f",
]  # fmt: skip
REFUSED_ANYWHERE = ["#", "é", "\x80"]
FORM = "application/x-www-form-urlencoded"
MEDIA_TYPES = [FORM, FORM + "; charset=UTF-8", FORM.upper(), "application/json", "text/plain", ""]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _path(rng: random.Random) -> str:
    return "/" + "".join(rng.choices(PATH_PIECES, k=rng.randrange(8)))


def _query(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return ""
    return "?" + "".join(rng.choices(QUERY_PIECES, k=rng.randrange(12)))


def _is_dotty(path: str) -> bool:
    """Whether pieces that are harmless by themselves have made a dot segment together."""
    for _ in range(3):
        path = path.replace("%25", "%").replace("%2e", ".").replace("%2F", "/")
    segments = path.replace("\\", "/").split("/")
    return any(segment.partition(";")[0] in (".", "..") for segment in segments)


def _request(rng: random.Random, sidecar: Running) -> tuple[str, bytes]:
    method = rng.choice(METHODS)
    path = _path(rng)
    while _is_dotty(path):
        path = _path(rng)
    fields = []
    body = b""
    if rng.random() < 0.4:
        media_type = rng.choice(MEDIA_TYPES)
        if media_type:
            fields.append(("Content-Type", media_type))
        body = "".join(rng.choices(FORM_PIECES, k=rng.randrange(1, 10))).encode()
    return method, sidecar.message(method, path + _query(rng), *fields, body=body)


async def test_every_acceptable_target_is_accepted_by_jira(
    sandbox: Sandbox, sidecar: Running
) -> None:
    asyncio.get_running_loop().set_debug(False)
    sandbox.faults.unsigned_tools = False

    async def worker(seed: int) -> None:
        rng = random.Random(seed)
        async with await sidecar.wire() as wire:
            for _ in range(TARGETS // CONNECTIONS):
                method, message = _request(rng, sidecar)
                await wire.send(message)
                answer = await wire.receive(method=method)
                assert not answer.all("Proxy-Status"), (message, answer)
                assert not answer.all("Sidecar-Problem"), (message, answer)

    await asyncio.gather(*map(worker, range(CONNECTIONS)))
    assert len(sandbox.log) == TARGETS
    refused = [(r.method, r.target) for r in sandbox.log if r.verdict != "ok"]
    assert refused == []
    tolerated = set(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/?%")
    assert all(set(request.target) <= tolerated for request in sandbox.log)


async def test_every_unacceptable_target_is_refused_and_reaches_nobody(
    sandbox: Sandbox, sidecar: Running
) -> None:
    asyncio.get_running_loop().set_debug(False)
    rng = random.Random(1)
    for _ in range(500):
        bad = rng.choice(REFUSED_IN_PATH + REFUSED_ANYWHERE)
        target = _path(rng) + "/x" + bad + "/y" + _query(rng)
        if bad in REFUSED_ANYWHERE and rng.random() < 0.5:
            target = f"/x?{bad}"
        answer = await sidecar.get(target)
        assert answer.status == 400, target
        assert answer.message.startswith("sidecar: ")
        assert "error=http_request_error" in answer["Proxy-Status"]
    assert not sandbox.log
