"""What a client is tried on: a sandbox Jira, a sidecar as a process of its own, and a tap.

    python -m tests.clients.stand [--context-path /jira] [--tls]

runs one for trying out a client by hand; each request is shown as it reaches the sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import re
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, quote

import trustme
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.config.load import load
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from sidecar.sandbox.tomcat import HEAD_LIMIT
from tests.clients.tap import Sent, Tap
from tests.conftest import CONSUMER_KEY, store_token
from tests.support.processes import Process, Shell

USER, PASSWORD, TOKEN = "dummy-user", "dummy-password-7f3a", "dummy-token-91bc"
"""The credentials that tools insist on; none may reach Jira."""

SUMMARY = 'Zürich "50%" & <b>Blätter</b> – naïve 🖍 C++ \\ {x|y} [z] ^ `code`'
JQL = (
    'summary ~ "Größe Blattes" OR summary ~ "“immer wieder” 🖍"'
    """ OR summary ~ 'paint & glue <mixed> by 50% []{}|^`~!;,/?:@$=+#\\\\' ORDER BY key"""
)
MATCHES = 224
"""What the sandbox holds for JQL: 75, 75, and 75 without JJ-2."""
LONG_JQL = f"project = JJ AND key in ({', '.join(f'JJ-{n}' for n in range(1, 251))})"
LONG_MATCHES = 250
_UNICODE = ' OR summary ~ "Größe 🖍"'
LONGEST_JQL = f"{LONG_JQL} AND (project = JJ{_UNICODE * 500})"
"""14 kB even before it is percent-encoded, with unicode in it: more than Tomcat takes in a head."""
FILE_SIZE = 5 << 20

_SESSION = "/rest/auth/1/session"
_SEARCH = re.compile(r"(?:/jira)?/rest/api/(?:2|latest)/search/?")


@dataclass
class Stand:
    """A running stand."""

    sandbox: Sandbox
    tap: Tap
    sidecar: Process
    folder: Path
    scheme: str

    @property
    def url(self) -> str:
        """Where clients find their Jira, without a context path."""
        return f"{self.scheme}://localhost:{self.tap.port}"

    @property
    def authority(self) -> tuple[str, int]:
        """The sidecar itself, past the tap."""
        return "127.0.0.1", self.tap.port

    @property
    def description(self) -> str:
        """What sessions write into issues."""
        return description(self.url, self.sandbox.url)

    def environment(self, context_path: str = "") -> dict[str, str]:
        """What a session's script is told; `context_path` is what its user puts behind the URL."""
        return session_environment(self.folder, self.url, self.sandbox.url, context_path)

    def sent(self) -> list[Sent]:
        """What the client sent and the sidecar does not answer by itself."""
        return [request for request in self.tap.requests if not _is_answered_here(request)]

    def check_log(self) -> None:
        """Assert what must hold of the sandbox's log after any session of any client."""
        assert self.sandbox.log, "nothing reached the sandbox"
        for record in self.sandbox.log:
            about = f"{record.method} {record.target}"
            assert (record.verdict, record.user) == ("ok", "alana"), about
            assert not record.fields.all("cookie"), about
            (authorization,) = record.fields.all("authorization")
            assert authorization.startswith("OAuth oauth_"), about
            head = repr(record.fields)
            for secret in _secrets():
                assert secret not in head, about
                assert secret not in record.target, about

    def check_targets(self) -> None:
        """Assert that what the client sent is what arrived: method, target, body, each once."""
        context = self.sandbox.context_path
        sent = Counter(expected(each, context) for each in self.sent())
        arrived = Counter(
            (record.method, record.target, record.body_sha256) for record in self.sandbox.log
        )
        assert arrived == sent

    def check(self) -> None:
        """All that must hold after a session."""
        self.check_log()
        if self.scheme == "http":
            self.check_targets()
        words = ("warning: ", "error: ", "Traceback")
        complaints = [x for x in self.sidecar.said if any(word in x for word in words)]
        assert not complaints, complaints


def description(url: str, jira: str) -> str:
    """A text that mentions Jira in every way that might be mistaken for a link."""
    escaped = jira.replace("/", "\\/")
    return (
        f"{jira}/browse/JJ-2 and [the board|{jira}/secure/RapidBoard.jspa?rapidView=1]\r\n"
        f'{{"self": "{jira}/rest/api/2/issue/10001", "content":"{escaped}\\/secure"}} {jira}\n'
        f'\\"self\\": \\"{jira}/x\\" äöü 🖍 \\ / \t {url}/browse/JJ-1'
    )


def session_environment(
    folder: Path, url: str, jira: str, context_path: str = ""
) -> dict[str, str]:
    """What a session's script is told: where, as whom, and with which texts and file."""
    data = hashlib.shake_256(b"attachment").digest(FILE_SIZE)
    file = folder / "Übersicht 50% [1].bin"
    file.write_bytes(data)
    told = {
        "URL": url + context_path,
        "JIRA": jira,
        "USER": USER,
        "PASSWORD": PASSWORD,
        "TOKEN": TOKEN,
        "SUMMARY": SUMMARY,
        "DESCRIPTION": description(url, jira),
        "JQL": JQL,
        "MATCHES": str(MATCHES),
        "LONG_JQL": LONG_JQL,
        "LONG_MATCHES": str(LONG_MATCHES),
        "LONGEST_JQL": LONGEST_JQL,
        "FILE": str(file),
        "SHA256": hashlib.sha256(data).hexdigest(),
        "FOLDER": str(folder),
    }
    return {f"SESSION_{name}": value for name, value in told.items()}


def _is_answered_here(request: Sent) -> bool:
    path = request.target.partition("?")[0].rstrip("/")
    return path.endswith(_SESSION) and request.method in ("POST", "DELETE")


def _secrets() -> list[str]:
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return [USER, PASSWORD, TOKEN, basic]


def expected(sent: Sent, context_path: str) -> tuple[str, str, str]:
    """Method, target and the body's SHA-256 as they arrive at Jira."""
    method, target, body = sent.method, cleaned(sent.target, context_path), sent.body
    path, _, query = target.partition("?")
    if method == "GET" and _SEARCH.fullmatch(path) and len(target) > HEAD_LIMIT:
        method, target, body = "POST", path, as_content(query)
    return method, target, hashlib.sha256(body).hexdigest()


def as_content(query: str) -> bytes:
    """The JSON that a long search becomes, put down a second time."""
    content: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in ("startAt", "maxResults"):
            content[name] = int(value)
        elif name in ("fields", "expand"):
            content[name] = [*cast(list[str], content.get(name, [])), *value.split(",")]
        elif name == "validateQuery":
            content[name] = value.lower() == "true"
        else:
            assert name == "jql", name
            content[name] = value
    return json.dumps(content, ensure_ascii=False).encode()


def cleaned(target: str, context_path: str) -> str:
    """What the contract makes of a target, put down a second time and as simply as it goes."""
    target = re.sub(r"\Ahttps?://[^/?]*", "", target)
    path, mark, query = target.partition("?")
    path = re.sub(r'["<>^`{|}\[\]]', lambda m: quote(m[0]), path)
    query = re.sub(r'["<>^`{|}\[\]\\]', lambda m: quote(m[0]), query)
    query = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", query)
    if not (path + "/").startswith(context_path + "/"):
        path = context_path + path
    return path + mark + query


@asynccontextmanager
async def stand(
    folder: Path, key: RSAPrivateKey, *, context_path: str = "", tls: bool = False, more: str = ""
) -> AsyncIterator[Stand]:
    """Run a stand in a folder; `more` are further lines of the configuration."""
    sandbox = Sandbox(public_key=key.public_key(), context_path=context_path)
    sandbox.faults.unsigned_tools = False
    sandbox.faults.refuse_long_heads = True
    async with sandbox:
        file = write_configuration(folder, key, sandbox.url, tls=tls, more=more)
        store_token(load(file, {"HOME": str(folder)}, {}), sandbox.grant().token)
        shell = Shell(folder)
        words = ("run", "--config", str(file))
        async with shell.running(*words, until="listening on ") as sidecar:
            line = await sidecar.says("127.0.0.1:")
            async with Tap(int(line.rpartition(":")[2])) as tap:
                yield Stand(sandbox, tap, sidecar, folder, "https" if tls else "http")


def write_configuration(
    folder: Path, key: RSAPrivateKey, base_url: str, *, tls: bool = False, more: str = ""
) -> Path:
    """Write a configuration file with everything beside it."""
    write_private(folder / "private_key.pem", keys.private_key_pem(key))
    if tls:
        _write_certificates(folder)
    file = folder / "config.toml"
    file.write_text(
        f"""
        [jira]
        base_url = "{base_url}"
        consumer_key = "{CONSUMER_KEY}"
        [token]
        path = "token.json"
        [listen]
        addresses = ["127.0.0.1:0", "unix:{folder}/sidecar.sock"]
        {'tls_certificate = "localhost.pem"' if tls else ""}
        {'tls_key = "localhost.key"' if tls else ""}
        {more}
        """
    )
    return file


def _write_certificates(folder: Path) -> None:
    """A certificate for localhost, and the authority that clients are told to trust."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "localhost.pem").write_bytes(chain)
    write_private(folder / "localhost.key", certificate.private_key_pem.bytes())


async def _by_hand(context_path: str, tls: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = keys.generate_private_key(2048)
        async with stand(folder, key, context_path=context_path, tls=tls) as running:
            told = running.environment(context_path)
            lines = [f"export {name}={shlex.quote(value)}\n" for name, value in told.items()]
            (folder / "session.env").write_text("".join(lines))
            sys.stdout.write(f"{running.url}{context_path}\nset -a; . {folder}/session.env\n")
            shown = 0
            while True:
                lines = [f"sidecar: {line}\n" for line in running.sidecar.said]
                lines += [
                    f"jira: {each.method} {each.target} {each.verdict} {each.status}\n"
                    for each in list(running.sandbox.log)[shown:]
                ]
                shown = len(running.sandbox.log)
                running.sidecar.said.clear()
                sys.stdout.write("".join(lines))
                sys.stdout.flush()
                await asyncio.sleep(0.2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--context-path", default="")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(_by_hand(options.context_path, options.tls))
    except KeyboardInterrupt:
        sys.exit(0)
