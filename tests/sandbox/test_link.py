from __future__ import annotations

import pytest

from sidecar.sandbox import Faults, Sandbox
from sidecar.sandbox.link import Link

LINK = Link("OauthKey", None, "An application", None, True, True, "builds", False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("three_legged", False),
        ("two_legged", False),
        ("execute_as", ""),
        ("execute_as", "alana"),
        ("impersonation", True),
    ],
)
def test_a_fault_changes_one_setting_for_as_long_as_it_is_thrown(
    name: str, value: bool | str
) -> None:
    faults = Faults()
    assert LINK.under(faults) == LINK
    faults.throw({name: value})
    changed = LINK.under(faults)
    assert getattr(changed, name) == value
    setattr(changed, name, getattr(LINK, name))
    assert changed == LINK
    faults.clear()
    assert LINK.under(faults) == LINK


def test_a_link_does_not_execute_as_an_administrator() -> None:
    with pytest.raises(ValueError, match="administrator"):
        Sandbox(public_key=None, execute_as="admin")
