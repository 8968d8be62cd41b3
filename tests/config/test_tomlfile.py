"""Reading a TOML file and finding its lines."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.tomlfile import key_lines, read_toml
from sidecar.errors import ConfigError


def refusal(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_toml(file)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a =\n", 1),
        (b"\n\n[jira\n", 3),
        (b"[a]\nb = 1\nb = 2\n", 3),
        (b"[a]\nx = 'unclosed\n\n\n", 2),
        (b'[a]\nx = """\nnever closed\n\n', 2),
        (b"a = 1\nb = [1,\n", 2),
        (b"a = " + b"9" * 5000, 1),
        (b"", 0),
    ],
)
def test_a_syntax_error_names_file_and_line(tmp_path: Path, content: bytes, line: int) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    if line == 0:
        assert read_toml(file) == ({}, {})
    else:
        assert str(refusal(file)).startswith(f"{file}:{line}: ")


def test_what_is_no_configuration_at_all_is_refused_without_much_ado(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("08:54:43 GET /rest/api/2/myself 200\n" * 25_000)
    assert str(refusal(file)).startswith(f"{file}:1: not valid TOML: ")


def test_nesting_beyond_reason_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("a = " + "[" * 100_000)
    assert "not valid TOML" in str(refusal(file))


def test_a_byte_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"# ok\n[jira]\nconsumer_key = 'caf\xe9'\n")
    assert str(refusal(file)) == f"{file}:3: not UTF-8"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf[jira]\r\n\r\nconsumer_key = 'k'\r\n")
    document, lines = read_toml(file)
    assert document == {"jira": {"consumer_key": "k"}}
    assert lines[("jira", "consumer_key")] == 3


def test_what_is_no_file_of_a_sensible_size_is_refused_at_once(tmp_path: Path) -> None:
    assert str(refusal(tmp_path / "no.toml")) == f"{tmp_path}/no.toml: no such configuration file"
    assert str(refusal(tmp_path)) == f"{tmp_path}: cannot be read: Is a directory"
    os.mkfifo(tmp_path / "fifo")
    for odd in (tmp_path / "fifo", Path("/dev/zero")):
        assert str(refusal(odd)) == f"{odd}: not a regular file"
    huge = tmp_path / "huge.toml"
    with huge.open("wb") as stream:
        os.truncate(stream.fileno(), 2**40)
    assert str(refusal(huge)) == f"{huge}: larger than 1 MiB"


TRICKY = '''\
# [fake]
# base_url = 1

[ jira ]  # base_url = 2
base_url = """
consumer_key = 3
[token]
"""
"consumer_key" = 'x # [y]'
list = [
  "proxy = 1",   # ]
  "[log]",
]
inline = { a = 1, b = { c = 2 } }

[token]
path.x = 1
path.y = """x"""
\t[access.rules]
allow = []
[[many]]
x = 1
'''


def test_lines_are_found_whatever_strings_and_comments_look_like() -> None:
    assert key_lines(TRICKY) == {
        ("jira",): 4,
        ("jira", "base_url"): 5,
        ("jira", "consumer_key"): 9,
        ("jira", "list"): 10,
        ("jira", "inline"): 14,
        ("jira", "inline", "a"): 14,
        ("jira", "inline", "b"): 14,
        ("jira", "inline", "b", "c"): 14,
        ("token",): 16,
        ("token", "path"): 17,
        ("token", "path", "x"): 17,
        ("token", "path", "y"): 18,
        ("access",): 19,
        ("access", "rules"): 19,
        ("access", "rules", "allow"): 20,
        ("many",): 21,
        ("many", "x"): 22,
    }


NOISE = st.sampled_from(["", "# [a]", "   ", "# b = '''", "\t# x = 1"])
VALUE = st.sampled_from(
    [
        "1",
        '"# no"',
        "'''\n[a]\nk0 = 1\n'''",
        "[\n1, # ]\n\n2]",
        '"""\\\n  x"""',
        "{ k0 = 1 }",
        "1.5",
    ]
)


@given(st.lists(st.tuples(st.lists(NOISE, max_size=3), st.booleans(), VALUE), max_size=8))
def test_every_key_is_found_on_the_line_it_was_written(
    plan: list[tuple[list[str], bool, str]],
) -> None:
    """Statements with noise between them; the line is counted while they are put together."""
    text = ""
    table: tuple[str, ...] = ()
    expected: dict[tuple[str, ...], int] = {}
    for number, (noise, is_table, value) in enumerate(plan):
        text += "".join(f"{line}\n" for line in noise)
        line = text.count("\n") + 1
        if is_table:
            table = (f"t{number}",)
            expected[table] = line
            text += f"[t{number}]\n"
        else:
            expected[*table, f"k{number + 1}"] = line
            text += f"k{number + 1} = {value}\n"
    found = key_lines(text)
    assert {path: line for path, line in found.items() if "k0" not in path} == expected


@given(st.text("ab=[]\"'#\n.{}, 1", max_size=40))
def test_no_text_at_all_breaks_the_line_finder(text: str) -> None:
    for line in key_lines(text).values():
        assert 1 <= line <= len(re.findall("\n", text)) + 1
