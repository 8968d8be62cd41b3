"""What is to be entered in Jira's form."""

from __future__ import annotations

from sidecar.jira.application_link import application_link, new_public_key


def test_every_page_has_its_fields_in_their_order() -> None:
    steps = application_link("CI", "MIIB")
    named = [(field.name, field.value) for field in steps[-1].fields]
    assert named == [
        ("Consumer Key", "CI"),
        ("Consumer Name", "jira-oauth-sidecar"),
        ("Public Key", "MIIB"),
        ("Consumer Callback URL", ""),
    ]


def test_the_pages_before_are_named_as_jira_shows_them() -> None:
    start, create, incoming, _ = application_link("CI", "MIIB")
    assert "Jira administrator" in start.instruction
    assert start.fields == ()
    assert 'not "External application"' in create.instruction
    assert [(field.name, field.value) for field in create.fields] == [
        ("Application URL", "http://localhost:8088")
    ]
    assert [(field.name, field.value) for field in incoming.fields] == [
        ("Application Name", "jira-oauth-sidecar"),
        ("Application Type", "Generic Application"),
    ]


def test_another_public_key_goes_into_the_link_that_is_there() -> None:
    start, edit = new_public_key("CI", "MIIB")
    assert (start.fields, "Jira administrator" in start.instruction) == ((), True)
    assert 'whose Consumer Key is "CI"' in edit.instruction
    assert [(field.name, field.value) for field in edit.fields] == [("Public Key", "MIIB")]


def test_two_legged_oauth_has_a_page_more() -> None:
    steps = application_link("CI", "MIIB", two_legged=True)
    assert steps[:-1] == application_link("CI", "MIIB")
    assert [field.name for field in steps[-1].fields] == [
        "Allow 2-Legged OAuth",
        "Execute as",
        "Allow user impersonation through 2-Legged OAuth",
    ]
    assert "system administrator" in steps[-1].instruction
    assert steps[-1].fields[0].value == "(tick)"
    assert "no system administrator" in steps[-1].fields[1].value
    assert "jira.act_as" in steps[-1].fields[2].value
