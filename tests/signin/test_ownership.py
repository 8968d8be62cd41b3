"""Which browser is the owner's: grants, how long they last, and what ends them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.credentials import Secret
from sidecar.signin.one_time_code import CodeFile, CodeRefused, make_code
from sidecar.signin.ownership import GRANT_LIFE, Ownership, ShownTwice
from tests.support.dancing import Clock

URLS = ["http://127.0.0.1:8088"]


class Desk:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.token = folder / "state" / "token.json"
        self.ownership = Ownership(self.clock)
        self.ownership.listens(self.token, URLS)

    def code(self) -> str:
        (file,) = CodeFile.all_beside(self.token)
        running = file.read()
        assert running is not None
        return make_code(running.secret, self.clock())

    def grant(self) -> str:
        grant = self.ownership.claim(self.code())
        assert isinstance(grant, Secret)
        return grant.reveal()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_code_is_exchanged_for_a_grant(desk: Desk) -> None:
    grant = desk.grant()
    assert len(grant) == 32
    assert desk.ownership.holds(grant)
    assert not desk.ownership.holds(grant[:-1])
    assert not desk.ownership.holds("")
    assert not desk.ownership.holds("é" * 32)


def test_nobody_is_the_owner_before_that(desk: Desk) -> None:
    assert not desk.ownership.holds("")
    assert not desk.ownership.holds("None")


def test_a_grant_ends_after_an_hour(desk: Desk) -> None:
    grant = desk.grant()
    desk.clock.now += GRANT_LIFE - 1
    assert desk.ownership.holds(grant)
    desk.clock.now += 1
    assert not desk.ownership.holds(grant)


def test_the_next_browser_takes_the_place_of_the_one_before(desk: Desk) -> None:
    first, second = desk.grant(), desk.grant()
    assert not desk.ownership.holds(first)
    assert desk.ownership.holds(second)


def test_a_code_that_comes_again_ends_the_grant(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    code = desk.code()
    grant = desk.ownership.claim(code).reveal()
    with pytest.raises(ShownTwice):
        desk.ownership.claim(code)
    assert not desk.ownership.holds(grant)
    assert "shown twice" in caplog.text
    assert code not in caplog.text


def test_a_code_that_is_wrong_ends_nothing(desk: Desk) -> None:
    grant = desk.grant()
    with pytest.raises(CodeRefused):
        desk.ownership.claim(desk.code()[:-1] + "x")
    assert desk.ownership.holds(grant)


def test_no_two_processes_have_the_same_token() -> None:
    assert Ownership().process_token != Ownership().process_token


def test_where_nothing_can_be_written_the_sidecar_runs_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "state").write_text("no folder")
    ownership = Ownership()
    ownership.listens(tmp_path / "state" / "token.json", URLS)
    assert "will not find this sidecar" in caplog.text
    with pytest.raises(CodeRefused, match="cannot be written"):
        ownership.claim("0-" + "0" * 32)
    ownership.close()


def test_the_file_goes_with_the_token_and_with_the_sidecar(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "other" / "token.json"
    desk.ownership.moves(desk.token)
    assert len(CodeFile.all_beside(desk.token)) == 1
    desk.ownership.moves(other)
    assert not CodeFile.all_beside(desk.token)
    assert len(CodeFile.all_beside(other)) == 1
    desk.ownership.close()
    assert not CodeFile.all_beside(other)
