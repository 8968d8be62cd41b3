"""The table of states is the states that there are."""

from __future__ import annotations

import re

from sidecar.upstream import states
from sidecar.upstream.states import State


def test_the_table_names_every_state() -> None:
    table = re.findall(r"^    ([A-Z]+) ", states.__doc__ or "", re.MULTILINE)
    assert table == [state.name for state in State]
