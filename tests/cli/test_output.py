"""The three standard streams: closed, full, non-blocking, in encodings that lack characters."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.cli import cli
from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import answer_json
from tests.conftest import make_config, store_token
from tests.support.processes import Done, Shell, shell
from tests.support.services import port_of
from tests.support.wire import Client

__all__ = ["shell"]


@pytest.fixture
def signed_in(shell: Shell, tmp_path: Path, sandbox: Sandbox, private_key: RSAPrivateKey) -> Shell:
    """A shell with a configuration, in the environment, a key and a token."""
    made = make_config(sandbox.url, tmp_path, private_key)
    store_token(made, sandbox.grant().token)
    shell.environ |= {
        "SIDECAR_JIRA_BASE_URL": sandbox.url,
        "SIDECAR_JIRA_CONSUMER_KEY": made.jira.consumer_key,
        "SIDECAR_JIRA_PRIVATE_KEY": str(made.jira.private_key),
        "SIDECAR_TOKEN_PATH": str(made.token.path),
    }
    return shell


async def run_by_bash(shell: Shell, line: str) -> Done:
    """Run a line of shell in which $sidecar is the program."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line,
        cwd=shell.folder, env={**shell.environ, "sidecar": f"{sys.executable} -m sidecar"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize(
    "words", ["--version", "run --help", "public-key", "check --json", "request /rest/api/2/myself"]
)
@pytest.mark.parametrize(
    ("where", "reason"),
    [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
async def test_output_that_cannot_be_written_is_an_error_of_its_own(
    signed_in: Shell, words: str, where: str, reason: str
) -> None:
    done = await run_by_bash(signed_in, f"$sidecar {words} {where}")
    assert done.code == 73
    assert done.error == f"cannot write the output: {reason}"
    assert done.hint
    assert len(done.err.splitlines()) == 2


async def test_a_reader_that_has_seen_enough_is_no_error(
    signed_in: Shell, sandbox: Sandbox
) -> None:
    sandbox.canned["/jira/long"] = lambda: answer_json(["x" * 100] * 50_000)
    line = "$sidecar request /long | head -c 10; exit ${PIPESTATUS[0]}"
    done = await run_by_bash(signed_in, line)
    assert done == Done(128 + signal.SIGPIPE, '["xxxxxxxx', "")


@pytest.mark.parametrize(
    "words", ["", "--version", "run --help", "public-key", "validate", "check", "check --json",
              "request -i /rest/api/2/myself"],
)  # fmt: skip
async def test_a_command_that_nobody_listens_to_dies_as_other_tools_do(
    signed_in: Shell, words: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", *words.split(),
        cwd=signed_in.folder, env=signed_in.environ, stdin=asyncio.subprocess.DEVNULL,
        stdout=writing, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    _, err = await process.communicate()
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")


async def test_it_serves_with_standard_output_closed(
    signed_in: Shell, unused_tcp_port_factory: Callable[[], int]
) -> None:
    port = unused_tcp_port_factory()
    line = (
        f"$sidecar run --listen 127.0.0.1:{port} >&- 2>log & "
        "until grep -q listening log; do kill -0 $! || exit 1; done; "
        f"curl -s http://127.0.0.1:{port}/_sidecar/health; kill $!; wait $!"
    )
    done = await run_by_bash(signed_in, line)
    assert (done.code, done.out.strip()) == (0, '{"status": "ok"}')


CODES = {
    "nonsense": 2,
    "request": 2,
    "run --config nowhere.toml": 78,
    "check --config nowhere.toml": 78,
    "init --config .config/sidecar/config.toml --base-url x": 2,
    "auth --verifier abc": 77,
    "auth --verifier -": 77,
    "request -d @- /rest/api/2/issue": 2,
    "demo --port 99999": 2,
    "public-key": 0,
    "check": 0,
    "request /rest/api/2/myself": 0,
    "request /rest/api/2/issue/NO-1": 22,
}
"""Commands with the exit code that each has where standard input is closed."""


@pytest.mark.parametrize("words", CODES)
@pytest.mark.parametrize("errors", ["2>&-", "2> /dev/full", "2> >(exec <&-)"])
async def test_nobody_who_could_be_told_of_an_error_changes_no_exit_code(
    signed_in: Shell, words: str, errors: str
) -> None:
    done = await run_by_bash(signed_in, f"$sidecar {words} > out <&- {errors}")
    assert (done.code, done.err) == (CODES[words], "")


@pytest.mark.parametrize("words", CODES)
async def test_with_every_stream_closed_a_command_fails_as_if_its_output_could_not_be_written(
    signed_in: Shell, words: str
) -> None:
    done = await run_by_bash(signed_in, f"$sidecar {words} <&- >&- 2>&-")
    assert done.code == (
        73 if CODES[words] in (0, 22) or words.startswith("check") else CODES[words]
    )


@pytest.mark.parametrize(
    "closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]
)
async def test_it_serves_whatever_is_closed(
    signed_in: Shell, unused_tcp_port_factory: Callable[[], int], closed: str
) -> None:
    """A socket with the number 0, 1 or 2 would have uvloop abort the process."""
    port = unused_tcp_port_factory()
    line = (
        f"$sidecar run --listen 127.0.0.1:{port} 2> log {closed} & "
        f"get='curl -s --retry 50 --retry-connrefused --retry-delay 0 http://127.0.0.1:{port}'; "
        "$get/_sidecar/health && $get/rest/api/2/myself > /dev/null || exit 1; kill $!; wait $!"
    )
    done = await run_by_bash(signed_in, line)
    assert (done.code, done.out.strip()) == (0, '{"status": "ok"}')


async def test_what_a_closed_standard_input_would_have_brought_is_not_made_up(
    signed_in: Shell,
) -> None:
    done = await run_by_bash(signed_in, "$sidecar request -d @- /rest/api/2/issue <&-")
    assert (done.code, done.error) == (2, "-d @-: standard input is closed")
    asked = await run_by_bash(signed_in, "$sidecar --config new/x.toml init <&-")
    assert (asked.code, asked.error) == (2, "--base-url and --consumer-key are missing")


async def test_a_pipe_that_another_process_made_non_blocking_loses_nothing(
    signed_in: Shell, sandbox: Sandbox
) -> None:
    body = ["x" * 100] * 50_000
    sandbox.canned["/jira/long"] = lambda: answer_json(body)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", "request", "/long",
        cwd=signed_in.folder, env=signed_in.environ,
        stdin=asyncio.subprocess.DEVNULL, stdout=writer, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        received = await asyncio.to_thread(pipe.read)
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert json.loads(received) == body


KEY = "Schlüssel山"
NAME = "Ľubomír Škoda 山田"
ENCODINGS = [
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "utf-8:strict"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]


class TestEncodings:
    """What an encoding lacks is replaced; a command never fails for it."""

    @pytest.fixture(params=ENCODINGS, ids=lambda one: " ".join(f"{k}={one[k]}" for k in one))
    def abroad(self, signed_in: Shell, request: pytest.FixtureRequest) -> Shell:
        del signed_in.environ["LC_ALL"]
        signed_in.environ |= request.param
        return signed_in

    async def test_every_command_prints(self, abroad: Shell, sandbox: Sandbox) -> None:
        user = {"name": "lubomír", "displayName": NAME, "errors": NAME}
        sandbox.canned["/jira/rest/api/2/myself"] = lambda: answer_json(user)
        for words, codes in (
            (["check"], (0,)),
            (["check", "--json"], (0,)),
            (["request", "/rest/api/2/myself"], (0,)),
            (["request", "-H", f"X: {NAME}", f"/rest/{NAME}"], (2,)),
            (["-d", NAME], (2,)),
            (["--config", f"{NAME}.toml", "run"], (78,)),
            (["--config", f"{NAME}/c.toml", "init", *self._arguments()], (0,)),
            (["init", "--base-url", f"http://{NAME}"], (2,)),
            (["auth", "--verifier", NAME], (77,)),
            (["run", "--listen", NAME], (2,)),
            (["--help"], (0,)),
        ):
            code, _, err = await self._run(abroad, *words)
            assert code in codes, (words, err)
            assert b"a bug" not in err
            assert b"Traceback" not in err

    async def test_json_is_exact(self, abroad: Shell, sandbox: Sandbox) -> None:
        user = {"name": "lubomír", "displayName": NAME}
        sandbox.canned["/jira/rest/api/2/myself"] = lambda: answer_json(user)
        _, out, _ = await self._run(abroad, "check", "--json")
        steps = {one["name"]: one["message"] for one in json.loads(out)["steps"]}
        assert steps["user"] == f"Jira takes us for {NAME} (lubomír)."
        _, out, _ = await self._run(abroad, "request", "/rest/api/2/myself")
        assert json.loads(out) == user

    async def test_a_consumer_key_is_what_its_bytes_say(self, abroad: Shell) -> None:
        await self._run(abroad, "--config", "made/c.toml", "init", *self._arguments())
        text = (abroad.folder / "made/c.toml").read_text("utf-8")
        assert f'\nconsumer_key = "{KEY}"\n' in text
        abroad.environ["SIDECAR_JIRA_CONSUMER_KEY"] = KEY
        _, out, _ = await self._run(abroad, "check", "--json")
        assert json.loads(out)["steps"][0]["status"] == "pass"

    def _arguments(self) -> list[str]:
        return ["--base-url", "https://jira.example.com", "--consumer-key", KEY]

    @staticmethod
    async def _run(shell: Shell, *words: str) -> tuple[int | None, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidecar", *words,
            cwd=shell.folder, env=shell.environ, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, out, err


class TestOptimized:
    """`python -OO` drops docstrings and asserts, and nothing that a user sees."""

    @pytest.mark.parametrize(
        "words",
        [
            *(f"{name} --help" for name in ("", *cli.commands)),
            "public-key",
            "request /rest/api/2/myself",
            "auth --verifier abc",
        ],
    )
    async def test_a_command_says_the_same(self, signed_in: Shell, words: str) -> None:
        usual = await signed_in.run(*words.split())
        signed_in.environ["PYTHONOPTIMIZE"] = "2"
        assert await signed_in.run(*words.split()) == usual

    async def test_init_writes_the_same(self, signed_in: Shell) -> None:
        arguments = ("init", "--base-url", "https://jira.example.com", "--consumer-key", "x")
        await signed_in.run("--config", "usual/c.toml", *arguments)
        signed_in.environ["PYTHONOPTIMIZE"] = "2"
        await signed_in.run("--config", "terse/c.toml", *arguments)
        texts = [(signed_in.folder / name / "c.toml").read_text() for name in ("usual", "terse")]
        assert texts[0] == texts[1]

    async def test_it_serves_and_its_sandbox_does(self, signed_in: Shell) -> None:
        signed_in.environ["PYTHONOPTIMIZE"] = "2"
        async with signed_in.running("demo", "--port", "0", until="listening on") as process:
            client = Client("127.0.0.1", port_of(await process.says("listening on")))
            assert (await client.get("/rest/api/2/issue/JJ-2")).json()["key"] == "JJ-2"
        assert await process.ends() == 0
        sandbox = await signed_in.run("--help", module="sidecar.sandbox")
        assert "A small Jira with an OAuth 1.0a provider" in sandbox.out
