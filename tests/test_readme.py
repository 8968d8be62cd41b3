"""README says what is true: its sessions run, its tables name what there is."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sidecar import errors
from sidecar.cli import cli
from sidecar.config.settings import OPTIONS
from sidecar.files import keys
from sidecar.sandbox import Sandbox
from sidecar.telemetry import logs
from sidecar.telemetry.metrics import METRICS
from tests.support.dancing import approve, decide, visit
from tests.support.processes import Process, Shell

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PLACEHOLDER_CODE = "qTJkPi"
JIRA = "https://jira.example.com"


@dataclass
class Command:
    """A line after `$ `, and what README says it prints."""

    line: str
    expected: list[str] = field(default_factory=list)


def sessions() -> Iterator[Command]:
    """The commands of all ```console blocks, in order."""
    for block in re.findall(r"^```console\n(.*?)^```$", README, re.DOTALL | re.MULTILINE):
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
    """Whether the text is what README shows; `…` stands for anything."""
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
        if line.startswith("sidecar init"):
            await self._stack.aclose()  # the demo was ended
            key = self._shell.folder / ".config/sidecar/private_key.pem"
            self._sandbox.public_key = keys.load_private_key(key).public_key()
        elif line == "sidecar auth --begin":
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
        for command in sessions():
            await session.run(command)
            count += 1
    assert count >= 8


async def test_its_way_against_a_sandbox_works_as_written(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    section = README.partition("\n## Development\n")[2]
    _, first, second = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
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


def test_its_command_table_names_every_command() -> None:
    named = set(re.findall(r"^\| `sidecar ([a-z-]+)` \|", README, re.MULTILINE))
    assert named == set(cli.commands)


def test_its_exit_codes_are_those_of_the_errors() -> None:
    named = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SidecarError)
    }
    assert named == codes | {0}


def test_its_configuration_table_names_keys_that_exist() -> None:
    section = README.partition("## Configuration")[2].partition("\n## ")[0]
    for name in re.findall(r"`([a-z]+\.[a-z_]+)`", section):
        if name.partition(".")[0] in {option.partition(".")[0] for option in OPTIONS}:
            assert name in OPTIONS, name


def table(heading: str) -> dict[str, str]:
    """A two-column table below a heading: first cell without backticks → second cell."""
    section = README.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|$", section, re.MULTILINE))


def test_its_list_of_metrics_is_the_programs() -> None:
    assert table("What to watch") == METRICS


def test_its_log_levels_are_the_programs() -> None:
    assert table("What the log shows") == logs.LEVELS


def test_the_services_user_is_defined_where_its_comment_says() -> None:
    installed = re.search(r"systemd/sidecar\.sysusers (/\S+)/sidecar\.conf", README)
    assert installed is not None
    comment = (ROOT / "systemd" / "sidecar.sysusers").read_text().partition("\nu ")[0]
    assert comment.endswith(f"Installed in {installed[1]}.")
