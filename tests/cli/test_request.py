"""`sidecar request` as its user meets it: what is sent, what is printed, how it exits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sidecar.credentials import Secret, TokenCredentials
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import Answer
from tests.conftest import CONSUMER_KEY
from tests.support.dancing import approve
from tests.support.processes import Shell, shell
from tests.support.raw_upstream import Exchange, RawUpstream

__all__ = ["shell"]

MakeSandbox = Callable[..., Awaitable[Sandbox]]


async def test_request_sends_what_it_is_told(
    shell: Shell, make_sandbox: MakeSandbox, write_config: Callable[..., None], tmp_path: Path
) -> None:
    sandbox = await make_sandbox()
    write_config(sandbox.url)
    url = (await shell.run("auth", "--begin")).out.strip()
    await shell.run("auth", "--verifier", await approve(url))
    write_private(tmp_path / "data", b'{"from": "a file"}')
    sandbox.log.clear()
    await shell.run("request", "-d", "@data", "-H", "X-One: 1", "/_sandbox/echo?a=b")
    await shell.run("request", "-X", "PUT", "-d", "@-", f"{sandbox.url}/_sandbox/echo", stdin=b"x")
    await shell.run(
        "request", "-H", "Content-Type: application/x-www-form-urlencoded", "-d", "a=1",
        "/_sandbox/echo",
    )  # fmt: skip
    post, put, form = sandbox.log
    assert (post.method, post.body_length, post.fields.get("x-one")) == ("POST", 18, "1")
    assert post.fields.get("content-type") == "application/json"
    assert (put.method, put.body_length) == ("PUT", 1)
    assert {request.verdict for request in (post, put, form)} == {"ok"}
    foreign = await shell.run("request", "https://elsewhere.example/rest")
    assert foreign.code == 2
    assert "not on the configured Jira" in foreign.error
    assert (await shell.run("request", "-d", "@nowhere", "/x")).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ['/rest/api/2/search?jql=summary ~ "ä"'],
        ["/rest/api/2/search?jql=ä"],
        ["/rest/../x"],
        ["/rest?oauth_token=x"],
        ["-H", "Content-Type: application/x-www-form-urlencoded", "-d", "oauth_x=1", "/x"],
        ["-X", "FOO", "/rest"],
        ["-X", "CONNECT", "/x"],
        ["http://u:p@127.0.0.1:1/rest"],
        ["ftp://127.0.0.1:1/rest"],
    ],
)
async def test_a_request_that_cannot_be_sent_exits_2_and_says_what_to_do(
    shell: Shell, write_config: Callable[..., None], words: list[str]
) -> None:
    write_config("http://127.0.0.1:1")
    done = await shell.run("request", *words)
    assert done.code == 2
    assert done.error
    assert done.hint


@pytest.fixture
async def signed_in(shell: Shell, write_config: Callable[..., None], sandbox: Sandbox) -> Shell:
    write_config(sandbox.url)
    url = (await shell.run("auth", "--begin")).out.strip()
    await shell.run("auth", "--verifier", await approve(url))
    return shell


async def test_the_body_alone_is_printed_and_the_head_before_it_with_i(
    signed_in: Shell, sandbox: Sandbox
) -> None:
    sandbox.canned["/jira/x"] = lambda: Answer(200, b"no newline", "text/plain")
    assert (await signed_in.run("request", "/x")).out == "no newline"
    whole = (await signed_in.run("request", "-i", "/x")).out
    head, _, body = whole.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ")
    assert "Content-Type: text/plain" in head
    assert body == "no newline"


async def test_an_answer_that_is_an_error_is_printed_and_exits_22(
    signed_in: Shell, sandbox: Sandbox
) -> None:
    sandbox.canned["/jira/x"] = lambda: Answer(503, b"sorry", "text/plain")
    done = await signed_in.run("request", "/x")
    assert (done.code, done.out, done.error) == (22, "sorry", "Jira answered 503")


async def test_an_oauth_problem_is_explained(signed_in: Shell, sandbox: Sandbox) -> None:
    sandbox.revoke()
    done = await signed_in.run("request", "/rest/api/2/myself")
    assert done.code == 22
    assert done.error.startswith("Jira answered 401 (token_rejected): ")
    assert "sidecar auth" in done.hint


async def test_a_login_page_in_place_of_jira_exits_69(
    shell: Shell, write_config: Callable[..., None], upstream: RawUpstream, tmp_path: Path
) -> None:
    page = b"<html><title>Log in</title></html>"

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.say(page, "Content-Type: text/html")

    upstream.handler = answer
    write_config(upstream.url)
    path = tmp_path / ".local/state/sidecar/token.json"
    tokens = TokenFile(path, BaseURL.parse(upstream.url), CONSUMER_KEY)
    tokens.save(TokenCredentials(Secret("t" * 32), Secret("")))
    done = await shell.run("request", "/rest/api/2/myself")
    assert (done.code, done.out) == (69, page.decode())
    assert done.hint
