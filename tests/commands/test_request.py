"""`sidecar request`: what is sent, and what is said of an answer that OAuth is to blame for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.commands.request import Finding, Wanted, send
from sidecar.config.load import Config, load
from sidecar.credentials import Secret
from sidecar.errors import ResponseTimeout, UsageError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.http.methods import METHODS
from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import Answer, answer_json
from sidecar.signing.signature import FORM_TYPE
from tests.conftest import CONSUMER_KEY, make_config, store_token
from tests.support.dancing import Odd, answer
from tests.support.processes import Shell, shell
from tests.support.raw_server import Peer, RawServer

__all__ = ["shell"]


@pytest.fixture
def config(sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> Config:
    """A configuration for the sandbox, with a token that can be renewed."""
    made = make_config(sandbox.url, tmp_path, private_key)
    grant = sandbox.grant()
    store_token(made, grant.token, session_handle=Secret(grant.session_handle))
    return made


async def ask(config: Config, where: str, **wanted: object) -> tuple[int, Finding | None]:
    """Send one request; its status, and what is wrong with it."""
    async with send(config, Wanted(where, **wanted)) as sent:  # type: ignore[arg-type]
        body = b""
        while piece := await sent.response.read():
            body += piece
        return sent.response.status, sent.trouble(body)


@pytest.mark.parametrize(
    "where", ["/rest/api/2/myself", "rest/api/2/myself", "/jira/rest/api/2/myself", "/nowhere"]
)
async def test_what_oauth_is_not_to_blame_for_is_not_explained(
    sandbox: Sandbox, config: Config, where: str
) -> None:
    status, trouble = await ask(config, where)
    assert status == (404 if where == "/nowhere" else 200)
    assert trouble is None
    assert sandbox.log[-1].verdict == "ok"


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
async def test_a_jira_that_is_silent_or_drips_is_given_up(
    tmp_path: Path, private_key: RSAPrivateKey, beginning: bytes
) -> None:
    async def drip(peer: Peer) -> None:
        await peer.head()
        await peer.send(beginning)
        while beginning and not peer.writer.is_closing():
            await peer.send(b"a")
            await asyncio.sleep(0.01)
        await peer.gone()

    async with RawServer(drip) as server:
        config = make_config(server.url, tmp_path, private_key, timeouts__response=0.2)
        store_token(config, "T" * 32)
        with pytest.raises(ResponseTimeout) as caught:
            await ask(config, "/rest/api/2/myself")
    assert "timeouts.response" in caught.value.hint


async def test_a_url_on_the_configured_jira_will_do(sandbox: Sandbox, config: Config) -> None:
    assert await ask(config, f"{sandbox.url}/rest/api/2/myself") == (200, None)


@pytest.mark.parametrize(
    ("fault", "value", "name", "said", "hint"),
    [
        ("revoked", True, "token_rejected", "does not know our token", "sidecar auth"),
        ("expired", True, "token_expired", "come to its end", "sidecar run renews it"),
        ("clock_offset", 900.0, "timestamp_refused", "five minutes apart", "NTP"),
        ("nonce_used", 1, "nonce_used", "this very request", "repeat"),
        ("perceived_scheme", "https", "signature_invalid", "Jira believes", "jira.signing_url"),
        ("dropped_parameter", "jql", "signature_invalid", "were lost: jql", "unchanged"),
    ],
)
async def test_an_oauth_problem_is_explained(
    sandbox: Sandbox, config: Config, fault: str, value: object, name: str, said: str, hint: str
) -> None:
    setattr(sandbox.faults, fault, value)
    status, trouble = await ask(config, "/rest/api/2/search?jql=order+by+key")
    assert status in (400, 401)
    assert trouble is not None
    assert trouble.name == name
    assert said in trouble.sentence
    assert hint in trouble.hint


async def test_a_key_that_does_not_fit_is_explained(
    sandbox: Sandbox, config: Config, other_key: RSAPrivateKey
) -> None:
    sandbox.public_key = other_key.public_key()
    _, trouble = await ask(config, "/rest/api/2/myself")
    assert trouble is not None
    assert "not that of our private key" in trouble.sentence
    assert "public-key" in trouble.hint


async def test_an_anonymous_answer_of_status_200_is_explained(
    sandbox: Sandbox, config: Config
) -> None:
    sandbox.faults.strip_authorization = True
    status, trouble = await ask(config, "/rest/api/2/search")
    assert status == 200
    assert trouble is not None
    assert trouble.name == "anonymous"
    assert "Authorization" in trouble.hint


async def test_a_problem_in_the_body_alone_is_explained(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    async with Odd(answer(401, "oauth_problem=token_rejected")) as jira:
        config = make_config(jira.url, tmp_path, private_key)
        store_token(config, "T" * 32)
        status, trouble = await ask(config, "/x")
    assert status == 401
    assert trouble is not None
    assert trouble.name == "token_rejected"


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("https://elsewhere.example/x", []),
        ("/x", ["no colon"]),
        ("/x", ["A: b\r\nC: d"]),
        ("/x", [": empty"]),
    ],
)
async def test_what_cannot_be_sent_is_a_usage_error(
    sandbox: Sandbox, config: Config, where: str, fields: list[str]
) -> None:
    with pytest.raises(UsageError):
        await ask(config, where, fields=fields)
    assert not sandbox.log


async def test_parameters_of_oauths_own_are_refused(sandbox: Sandbox, config: Config) -> None:
    form = ["Content-Type: application/x-www-form-urlencoded"]
    with pytest.raises(UsageError):
        await ask(config, "/x?oauth_token=1")
    with pytest.raises(UsageError):
        await ask(config, "/x", fields=form, data=b"oauth_token=1")
    assert not sandbox.log


async def test_only_methods_that_the_proxy_forwards_are_sent(
    sandbox: Sandbox, config: Config
) -> None:
    for method in ("FOO", "CONNECT", "TRACE"):
        with pytest.raises(UsageError, match=f'no method "{method}"') as caught:
            await ask(config, "/x", method=method)
        assert "PATCH" in caught.value.hint
    for method in METHODS:
        await ask(config, "/x", method=method.lower())
    assert [request.method for request in sandbox.log] == list(METHODS)


@pytest.fixture
def write_config(
    tmp_path: Path, sandbox: Sandbox, private_key: RSAPrivateKey
) -> Callable[[], None]:
    """Write a configuration where the command looks for it, and a token beside it."""

    def write() -> None:
        folder = tmp_path / ".config" / "sidecar"
        write_private(folder / "private_key.pem", keys.private_key_pem(private_key))
        text = f'[jira]\nbase_url = "{sandbox.url}"\nconsumer_key = "{CONSUMER_KEY}"\n'
        (folder / "config.toml").write_text(text)
        made = load(folder / "config.toml", {"HOME": str(tmp_path)}, {})
        store_token(made, sandbox.grant().token)

    return write


async def test_the_command_explains_in_two_lines_and_exits_22(
    shell: Shell, sandbox: Sandbox, write_config: Callable[[], None]
) -> None:
    write_config()
    sandbox.faults.revoked = True
    done = await shell.run("request", "/rest/api/2/myself")
    assert done.code == 22
    assert done.out.startswith("oauth_problem=token_rejected")
    assert done.error == "Jira answered 401 (token_rejected): Jira does not know our token."
    assert done.hint == "run: sidecar auth"


async def test_the_command_warns_of_an_anonymous_answer_and_exits_0(
    shell: Shell, sandbox: Sandbox, write_config: Callable[[], None]
) -> None:
    write_config()
    sandbox.faults.strip_authorization = True
    sandbox.canned["/jira/x"] = lambda: answer_json({"issues": []})
    done = await shell.run("request", "/x")
    assert (done.code, done.out) == (0, '{"issues":[]}')
    assert done.err.startswith("sidecar: warning: Jira answered as if the request had not been")
    assert "Authorization" in done.hint


@pytest.mark.parametrize("fault", ["sso_html", "sso_redirect"])
async def test_a_login_page_is_no_success(
    shell: Shell, sandbox: Sandbox, write_config: Callable[[], None], fault: str
) -> None:
    write_config()
    sandbox.faults.throw({fault: True})
    done = await shell.run("request", "/rest/api/2/myself")
    assert done.code == 69
    assert done.error == "What answers is not Jira but something in front of it."
    assert "jira.base_url" in done.hint


async def test_pages_and_redirects_of_jiras_own_are_a_success(
    shell: Shell, sandbox: Sandbox, write_config: Callable[[], None]
) -> None:
    write_config()
    sandbox.canned["/jira/rest/page"] = lambda: Answer(200, b"<html>", "text/html")
    sandbox.canned["/jira/away"] = lambda: Answer(
        302, fields=[("Location", f"{sandbox.url}/elsewhere")]
    )
    for path, body in (("/rest/page", "<html>"), ("/away", "")):
        done = await shell.run("request", path)
        assert (done.code, done.out, done.err) == (0, body, "")


@pytest.fixture
async def link(make_sandbox: Callable[..., Awaitable[Sandbox]]) -> Sandbox:
    """A Jira whose application link may act by itself, and name its user."""
    return await make_sandbox(context_path="/jira", two_legged=True, impersonation=True)


@pytest.fixture
def as_link(link: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> Config:
    options = {"jira__two_legged": True, "access__act_as": ["ci-*"]}
    return make_config(link.url, tmp_path, private_key, **options)


async def test_the_link_itself_signs_where_there_is_no_token(
    link: Sandbox, as_link: Config
) -> None:
    assert await ask(as_link, "/rest/api/2/myself") == (200, None)
    fields = ["x-sidecar-act-as: ci-deploy"]
    assert await ask(as_link, "/rest/api/2/myself?a=1", fields=fields) == (200, None)
    assert [request.user for request in link.log] == ["builds", "ci-deploy"]
    assert link.log[1].target.endswith("?xoauth_requestor_id=ci-deploy&a=1")


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("/x?user_id=alana", {}),
        ("/x", {"data": b"user%5fid=alana", "fields": [f"Content-Type: {FORM_TYPE}"]}),
        ("/x", {"fields": ["X-Sidecar-Act-As: alana"]}),
        ("/x", {"fields": ["X-Sidecar-Act-As:"]}),
        ("/x", {"fields": ["X_Sidecar_Act_As: ci-deploy"]}),
    ],
)
async def test_nobody_becomes_a_user_whom_the_configuration_does_not_name(
    link: Sandbox, as_link: Config, where: str, wanted: dict[str, object]
) -> None:
    with pytest.raises(UsageError) as caught:
        await ask(as_link, where, **wanted)
    assert caught.value.hint
    assert not link.log


@pytest.mark.parametrize(
    ("switches", "name", "hint"),
    [
        ({"two_legged": False}, "two_legged_not_allowed", "tick Allow 2-Legged OAuth"),
        ({"execute_as": ""}, "anonymous", "as Execute as"),
    ],
)
async def test_a_link_that_lets_nobody_in_is_explained(
    link: Sandbox, as_link: Config, switches: dict[str, object], name: str, hint: str
) -> None:
    link.faults.throw(switches)
    _, trouble = await ask(as_link, "/rest/api/2/myself")
    assert trouble is not None
    assert (trouble.name, hint in trouble.hint) == (name, True)


async def test_a_key_of_another_size_is_explained(sandbox: Sandbox, config: Config) -> None:
    sandbox.public_key = keys.generate_private_key(1024).public_key()
    status, trouble = await ask(config, "/rest/api/2/myself")
    assert trouble is not None
    assert (status, trouble.name) == (500, "key_size_mismatch")
    assert "sidecar public-key" in trouble.hint
