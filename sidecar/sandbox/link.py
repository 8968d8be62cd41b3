"""The incoming application link, as an administrator has set it up in Jira."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sidecar.sandbox.faults import Faults

T = TypeVar("T")


@dataclass(slots=True)
class Link:
    """A consumer: its key, its name, and what it may do."""

    consumer_key: str
    public_key: RSAPublicKey | None
    name: str
    """The consumer name, which the approval page shows."""
    callback_url: str | None = None
    """The link's own Consumer Callback URL."""
    three_legged: bool = True
    """Users may be asked for their approval."""
    two_legged: bool = False
    """Allow 2-Legged OAuth."""
    execute_as: str | None = None
    """Execute as: the user of a two-legged request that names none; nobody is anonymous."""
    impersonation: bool = False
    """Allow user impersonation through 2-Legged OAuth."""

    def under(self, faults: Faults) -> Link:
        """The link with what faults have changed in it."""
        return replace(
            self,
            three_legged=_either(faults.three_legged, self.three_legged),
            two_legged=_either(faults.two_legged, self.two_legged),
            execute_as=_either(faults.execute_as, self.execute_as),
            impersonation=_either(faults.impersonation, self.impersonation),
        )


def _either(fault: T | None, made: T) -> T:
    return made if fault is None else fault
