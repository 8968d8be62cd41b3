"""Atlassian's sample client's state, and Java's properties."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.sample_client import SampleClient, parse_properties, read_sample_client
from sidecar.credentials import Secret
from sidecar.errors import ConfigError
from sidecar.files import keys
from sidecar.http.target import BaseURL


def values(text: str) -> dict[str, str]:
    return {name: one.value for name, one in parse_properties(text).items()}


def lines(text: str) -> dict[str, int]:
    return {name: one.line for name, one in parse_properties(text).items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Truth = Beauty\n", {"Truth": "Beauty"}),
        ("  Truth:Beauty", {"Truth": "Beauty"}),
        ("Truth\t\t\t:Beauty\r\n", {"Truth": "Beauty"}),
        ("fruits   apple, \\\n    banana, \\\n   pear", {"fruits": "apple, banana, pear"}),
        ("cheeses\n", {"cheeses": ""}),
        ("# one\n! two\n\n   # three\na=1", {"a": "1"}),
        ("a=1\n#b=2\\\nc=3", {"a": "1", "c": "3"}),
        (r"jira_home=http\://localhost\:2990/jira", {"jira_home": "http://localhost:2990/jira"}),
        (r"a\ b\=c\:d = e", {"a b=c:d": "e"}),
        (r"a=\t\n\r\f\\\q\"\u00e9\u4E2D", {"a": '\t\n\r\f\\q"é中'}),
        (r"a=\ud83d\ude00", {"a": "\ud83d\ude00"}),
        ("a = b = c : d ", {"a": "b = c : d "}),
        ("a==b", {"a": "=b"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("a=1\\\\\\\nb=2", {"a": "1\\b=2"}),
        ("a=1\\\n\nb=2", {"a": "1", "b": "2"}),
        ("a=1\\\n# no comment", {"a": "1# no comment"}),
        ("a=1\\", {"a": "1"}),
        ("=x", {"": "x"}),
        ("", {}),
        ("a=caf\xe9", {"a": "café"}),
        ("a\xa0b=\x0b1", {"a\xa0b": "\x0b1"}),
        ("a=1\rb=2", {"a": "1", "b": "2"}),
    ],
)
def test_properties_are_read_as_java_does(text: str, expected: dict[str, str]) -> None:
    """The first cases are those of java.util.Properties.load()'s documentation."""
    assert values(text) == expected


def test_a_property_stands_on_the_line_it_begins_on() -> None:
    assert lines("# x\na=1\\\n2\n\nb=3\n") == {"a": 2, "b": 5}


def stored(name: str, value: str) -> str:
    """Write a property as java.util.Properties.store() does."""
    escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}
    escapes |= {char: f"\\{char}" for char in "=:#!"}

    def escape(text: str, *, is_key: bool) -> str:
        out = ""
        for index, char in enumerate(text):
            if char == " " and (is_key or index == 0):
                out += "\\ "
            elif char in escapes:
                out += escapes[char]
            elif not 0x20 <= ord(char) <= 0x7E:
                utf16 = char.encode("utf-16-be", "surrogatepass")
                out += "".join(
                    f"\\u{utf16[at]:02X}{utf16[at + 1]:02X}" for at in range(0, len(utf16), 2)
                )
            else:
                out += char
        return out

    return f"{escape(name, is_key=True)}={escape(value, is_key=False)}\n"


BASIC_PLANE = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))


@given(st.dictionaries(BASIC_PLANE, BASIC_PLANE))
def test_what_java_stores_is_read_back(properties: dict[str, str]) -> None:
    text = "#Fri Nov 22 10:00:00 CET 2031\n" + "".join(
        stored(name, value) for name, value in properties.items()
    )
    assert values(text) == properties


@given(st.text())
def test_any_text_at_all_is_read(text: str) -> None:
    parse_properties(text)


def write(folder: Path, text: str) -> Path:
    path = folder / "config.properties"
    path.write_text(text, encoding="latin-1")
    return path


def test_the_sample_clients_state_is_read(private_key: RSAPrivateKey, tmp_path: Path) -> None:
    pem = keys.private_key_pem(private_key).split(b"\n")
    key = b"".join(pem[1:-2]).decode()
    text = (
        "#Fri Nov 22 10:00:00 CET 2031\n"
        "jira_home=https\\://jira.example.com/jira/\n"
        "consumer_key=OauthKey\n"
        f"private_key={key.replace('=', chr(92) + '=')}\n"
        "request_token=REQUEST\n"
        "access_token=ACCESS\n"
        "secret=qTJkPi\n"
    )
    found = read_sample_client(write(tmp_path, text))
    assert found.base_url == BaseURL.parse("https://jira.example.com/jira")
    assert found.consumer_key == "OauthKey"
    assert found.private_key is not None
    assert found.private_key.private_numbers() == private_key.private_numbers()
    assert found.access_token == Secret("ACCESS")
    assert "ACCESS" not in repr(found)
    assert key[:20] not in repr(parse_properties(text))


def test_what_it_did_not_know_yet_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "jira_home=http\\://localhost\\:2990/jira\naccess_token=\nsecret=\n")
    url = BaseURL.parse("http://localhost:2990/jira")
    assert read_sample_client(path) == SampleClient(base_url=url)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("\njira_home=localhost", 2, "jira_home: the URL must begin with http"),
        ("jira_home=http://u:hunter2@x", 1, "jira_home: the URL must hold no user name"),
        ("consumer_key=a\\tb", 1, "consumer_key: must have no control character"),
        ("consumer_key=k\nprivate_key=hunter2", 2, "private_key: this is not a private key"),
        ("private_key=MIIhunter2", 1, "private_key: the private key is damaged"),
        ("private_key=\\u4e2d", 1, "private_key: this is not a private key"),
    ],
)
def test_what_cannot_be_used_is_named_with_file_and_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_sample_client(path)
    assert str(caught.value).startswith(f"{path}:{line}: {problem}")
    assert caught.value.hint
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_a_file_that_is_missing_another_or_huge_is_refused(tmp_path: Path) -> None:
    for path, problem in (
        (tmp_path / "no.properties", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (write(tmp_path, "a=1\n"), "there is no jira_home, consumer_key or private_key in it"),
    ):
        with pytest.raises(ConfigError, match=problem) as caught:
            read_sample_client(path)
        assert "config.properties" in caught.value.hint
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        read_sample_client(write(tmp_path, "a" * 65537))
