"""The browser that shows Jira's page: one with a window of its own, or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.signin.browser import TEXT_BROWSERS, choose

DISPLAY = {"DISPLAY": ":0"}
OVER_SSH = {"SSH_CONNECTION": "192.0.2.7 51000 192.0.2.8 22"}


class Programs:
    """A PATH of programs that write down what they are called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.called = folder / "called"
        folder.mkdir()

    def add(self, name: str, leads_to: str | None = None, code: int = 0) -> Path:
        file = self.folder / name
        if leads_to:
            file.symlink_to(self.folder / leads_to)
        else:
            file.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.called}\nexit {code}\n')
            file.chmod(0o755)
        return file

    def opened(self, environ: dict[str, str], platform: str = "linux") -> str:
        """What is called for a URL; or the reason why nothing is."""
        choice = choose({"PATH": str(self.folder), **environ}, platform)
        if choice.open is None:
            assert choice.reason
            assert "\n" not in choice.reason
            return choice.reason
        assert choice.reason == ""
        assert choice.open("https://jira/a?b=%s")
        return self.called.read_text().strip()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "bin")


URL = "https://jira/a?b=%s"


def test_the_desktop_chooses_where_there_is_a_display(programs: Programs) -> None:
    programs.add("xdg-open")
    programs.add("firefox")
    assert programs.opened(DISPLAY) == f"xdg-open {URL}"


def test_without_a_desktop_a_graphical_browser_is_looked_for(programs: Programs) -> None:
    programs.add("w3m")
    programs.add("x-www-browser", leads_to="w3m")
    programs.add("firefox")
    assert programs.opened({"WAYLAND_DISPLAY": "wayland-0"}) == f"firefox {URL}"


@pytest.mark.parametrize(
    ("environ", "platform", "said"),
    [
        ({}, "linux", "no graphical display"),
        (OVER_SSH, "linux", "over SSH"),
        ({**OVER_SSH, **DISPLAY}, "linux", "over SSH"),
        ({"SSH_TTY": "/dev/pts/3"}, "darwin", "over SSH"),
    ],
)
def test_none_is_opened_over_ssh_or_without_a_display(
    programs: Programs, environ: dict[str, str], platform: str, said: str
) -> None:
    for name in ("xdg-open", "firefox", "open", "www-browser", "sensible-browser"):
        programs.add(name)
    assert said in programs.opened(environ, platform)


def test_a_mac_needs_no_display(programs: Programs) -> None:
    programs.add("open")
    assert programs.opened({}, "darwin") == f"open {URL}"


@pytest.mark.parametrize("name", sorted(TEXT_BROWSERS))
def test_a_browser_of_the_terminal_is_never_opened(programs: Programs, name: str) -> None:
    for program in (name, "env", "sh"):
        programs.add(program)
    path = programs.add("my-browser", leads_to=name)
    for text in (name, str(path), f"{name} %s", f"env LANG=C {name}", f"sh -c '{name} %s'"):
        assert "BROWSER names none" in programs.opened({"BROWSER": text, **DISPLAY})
    assert "no graphical one" in programs.opened(DISPLAY)


@pytest.mark.parametrize("name", ["sensible-browser", "xdg-open", "gio open"])
def test_a_chooser_without_a_display_leads_to_the_terminal(programs: Programs, name: str) -> None:
    programs.add(name.split()[0])
    assert "BROWSER names none" in programs.opened({"BROWSER": name})


def test_sensible_browser_counts_where_it_leads_to_a_window(programs: Programs) -> None:
    programs.add("sensible-browser")
    environ = {"BROWSER": "sensible-browser", **DISPLAY}
    assert "BROWSER names none" in programs.opened(environ)
    programs.add("firefox")
    programs.add("x-www-browser", leads_to="firefox")
    assert programs.opened(environ) == f"sensible-browser {URL}"


def test_a_browser_that_the_user_names_counts_over_ssh_too(programs: Programs) -> None:
    """As VS Code sets one that opens the page on the user's own machine."""
    helper = programs.add("browser.sh")
    assert programs.opened({"BROWSER": str(helper), **OVER_SSH}) == f"browser.sh {URL}"


def test_the_first_of_several_that_fits_is_taken(programs: Programs) -> None:
    programs.add("w3m")
    programs.add("firefox")
    browsers = os.pathsep.join(["w3m", "missing", "unbalanced '", "firefox --new-tab %s &"])
    assert programs.opened({"BROWSER": browsers}) == f"firefox --new-tab {URL}"


def test_a_failure_is_told(programs: Programs) -> None:
    programs.add("firefox", code=3)
    choice = choose({"PATH": str(programs.folder), "BROWSER": "firefox", **DISPLAY})
    assert choice.open is not None
    assert not choice.open(URL)


def test_what_it_opens_has_neither_our_input_nor_our_output_nor_our_terminal(
    programs: Programs,
) -> None:
    script = programs.add("firefox")
    script.write_text("#!/bin/sh\ncat\necho page\nps -o sid= -p $$ >&2\nps -o pid= -p $$ >&2\n")
    program = (
        "import os; from sidecar.signin.browser import choose\n"
        f"choose({{'PATH': {str(programs.folder) + ':/usr/bin:/bin'!r}, 'BROWSER': 'firefox'}})"
        ".open('u')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"typed", capture_output=True, check=True
    )
    assert done.stdout == b""
    page, session, process = done.stderr.split()
    assert page == b"page"
    assert session == process, "a session of its own has no terminal"


def test_the_desktops_opener_is_kept_from_browsers_of_the_terminal(programs: Programs) -> None:
    script = programs.add("xdg-open")
    script.write_text(f'#!/bin/sh\necho "$BROWSER" > {programs.called}\n')
    assert not set(programs.opened(DISPLAY).split(":")) & TEXT_BROWSERS
