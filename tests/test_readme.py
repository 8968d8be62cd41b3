"""README and docs/ say what is true: their sessions run, their tables name what there is."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.config.settings import OPTIONS
from sidecar.files import keys
from sidecar.sandbox import Sandbox
from sidecar.telemetry import logs
from sidecar.telemetry.metrics import METRICS
from tests.support.dancing import approve, decide, visit
from tests.support.processes import Process, Shell

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
"""What README leads to."""
PLACEHOLDER_CODE = "qTJkPi"
JIRA = "https://jira.example.com"


@dataclass
class Command:
    """A line after `$ `, and what the document says it prints."""

    line: str
    expected: list[str] = field(default_factory=list)


def sessions(text: str) -> Iterator[Command]:
    """The commands of all ```console blocks, in order."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        command: Command | None = None
        for line in block.splitlines():
            if line.startswith("$ "):
                if command is not None:
                    yield command
                command = Command(line.removeprefix("$ "))
            elif command is not None:
                command.expected.append(line)
        if command is not None:
            yield command


def matches(expected: list[str], printed: str) -> bool:
    """Whether the text is what the document shows; `…` stands for anything."""
    shown = "\n".join(expected).rstrip("…\n")
    pattern = re.escape(shown).replace("…", ".*?")
    return re.search(pattern, printed, re.DOTALL) is not None


class Session:
    """Runs README's commands as somebody would who pastes them one by one."""

    def __init__(self, shell: Shell, sandbox: Sandbox, port: int, stack: AsyncExitStack) -> None:
        self._shell = shell
        self._sandbox = sandbox
        self._port = port
        self._stack = stack
        self._code = PLACEHOLDER_CODE

    async def run(self, command: Command) -> None:
        line = command.line.replace("localhost:8088", f"localhost:{self._port}")
        line = line.replace(JIRA, self._sandbox.url).replace(PLACEHOLDER_CODE, self._code)
        if line == "make demo":  # which makes an environment first, and then runs this
            line = f"sidecar demo --port {self._port} &"
        elif line == "sidecar run &":
            line = f"sidecar run --listen 127.0.0.1:{self._port} &"
        expected = [
            text.replace("127.0.0.1:8088", f"127.0.0.1:{self._port}").replace(
                JIRA, self._sandbox.url
            )
            for text in command.expected
        ]
        printed = await self._printed(line, expected)
        assert matches(expected, printed), f"{line}\n{printed}"
        await self._afterwards(command.line, printed)

    async def _printed(self, line: str, expected: list[str]) -> str:
        program, *words = shlex.split(line.removesuffix(" &"))
        if program == "curl":
            return await _curl(words)
        assert program == "sidecar"
        if line.endswith(" &"):
            until = next(text for text in reversed(expected) if text.strip("…"))
            running: Process = await self._stack.enter_async_context(
                self._shell.running(*words, until=until)
            )
            return "\n".join(running.said)
        return (await self._shell.run(*words, terminal=True)).out

    async def _afterwards(self, line: str, printed: str) -> None:
        """What happens between two commands: in Jira, in the browser, or by Ctrl-C."""
        folder = self._shell.folder / ".config/sidecar"
        if line == "sidecar init --rotate-key":
            new = keys.load_private_key(folder / "private_key.pem.new")
            self._sandbox.public_key = new.public_key()
        elif line.startswith("sidecar init"):
            await self._stack.aclose()  # the demo was ended
            key = keys.load_private_key(folder / "private_key.pem")
            self._sandbox.public_key = key.public_key()
        elif line.startswith("sidecar auth --begin"):
            url = next(word for word in printed.split() if word.startswith(self._sandbox.url))
            self._code = await approve(url)


async def _curl(words: list[str]) -> str:
    process = await asyncio.create_subprocess_exec("curl", *words, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_its_sessions_work_when_pasted(
    tmp_path: Path,
    make_sandbox: Callable[..., Awaitable[Sandbox]],
    unused_tcp_port: int,
) -> None:
    sandbox = await make_sandbox()
    async with AsyncExitStack() as stack:
        session = Session(Shell(tmp_path), sandbox, unused_tcp_port, stack)
        count = 0
        for command in sessions(README):
            await session.run(command)
            count += 1
    assert count >= 8


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if "```console" in text])
async def test_the_sessions_of_a_page_work_when_pasted_after_those_of_readme(
    page: str,
    tmp_path: Path,
    make_sandbox: Callable[..., Awaitable[Sandbox]],
    unused_tcp_port: int,
) -> None:
    sandbox = await make_sandbox()
    async with AsyncExitStack() as stack:
        session = Session(Shell(tmp_path), sandbox, unused_tcp_port, stack)
        _, _, setting_up = README.partition("## Set it up")
        for command in sessions(setting_up + PAGES[page]):
            await session.run(command)


async def test_its_way_against_a_sandbox_works_as_written(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## Try the whole way\n")[2]
    first, second, *_ = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    *preparing, sandbox = first.replace("2990", str(unused_tcp_port)).splitlines()
    _stand_in_for_venv(tmp_path / ".venv" / "bin")

    async def start(line: str) -> Process:
        pipe = asyncio.subprocess.PIPE
        environ = {**Shell(tmp_path).environ, "BROWSER": "false"}
        return Process(
            await asyncio.create_subprocess_exec(
                "sh", "-c", f"exec {line}", cwd=tmp_path, env=environ, stdout=pipe, stderr=pipe
            )
        )

    for line in preparing:
        assert await (await start(line)).ends() == 0
    jira = await start(sandbox)
    try:
        await jira.says("Ctrl-C stops")
        signing_in = await start(second.strip())
        url = (await signing_in.says("oauth_token=")).strip()
        await visit((await decide(url))["Location"])
        await signing_in.says("Signed in as Alana Example")
        assert await signing_in.ends() == 0
    finally:
        await jira.stop()


def _stand_in_for_venv(folder: Path) -> None:
    """Put there what `make` puts there, as far as README names it."""
    folder.mkdir(parents=True)
    for name, options in (("python", ""), ("sidecar", "-m sidecar")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {options} "$@"\n')
        program.chmod(0o755)


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 150


def test_it_leads_to_every_page() -> None:
    led_to = set(re.findall(r"\(docs/([a-z-]+\.md)[#)]", README))
    assert led_to == PAGES.keys() - {"index.md"}


def test_links_of_the_pages_lead_to_files() -> None:
    """Sphinx, which makes a site of them, knows no folders."""
    count = 0
    for page, text in PAGES.items():
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            assert (ROOT / "docs" / target).is_file(), f"{page}: {target}"
            count += 1
    assert count > 10


def test_options_that_the_pages_name_exist() -> None:
    """`jira.base_url` and the like."""
    tables = {option.partition(".")[0] for option in OPTIONS}
    for page, text in [("README.md", README), *PAGES.items()]:
        for name in re.findall(r"`([a-z]+\.[a-z_]+)`", text):
            option = name.partition(".")[0] in tables and name not in ("jira.js", "token.json")
            assert not option or name in OPTIONS, f"{page}: {name}"


def table(heading: str) -> dict[str, str]:
    """A two-column table below a heading: first cell without backticks → second cell."""
    section = PAGES["operation.md"].partition(f"\n## {heading}\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|$", section, re.MULTILINE))


def test_its_list_of_metrics_is_the_programs() -> None:
    assert table("What to watch") == METRICS


def test_its_log_levels_are_the_programs() -> None:
    assert table("What the log shows") == logs.LEVELS


def test_the_services_user_is_defined_where_its_comment_says() -> None:
    page = PAGES["service.md"]
    installed = re.search(r"systemd/sidecar\.sysusers (/\S+)/sidecar\.conf", page)
    assert installed is not None
    comment = (ROOT / "systemd" / "sidecar.sysusers").read_text().partition("\nu ")[0]
    assert comment.endswith(f"Installed in {installed[1]}.")
