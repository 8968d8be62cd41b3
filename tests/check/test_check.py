"""`sidecar check`: each thing that can be wrong is named, with what to do, and nothing else is."""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.check import local
from sidecar.check.answers import not_jira, redirected_path, server_info
from sidecar.check.diagnosis import Check
from sidecar.check.ready import ready
from sidecar.check.step import Step, as_json, exit_code
from sidecar.config import load as configuration
from sidecar.config.load import Config
from sidecar.credentials import LATEST, Secret
from sidecar.errors import ConfigError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import Answer as SandboxAnswer
from sidecar.sandbox.answers import answer_json
from sidecar.upstream.pool import Answer
from tests.conftest import MakeSidecar, make_config, store_token
from tests.support.dancing import answer
from tests.support.disks import unplaceable
from tests.support.processes import Shell, shell
from tests.support.raw_server import Peer, RawServer, Script

__all__ = ["shell"]

MakeSandbox = Callable[..., Awaitable[Sandbox]]

NAMES = [
    "configuration", "private_key", "file_modes", "token", "name_resolution", "connection", "tls",
    "jira", "clock", "signature", "user", "anonymous", "context_path",
]  # fmt: skip
DAY = 24 * 3600.0
NOW = 1_900_000_000.0
"""For what has nothing to do with Jira's clock."""


class Result:
    """What a check came to."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = {step.name: step for step in steps}
        self.code = exit_code(steps)

    def __getitem__(self, name: str) -> Step:
        return self.steps[name]

    def of(self, status: str) -> list[str]:
        return [step.name for step in self.steps.values() if step.status == status]

    @property
    def failed(self) -> list[str]:
        return self.of("fail")

    @property
    def text(self) -> str:
        return "\n".join(f"{step.message}\n{step.hint}" for step in self.steps.values())


Diagnose = Callable[..., Awaitable[Result]]


@pytest.fixture
async def diagnose(private_key: RSAPrivateKey, tmp_path: Path) -> Diagnose:
    """Check a configuration for a base URL.  `token` is stored first, with the `facts` of it."""

    async def run(
        base_url: str,
        *,
        key: RSAPrivateKey = private_key,
        token: str | None = None,
        facts: dict[str, Any] | None = None,
        now: float | None = None,
        **options: Any,
    ) -> Result:
        config = make_config(base_url, tmp_path, key, **options)
        config.token.path.unlink(missing_ok=True)
        if token is not None:
            store_token(config, token, **(facts or {}))
        return await check(config, now=now)

    return run


async def check(config: Config, *, now: float | None = None) -> Result:
    """Check, and hold what is true of every result."""
    told: list[Step] = []
    clock = {} if now is None else {"clock": lambda: now}
    steps = await Check(lambda: config, **clock).run(told.append)
    assert told == steps
    assert [step.name for step in steps] == NAMES
    has_failed = False
    for step in steps:
        has_failed = has_failed or step.status == "fail"
        assert step.message
        assert step.status != "fail" or (step.hint and step.exit_code), step
        assert step.status != "skipped" or has_failed, "skipped, and nothing had failed before"
    result = Result(steps)
    assert as_json(steps)["ok"] is (result.code == 0) is (len(result.of("pass")) == len(NAMES))
    for secret in _secrets(config):
        assert secret not in result.text
    return result


def _secrets(config: Config) -> list[str]:
    found = config.jira.private_key.read_text().splitlines()[1:3]
    if config.token.path.exists() and config.token.path.stat().st_mode & 0o077 == 0:
        token = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key).load()
        assert token is not None
        found += [token.token.reveal()]
        found += [token.session_handle.reveal()] if token.session_handle else []
    if config.jira.proxy and "@" in config.jira.proxy.reveal():
        found.append(config.jira.proxy.reveal().partition("@")[0].rpartition(":")[2])
    return found


def always(*pieces: bytes) -> Script:
    """A script that answers every request with the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(*pieces)

    return script


def page(status: int, body: str = "", *fields: str) -> bytes:
    return answer(status, body, "Content-Type: text/html", *fields)


@asynccontextmanager
async def relay(
    sandbox: Sandbox,
    *,
    for_strangers: bytes = b"",
    dropped_for: bytes = b"",
    instead_of_date: bytes = b"Date:",
) -> AsyncIterator[str]:
    """A reverse proxy in front of a sandbox below /jira, which does what it should not."""
    port = int(sandbox.url.rpartition(":")[2].partition("/")[0])

    async def script(peer: Peer) -> None:
        head = await peer.head()
        if for_strangers and b"Authorization: OAuth" not in head:
            await peer.send(for_strangers)
            return
        if dropped_for and dropped_for in head:
            head = head.replace(b"Authorization:", b"X-Dropped:")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n", 1))
        await peer.send((await reader.read(-1)).replace(b"Date:", instead_of_date))
        writer.close()

    async with RawServer(script) as server:
        yield f"{server.url}/jira"


# --- all is well ---


async def test_everything_passes_with_a_good_token(sandbox: Sandbox, diagnose: Diagnose) -> None:
    token = sandbox.grant().token
    facts = {"user": "alana", "display_name": "Alana Example", "expires_at": NOW}
    result = await diagnose(sandbox.url, token=token, facts=facts)
    assert result.of("pass") == NAMES
    assert result.code == 0
    assert "Alana Example (alana), until 2030-03-1" in result["token"].message
    assert "Jira 9.12" in result["jira"].message
    assert "Jira takes us for Alana Example (alana)" in result["user"].message
    assert "as alana" in result["anonymous"].message
    assert "the right context path, /jira" in result["context_path"].message
    assert all(request.verdict in ("", "ok", None) for request in sandbox.log)


async def test_the_token_on_disk_and_in_jira_stay_as_they_are(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    """An expired token is not renewed: that is `run`'s affair, and check says so."""
    grant = sandbox.grant(expires_in=0)
    facts = {
        "session_handle": Secret(grant.session_handle),
        "expires_at": 1.7e9,
        "session_expires_at": NOW,
    }
    result = await diagnose(sandbox.url, token=grant.token, facts=facts)
    assert (result.failed, result.code) == (["token"], 77)
    assert "`sidecar run` renews it by itself" in result["token"].hint
    assert "until 2030-" in result["token"].hint
    assert "request token" in result["signature"].message
    assert grant.token in sandbox.provider.access_tokens
    assert not any("access-token" in request.target for request in sandbox.log)


async def test_an_expired_token_without_a_session_needs_a_dance(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    token = sandbox.grant().token
    result = await diagnose(sandbox.url, token=token, facts={"expires_at": 1.7e9})
    assert result.failed == ["token"]
    assert result["token"].hint == "run `sidecar auth`"
    assert result.of("skipped") == ["user", "anonymous"]
    assert result["signature"].status == "pass"


@pytest.mark.parametrize("zone", ["X-14", "X11"])
def test_a_time_beyond_the_calendar_has_no_day_in_any_time_zone(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """RFC 5280 §4.1.2.5: a certificate without an end has 99991231235959Z."""
    endless = 253402300799
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        days = [local.day(when) for when in (endless, LATEST, LATEST - 1)]
    time.tzset()
    assert days[:2] == ["forever", "forever"]
    assert days[2].startswith("9999-12-3")


@pytest.mark.parametrize(
    ("days", "noted"), [(31, ""), (29, "in 29 days"), (1.5, "in 1 day."), (0.5, "within a day")]
)
async def test_a_token_is_warned_of_from_30_days_before_its_end(
    diagnose: Diagnose, days: float, noted: str
) -> None:
    facts = {"expires_at": NOW + days * DAY}
    result = await diagnose("http://127.0.0.1:1", token="T" * 32, facts=facts, now=NOW)
    step = result["token"]
    assert step.status == "pass"
    assert noted in step.message
    assert ("sidecar auth" in step.hint) == bool(noted)


async def test_without_a_token_the_key_is_tried_all_the_same(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    result = await diagnose(sandbox.url)
    assert result.failed == ["token"]
    assert (result.code, result["token"].hint) == (77, "run `sidecar auth`")
    assert result.of("skipped") == ["user", "anonymous"]
    assert "Jira accepts our signature" in result["signature"].message


# --- here ---


async def test_without_a_configuration_nothing_else_can_be_tried(tmp_path: Path) -> None:
    steps = await Check(lambda: _refused(tmp_path)).run(lambda _: None)
    assert [step.status for step in steps] == ["fail"] + ["skipped"] * 12
    assert exit_code(steps) == 78
    assert "unknown key" in steps[0].message
    assert all("for want of a configuration" in step.message for step in steps[1:5])


def _refused(folder: Path) -> Config:
    file = folder / "config.toml"
    file.write_text('[jira]\nbase_ur = "x"\n')
    return configuration.load(file, {"HOME": str(folder)}, {})


@pytest.mark.parametrize("host", ["acme.atlassian.net", "ACME.Atlassian.NET", "acme.jira.com"])
async def test_jira_cloud_is_known_by_its_name(
    tmp_path: Path, private_key: RSAPrivateKey, host: str
) -> None:
    with pytest.raises(ConfigError, match="Jira Cloud"):
        local.configuration(make_config(f"https://{host}", tmp_path, private_key))
    fine = make_config("https://notatlassian.net", tmp_path, private_key)
    assert local.configuration(fine)


async def test_unwise_settings_are_notes(diagnose: Diagnose) -> None:
    result = await diagnose("http://jira.invalid")
    assert result["configuration"].status == "pass"
    assert "plain http" in result["configuration"].message


async def test_a_rule_that_run_would_refuse_is_found(
    private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    options = {"access__allow": ["GET /a/**b"]}
    steps = await Check(
        lambda: make_config("http://127.0.0.1:1", tmp_path, private_key, **options)
    ).run(lambda _: None)
    assert (steps[0].status, exit_code(steps)) == ("fail", 78)
    assert "access.allow: " in steps[0].message


async def test_a_short_key_is_a_note(sandbox: Sandbox, diagnose: Diagnose) -> None:
    key = keys.generate_private_key(1024)
    sandbox.public_key = key.public_key()
    result = await diagnose(sandbox.url, key=key, token=sandbox.grant().token)
    assert result.code == 0
    assert "1024 bits" in result["private_key"].message
    assert "too few" in result["private_key"].message


async def test_a_broken_key_leaves_all_unsigned_steps_to_be_tried(
    sandbox: Sandbox, private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    config = make_config(sandbox.url, tmp_path, private_key)
    store_token(config, sandbox.grant().token)
    write_private(config.jira.private_key, b"-----BEGIN PRIVATE KEY-----\nMIIB")
    result = await check(config)
    assert result.failed == ["private_key"]
    assert result.of("skipped") == ["signature", "user", "anonymous"]
    assert result["clock"].status == "pass"


async def test_every_file_that_others_can_read_is_named_at_once(
    private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    key_file, passphrase = tmp_path / "access_key", tmp_path / "passphrase"
    write_private(key_file, b"k" * 32)
    write_private(passphrase, b"p")
    config = make_config(
        "http://127.0.0.1:1",
        tmp_path,
        private_key,
        access__key_file=str(key_file),
        jira__private_key_passphrase_file=str(passphrase),
    )
    store_token(config, "T" * 32)
    assert (
        "private key, token, passphrase, access key" in (await check(config))["file_modes"].message
    )
    for path in (config.jira.private_key, config.token.path, key_file, passphrase):
        path.chmod(0o644)
        result = await check(config)
        assert "file_modes" in result.failed
        assert str(path) in result["file_modes"].message
        assert f"chmod 600 {path}" in result["file_modes"].hint
        assert result.code == 78
    assert result["file_modes"].hint.count("chmod") == 4


async def test_an_access_key_that_is_missing_is_found(diagnose: Diagnose, tmp_path: Path) -> None:
    result = await diagnose("http://127.0.0.1:1", access__key_file=str(tmp_path / "none"))
    assert "access key file does not exist" in result["file_modes"].message
    assert "access.key_file" in result["file_modes"].hint


async def test_an_access_key_that_no_client_can_send_is_found(
    diagnose: Diagnose, tmp_path: Path
) -> None:
    write_private(tmp_path / "key", b"two\nlines\n")
    result = await diagnose("http://127.0.0.1:1", access__key_file=str(tmp_path / "key"))
    assert "not one line of text" in result["file_modes"].message
    assert "access.key_file" in result["file_modes"].hint


async def test_a_client_certificate_is_a_secret_only_if_its_key_is_with_it(
    diagnose: Diagnose, certificates: TLS
) -> None:
    alone, both = certificates.open_client_files()
    async with RawServer(always(b"")) as server:
        url = server.url.replace("http:", "https:")
        missing = await diagnose(url, token="T" * 32, jira__client_certificate="/missing")
        result = await diagnose(url, token="T" * 32, jira__client_certificate=alone)
    assert (missing.failed, missing.code) == (["tls"], 78)
    assert "jira.client_certificate cannot be read: No such" in missing["tls"].message
    assert (result.failed, result.code) == (["tls"], 78)
    assert "there is no private key in it" in result["tls"].message
    assert "jira.client_key" in result["tls"].hint
    result = await diagnose("http://127.0.0.1:1", jira__client_certificate=both)
    assert f"chmod 600 {both}" in result["file_modes"].hint


async def test_a_link_that_leads_nowhere_and_a_folder_that_cannot_be_written(
    tmp_path: Path, private_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("http://127.0.0.1:1", tmp_path, private_key)
    config.token.path.parent.mkdir()
    config.token.path.symlink_to(tmp_path / "nowhere")
    assert (
        "cannot be looked at"
        in Result(await Check(lambda: config).run(lambda _: None))["file_modes"].message
    )
    config.token.path.unlink()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "no renewed token could be stored" in (await check(config))["file_modes"].message


@pytest.mark.parametrize(
    ("facts", "about"),
    [
        ({}, "There is an access token; Jira named no end of it. A renewed one could not"),
        ({"expires_at": 1.0}, "The access token came to its end on 1970-01-01. A renewed one"),
    ],
)
async def test_a_token_that_no_other_can_replace_is_found_years_before(
    sandbox: Sandbox,
    private_key: RSAPrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    about: str,
) -> None:
    config = make_config(sandbox.url, tmp_path, private_key)
    store_token(config, sandbox.grant().token, session_handle=Secret("HANDLE"), **facts)
    result = Result(await Check(lambda: config).run(lambda _: None))
    assert (result["token"].status == "pass") != bool(facts)
    unplaceable(monkeypatch)
    result = Result(await Check(lambda: config).run(lambda _: None))
    assert result.failed[0] == "token"
    assert result.code == 73
    assert result["token"].message.startswith(about)
    assert str(config.token.path) in result["token"].message
    assert "mount the folder" in result["token"].hint
    assert facts or result.failed == ["token"]


async def test_a_token_that_nobody_renews_needs_no_room(
    sandbox: Sandbox, private_key: RSAPrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(sandbox.url, tmp_path, private_key)
    store_token(config, sandbox.grant().token)
    unplaceable(monkeypatch)
    assert (await check(config)).code == 0


async def test_a_token_of_another_jira_is_not_ours(
    sandbox: Sandbox, private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    other = make_config("https://other.example", tmp_path, private_key)
    store_token(other, "T" * 32)
    result = Result(
        await Check(lambda: make_config(sandbox.url, tmp_path, private_key)).run(lambda _: None)
    )
    assert result.failed == ["token"]
    assert "https://other.example" in result["token"].message
    assert result.code == 77


# --- the way there ---


async def test_a_name_without_an_address(diagnose: Diagnose) -> None:
    result = await diagnose("http://jira.invalid:8080/jira", token="T" * 32)
    assert result.failed == ["name_resolution"]
    assert result.code == 69
    assert "jira.invalid" in result["name_resolution"].message
    assert result.of("skipped") == NAMES[5:]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_port_where_nothing_listens(diagnose: Diagnose, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = await diagnose(f"{scheme}://127.0.0.1:{port}", token="T" * 32)
    assert result.failed == ["connection"]
    assert result.code == 69
    assert "connection refused" in result["connection"].message


class TLS:
    """A CA, and the contexts that go with it."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.folder = folder

    def server(self, *names: str, **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("127.0.0.1",)), **options).configure_cert(context)
        return context

    def client_files(self) -> dict[str, str]:
        """A client certificate with its key, as options."""
        leaf = self.ca.issue_cert("client@example.com")
        certificate, key = self.folder / "client.pem", self.folder / "client.key"
        write_private(certificate, leaf.cert_chain_pems[0].bytes())
        write_private(key, leaf.private_key_pem.bytes())
        return {"jira__client_certificate": str(certificate), "jira__client_key": str(key)}

    def open_client_files(self) -> tuple[str, str]:
        """A client certificate alone, and one with its key, that others can read."""
        leaf = self.ca.issue_cert("client@example.com")
        alone, both = self.folder / "alone.pem", self.folder / "both.pem"
        alone.write_bytes(leaf.cert_chain_pems[0].bytes())
        both.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
        return str(alone), str(both)


@pytest.fixture
def certificates(tmp_path: Path) -> TLS:
    return TLS(tmp_path)


async def test_tls_that_is_in_order(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=10)
    for context, noted in (
        (certificates.server(), False),
        (certificates.server("127.0.0.1", not_after=soon), True),
    ):
        sandbox = await make_sandbox(ssl=context)
        token = sandbox.grant().token
        result = await diagnose(sandbox.url, token=token, jira__ca_file=certificates.ca_file)
        assert result.code == 0, result.text
        assert "TLSv1.3" in result["tls"].message
        assert ("renewed" in result["tls"].hint) == noted


async def test_tls_failures_by_kind(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    ours = {"jira__ca_file": certificates.ca_file}
    for context, options, message, hint in (
        (certificates.server(), {}, "CA unknown here", "jira.ca_file"),
        (certificates.server("other.example"), ours, "for another name", "in the certificate"),
        (certificates.server("127.0.0.1", not_after=past), ours, "has expired", "renewed"),
    ):
        sandbox = await make_sandbox(ssl=context)
        result = await diagnose(sandbox.url, token="T" * 32, **options)
        assert result.failed == ["tls"]
        assert result.code == 69
        assert message in result["tls"].message
        assert hint in result["tls"].hint
        assert result.of("skipped") == NAMES[7:]
        assert not sandbox.log


@contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[str]:
    """A TLS server as others than asyncio's are: it says why it refuses a handshake."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with (
                connection,
                suppress(OSError),
                context.wrap_socket(connection, server_side=True) as secured,
            ):
                secured.recv(65536)
                secured.sendall(page(404))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def wants_certificates(request: pytest.FixtureRequest, certificates: TLS) -> ssl.SSLContext:
    """A server's context with mutual TLS, of either version."""
    context = certificates.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = request.param
    certificates.ca.configure_trust(context)
    return context


async def test_a_client_certificate_that_is_wanted(
    diagnose: Diagnose, certificates: TLS, wants_certificates: ssl.SSLContext
) -> None:
    trust = {"jira__ca_file": certificates.ca_file, "token": "T" * 32}
    with strict_server(wants_certificates) as url:
        result = await diagnose(url, **trust)
        assert (result.failed, result.code) == (["tls"], 69)
        assert "want" in result["tls"].message
        assert "a client certificate" in result["tls"].message
        assert "jira.client_certificate" in result["tls"].hint
        stranger = TLS(certificates.folder)
        certificates.ca.cert_pem.write_to_path(certificates.ca_file)
        result = await diagnose(url, **trust, **stranger.client_files())
        assert (result.failed, result.code) == (["tls"], 69)
        assert "does not accept our client certificate" in result["tls"].message


async def test_a_client_certificate_whose_lack_ends_the_connection(
    make_sandbox: MakeSandbox,
    diagnose: Diagnose,
    certificates: TLS,
    wants_certificates: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """asyncio's own server says nothing before it closes."""
    sandbox = await make_sandbox(ssl=wants_certificates)
    trust = {"jira__ca_file": certificates.ca_file, "token": sandbox.grant().token}
    result = await diagnose(sandbox.url, **trust)
    assert (result.failed, result.code) == (["tls"], 69)
    assert "jira.client_certificate" in result["tls"].hint
    result = await diagnose(sandbox.url, **trust, **certificates.client_files())
    assert result.code == 0, result.text


async def test_a_client_certificate_that_nginx_wants(diagnose: Diagnose) -> None:
    body = "<html><center>No required SSL certificate was sent</center><hr>nginx</html>"
    async with RawServer(always(page(400, body))) as server:
        result = await diagnose(server.url)
    assert "wants a client certificate" in result["jira"].message


async def test_plain_http_and_https_taken_for_each_other(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    plain = await make_sandbox()
    result = await diagnose(plain.url.replace("http:", "https:"))
    assert "tls" in result.failed
    assert "does not speak TLS" in result["tls"].message
    assert f'"{plain.url}"' in result["tls"].hint
    secure = await make_sandbox(ssl=certificates.server(), context_path="/jira")
    result = await diagnose(secure.url.replace("https:", "http:"))
    assert not {"tls", "jira"}.isdisjoint(result.failed)
    nginx = page(400, "<center>The plain HTTP request was sent to HTTPS port</center>")
    async with RawServer(always(nginx)) as server:
        result = await diagnose(server.url)
    assert result.failed == ["token", "jira"]
    assert f'"{server.url.replace("http:", "https:")}"' in result["jira"].hint


async def test_tls_alerts_are_told_apart(diagnose: Diagnose) -> None:
    for alert, message in (
        (70, "TLS 1.2 or newer"),  # protocol_version
        (112, "does not know itself by the name"),  # unrecognized_name
        (80, "failed"),  # internal_error
    ):

        async def refuse(peer: Peer, alert: int = alert) -> None:
            await peer.reader.read(1)
            await peer.send(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))

        async with RawServer(refuse) as server:
            result = await diagnose(server.url.replace("http:", "https:"), token="T" * 32)
        assert result.failed == ["tls"]
        assert message in result["tls"].message

    async def vanish(peer: Peer) -> None:
        await peer.reader.read(1)

    async with RawServer(vanish) as server:
        result = await diagnose(server.url.replace("http:", "https:"), token="T" * 32)
    assert "while TLS was being agreed on" in result["tls"].message


async def test_http_spoken_to_a_tls_port_is_known_by_its_alert(diagnose: Diagnose) -> None:
    async with RawServer(always(b"\x15\x03\x03\x00\x02\x02\x46")) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert result.failed == ["tls"]
    assert "speaks TLS" in result["tls"].message
    assert 'jira.base_url = "https://' in result["tls"].hint


async def test_a_port_that_hangs_up_on_plain_http_may_speak_tls(diagnose: Diagnose) -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.head()

    async with RawServer(hang_up) as server:
        result = await diagnose(f"{server.url}/jira", token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 69)
    https = f"{server.url.replace('http:', 'https:')}/jira"
    assert f'if that port speaks https, jira.base_url = "{https}"' in result["jira"].hint
    assert "firewall" in result["jira"].hint


async def test_a_connection_that_ends_inside_an_answer_speaks_http(diagnose: Diagnose) -> None:
    async def cut_off(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")

    async with RawServer(cut_off) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert result.failed == ["jira"]
    assert "firewall" in result["jira"].hint
    assert "https" not in result["jira"].hint


async def test_a_ca_file_that_cannot_be_used_is_the_configurations_fault(
    diagnose: Diagnose, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    async with RawServer(always(b"")) as server:
        url = server.url.replace("http:", "https:")
        result = await diagnose(url, token="T" * 32, jira__ca_file=str(tmp_path / "ca.pem"))
    assert (result.failed, result.code) == (["tls"], 78)
    assert "jira.ca_file" in result["tls"].message


# --- a proxy on the way ---


@asynccontextmanager
async def tunnel(refusal: bytes = b"") -> AsyncIterator[tuple[str, list[bytes]]]:
    """An HTTP proxy that knows CONNECT alone, or answers with `refusal`; what it was asked."""
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.head())
        if refusal:
            await peer.send(refusal)
            return
        host, _, port = asked[-1].split()[1].decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(peer.reader, writer), _pump(reader, peer.writer))
        finally:
            writer.transport.abort()

    async with RawServer(script) as server:
        yield server.url.removeprefix("http://"), asked


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.transport.abort()


async def test_through_a_proxy_jira_is_reached_and_the_password_not_shown(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    sandbox = await make_sandbox(ssl=certificates.server())
    async with tunnel() as (address, asked):
        result = await diagnose(
            sandbox.url,
            token=sandbox.grant().token,
            jira__ca_file=certificates.ca_file,
            jira__proxy=f"http://me:hunter2@{address}",
        )
    assert result.code == 0, result.text
    assert f"the proxy {address} takes connections" in result["connection"].message
    assert b"Proxy-Authorization: Basic bWU6aHVudGVyMg==" in asked[0]


async def test_a_proxy_that_refuses_or_is_none(diagnose: Diagnose) -> None:
    for refusal, message in (
        (page(407), "status 407"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer as an HTTP proxy"),
        (b"HTTP/1.1 200", "does not answer as an HTTP proxy"),
    ):
        async with tunnel(refusal) as (address, _):
            proxy = f"http://me:hunter2@{address}"
            result = await diagnose("https://jira.invalid", token="T" * 32, jira__proxy=proxy)
        assert result.failed == ["connection"]
        assert message in result["connection"].message
        assert "jira.proxy" in result["connection"].hint
        assert result.code == 69


async def test_a_proxy_whose_name_has_no_address(diagnose: Diagnose) -> None:
    result = await diagnose("https://127.0.0.1", jira__proxy="http://proxy.invalid:3128")
    assert "proxy.invalid" in result["name_resolution"].message
    assert "jira.proxy" in result["name_resolution"].hint


# --- who is there ---


@pytest.mark.parametrize("fault", ["sso_redirect", "sso_html"])
async def test_a_login_page_is_recognised(sandbox: Sandbox, diagnose: Diagnose, fault: str) -> None:
    setattr(sandbox.faults, fault, True)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.failed == ["jira"]
    assert result.code == 69
    assert "login page (single sign-on)" in result["jira"].message
    assert "/plugins/servlet/oauth/" in result["jira"].hint
    assert result.of("skipped") == NAMES[8:]


async def test_a_gateway_that_lets_signed_requests_through_is_no_fault(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    """Strangers are sent to the login page, and whoever signs reaches Jira."""
    login = page(302, "", "Location: https://sso.example.com/login")
    async with relay(sandbox, for_strangers=login) as base_url:
        for token in (sandbox.grant().token, None):
            result = await diagnose(base_url, token=token)
            assert result.failed == ([] if token else ["token"]), result.text
            assert "signed requests get through" in result["jira"].message


CAPTIVE = [
    page(511, "<html>log in</html>"),
    page(200, "<html><title>Hotel WiFi</title>Accept the terms of use</html>"),
    page(302, "", "Location: http://captive.example/portal?url=x"),
    page(407, "<html></html>", "Proxy-Authenticate: Basic"),
]


@pytest.mark.parametrize("raw", CAPTIVE, ids=["511", "page", "redirect", "407"])
async def test_a_captive_portal_is_recognised(diagnose: Diagnose, raw: bytes) -> None:
    async with RawServer(always(raw)) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 69)
    assert "captive portal or proxy of this network" in result["jira"].message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (page(200, "<html><title>Welcome to nginx!</title>"), 'titled "Welcome to nginx!"'),
        (page(200, "<form><input type=password></form>"), "login page"),
        (page(403, "<html>Blocked by Zscaler</html>"), "web filter"),
        (page(401, "", "WWW-Authenticate: Negotiate"), "login of its own (Negotiate)"),
        (page(302, "", "Location: https://elsewhere.example/x"), "redirects to https://elsewhere"),
        (page(302, "", "Location: https://a:b@elsewhere.example/x"), "to https://elsewhere"),
        (page(302), "redirects to"),
        (page(302, "", "Location: http://[bad"), "redirects to elsewhere"),
        (page(404, "<html>not found</html>"), "There is no Jira at"),
        (page(503, "starting"), "status 503"),
        (answer(200, "[1]", "Content-Type: application/json"), "is not Jira's"),
        (answer(200, "[" * 100_000), "is not Jira's"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not valid HTTP"),
    ],
)
async def test_whatever_else_answers_is_named(diagnose: Diagnose, raw: bytes, message: str) -> None:
    async with RawServer(always(raw)) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 69)
    assert message in result["jira"].message
    assert "a:b" not in result.text


async def test_a_redirect_to_https_names_the_right_base_url(diagnose: Diagnose) -> None:
    where = "Location: https://jira.example.com/tracker/rest/api/2/serverInfo"
    async with RawServer(always(page(301, "", where))) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 78)
    assert result["jira"].hint == 'set jira.base_url = "https://jira.example.com/tracker"'


@pytest.mark.parametrize("fault", ["unavailable", "reset", "cut_off"])
async def test_a_jira_that_does_not_answer_soundly(
    sandbox: Sandbox, diagnose: Diagnose, fault: str
) -> None:
    token = sandbox.grant().token
    setattr(sandbox.faults, fault, 10 if fault == "cut_off" else True)
    result = await diagnose(sandbox.url, token=token)
    assert (result.failed, result.code) == (["jira"], 69)
    assert "try again" in result["jira"].hint
    sandbox.faults.clear()
    assert (await diagnose(sandbox.url, token=token)).code == 0


async def test_jira_cloud_is_known_by_its_server_info(diagnose: Diagnose) -> None:
    cloud = '{"baseUrl": "https://jira.acme.com", "deploymentType": "Cloud"}'
    async with RawServer(always(answer(200, cloud))) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 78)
    assert "Jira Cloud" in result["jira"].message


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a": 1}', b"\xff", b'{"baseUrl": 1', b"null"])
def test_what_is_no_server_info_is_none(body: bytes) -> None:
    assert server_info(Answer(200, [], body)) is None


LOCATIONS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            ["http://", "https:", "//", "127.0.0.1", ":8080", "/jira", "/rest/api/2/serverInfo",
             "@", "[", "]", "?", "#", "%", "\\", "\n", "é", "..", "/secure/", "login", "wifi"]
        ),
        max_size=8,
    ).map(lambda parts: "".join(parts).encode()),
)  # fmt: skip


@given(
    status=st.integers(200, 599),
    location=LOCATIONS,
    challenge=st.binary(max_size=30),
    body=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: f"<title>{t}".encode()),
)
def test_whatever_answers_is_named_on_one_line(
    status: int, location: bytes, challenge: bytes, body: bytes
) -> None:
    base = BaseURL.parse("http://127.0.0.1:8080/jira")
    fields = [(b"Location", location), (b"WWW-Authenticate", challenge)]
    given = Answer(status, fields, body)
    error = not_jira(given, base)
    assert error.exit_code in (69, 78)
    assert error.message.isprintable()
    assert error.hint.isprintable()
    path = redirected_path(given, base.origin, base.path)
    assert path is None or path == "" or (path.startswith("/") and not path.endswith("/"))


# --- the context path ---


@pytest.mark.parametrize("wrong", ["", "/jira/rest", "/jira/secure/Dashboard.jspa", "/wrong"])
async def test_the_right_context_path_is_found_and_gone_on_with(
    sandbox: Sandbox, diagnose: Diagnose, wrong: str
) -> None:
    base = sandbox.url.removesuffix("/jira")
    result = await diagnose(base + wrong, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["context_path"], 78)
    assert result["context_path"].hint == f'set jira.base_url = "{sandbox.url}"'
    assert "/jira" in result["context_path"].message
    if not wrong:
        expected = "jira.base_url lacks the context path /jira."
        assert result["context_path"].message == expected


async def test_a_context_path_too_many_is_found(
    make_sandbox: MakeSandbox, diagnose: Diagnose
) -> None:
    sandbox = await make_sandbox()
    result = await diagnose(f"{sandbox.url}/jira", token=sandbox.grant().token)
    assert result.failed == ["context_path"]
    assert result["context_path"].hint == f'set jira.base_url = "{sandbox.url}"'


async def test_an_odd_context_path_is_found_by_what_jira_called_itself(
    make_sandbox: MakeSandbox, diagnose: Diagnose
) -> None:
    sandbox = await make_sandbox(context_path="/tracker")
    facts = {"server_url": "https://jira.example.com/tracker"}
    base = sandbox.url.removesuffix("/tracker")
    result = await diagnose(base, token=sandbox.grant().token, facts=facts)
    assert result["context_path"].hint == f'set jira.base_url = "{sandbox.url}"'


@pytest.mark.parametrize("where", ["/tracker/", "/tracker/secure/Dashboard.jspa?x=1", "tracker/"])
async def test_an_odd_context_path_is_found_by_a_redirect(diagnose: Diagnose, where: str) -> None:
    info = answer(200, '{"baseUrl": "https://jira.example.com/tracker"}')

    async def jira(peer: Peer) -> None:
        while True:
            target = (await peer.head()).split()[1]
            if target == b"/":
                await peer.send(page(302, "", f"Location: {where}"))
            elif target == b"/tracker/rest/api/2/serverInfo":
                await peer.send(info)
            else:
                await peer.send(page(404))

    async with RawServer(jira) as server:
        result = await diagnose(server.url)
        assert "context_path" in result.failed
        assert result["context_path"].hint == f'set jira.base_url = "{server.url}/tracker"'


async def test_what_jira_calls_itself_is_told(
    make_sandbox: MakeSandbox, diagnose: Diagnose
) -> None:
    sandbox = await make_sandbox(base_url="https://jira.example.com/jira", context_path="/jira")
    token = sandbox.grant().token
    result = await diagnose(sandbox.url, token=token)
    assert result.code == 0
    assert "Jira calls itself https://jira.example.com/jira" in result["context_path"].message
    sandbox.canned["/jira/rest/api/2/serverInfo"] = lambda: answer_json({"versionNumbers": [8]})
    assert "does not say" in (await diagnose(sandbox.url, token=token))["context_path"].message


# --- the clock ---


@pytest.mark.parametrize("offset", [7200.0, -7200.0, 400.0, -280.0])
async def test_clocks_apart_are_a_fault_and_the_rest_is_tried(
    sandbox: Sandbox, diagnose: Diagnose, offset: float
) -> None:
    sandbox.faults.clock_offset = offset
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["clock"], 77)
    assert ("ahead of" if offset > 0 else "behind") in result["clock"].message
    assert "`sidecar run` corrects for it by itself" in result["clock"].hint
    assert not [request for request in sandbox.log if request.verdict == "timestamp_refused"]


@pytest.mark.parametrize("offset", [0.0, 29.0, -60.0, 200.0])
async def test_a_drift_is_a_note_at_most(
    sandbox: Sandbox, diagnose: Diagnose, offset: float
) -> None:
    sandbox.faults.clock_offset = offset
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.code == 0
    assert ("NTP" in result["clock"].hint) == (abs(offset) > 30)


@pytest.mark.parametrize("shown", [b"X-Date:", b"Age: 4000\r\nDate:"])
async def test_a_clock_that_date_does_not_tell_is_known_by_what_jira_refuses(
    sandbox: Sandbox, diagnose: Diagnose, shown: bytes
) -> None:
    """A reverse proxy that sets, or keeps, a `Date` of its own."""
    sandbox.faults.clock_offset = 1000.0
    async with relay(sandbox, instead_of_date=shown) as base_url:
        result = await diagnose(base_url, token=sandbox.grant().token)
    assert "tell no time" in result["clock"].message
    assert "signature" in result.failed
    assert re.search("16 min (39|40) s ahead of", result["signature"].message)
    assert result["user"].status == "pass"


# --- whom it takes us for ---


async def test_a_key_that_does_not_fit_the_application_link(
    sandbox: Sandbox, diagnose: Diagnose, other_key: RSAPrivateKey
) -> None:
    sandbox.public_key = other_key.public_key()
    for token in (sandbox.grant().token, None):
        result = await diagnose(sandbox.url, token=token)
        step = result["signature"]
        assert (step.status, step.exit_code) == ("fail", 78)
        assert "does not belong to our private key" in step.message
        fingerprint = result["private_key"].message.rpartition(" ")[2].rstrip(".")
        assert fingerprint in step.hint
        assert "`sidecar public-key`" in step.hint
        assert {"user", "anonymous"} <= set(result.of("skipped"))


async def test_a_consumer_key_that_jira_does_not_know(sandbox: Sandbox, diagnose: Diagnose) -> None:
    result = await diagnose(sandbox.url, jira__consumer_key="Other", token=sandbox.grant().token)
    assert (result.failed, result.code) == (["signature"], 78)
    assert '"Other"' in result["signature"].message
    sandbox.faults.link_gone = True
    result = await diagnose(sandbox.url, token=sandbox.grant().token, jira__consumer_key="Other")
    assert result["signature"].exit_code == 78


PERCEIVED = {
    "perceived_scheme": ("https", 'scheme="http"'),
    "perceived_host": ("tomcat.internal", "proxyName="),
    "perceived_port": (1234, "proxyPort="),
    "perceived_prefix": ("/internal", "jira.signing_url"),
}


@pytest.mark.parametrize("fault", PERCEIVED)
async def test_a_url_that_jira_does_not_believe_in_is_named_and_gone_on_from(
    sandbox: Sandbox, diagnose: Diagnose, fault: str
) -> None:
    value, hint = PERCEIVED[fault]
    setattr(sandbox.faults, fault, value)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["signature"], 78)
    assert "Jira believes that its URL is" in result["signature"].message
    assert hint in result["signature"].hint
    assert "jira.signing_url" in result["signature"].hint


async def test_a_parameter_that_is_lost_on_the_way_is_named(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    sandbox.faults.dropped_parameter = "jql"
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.failed == ["anonymous"]
    assert "parameters were lost: jql" in result["anonymous"].message


async def test_authorization_that_is_dropped_on_the_way(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    sandbox.faults.strip_authorization = True
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["signature", "anonymous"], 69)
    for name in result.failed:
        assert "drops the Authorization field" in result[name].message


async def test_searches_that_are_answered_as_anonymous(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    """200 and nothing found, for want of Authorization below that path alone."""
    async with relay(sandbox, dropped_for=b"/search?") as base_url:
        result = await diagnose(base_url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["anonymous"], 69)
    assert "a search as anonymous" in result["anonymous"].message


async def test_authorization_that_is_dropped_below_rest_alone(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    async with relay(sandbox, dropped_for=b"/rest/") as base_url:
        result = await diagnose(base_url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["user"], 69)
    assert result["signature"].status == "pass"
    assert "drops the Authorization field" in result["user"].message


async def test_a_jira_that_tells_strangers_nothing_is_asked_signed(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    info = sandbox.canned.setdefault
    told: list[str | None] = []

    def server_info_for_users() -> SandboxAnswer:
        told.append(sandbox.log[-1].user)
        if sandbox.log[-1].user is None:
            return answer_json({}, 403)
        return answer_json({"baseUrl": "https://jira.example.com/jira", "version": "9.9"})

    info("/jira/rest/api/2/serverInfo", server_info_for_users)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert result.code == 0, result.text
    assert "https://jira.example.com/jira" in result["context_path"].message
    assert None in told


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        ("revoked", "does not know our token", "sidecar auth"),
        ("expired", "came to its end", "sidecar auth"),
        ("inactive_user", "does not let the user in", "administrator"),
    ],
)
async def test_a_token_or_user_that_is_not_let_in(
    sandbox: Sandbox, diagnose: Diagnose, fault: str, message: str, hint: str
) -> None:
    setattr(sandbox.faults, fault, True)
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["user"], 77)
    assert message in result["user"].message
    assert hint in result["user"].hint
    assert result["signature"].status == "pass"
    assert result.of("skipped") == ["anonymous"]


async def test_a_token_that_jira_calls_expired_is_renewed_by_run(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    grant = sandbox.grant()
    sandbox.faults.expired = True
    facts = {"session_handle": Secret(grant.session_handle)}
    result = await diagnose(sandbox.url, token=grant.token, facts=facts)
    assert "`sidecar run` renews it by itself" in result["user"].hint


async def test_a_rate_limit_is_no_fault_of_the_signature(
    sandbox: Sandbox, diagnose: Diagnose
) -> None:
    sandbox.faults.rate_limited = 5
    result = await diagnose(sandbox.url, token=sandbox.grant().token)
    assert (result.failed, result.code) == (["user"], 69)
    assert "rate limit" in result["user"].message


@pytest.mark.parametrize("times", [1, 2])
async def test_a_nonce_that_was_seen_is_tried_again(
    sandbox: Sandbox, diagnose: Diagnose, times: int
) -> None:
    sandbox.faults.nonce_used = times
    assert (await diagnose(sandbox.url, token=sandbox.grant().token)).code == 0


async def test_a_link_without_a_key_is_the_links_fault(diagnose: Diagnose) -> None:
    refusal = answer(
        400,
        "oauth_problem=signature_method_rejected",
        'WWW-Authenticate: OAuth realm="x", oauth_problem="signature_method_rejected"',
    )
    async with RawServer(always(refusal)) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert (result["signature"].status, result.code) == ("fail", 78)
    assert "public-key" in result["signature"].hint


async def test_answers_to_signed_requests_that_make_no_sense(diagnose: Diagnose) -> None:
    info = answer(200, '{"baseUrl": "https://jira.example.com", "version": "9"}')
    for odd, code in ((page(500, "oops"), 69), (page(200, "<title>Log in</title>"), 69)):

        async def jira(peer: Peer, odd: bytes = odd) -> None:
            target = (await peer.head()).split()[1]
            await peer.send(info if target.endswith(b"/serverInfo") else odd)

        async with RawServer(jira) as server:
            for token in ("T" * 32, None):
                result = await diagnose(server.url, token=token)
                assert result["signature"].status == "fail"
                assert result["signature"].exit_code == code


async def test_answers_without_jiras_own_fields_are_enough(diagnose: Diagnose) -> None:
    """A reverse proxy may drop every X- field."""
    info = answer(200, '{"baseUrl": "https://jira.example.com/", "version": "9"}')

    async def jira(peer: Peer) -> None:
        target = (await peer.head()).split()[1]
        if target.endswith(b"/serverInfo"):
            await peer.send(info)
        elif target.endswith(b"/myself"):
            await peer.send(answer(200, '{"name": "alana\\u001b[31m"}'))
        else:
            await peer.send(answer(200, '{"issues": []}'))

    async with RawServer(jira) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert result.code == 0, result.text
    assert "\x1b" not in result.text
    assert "X-AUSERNAME" in result["anonymous"].message


# --- whether the running sidecar is ready ---


def config_at(folder: Path, key: RSAPrivateKey, address: str, **options: Any) -> Config:
    return make_config("http://127.0.0.1:1", folder, key, listen__addresses=[address], **options)


async def test_ready_asks_the_running_sidecar(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    path = tmp_path / "s"
    running = await make_sidecar(
        "http://127.0.0.1:1", token="T" * 32, listen__addresses=["127.0.0.1:0", f"unix:{path}"]
    )
    for address in (running.authority, f"unix:{path}", f"0.0.0.0:{running.port}"):
        options: dict[str, Any] = {}
        if address.startswith("0"):
            write_private(tmp_path / "access", b"k" * 32)
            options = {"access__key_file": str(tmp_path / "access")}
        step = await asyncio.to_thread(ready, config_at(tmp_path, private_key, address, **options))
        assert (step.name, step.status, step.exit_code) == ("ready", "pass", 0)
        assert address in step.message


async def test_ready_exits_77_without_a_token(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    running = await make_sidecar("http://127.0.0.1:1")
    step = await asyncio.to_thread(ready, config_at(tmp_path, private_key, running.authority))
    assert (step.status, step.exit_code) == ("fail", 77)
    assert "no access token" in step.message
    assert "sidecar auth" in step.hint


async def test_ready_speaks_tls_to_a_listener_whatever_its_certificate(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey, certificates: TLS
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    leaf = certificates.ca.issue_cert("other.example", not_after=past)
    write_private(tmp_path / "tls.pem", leaf.private_key_and_cert_chain_pem.bytes())
    files = {
        "listen__tls_certificate": str(tmp_path / "tls.pem"),
        "listen__tls_key": str(tmp_path / "tls.pem"),
    }
    running = await make_sidecar("http://127.0.0.1:1", token="T" * 32, **files)
    config = config_at(tmp_path, private_key, running.authority, **files)
    assert (await asyncio.to_thread(ready, config)).status == "pass"


async def test_ready_exits_69_where_nothing_listens(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        step = ready(config_at(tmp_path, private_key, address))
        assert (step.status, step.exit_code) == ("fail", 69)
        assert "No sidecar listens" in step.message


async def test_ready_asks_the_admin_listener_first(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    admin_socket = f"unix:{tmp_path}/admin"
    await make_sidecar("http://127.0.0.1:1", token="T" * 32, admin__address=admin_socket)
    config = config_at(tmp_path, private_key, "127.0.0.1:1", admin__address=admin_socket)
    assert (await asyncio.to_thread(ready, config)).status == "pass"
    said = answer(200, '{"ready": true}')
    async with RawServer(always(said)) as admin:
        address = admin.url.removeprefix("http://")
        config = config_at(tmp_path, private_key, "127.0.0.1:1", admin__address=address)
        step = await asyncio.to_thread(ready, config)
    assert step.status == "pass"
    assert address in step.message


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (answer(404, "nothing"), 69),
        (answer(503, "not JSON"), 77),
        (answer(503, "[]"), 77),
        (b"SSH-2.0\r\n", 69),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 69),
        (b"\x00" * 100_000, 69),
    ],
)
async def test_ready_is_not_taken_in_by_something_else(
    tmp_path: Path, private_key: RSAPrivateKey, raw: bytes, code: int
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(raw)

    async with RawServer(script) as server:
        config = config_at(tmp_path, private_key, server.url.removeprefix("http://"))
        step = await asyncio.to_thread(ready, config)
    assert (step.status, step.exit_code) == ("fail", code)


def test_ready_cannot_know_a_port_that_was_picked(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    step = ready(config_at(tmp_path, private_key, "127.0.0.1:0"))
    assert (step.status, step.exit_code) == ("fail", 78)
    assert "admin.address" in step.hint


# --- as the command line shows it ---


async def test_the_command_prints_a_line_for_each_step_and_exits_with_the_first_fault(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path]
) -> None:
    write_config(sandbox.url)
    done = await shell.run("check")
    lines = done.out.splitlines()
    assert [line[0] for line in lines if line[0] != " "] == [*"✓✓✓✗✓✓✓✓✓✓––✓"]
    at = next(index for index, line in enumerate(lines) if line.startswith("✗"))
    assert lines[at + 1] == "    run `sidecar auth`"
    assert (done.code, done.err) == (77, "")


async def test_the_command_speaks_json(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path]
) -> None:
    write_config(sandbox.url)
    done = await shell.run("check", "--json")
    said = json.loads(done.out)
    assert said["ok"] is False
    assert [step["name"] for step in said["steps"]] == NAMES
    assert all(list(step) == ["name", "status", "message", "hint"] for step in said["steps"])
    assert {step["status"] for step in said["steps"]} == {"pass", "fail", "skipped"}
    assert (done.code, done.err) == (77, "")


async def test_the_command_exits_0_only_if_all_is_well(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_config(sandbox.url)
    store_token(configuration.load(file, {"HOME": str(tmp_path)}, {}), sandbox.grant().token)
    done = await shell.run("check", "--json")
    assert (done.code, json.loads(done.out)["ok"]) == (0, True)


async def test_the_command_says_without_symbols_where_the_terminal_has_none(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config("http://127.0.0.1:1")
    shell.environ["PYTHONIOENCODING"] = "ascii"
    done = await shell.run("check")
    assert done.out.startswith("ok   ")
    assert "\nFAIL " in done.out


async def test_the_command_asks_whether_the_sidecar_is_ready(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    write_config("http://127.0.0.1:1", f'[listen]\naddresses = ["127.0.0.1:{port}"]\n')
    down = await shell.run("check", "--ready")
    assert (down.code, down.out[0]) == (69, "✗")
    async with shell.running("run", until="listening on"):
        early = await shell.run("check", "--ready", "--json")
        assert early.code == 77
        assert json.loads(early.out)["steps"][0]["name"] == "ready"
    broken = write_config("http://127.0.0.1:1", "= nonsense")
    assert (await shell.run("check", "--ready")).code == 78
    assert (await shell.run("check")).out.startswith(f"✗ {broken}:")


async def test_a_probe_does_not_wait_for_what_it_does_not_need(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config("http://127.0.0.1:1", '[listen]\naddresses = ["127.0.0.1:1"]\n')
    shell.environ["PYTHONPROFILEIMPORTTIME"] = "1"
    done = await shell.run("check", "--ready")
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "sidecar.check.ready" in imported
    assert not {"aiohttp", "cryptography", "sidecar.check.diagnosis"} & imported


POLICY = """
openssl_conf = init
[init]
alg_section = evp
[evp]
default_properties = "fips=yes"
"""


async def test_a_policy_that_forbids_sha1_is_recognised(
    shell: Shell, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    write_config("http://127.0.0.1:1")
    (tmp_path / "openssl.cnf").write_text(POLICY)
    shell.environ["OPENSSL_CONF"] = str(tmp_path / "openssl.cnf")
    done = await shell.run("check", "--json")
    step = json.loads(done.out)["steps"][1]
    if step["status"] == "pass":
        pytest.skip("this OpenSSL does not mind the policy")
    assert "SHA-1" in step["message"]
    assert "policy" in step["hint"]
    assert done.code == 78
