"""`sidecar request` as its user meets it: what is sent, what is printed, how it exits."""

from __future__ import annotations

import asyncio
import os
import sys
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
from tests.support.terminals import Terminal, terminal

__all__ = ["shell", "terminal"]

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
        ["http://localhost:8088/_sidecar/status"],
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


@pytest.mark.parametrize(
    "words",
    [
        ["-H", "Bearer hush", "/x"], ["-H", "", "/x"], ["-H", ": x", "/x"], ["-H", "a b: x", "/x"],
        ["-H", b"\xff: x", "/x"], ["-H", b"X: \xff", "/x"], ["-H", "X: a\nB: c", "/x"],
        ["-H", "X: \x01", "/x"], ["-X", "", "/x"], ["-X", "GE T", "/x"], ["-d", "@nowhere", "/x"],
        ["-d", "@", "/x"], ["-d", "@.", "/x"], ["-d", "@nowhere/x", "/x"], ["/a b"], ["http://"],
        [b"/\xff"], ["/x", "/y"], [],
    ],
)  # fmt: skip
async def test_a_senseless_command_line_is_one_even_without_a_configuration(
    shell: Shell, words: list[str | bytes]
) -> None:
    done = await shell.run("request", *map(os.fsdecode, words))
    assert (done.code, done.out) == (2, "")
    assert done.error
    assert done.hint
    assert "hush" not in done.err


async def test_a_body_from_a_standard_input_that_is_closed_is_a_usage_error(shell: Shell) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"exec {sys.executable} -m sidecar request -d @- /x <&-",
        cwd=shell.folder, env=shell.environ, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.startswith(b"sidecar: error: -d @-: standard input is closed\nsidecar: hint: ")


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


SENT = b'{"b":1.0e5,"a":[],"b":123456789012345678901}'
SHOWN = '{\n  "b": 1.0e5,\n  "a": [],\n  "b": 123456789012345678901\n}\n'


async def test_on_a_terminal_json_is_indented_and_ends_with_a_newline(
    signed_in: Shell, sandbox: Sandbox, terminal: Terminal
) -> None:
    sandbox.canned["/jira/x"] = lambda: Answer(200, SENT, "application/vnd.x+json;charset=UTF-8")
    assert await terminal.run(signed_in, "request", "/x") == (0, SHOWN)
    assert await terminal.run(signed_in, "request", "--raw", "/x") == (0, SENT.decode())
    assert (await signed_in.run("request", "/x")).out == SENT.decode()
    code, shown = await terminal.run(signed_in, "request", "-i", "/x")
    assert (code, shown.partition("\r\n\r\n")[2]) == (0, SHOWN)


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        (b"no newline", "text/plain", "no newline\n"),
        (b"a newline\n", "text/plain", "a newline\n"),
        (SENT, "text/plain", SENT.decode() + "\n"),
        (b'{"a":', "application/json", '{"a":\n'),
        (b"", "application/json", ""),
        (b'["' + b"x" * 1_100_000 + b'"]', "application/json", '["' + "x" * 1_100_000 + '"]\n'),
    ],
    ids=["text", "line", "json as text", "no json", "nothing", "too long"],
)
async def test_on_a_terminal_whatever_else_is_printed_as_it_comes_and_ends_with_a_newline(
    signed_in: Shell, sandbox: Sandbox, terminal: Terminal, body: bytes, kind: str, shown: str
) -> None:
    sandbox.canned["/jira/x"] = lambda: Answer(200, body, kind)
    assert await terminal.run(signed_in, "request", "/x") == (0, shown)


async def test_what_came_of_an_answer_that_was_cut_is_shown(
    signed_in: Shell, sandbox: Sandbox, terminal: Terminal
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    sandbox.canned["/jira/x"] = lambda: Answer(raw=head + b'{"a":[')
    assert await terminal.run(signed_in, "request", "/x") == (69, '{"a":[\n')


async def test_a_404_says_what_may_be_wrong(signed_in: Shell, sandbox: Sandbox) -> None:
    done = await signed_in.run("request", "/nowhere")
    assert (done.code, done.error) == (22, "Jira answered 404")
    assert "/jira" in done.hint
    assert "sidecar check" in done.hint
    done = await signed_in.run("request", "/rest/api/2/issue/NO-1")
    assert (done.code, done.error) == (22, "Jira answered 404")
    assert "not see" in done.hint
