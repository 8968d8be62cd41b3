"""What the page knows of the running service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.account.readiness import Readiness
from sidecar.config.load import Config
from sidecar.signin.ownership import Ownership
from sidecar.telemetry.history import History
from sidecar.telemetry.troubles import Troubles


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the running service that the page uses.  A reload may change the first three."""

    config: Callable[[], Config]
    identity: Callable[[], Identity]
    readiness: Readiness
    authorizer: Callable[[], Authorizer]
    ownership: Ownership
    troubles: Troubles
    history: History
    held: Callable[[], int]
    """How many requests wait because Jira's rate limit is used up."""
    complete: Callable[[str], str]
    """Completes the commands that a text names: with --config, where `run` was given it."""
