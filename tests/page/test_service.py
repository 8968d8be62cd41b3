"""What the page knows of the service is what is true now, after a reload, too."""

from __future__ import annotations

import dataclasses

import pytest

from sidecar.page.service import Service
from sidecar.signin.ownership import Ownership
from tests.conftest import Running


async def test_it_cannot_be_changed(sidecar: Running) -> None:
    service = Service(
        lambda: sidecar.config,
        lambda: sidecar.server.identity,
        sidecar.server.readiness,
        lambda: sidecar.server.generations[-1].authorizer,
        Ownership(),
        sidecar.server.troubles,
        sidecar.server.history,
        str,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        service.complete = repr  # type: ignore[misc]
