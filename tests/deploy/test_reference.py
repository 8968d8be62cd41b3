"""The pages of the reference: they say what `--help` and the option table say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import reference
from sidecar.cli import cli
from sidecar.config.settings import OPTIONS

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_the_folder_is_the_one_that_is_written(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name], "run `python -m deploy.reference docs`"


def test_every_command_and_every_option_has_its_heading() -> None:
    headings = {name: re.findall("^##+ (.+)$", text, re.M) for name, text in PAGES.items()}
    assert headings["commands.md"] == [*(f"sidecar {name}" for name in cli.commands), "Exit codes"]
    assert [name for name in headings["configuration.md"] if "." in name] == list(OPTIONS)


def test_every_option_of_a_command_says_what_it_means() -> None:
    rows = re.findall(r"^\| `(-.+)` \|(.*)\|$", PAGES["commands.md"], re.M)
    assert len(rows) > 30
    assert [option for option, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("*any* <tag> [x]", "\\*any\\* \\<tag\\> \\[x\\]"),
        ("`a*b` *", "`a*b` \\*"),
        ("an odd ` one", "an odd \\` one"),
    ],
)
def test_only_code_between_backticks_is_markdown(text: str, markdown: str) -> None:
    assert reference.escaped(text) == markdown
