"""Whole sessions of real clients: search, create, update, comment, transition, attach, delete.

`make clients` installs the clients; one that is not there is skipped.  Each script in
scripts/ asserts what its client sees; afterwards the sandbox's log is looked at, and what the
client put on the wire is compared with what reached the sandbox.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.clients.conftest import INSTALLED, SCRIPTS, MakeStand, prepared, run
from tests.clients.stand import Stand, session_environment
from tests.conftest import CONSUMER_KEY
from tests.support.dancing import approve
from tests.support.processes import Shell

pytestmark = prepared
_NODE = {"NODE_PATH": str(INSTALLED / "node_modules")}


@dataclass(frozen=True)
class Client:
    """A client that may be installed."""

    name: str
    probe: list[str]
    """Succeeds where it is."""
    session: list[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    everywhere: bool = False
    """Whether it is tried in all of PLACES."""
    keeps_text: bool = True
    """Whether it takes Jira's markup as it is; an assistant's tool translates it from Markdown."""


def _python(name: str, module: str, script: str, **more: bool) -> Client:
    python = str(INSTALLED / name / "bin" / "python")
    probe = [python, "-c", f"import {module}"]
    return Client(name, probe, [python, "-W", "ignore", script], **more)  # type: ignore[arg-type]


def _node(name: str, script: str) -> Client:
    return Client(name, ["node", "-e", f"require('{name}')"], ["node", script], _NODE)


def _perl(name: str, script: str) -> Client:
    return Client(name, ["perl", f"-M{name}", "-e1"], ["perl", script])


CLIENTS = [
    _python("jira", "jira", "pycontribs.py", everywhere=True),
    _python("jira-3.8.0", "jira", "pycontribs.py", everywhere=True),
    _python("atlassian-python-api", "atlassian", "atlassian_api.py", everywhere=True),
    Client("curl", ["curl", "--version"], ["bash", "curl.sh"], everywhere=True),
    Client(
        "python3-jira",
        ["/usr/bin/python3", "-c", "import jira"],
        ["/usr/bin/python3", "-W", "ignore", "pycontribs.py"],
    ),
    _python("mcp-atlassian", "mcp_atlassian", "mcp_client.py", keeps_text=False),
    _node("jira.js", "jira_js.cjs"),
    _node("jira-client", "jira_client.cjs"),
    _node("jira-connector", "jira_connector.cjs"),
    _perl("JIRA::REST", "jira_rest.pl"),
    _perl("JIRA::Client::Automated", "jira_client_automated.pl"),
    Client("ruby-jira", ["ruby", "-e", "require 'jira-ruby'"], ["ruby", "jira_ruby.rb"]),
    Client(
        "ansible",
        ["ansible-playbook", "--version"],
        ["ansible-playbook", "-i", "localhost,", "ansible_jira.yml"],
    ),
    Client("java", ["javac", "--version"], ["java", "JiraSession.java"]),
]
TAP = _python("tap-jira", "tap_jira", "singer_tap.py")

PLACES = [("", ""), ("/jira", ""), ("/jira", "/jira")]
"""Jira's context path, and what a client's user puts behind the sidecar's URL."""

CASES = [
    pytest.param(client, *place, id=f"{client.name}-{place[0]}-{place[1]}")
    for client in CLIENTS
    for place in PLACES
    if client.everywhere or place != ("/jira", "")
]


async def has_session(client: Client, stand: Stand, context_path: str) -> None:
    """Run a client's script; skip where the client is not installed."""
    folder = stand.folder
    try:
        probed = await run(*client.probe, folder=folder, environ=client.environ)
    except FileNotFoundError:
        pytest.skip(f"{client.probe[0]} is not installed")
    if probed.code:
        pytest.skip(f"{client.name} is not installed: see tests/clients/install")
    words = [str(SCRIPTS / word) if (SCRIPTS / word).is_file() else word for word in client.session]
    told = stand.environment(context_path)
    done = await run(*words, folder=folder, environ={**client.environ, **told})
    assert done.code == 0, done.out.decode() + done.err


def described(stand: Stand) -> list[str]:
    """The descriptions that a client wrote."""
    bodies = [
        json.loads(each.body)["fields"]
        for each in stand.sent()
        if each.method in ("POST", "PUT") and b'"description"' in each.body
    ]
    return [fields["description"] for fields in bodies]


@pytest.mark.parametrize(("client", "context_path", "given"), CASES)
async def test_a_client_has_a_whole_session(
    client: Client, context_path: str, given: str, make_stand: MakeStand
) -> None:
    stand = await make_stand(context_path=context_path)
    await has_session(client, stand, given)
    stand.check()
    if client.keeps_text:
        written = described(stand)
        assert len(written) >= 2, "created, read, and written back"
        assert set(written) == {stand.description}


async def test_a_client_that_insists_on_https_reads_everything(make_stand: MakeStand) -> None:
    stand = await make_stand(context_path="/jira", tls=True)
    await has_session(TAP, stand, "/jira")
    stand.check()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
async def test_a_session_with_every_part_a_process_of_its_own(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    words = ("--port", "0", "--context-path", "/jira")
    async with shell.running(*words, module="sidecar.sandbox", until="http://") as sandbox:
        jira = await sandbox.says("http://")
        await shell.run("init", "--base-url", jira, "--consumer-key", CONSUMER_KEY)
        public_key = (await shell.run("public-key")).out.encode()
        there = f"{jira}/_sandbox/public-key"
        await run("curl", "--fail", "--data-binary", "@-", there, folder=tmp_path, stdin=public_key)
        approval = (await shell.run("auth", "--begin")).out.strip()
        await shell.run("auth", "--verifier", await approve(approval))
        async with shell.running("run", "--listen", "127.0.0.1:0", until="listening") as sidecar:
            port = (await sidecar.says("listening")).rpartition(":")[2]
            told = session_environment(tmp_path, f"http://localhost:{port}", jira)
            done = await run("bash", str(SCRIPTS / "curl.sh"), folder=tmp_path, environ=told)
            assert done.code == 0, done.err
