"""Nothing that the program says holds a secret, whatever happens and however much it says.

The program runs as its user runs it, at its most talkative, with secrets that are known.  What it
prints, logs and answers is then searched for them: as they are, percent-encoded, escaped for JSON,
in hexadecimal, and within base64.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import pickle
import re
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from copy import deepcopy
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sidecar.credentials import Secret, TemporaryCredentials, TokenCredentials
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import Answer, answer_json
from sidecar.signing.signer import Signer
from tests.conftest import CONSUMER_KEY, MakeSidecar
from tests.support.dancing import decide, visit
from tests.support.processes import Done, Process, Shell, shell
from tests.support.waiting import PATIENCE
from tests.support.wire import Client, Response

__all__ = ["shell"]

MakeSandbox = Callable[..., Awaitable[Sandbox]]

PASSPHRASE = "correct horse/battery+staple=ü"
ACCESS_KEY = "open+sesame/42%=zq"
PROXY_PASSWORD = "pr0xy:p@ss/w%rd"
CLIENT_PASSWORD = "cl1ent:p@ssw0rd"
BEARER = "cl1ent-bearer-t0ken"
COOKIE = "cl1ent-c00kie"
QUERY = "cl1ent-query-value"
BASIC = b64encode(f"alana:{CLIENT_PASSWORD}".encode()).decode()


class Vault:
    """What nobody may see, by name."""

    def __init__(self) -> None:
        self._disguises: dict[bytes, str] = {}
        self.told: dict[str, bytes] = {}
        """What was said, by who said it."""
        self.add("the passphrase", PASSPHRASE)
        self.add("the access key", ACCESS_KEY)
        self.add("the proxy's password", PROXY_PASSWORD)
        self.add("the client's password", CLIENT_PASSWORD)
        self.add("the client's Authorization", BASIC)
        self.add("the client's Authorization", BEARER)
        self.add("the client's cookie", COOKIE)
        self.add("the client's query", QUERY)

    def add(self, name: str, secret: str | bytes) -> None:
        text = secret.encode() if isinstance(secret, str) else secret
        for disguise in disguises(text):
            self._disguises[disguise] = name

    def add_key(self, pem: bytes) -> None:
        """Add a private key: its file's lines, and the numbers that make it private."""
        lines = pem.split()
        for line in lines[len(lines) // 2 : -4]:  # the first ones hold the public modulus
            self.add("the private key's file", line)
        try:
            key = load_pem_private_key(pem, None)
        except TypeError:
            return  # encrypted
        assert isinstance(key, RSAPrivateKey)
        numbers = key.private_numbers()
        for number in (numbers.d, numbers.p, numbers.q, numbers.dmp1):
            self.add("the private key", number.to_bytes((number.bit_length() + 7) // 8))
            self.add("the private key", str(number))

    def add_tokens(self, sandbox: Sandbox) -> None:
        """Add what this Jira has given out and what was sent to it, request tokens aside."""
        for held in sandbox.provider.access_tokens.values():
            self.add("an access token", held.grant.token)
            self.add("a token secret", held.grant.secret)
            self.add("a session handle", held.grant.session_handle)
        for asked in sandbox.provider.request_tokens.values():
            self.add("a request token's secret", asked.secret)
            if asked.verifier is not None:
                self.add("a verifier", f"oauth_verifier={asked.verifier}")
                self.add("a verifier", f'"{asked.verifier}"')
        for request in sandbox.log:
            for name, value in authorization_of(request.fields.get("authorization")):
                if name in ("oauth_signature", "oauth_session_handle", "oauth_verifier"):
                    self.add(name, value)

    def hear(self, who: str, what: str | bytes) -> None:
        """Take note of what was said."""
        data = what.encode() if isinstance(what, str) else what
        self.told[who] = self.told.get(who, b"") + data + b"\n"

    def leaks(self) -> set[str]:
        """Which secrets were told by whom."""
        found = set()
        for who, what in self.told.items():
            for disguise, name in self._disguises.items():
                if disguise in what:
                    at = what.index(disguise)
                    found.add(f"{who} tells {name}: {what[max(0, at - 60) : at + 60]!r}")
        return found


def disguises(secret: bytes) -> Iterator[bytes]:
    """The ways in which a secret may stand in a text."""
    yield secret
    yield quote(secret, safe="").encode()
    yield re.sub(r"%..", lambda m: m[0].lower(), quote(secret, safe="")).encode()
    yield quote_plus(secret).encode()
    yield quote(quote(secret, safe=""), safe="").encode()
    yield json.dumps(secret.decode("latin-1"))[1:-1].encode()
    yield repr(secret)[2:-1].encode()
    yield secret.hex().encode()
    for offset in range(3):  # of the secret within what was encoded
        whole = b64encode(b"\0" * offset + secret)
        yield whole[(0, 2, 3)[offset] : len(whole) // 4 * 4 - 4]


def authorization_of(value: str) -> list[tuple[str, str]]:
    return [(name, unquote(text)) for name, text in re.findall(r'(\w+)="([^"]*)"', value)]


class Stage:
    """The program, a Jira that hears it, and a vault that hears everything."""

    def __init__(self, shell: Shell, sandbox: Sandbox) -> None:
        self.shell = shell
        self.sandbox = sandbox
        self.vault = Vault()
        self.folder = shell.folder / ".config" / "sidecar"
        shell.environ["PYTHONASYNCIODEBUG"] = "1"

    async def command(self, *words: str, stdin: bytes = b"") -> Done:
        done = await self.shell.run(*words, stdin=stdin)
        self.vault.add_tokens(self.sandbox)
        # What `request` prints is Jira's answer: of a bad signature it quotes all that was signed.
        out = "" if "request" in words else done.out
        self.vault.hear(f"`sidecar {' '.join(words)}`", out + done.err)
        return done

    async def commands(self, *commands: list[str]) -> None:
        """Several that do not mind each other, at once."""
        await asyncio.gather(*(self.command("-v", *words) for words in commands))

    def configure(self, form: str) -> None:
        """A configuration with every secret that there can be, as talkative as can be."""
        proxy = (
            f"http://proxyuser:{quote(PROXY_PASSWORD, safe='')}@{urlsplit(self.sandbox.url).netloc}"
        )
        text = (
            f'[jira]\nbase_url = "{self.sandbox.url}"\nconsumer_key = "{CONSUMER_KEY}"\n'
            f'private_key_passphrase_file = "passphrase"\nproxy = "{proxy}"\n'
            '[listen]\naddresses = ["127.0.0.1:0"]\n[access]\nkey_file = "access_key"\n'
            f'[log]\nlevel = "debug"\nformat = "{form}"\n'
            "[timeouts]\nresponse = 0.5\n[limits]\nrate_wait = 0.5\n"
        )
        write_private(self.folder / "config.toml", text.encode())
        write_private(self.folder / "access_key", ACCESS_KEY.encode())
        write_private(self.folder / "passphrase", PASSPHRASE.encode())

    def furnish(self, form: str, private_key: RSAPrivateKey) -> TokenFile:
        """Everything that commands need, a token included; returns where that is kept."""
        self.encrypt_key(keys.private_key_pem(private_key))
        self.configure(form)
        grant = self.sandbox.grant()
        path = self.shell.folder / ".local/state/sidecar/token.json"
        store = TokenFile(path, BaseURL.parse(self.sandbox.url), CONSUMER_KEY)
        handle = Secret(grant.session_handle)
        store.save(TokenCredentials(Secret(grant.token), Secret(grant.secret), handle))
        return store

    def encrypt_key(self, pem: bytes) -> None:
        """Put a private key under the passphrase; Jira learns its public half."""
        key = keys.parse_private_key(pem, None, "the key that init made")
        encrypted = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())
        )
        self.vault.add_key(pem)
        self.vault.add_key(encrypted)
        write_private(self.folder / "private_key.pem", encrypted)
        self.sandbox.public_key = key.public_key()


class Caller(Client):
    """A client of the sidecar that has secrets of its own, and keeps what the sidecar says."""

    def __init__(self, vault: Vault, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self._vault = vault

    async def ask(self, target: str, *fields: tuple[str, str], method: str = "GET") -> Response:
        own = [("X-Sidecar-Key", ACCESS_KEY), ("Authorization", f"Basic {BASIC}")]
        own += [("Cookie", f"JSESSIONID={COOKIE}")]
        return self.heard(await self.request(method, target, *(fields or own)))

    def heard(self, answer: Response) -> Response:
        """Keep an answer of the sidecar's own, and what it adds to one of Jira's."""
        for name, value in answer.fields:
            if name.lower() in (b"sidecar-problem", b"proxy-status", b"x-request-id", b"location"):
                self._vault.hear("a field of an answer", value)
        if any(name.lower() == b"proxy-status" for name, _ in answer.fields):
            self._vault.hear("an answer", answer.body)
        return answer


@pytest.fixture
async def stage(shell: Shell, make_sandbox: MakeSandbox) -> Stage:
    return Stage(shell, await make_sandbox(context_path="/jira"))


FAULTS: list[dict[str, object]] = [
    {"clock_offset": 4000.0},
    {"perceived_host": "tomcat", "perceived_port": 8080},
    {"perceived_host": "a..b"},
    {"dropped_parameter": "q"},
    {"nonce_used": 9},
    {"revoked": True},
    {"expired": True},
    {"inactive_user": True},
    {"link_gone": True},
    {"strip_authorization": True},
    {"sso_redirect": True},
    {"sso_html": True},
    {"rate_limited": 3},
    {"unavailable": True},
    {"slow": 1.0},
    {"reset": True},
    {"refuse_long_heads": True},
]


async def test_setting_up_and_signing_in_tell_no_secret(stage: Stage) -> None:
    command, vault, url = stage.command, stage.vault, stage.sandbox.url
    made = await command("-v", "init", "--base-url", url, "--consumer-key", CONSUMER_KEY)
    assert made.code == 0
    stage.encrypt_key((stage.folder / "private_key.pem").read_bytes())
    stage.configure("text")
    await stage.commands(["public-key"], ["public-key", "--format", "base64"])
    await command("-v", "auth", "--verifier", "XXXXXX")
    url = (await command("-v", "auth", "--begin")).out.strip()
    await command("-v", "auth", "--verifier", "XXXXXX")
    page = await decide(url)
    code = re.findall(rb"verification code is '(\w+)'", page.body)[0]
    done = await command("-v", "auth", "--verifier", "-", stdin=code)
    assert done.code == 0
    await sign_in_with_a_browser(stage)
    assert vault.leaks() == set()


async def test_checking_and_asking_tell_no_secret(stage: Stage, private_key: RSAPrivateKey) -> None:
    vault, sandbox = stage.vault, stage.sandbox
    stage.furnish("text", private_key)
    bearer = f"Bearer {BEARER}"
    await stage.commands(
        ["check"],
        ["check", "--json"],
        ["check", "--ready"],
        ["request", "-H", f"Authorization: {bearer}", f"/rest/api/2/myself?x={QUERY}"],
        ["request", "-H", f"Authorization {bearer}", "/rest/api/2/myself"],
        ["request", f"http://alana:{quote(CLIENT_PASSWORD)}@127.0.0.1/rest"],
    )
    for fault in ("revoked", "expired", "link_gone", "sso_redirect", "sso_html"):
        sandbox.faults.throw({fault: True})
        await stage.commands(["request", f"/rest?q={QUERY}"], ["auth", "--begin"])
        sandbox.faults.clear()
    sandbox.faults.throw({"perceived_host": "tomcat"})
    await stage.commands(["check"], ["request", f"/rest?q={QUERY}"], ["auth", "--begin"])
    sandbox.faults.clear()
    spoil(stage.folder / "private_key.pem")
    await stage.commands(["check"], ["request", "/x"])
    assert vault.leaks() == set()


async def sign_in_with_a_browser(stage: Stage) -> None:
    """The dance in one go; the request token is in the URL that it shows, and nowhere else."""
    async with stage.shell.running(
        "-v", "auth", "--no-browser", until="oauth/authorize?"
    ) as process:
        url = next(line.strip() for line in process.said if "oauth/authorize?" in line)
        sent_to = (await decide(url))["Location"]
        page = await visit(sent_to)
        assert page.status == 200
        stage.vault.hear("the page that the browser comes back to", page.body)
        assert await process.ends() == 0
    stage.vault.add_tokens(stage.sandbox)
    stage.vault.hear("`sidecar auth`", "\n".join(process.said))


async def test_an_import_tells_no_secret(stage: Stage, private_key: RSAPrivateKey) -> None:
    vault, folder = stage.vault, stage.shell.folder
    pem = keys.private_key_pem(private_key)
    vault.add_key(pem)
    der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    one_line = b64encode(der).decode()
    for index in range(len(one_line) // 2, len(one_line) - 64, 64):
        vault.add("the private key", one_line[index : index + 64])
    token = "imp0rtedAccessTokenOfThirtyTwoCh"
    vault.add("an access token", token)
    for name, key in (("good", one_line), ("cut", one_line[:-200]), ("odd", one_line + "§")):
        text = f"jira_home={stage.sandbox.url}\nconsumer_key=k\naccess_token={token}\n"
        write_private(folder / name, f"{text}private_key={key}".encode())
        config = str(folder / f"{name}.toml")
        await stage.command("-v", "--config", config, "init", "--from", name)
    assert vault.leaks() == set()


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_server_tells_no_secret_whatever_goes_wrong(
    stage: Stage, private_key: RSAPrivateKey, form: str
) -> None:
    vault, sandbox = stage.vault, stage.sandbox
    store = stage.furnish(form, private_key)
    token = store.load()
    assert token is not None
    async with stage.shell.running("-v", "run", until="listening on") as process:
        said = "".join(process.said)  # asyncio may have warned of a slow machine before
        port = int(re.findall(r"listening on http://127\.0\.0\.1:(\d+)", said)[0])
        caller = Caller(vault, port)
        assert (await caller.ask("/rest/api/2/myself")).status == 200
        await ask_what_is_refused(caller, token.token.reveal())
        await go_through_faults(stage, caller)
        await lose_files(stage, caller, process, store)
        for page in ("health", "ready", "status", "metrics", "nothing", "", "page/script.js"):
            answer = await caller.ask(f"/_sidecar/{page}")
            vault.hear(f"/_sidecar/{page}", answer.body)
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    vault.add_tokens(sandbox)
    vault.hear("the log", "\n".join(process.said))
    assert "Jira" in vault.told["the log"].decode()
    assert vault.leaks() == set()


async def ask_what_is_refused(caller: Caller, token: str) -> None:
    """Requests that end here, for every reason that there is."""
    key = ("X-Sidecar-Key", ACCESS_KEY)
    await caller.ask("/rest", ("X-Sidecar-Key", f"{ACCESS_KEY}x"))
    await caller.ask("/rest", ("Authorization", f"Bearer {BEARER}"))
    await caller.ask(f"/rest?oauth_token={QUERY}", key)
    await caller.ask("/rest", key, ("Authorization", f'OAuth oauth_token="{token}"'))
    await caller.ask(f"/rest/%zz?{QUERY}", key)
    await caller.ask("/rest", key, ("Origin", "https://evil.test"))
    await caller.ask("/rest", key, ("Host", "evil.test"))
    await caller.ask("/rest", key, ("Expect", BEARER))
    await caller.ask("/rest", key, method="TRACE")
    for userinfo in (f"alana:{CLIENT_PASSWORD}", f"alana:{QUERY}?", f"{QUERY}/"):
        await caller.ask(f"http://{userinfo}@127.0.0.1:{caller.port}/rest", key)
    for junk in (b"\0", b"\r\n folded", b" : x"):
        head = b"GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %b%b\r\n\r\n"
        caller.heard(await caller.raw(head % (BASIC.encode(), junk)))
    form = ("Content-Type", "application/x-www-form-urlencoded")
    body = f"oauth_verifier={QUERY}".encode()
    caller.heard(await caller.request("POST", "/rest", key, form, body=body))


async def go_through_faults(stage: Stage, caller: Caller) -> None:
    for fault in FAULTS:
        stage.sandbox.faults.throw(fault)
        for method in ("GET", "PUT"):
            try:
                await caller.ask(f"/rest/api/2/search?q={QUERY}", method=method)
            except ConnectionError:  # a GET is answered with 502, its body may be cut short
                stage.vault.hear("a connection", "ended")
        stage.vault.add_tokens(stage.sandbox)
        stage.sandbox.faults.clear()
    stage.sandbox.expire()
    assert (await caller.ask("/rest/api/2/myself")).status == 200, "renewed"
    stage.vault.add_tokens(stage.sandbox)
    port = urlsplit(stage.sandbox.url).port
    await stage.sandbox.stop()
    assert (await caller.ask("/rest/api/2/myself")).status == 502
    await stage.sandbox.start(port=port or 0)


async def lose_files(stage: Stage, caller: Caller, process: Process, store: TokenFile) -> None:
    """Spoil every file that holds a secret, one by one, with a reload after each."""
    token = store.path.read_bytes()
    for spoiled in (token[:-20], token.replace(b"OauthKey", b"Another"), b"", token):
        write_private(store.path, spoiled)
        await caller.ask("/rest/api/2/myself")
    store.path.chmod(0o644)
    await caller.ask("/rest/api/2/myself")
    store.path.chmod(0o600)
    for name in ("private_key.pem", "passphrase", "access_key", "config.toml"):
        path = stage.folder / name
        before = path.read_bytes()
        spoil(path)
        await caller.ask("/rest/api/2/myself")
        await reload(process)
        write_private(path, before)
    await reload(process)


async def reload(process: Process) -> None:
    """Have the configuration read again, and wait for what is said of that."""
    process.signal(signal.SIGHUP)
    await process.says("reloaded")
    process.said[:] = [line.replace("reloaded", "RELOADED") for line in process.said]


def spoil(path: Path) -> None:
    """Leave a file that still holds most of its secret, and cannot be used."""
    data = path.read_bytes()
    if path.name == "access_key":
        path.chmod(0o644)
        return
    write_private(path, data[:-30] + b"\n=" if len(data) > 60 else data + b"x")


class Broken(Exception):
    """Something that should never happen."""


async def test_a_bug_s_traceback_and_answer_hold_no_secret(
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    grant = sandbox.grant()
    vault = Vault()
    vault.add_tokens(sandbox)
    sidecar = await make_sidecar(sandbox.url, token=grant.token)

    def sign(self: Signer, base_string: bytes) -> bytes:
        raise Broken(self)

    monkeypatch.setattr(Signer, "signature", sign)
    answer = await sidecar.get(f"/rest/api/2/myself?x={QUERY}", ("Authorization", BASIC))
    assert answer.status == 500
    assert "Traceback" in caplog.text
    vault.hear("the log", caplog.text)
    vault.hear("the answer", answer.body + repr(answer.fields).encode())
    assert vault.leaks() == set()


_BUG = """
import sys
from sidecar import cli
from sidecar.files import keys
from sidecar.signing.signer import Signer
from tests.test_secrets import Broken

def sign(self, base_string):
    raise Broken(self)

Signer.signature, keys.verify_signing = sign, lambda key: None
cli.main()
"""


def test_a_bug_s_traceback_on_the_command_line_holds_no_secret(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    vault = Vault()
    pem = keys.private_key_pem(private_key)
    vault.add_key(pem)
    write_private(tmp_path / "private_key.pem", pem)
    base_url = "http://127.0.0.1:1/jira"
    config = f'[jira]\nbase_url = "{base_url}"\nconsumer_key = "k"\n[token]\npath = "token.json"\n'
    (tmp_path / "config.toml").write_text(config)
    token = "t0kenThatNobodyMaySeeInTracebacks"
    vault.add("the token", token)
    store = TokenFile(tmp_path / "token.json", BaseURL.parse(base_url), "k")
    store.save(TokenCredentials(Secret(token), Secret("")))
    words = ["-v", "--config", str(tmp_path / "config.toml"), "request", "/x"]
    done = subprocess.run(
        [sys.executable, "-c", _BUG, *words], capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 70
    assert b"Traceback" in done.stderr
    vault.hear("the command", done.stdout + done.stderr)
    assert vault.leaks() == set()


async def test_no_object_of_ours_shows_a_secret(
    sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
) -> None:
    """Looked at while a request is at Jira: then everything is there, signature included."""
    vault = Vault()
    grant = sandbox.grant()
    write_private(tmp_path / "access_key", ACCESS_KEY.encode())
    proxy = f"http://u:{quote(PROXY_PASSWORD, safe='')}@{urlsplit(sandbox.url).netloc}"
    sidecar = await make_sidecar(
        sandbox.url,
        token=grant.token,
        jira__proxy=proxy,
        access__key_file=str(tmp_path / "access_key"),
    )
    looked_at = 0

    def look() -> Answer:
        nonlocal looked_at
        vault.add_tokens(sandbox)
        for one in gc.get_objects():
            module = str(type(one).__module__)
            if module.startswith("sidecar.") and not module.startswith("sidecar.sandbox"):
                vault.hear(f"{module}.{type(one).__name__}", f"{one!r} {one}")
                looked_at += 1
        return answer_json({})

    sandbox.canned[f"{sandbox.url}/rest/look"] = look  # as an HTTP proxy is asked
    answer = await sidecar.get("/rest/look", ("X-Sidecar-Key", ACCESS_KEY), ("Cookie", COOKIE))
    assert answer.status == 200
    assert looked_at > 100
    assert vault.leaks() == set()


@pytest.mark.parametrize(
    "secret",
    [
        Secret("hush"),
        TemporaryCredentials(Secret("hush"), Secret("hush"), 0.0),
        TokenCredentials(Secret("hush"), Secret("hush"), Secret("hush")),
    ],
)
def test_a_secret_is_neither_shown_nor_pickled_nor_copied(secret: object) -> None:
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>30}", "%s" % secret):  # noqa: UP031
        assert "hush" not in shown
    for give_away in (pickle.dumps, deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            give_away(secret)


def test_a_secret_is_compared_and_revealed() -> None:
    assert Secret("hush") == Secret("hush")
    assert Secret("hush") != Secret("other")
    assert Secret("hush") != "hush"
    assert len({Secret("hush"), Secret("hush")}) == 1
    assert not Secret("")
    assert Secret("hush").reveal() == "hush"


@pytest.mark.parametrize("around", ["", "x", "xy", "xyz"])
def test_the_search_finds_a_secret_in_any_disguise(around: str) -> None:
    text = around + PROXY_PASSWORD + around
    for told in (
        text,
        quote(text, safe=""),
        quote_plus(text).lower(),
        b64encode(text.encode()).decode(),
        b64encode(f"user:{text}".encode()).decode(),
        json.dumps({"a": text}),
        text.encode().hex(),
        repr(text.encode()),
    ):
        vault = Vault()
        vault.hear("somebody", told)
        assert vault.leaks(), told
