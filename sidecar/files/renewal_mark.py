"""A note on disk that a renewal has begun, so that one cut short is known at the next start.

Between the moment in which Jira drops the old access token and that in which the new one is
stored, the process may be killed or the connection lost: the token on disk is dead then.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sidecar.credentials import TokenCredentials
from sidecar.errors import ConfigError
from sidecar.files.private import read_private, write_private


class RenewalMark:
    """A file beside the token's; it names the token that is being renewed by its SHA-256."""

    def __init__(self, token_path: Path) -> None:
        self.path = token_path.with_name(f".{token_path.name}.renewal")

    def set(self, token: TokenCredentials) -> None:
        """Note that this token's renewal begins; StoreError where nothing can be written.

        Then the new token could not be stored either, and it's better not to ask for it.
        """
        write_private(self.path, _digest(token))

    def clear(self) -> None:
        """The renewal has come to its end; a mark that stays does no harm."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return

    def is_about(self, token: TokenCredentials) -> bool:
        """Whether the renewal of this token has begun, and was not seen to end."""
        try:
            return read_private(self.path, "renewal mark") == _digest(token)
        except (ConfigError, FileNotFoundError):
            return False


def _digest(token: TokenCredentials) -> bytes:
    return hashlib.sha256(token.token.reveal().encode()).hexdigest().encode() + b"\n"
