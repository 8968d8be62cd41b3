from __future__ import annotations

from sidecar.sandbox.bounds import keep


def test_the_oldest_goes_first_and_a_known_key_stays_where_it_is() -> None:
    table: dict[str, int] = {}
    for number, key in enumerate("abac"):
        keep(table, key, number, 2)
    assert table == {"b": 1, "c": 3}
