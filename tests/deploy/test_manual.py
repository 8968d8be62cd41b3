"""Man pages and completions: they say what `--help` and the option table say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import manual
from sidecar.cli import cli
from sidecar.config.settings import OPTIONS, TABLES

MAN = shutil.which("man")
needs_man = pytest.mark.skipif(
    MAN is None or shutil.which("troff") is None, reason="man and groff are not installed"
)
PAGES = manual.pages()


def shown(name: str, folder: Path) -> str:
    """A page as man shows it, without hyphens at line ends; AssertionError for its warnings."""
    file = folder / name
    file.write_text(PAGES[name])
    assert MAN is not None
    done = subprocess.run(
        [MAN, "--warnings", "--encoding=UTF-8", "--local-file", "--no-hyphenation", str(file)],
        env={
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "MANWIDTH": "400",
            "MANPAGER": "cat",
            "TERM": "dumb",
        },
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_there_is_a_page_for_each_command_and_one_for_the_configuration() -> None:
    commands = {f"sidecar-{name}.1" for name in cli.commands}
    assert set(PAGES) == commands | {"sidecar.1", "sidecar.toml.5"}


@needs_man
@pytest.mark.parametrize("name", sorted(PAGES))
def test_man_shows_it_without_a_warning(name: str, tmp_path: Path) -> None:
    text = shown(name, tmp_path)
    assert "NAME" in text
    assert "EXAMPLE" in text


@needs_man
@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_command_s_page_has_its_options_and_its_example(name: str, tmp_path: Path) -> None:
    text = shown(f"sidecar-{name}.1", tmp_path)
    command = cli.commands[name]
    for parameter in command.params:
        for option in parameter.opts:
            assert option in text or parameter.param_type_name == "argument"
    assert command.epilog
    assert command.epilog.splitlines()[-1].strip() in text


@needs_man
def test_the_configuration_s_page_has_every_key_with_its_help(tmp_path: Path) -> None:
    text = " ".join(shown("sidecar.toml.5", tmp_path).split())
    for table in TABLES:
        assert f"[{table}]" in text
    for name, option in OPTIONS.items():
        assert f"SIDECAR_{name.replace('.', '_').upper()}" in text
        assert " ".join(option.help.split()) in text


@needs_man
def test_the_overview_has_the_exit_codes_of_the_errors(tmp_path: Path) -> None:
    text = shown("sidecar.1", tmp_path)
    assert set(manual.exit_codes()) == {0, 2, 22, 69, 70, 73, 75, 77, 78}
    for code, meaning in manual.exit_codes().items():
        assert f"{code} " in text
        assert meaning in text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_no_text_is_taken_for_a_request_or_an_escape(text: str) -> None:
    line = manual.roff(text)
    assert not line.startswith((".", "'"))
    for piece in line.split("\\")[1:]:
        assert piece.startswith(("e", "-", "(dq", "&"))


def test_the_date_is_the_sources_so_that_a_build_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert '"1970-01-02"' in manual.pages()["sidecar.1"].splitlines()[0]


def test_completions_are_written_for_three_shells(tmp_path: Path) -> None:
    manual.main(tmp_path)
    for place in manual.COMPLETIONS:
        assert "_SIDECAR_COMPLETE" in (tmp_path / place).read_text()
    assert (tmp_path / "man/man5/sidecar.toml.5").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_and_options_by_it(tmp_path: Path) -> None:
    manual.main(tmp_path)
    script = tmp_path / "bash-completion/completions/sidecar"
    program = tmp_path / "sidecar"
    program.write_text('#!/bin/sh\nexec "$PYTHON" -m sidecar "$@"\n')
    program.chmod(0o755)
    lines = [
        f"source {script}",
        "COMP_WORDS=(sidecar val) COMP_CWORD=1; _sidecar_completion sidecar",
        'echo "${COMPREPLY[@]}"',
        "COMPREPLY=() COMP_WORDS=(sidecar auth --veri) COMP_CWORD=2; _sidecar_completion sidecar",
        'echo "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout.splitlines() == ["validate", "--verifier"], done.stderr
