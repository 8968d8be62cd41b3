"""What a page says of each way in which a sign-in can go."""

from __future__ import annotations

import pytest

from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import (
    ConfigError,
    ConnectionRefused,
    NotAuthorized,
    NotJira,
    SidecarError,
    StoreError,
)
from sidecar.jira.refusals import denied, request_token_expired, verifier_rejected
from sidecar.page.outcome import of_error, of_outcome
from sidecar.signin.one_time_code import CodeRefused
from sidecar.signin.page_dance import AnotherUser, Cancelled, NotThisDance, SignedIn

TOKEN = TokenCredentials(
    Secret("t"), Secret(""), user="alana", display_name="Alana Example", expires_at=1_953_518_883.0
)


def test_signed_in() -> None:
    values = of_outcome(SignedIn(TOKEN))
    assert (values["level"], values["title"]) == ("good", "Signed in")
    assert values["paragraphs"][0].startswith("Signed in as Alana Example (alana) until 2031-11-")
    assert values["is_over"]


@pytest.mark.parametrize(("before", "named"), [("bob", "bob"), ("", "nobody knows whom")])
def test_another_user(before: str, named: str) -> None:
    values = of_outcome(AnotherUser(TOKEN, before))
    assert values["level"] == "note"
    assert f"acted as {named}." in values["paragraphs"][0]
    assert values["confirms"] == "Alana Example (alana)"


def test_another_user_who_was_declined() -> None:
    assert of_outcome(Cancelled())["title"] == "Nothing has changed"


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (CodeRefused("Wrong.", "do"), "This browser may not sign in"),
        (NotThisDance("Wrong.", "do"), "Not this sign-in"),
        (verifier_rejected(), "That code does not fit"),
        (denied(), "Access denied"),
        (request_token_expired(), "Not signed in"),
        (StoreError("Full.", "do"), "The access token cannot be stored"),
        (ConfigError("Wrong.", "do"), "The application link does not fit"),
        (ConnectionRefused("Away.", "do"), "Jira cannot be asked"),
        (NotJira("A page.", "do"), "Jira cannot be asked"),
        (SidecarError("Odd."), "Not signed in"),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_each_error_has_its_page(error: SidecarError, title: str, waits: bool) -> None:
    values = of_error(error, str, waits=waits)
    assert (values["level"], values["title"]) == ("bad", title)
    assert values["paragraphs"]
    assert all(values["paragraphs"])
    assert set(values) - {"status"} == set(of_outcome(Cancelled()))


def test_what_may_be_given_again() -> None:
    assert of_error(verifier_rejected(), str, waits=True)["takes_answer"]
    assert not of_error(verifier_rejected(), str, waits=False)["takes_answer"]
    assert not of_error(denied(), str, waits=True)["takes_answer"]
    assert of_error(NotJira("A page."), str, waits=True)["tries_again"]
    assert not of_error(NotJira("A page."), str, waits=False)["tries_again"]


def test_hints_are_sentences_with_their_commands_completed() -> None:
    error = ConfigError("Wrong.", "run `sidecar init`")
    values = of_error(error, lambda text: text + "!", waits=False)
    assert values["paragraphs"] == ["Wrong.", "Run `sidecar init`.!"]


def test_a_hint_that_begins_with_a_name_keeps_it() -> None:
    values = of_error(ConfigError("No.", "jira.base_url is another one"), str, waits=False)
    assert values["paragraphs"][-1] == "jira.base_url is another one."


def test_who_is_on_the_page_is_sent_to_no_command() -> None:
    error = NotAuthorized("Expired.", "run `sidecar auth` again")
    assert "sidecar auth" not in "".join(of_error(error, str, waits=False)["paragraphs"])
