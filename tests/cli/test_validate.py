"""`sidecar validate` as a script uses it: 0 or 78, offline, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.files.private import write_private
from tests.support.processes import Shell, shell

__all__ = ["shell"]

NOWHERE = "http://127.0.0.1:1"


async def test_a_configuration_that_makes_sense_is_0_though_jira_and_key_are_missing(
    shell: Shell, write_config: Callable[..., None], tmp_path: Path
) -> None:
    write_config(NOWHERE)
    (tmp_path / ".config/sidecar/private_key.pem").unlink()
    done = await shell.run("validate")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{tmp_path}/.config/sidecar/config.toml: valid\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[log]\nlevel = 'loud'\n", "log.level"),
        ("[listn]\nx = 1\n", "unknown table"),
        ("[access]\nallow = ['GET /rest/../x']\n", "access.allow"),
        ("[listen]\naddresses = ['0.0.0.0:8088']\n", "access.key_file"),
        ("= nonsense", "TOML"),
    ],
)
async def test_one_that_makes_none_is_78_with_file_line_and_hint(
    shell: Shell, write_config: Callable[..., None], more: str, said: str
) -> None:
    write_config(NOWHERE, more)
    done = await shell.run("validate")
    assert (done.code, done.out) == (78, "")
    assert "config.toml:" in done.error
    assert said in done.error
    assert done.hint


async def test_what_is_allowed_but_unwise_is_said_and_valid(
    shell: Shell, write_config: Callable[..., None]
) -> None:
    write_config("http://jira.example.com")
    done = await shell.run("validate")
    assert done.code == 0
    assert "plain http" in done.err


async def test_none_at_all_is_78(shell: Shell) -> None:
    done = await shell.run("validate")
    assert done.code == 78
    assert "sidecar init" in done.hint


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("ca_file = 'no.pem'\n", "no.pem"),
        ("client_certificate = 'no.pem'\n", "no.pem"),
        ("[listen]\ntls_certificate = 'no.pem'\ntls_key = 'no.key'\n", "no.pem"),
        ("[access]\nkey_file = 'no_key'\n", "no_key"),
    ],
)
async def test_files_that_it_names_are_read_when_asked_for(
    shell: Shell, write_config: Callable[..., None], more: str, named: str
) -> None:
    write_config(NOWHERE, more)
    assert (await shell.run("validate")).code == 0
    done = await shell.run("validate", "--files")
    assert done.code == 78
    assert named in done.error
    assert done.hint


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        ((), 78, "there is no access key in this folder"),
        (("build", "ci"), 78, '"build" and "ci" hold the same access key'),
        (("deploy",), 0, 'access.act_as names "build"'),
        (("build",), 0, ""),
    ],
)
async def test_what_is_wrong_with_a_folder_of_access_keys_of_ours_is_said(
    shell: Shell, write_config: Callable[..., Path], names: tuple[str, ...], code: int, said: str
) -> None:
    folder = write_config(
        NOWHERE, 'two_legged = true\n[access]\nkey_file = "keys"\nact_as = ["build: ci-*"]\n'
    ).with_name("keys")
    for name in names:
        write_private(folder / name, b"correct horse\n")
    folder.mkdir(exist_ok=True)
    done = await shell.run("validate")
    assert done.code == code
    assert said in done.err
    assert bool(said) == bool(done.err)
    assert done.code == 0 or (done.error and done.hint)
    assert (await shell.run("validate", "--files")).code == code


async def test_files_that_are_in_order_are_valid(
    shell: Shell, write_config: Callable[..., None]
) -> None:
    write_config(NOWHERE)
    assert (await shell.run("validate", "--files")).code == 0
