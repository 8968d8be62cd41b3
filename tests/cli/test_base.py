"""What all commands share: options before and after, hints that can be pasted, event loops."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import cli
from sidecar.cli.base import Global, ask, report, run_coroutine, say, show, warn
from sidecar.errors import UsageError
from tests.support.processes import Shell, shell

__all__ = ["shell"]


@pytest.mark.parametrize(
    "words", [["-v", "--config", "x.toml", "run"], ["run", "--config", "x.toml", "-v"]]
)
async def test_global_options_stand_before_or_after_the_command(
    shell: Shell, words: list[str]
) -> None:
    done = await shell.run(*words)
    assert (done.code, done.error) == (78, "x.toml: no such configuration file")


class TestWithConfig:
    @given(
        st.text(st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1)
    )
    def test_every_command_in_a_hint_is_one_that_a_shell_takes(self, name: str) -> None:
        settings = Global(config_path=Path(name))
        named = settings.with_config("run `sidecar auth --begin`; or `sidecar check` tells")
        first, second = named[len("run `") :].split("`; or `sidecar ")
        second = f"sidecar {second.removesuffix('` tells')}"
        config = str(Path(name))
        assert shlex.split(first) == ["sidecar", "--config", config, "auth", "--begin"]
        assert shlex.split(second) == ["sidecar", "--config", config, "check"]

    @pytest.mark.parametrize(
        "text",
        [
            "is another sidecar running?",
            "/opt/sidecar auth",
            "jira-oauth-sidecar run",
            "sidecar authors",
            "",
        ],
    )
    def test_what_is_no_command_stays(self, text: str) -> None:
        assert Global(config_path=Path("x")).with_config(text) == text

    def test_without_a_configuration_given_nothing_changes(self) -> None:
        assert Global().with_config("run `sidecar auth`") == "run `sidecar auth`"

    def test_every_command_that_reads_a_configuration_is_known(self) -> None:
        settings = Global(config_path=Path("x"))
        for command in set(cli.commands) - {"demo"}:
            assert settings.with_config(f"sidecar {command}") == f"sidecar --config x {command}"


class TestSaying:
    def test_results_go_to_stdout_and_everything_else_to_stderr(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        show("result")
        say("by the way")
        warn(["unwise"])
        report("what", "do")
        report("what", "")
        said = capsys.readouterr()
        assert said.out == "result\n"
        assert said.err == (
            "by the way\nsidecar: warning: unwise\n"
            "sidecar: error: what\nsidecar: hint: do\nsidecar: error: what\n"
        )

    def test_without_a_terminal_nobody_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Path("/dev/null").open() as nothing, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", nothing)
            with pytest.raises(UsageError, match="--base-url is missing"):
                ask("--base-url", "Jira's URL", str)


@pytest.mark.parametrize("fast", [True, False])
def test_a_coroutine_runs_and_its_errors_come_back(fast: bool) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def work(error: Exception | None) -> str:
        loops.append(asyncio.get_running_loop())
        if error:
            raise error
        return "done"

    assert run_coroutine(work(None), fast=fast) == "done"
    with pytest.raises(click.UsageError):
        run_coroutine(work(click.UsageError("x")), fast=fast)
    for loop in loops:
        assert ("uvloop" in type(loop).__module__) is fast
        loop.close()


class TestOfTheSystemService:
    def test_commands_without_system_go_by_its_configuration(self) -> None:
        settings = Global(config_path=Path("/etc/sidecar/config.toml"), system=True)
        named = settings.with_config("run `sidecar auth`; or: sidecar public-key")
        assert named == (
            "run `sudo sidecar auth --system`;"
            " or: sudo sidecar --config /etc/sidecar/config.toml public-key"
        )
        assert settings.with_config(named) == named

    def test_before_its_configuration_is_known_they_are_roots(self) -> None:
        settings = Global(system=True, instance="work")
        assert settings.with_config("sidecar validate") == "sudo sidecar validate"
        assert settings.with_config("sidecar check") == (
            "sudo sidecar check --system --instance work"
        )
