"""Every option says of itself what there is to know."""

from __future__ import annotations

import pytest

from sidecar.config import options
from sidecar.config.settings import OPTIONS


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_explains_itself_with_a_value_that_it_takes(name: str) -> None:
    one = OPTIONS[name]
    assert one.help.endswith(".")
    assert one.help[0].isupper() or one.help[0] in "\"'"
    assert one.default is not None or one.example is not None, "nothing to show"
    for value in (one.default, one.example):
        if value is not None:
            options.check_kind(one.kind, value)
            one.read(value)
