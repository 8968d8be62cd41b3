"""File descriptors: how many the process may open, and how many of them clients may have."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator

from sidecar.config.load import Config
from sidecar.config.tables import Limits
from sidecar.errors import DESCRIPTORS_HINT

log = logging.getLogger(__name__)

MOST_ALLOWED = 65536
"""More would only be closed, one by one, in children."""
MOST_CLIENTS = 4096
OWN = 32
"""What the process needs besides its connections: the event loop, listeners, the signing process,
the token's file and its lock, name servers that are asked; 14 at rest."""


def raise_limit() -> None:
    """Allow ourselves as many descriptors as we may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_ALLOWED if hard == resource.RLIM_INFINITY else min(hard, MOST_ALLOWED)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError) as error:  # macOS says infinity and means less
        log.debug("the limit of file descriptors stays %d: %s", soft, error)


def allowed() -> int:
    """How many descriptors the process may open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_ALLOWED if soft == resource.RLIM_INFINITY else soft


def most_clients(limits: Limits) -> int:
    """The most connections of clients: `limits.clients`, or what leaves enough for the rest.

    Where that is little, clients and connections to Jira share it.
    """
    if limits.clients is not None:
        return limits.clients
    left = allowed() - OWN
    return max(1, min(MOST_CLIENTS, max(left - limits.connections, left // 2)))


def warnings(config: Config) -> Iterator[str]:
    """Warn where the limits of the configuration may need more descriptors than there are."""
    limits = config.limits
    clients = limits.connections + limits.waiting if limits.clients is None else limits.clients
    needed = clients + limits.connections + OWN
    if allowed() < needed:
        yield (
            f"the limits may need {needed} file descriptors, and {allowed()} are allowed:"
            f" {DESCRIPTORS_HINT}"
        )
