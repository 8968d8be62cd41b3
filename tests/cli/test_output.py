"""What becomes of results where standard output cannot be written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from sidecar.sandbox.answers import answer_json
from tests.conftest import make_config, store_token
from tests.support.processes import Done, Shell, shell

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
    done = await run_by_bash(signed_in, "$sidecar request /long | head -c 10")
    assert (done.out, done.err) == ('["xxxxxxxx', "")


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
