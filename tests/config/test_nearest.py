"""What a misspelt key or table is taken for."""

from __future__ import annotations

import pytest

from sidecar.config.nearest import nearest_option, nearest_table


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("jira.base-url", "jira.base_url"),
        ("jira.baseurl", "jira.base_url"),
        ("access.readonly", "access.read_only"),
        ("jira.level", "log.level"),
        ("jira.zzz", None),
        ("nothing.zzz", None),
    ],
)
def test_the_nearest_key_of_its_own_table_comes_first(written: str, meant: str | None) -> None:
    assert nearest_option(written) == meant


def test_the_nearest_table() -> None:
    assert nearest_table("Jiras") == "jira"
    assert nearest_table("xyz") is None
