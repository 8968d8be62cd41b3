"""What is noted of one request while it is answered, for the log line and the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Record:
    """Facts of one request; times are seconds, sizes bytes of bodies."""

    method: str
    path: str
    """Without the query: that may hold what nobody should read in a log."""
    request_id: str
    started: float
    status: int = 0
    received: int = 0
    sent: int = 0
    connecting: float = 0.0
    first_byte: float = 0.0
    signing: float = 0.0
    total: float = 0.0
    retries: int = 0
    forwarded: bool = False
    problem: str = ""
    closed_early: str = ""
    """Who ended the exchange before it was complete: "client", "jira", or nobody."""
