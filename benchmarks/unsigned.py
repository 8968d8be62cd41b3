"""The sidecar with signing switched off: every byte of its machinery but the RSA operation.

Takes the sidecar's own arguments.  Jira would refuse what it sends.
"""

from __future__ import annotations

from sidecar.cli import main
from sidecar.signing.signatures import Signatures
from sidecar.signing.signer import Signer

SIGNATURE = bytes(range(256))  # as long as a 2048-bit key's


async def constant(self: Signatures, signer: Signer, base_string: bytes) -> bytes:
    """What stands in for Signatures.make."""
    return SIGNATURE


Signatures.make = constant  # type: ignore[method-assign]
main()
