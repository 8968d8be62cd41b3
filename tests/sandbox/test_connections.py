"""The sandbox leaves no connection open, whenever it arrived."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from yarl import URL

from sidecar.sandbox import Sandbox
from tests.support.late import TURNS, ends_what_arrives


@pytest.mark.parametrize("turns", TURNS)
async def test_a_connection_that_arrives_at_the_end_is_ended(
    turns: int, private_key: RSAPrivateKey
) -> None:
    sandbox = Sandbox(public_key=private_key.public_key())
    assert await ends_what_arrives(sandbox, lambda running: URL(running.url).port or 0, turns)
