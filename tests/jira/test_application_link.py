"""What is to be entered in Jira's form."""

from __future__ import annotations

from sidecar.jira.application_link import application_link


def test_every_page_has_its_fields_in_their_order() -> None:
    steps = application_link("CI", "MIIB")
    named = [(field.name, field.value) for field in steps[-1].fields]
    assert named == [
        ("Consumer Key", "CI"),
        ("Consumer Name", "jira-oauth-sidecar"),
        ("Public Key", "MIIB"),
        ("Consumer Callback URL", ""),
    ]


def test_two_legged_oauth_has_a_page_more() -> None:
    steps = application_link("CI", "MIIB", two_legged=True)
    assert steps[:-1] == application_link("CI", "MIIB")
    assert [field.name for field in steps[-1].fields] == [
        "Allow 2-Legged OAuth",
        "Execute as",
        "Allow user impersonation through 2-Legged OAuth",
    ]
    assert "system administrator" in steps[-1].instruction
