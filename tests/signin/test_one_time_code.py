"""One-time codes: who can make one, for how long one is good, and that one is good once."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.credentials import Secret
from sidecar.errors import ConfigError
from sidecar.signin.one_time_code import AHEAD, LIFE, CodeFile, CodeRefused, make_code

URLS = ("http://127.0.0.1:8088", "http://[::1]:8088")
NOW = 1_763_000_000.0


@pytest.fixture
def codes(tmp_path: Path) -> CodeFile:
    file = CodeFile.of(tmp_path / "state" / "token.json", URLS)
    file.write(URLS)
    return file


def code(codes: CodeFile, when: float = NOW) -> str:
    running = codes.read()
    assert running is not None
    return make_code(running.secret, when)


def test_the_file_is_private_and_says_where_the_sidecar_listens(codes: CodeFile) -> None:
    assert codes.path.name == "open_8088.json"
    assert stat.S_IMODE(codes.path.stat().st_mode) == 0o600
    running = codes.read()
    assert running is not None
    assert running.urls == URLS
    assert running.secret.reveal() not in repr(running)
    assert [one.path for one in CodeFile.all_beside(codes.path)] == [codes.path]


def test_a_sidecar_on_a_unix_socket_alone_has_one_too(tmp_path: Path) -> None:
    assert CodeFile.of(tmp_path / "token.json", ["unix:/run/x"]).path.name == "open_unix.json"


def test_a_unix_socket_may_have_a_space_in_its_path(codes: CodeFile) -> None:
    urls = ("unix:/run/my jira/a b", *URLS, "unix:/x")
    codes.write(urls)
    running = codes.read()
    assert running is not None
    assert running.urls == urls


def test_a_code_is_taken_once_and_the_next_one_is_another(codes: CodeFile) -> None:
    first, other = code(codes), code(codes, NOW + 1)
    codes.take(first, NOW)
    with pytest.raises(CodeRefused, match="was used"):
        codes.take(first, NOW)
    with pytest.raises(CodeRefused):
        codes.take(other, NOW)  # of the same secret
    codes.take(code(codes), NOW)


@pytest.mark.parametrize("age", [-AHEAD, 0, LIFE - 1])
def test_a_code_is_good_for_five_minutes(codes: CodeFile, age: float) -> None:
    codes.take(code(codes), NOW + age)


@pytest.mark.parametrize("age", [-AHEAD - 1, LIFE, 86400])
def test_and_for_no_longer(codes: CodeFile, age: float) -> None:
    with pytest.raises(CodeRefused, match="expired"):
        codes.take(code(codes), NOW + age)


@given(st.text() | st.from_regex(r"[0-9a-f]{1,12}-[0-9a-f]{32}", fullmatch=True))
def test_nobody_guesses_one(tmp_path_factory: pytest.TempPathFactory, guess: str) -> None:
    codes = CodeFile(tmp_path_factory.getbasetemp() / "guessed" / "open_1.json")
    if codes.read() is None:
        codes.write(URLS)
    with pytest.raises(CodeRefused):
        codes.take(guess, NOW)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_another_moment_makes_another_code(one: int, other: int) -> None:
    secret = Secret("s" * 64)
    made = make_code(secret, one)
    assert (made == make_code(secret, other)) == (one == other)
    assert made != make_code(Secret("t" * 64), one)
    changed = f"{other:x}-{made.partition('-')[2]}"
    assert (changed == make_code(secret, other)) == (one == other)


def test_another_sidecar_with_the_same_folder_may_have_written_the_file(codes: CodeFile) -> None:
    other = CodeFile(codes.path)
    other.write(URLS)
    codes.take(code(other), NOW)


def test_a_file_that_others_can_read_makes_no_codes(codes: CodeFile) -> None:
    made = code(codes)
    codes.path.chmod(0o644)
    with pytest.raises(CodeRefused, match="open to others"):
        codes.take(made, NOW)
    with pytest.raises(ConfigError):
        codes.read()


def test_without_a_file_no_code_is_taken(codes: CodeFile) -> None:
    made = code(codes)
    codes.remove()
    assert not codes.path.exists()
    assert codes.read() is None
    with pytest.raises(CodeRefused):
        codes.take(made, NOW)


def test_whoever_ends_leaves_the_file_of_who_took_over(codes: CodeFile) -> None:
    """At a restart the new one may write before the old one ends."""
    CodeFile(codes.path).write(URLS)
    codes.remove()
    assert codes.path.exists()
    CodeFile(codes.path).remove()
    assert codes.path.exists(), "who has written nothing removes nothing"
