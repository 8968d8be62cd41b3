from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Answer, Request, Sandbox
from sidecar.sandbox.common_fields import HEAD_LIMIT, cookies, decorate
from sidecar.sandbox.record import Fields
from tests.support.sandbox_client import SandboxClient, challenges

SEARCH = "/rest/api/2/search"
RECORD = Request("GET", "/", Fields())


def test_an_answer_of_something_in_front_carries_nothing_of_jiras() -> None:
    answer = decorate(Answer(bare=True), RECORD, 0.0)
    assert answer.fields == [("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Server", "nginx")]


def test_what_an_answer_says_itself_stays() -> None:
    own = [("Server", "x"), ("Cache-Control", "private")]
    names = [name for name, _ in decorate(Answer(fields=own), RECORD, 0.0).fields]
    assert (names.count("Server"), names.count("Cache-Control")) == (1, 1)


@pytest.mark.parametrize("path", ["", "/jira"])
def test_one_cookie_of_two_is_secure(path: str) -> None:
    plain, secure = cookies(path)
    assert f"; Path={path or '/'};" in plain[1]
    assert not plain[1].endswith("Secure")
    assert secure[1].endswith("; Secure")


@pytest.mark.parametrize(("length", "status"), [(HEAD_LIMIT - 400, 200), (HEAD_LIMIT, 500)])
def test_a_head_that_does_not_fit_is_a_bare_500(length: int, status: int) -> None:
    answer = decorate(Answer(200, b"x", fields=[("X-Long", "y" * length)]), RECORD, 0.0)
    assert answer.status == status
    if status == 500:
        assert answer.body == b""
        assert [name for name, _ in answer.fields] == ["Date", "Server", "Connection"]


@pytest.mark.parametrize(("length", "status"), [(2000, 401), (5000, 500)])
async def test_a_wrong_signature_of_a_long_request_shows_nothing(
    sandbox: Sandbox, private_key: RSAPrivateKey, length: int, status: int
) -> None:
    """The base string in the challenge is encoded twice more than the query."""
    client = SandboxClient(sandbox, private_key, sandbox.grant().token)
    sandbox.faults.perceived_scheme = "https"
    query = "?jql=" + "project+%3D+JJ+" * (length // 15)
    async with await client.wire() as wire:
        target = client.context + SEARCH + query
        signed = ("Authorization", client.sign("GET", target))
        await wire.send(client.message("GET", target, signed))
        answer = await wire.receive()
        assert answer.status == status
        if status == 401:
            assert challenges(answer)[1]["oauth_problem"] == "signature_invalid"
            return
        assert (answer.body, answer["Connection"]) == (b"", "close")
        assert answer.all("WWW-Authenticate") == answer.all("X-AUSERNAME") == []
        assert await wire.ends() == b""
