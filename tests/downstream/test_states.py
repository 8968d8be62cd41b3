"""The table of states is the states that there are."""

from __future__ import annotations

import re

from sidecar.downstream import states
from sidecar.downstream.states import State


def test_the_table_names_every_state() -> None:
    assert re.findall(r"^    ([A-Z]+) ", states.__doc__ or "", re.MULTILINE) == [
        state.name for state in State
    ]


def test_a_request_is_awaited_until_its_head_is_whole() -> None:
    assert [state for state in State if state.awaits_request] == [State.IDLE, State.HEAD]
