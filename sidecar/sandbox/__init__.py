"""The sandbox Jira: an OAuth 1.0a provider and a small Jira, on loopback and in memory.

It follows what Jira Data Center does on Tomcat 9, fact by fact, and shares no code with the signer:
two sides of a handshake that share code prove nothing.
"""

from __future__ import annotations

from sidecar.sandbox.answers import Answer
from sidecar.sandbox.faults import Faults
from sidecar.sandbox.provider import Grant
from sidecar.sandbox.record import Request
from sidecar.sandbox.server import Sandbox

__all__ = ["Answer", "Faults", "Grant", "Request", "Sandbox"]
