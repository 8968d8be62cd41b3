"""Other values in a configuration file, and everything else as it was."""

from __future__ import annotations

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.edit import with_values
from sidecar.config.rendering import render

URL = {"jira.base_url": "https://new.example.com"}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ('[jira]\nbase_url = "x"\n', '[jira]\nbase_url = "https://new.example.com"\n'),
        (
            '# a\n[jira] # b\n  base_url="x"  # c # d\nconsumer_key = "#"\n',
            '# a\n[jira] # b\n  base_url="https://new.example.com"  # c # d\nconsumer_key = "#"\n',
        ),
        (
            '[jira]\r\nbase_url = "a#b" # c\r\n',
            '[jira]\r\nbase_url = "https://new.example.com" # c\r\n',
        ),
        (
            '[jira]\nbase_url = """\nx\n"""\nact_as = "y"\n',
            '[jira]\nbase_url = "https://new.example.com"\nact_as = "y"\n',
        ),
        ('jira.base_url = "x"\n', 'jira.base_url = "https://new.example.com"\n'),
        ("[jira]\n[log]\n", '[jira]\nbase_url = "https://new.example.com"\n[log]\n'),
        (
            "[jira]\n# the URL\n#base_url = 1\n\n[log]\n",
            '[jira]\n# the URL\n#base_url = 1\nbase_url = "https://new.example.com"\n\n[log]\n',
        ),
        (
            "[access]\nread_only = true\n",
            '[access]\nread_only = true\n\n[jira]\nbase_url = "https://new.example.com"\n',
        ),
        ("", '[jira]\nbase_url = "https://new.example.com"\n'),
        ('[jira]\nbase_url = "x"', '[jira]\nbase_url = "https://new.example.com"'),
    ],
)
def test_only_the_value_changes(text: str, changed: str) -> None:
    assert with_values(text, URL) == changed
    assert with_values(changed, URL) == changed


@pytest.mark.parametrize(
    "text", ['jira = {base_url = "x", act_as = "y"}\n', 'jira = {act_as = "y"}\n']
)
def test_a_table_in_one_line_takes_a_hand(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — tomli's or ours
        with_values(text, URL)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
COMMENT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)


@given(TEXT, TEXT, st.booleans(), COMMENT)
def test_every_other_line_of_a_file_stays(
    before: str, after: str, switch: bool, comment: str
) -> None:
    old = {"jira.base_url": before, "jira.consumer_key": "k", "access.read_only": True}
    lines = [
        f"{line} #{comment}" if line.startswith("base_url =") else line
        for line in render(old).split("\n")
    ]
    new = with_values("\n".join(lines), {"jira.base_url": after, "jira.two_legged": switch})
    document = tomli.loads(new)
    assert document["jira"] == {
        "base_url": after, "consumer_key": "k", "two_legged": switch,
    }  # fmt: skip
    assert document["access"] == {"read_only": True}
    kept = [line for line in lines if not line.startswith("base_url =")]
    assert [line for line in new.split("\n") if line in kept] == kept
    assert f" #{comment}\n" in new
