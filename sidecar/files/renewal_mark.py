"""A note on disk that a renewal has begun, so that one cut short is known at the next start.

Between the moment in which Jira drops the old access token and that in which the new one is
stored, the process may be killed or the connection lost: the token on disk is dead then.
"""

from __future__ import annotations

import os
from pathlib import Path

from sidecar.credentials import TokenCredentials
from sidecar.errors import ConfigError
from sidecar.files.private import prove_writable, read_private, write_private
from sidecar.files.successor import digest

_MARK_BYTES = 65
"""A SHA-256 in hex and an end of line."""


class RenewalMark:
    """A file beside the real token file; it names the token that is renewed by its SHA-256."""

    def __init__(self, token_path: Path) -> None:
        real = Path(os.path.realpath(token_path))
        self.path = real.with_name(f".{real.name}.renewal")

    def prove_settable(self) -> None:
        """Do what set() does, with the mark that is there or none; StoreError where it can't."""
        try:
            write_private(self.path, read_private(self.path, "renewal mark"))
        except FileNotFoundError:
            prove_writable(self.path, _MARK_BYTES)
        except ConfigError:  # another user's, who ran the sidecar once: about no token of ours
            write_private(self.path, b"")

    def set(self, token: TokenCredentials) -> None:
        """Note that this token's renewal begins; StoreError where nothing can be written.

        Then the new token could not be stored either, and it's better not to ask for it.
        """
        write_private(self.path, _content(token))

    def clear(self) -> None:
        """The renewal has come to its end; a mark that stays does no harm."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return

    def is_about(self, token: TokenCredentials) -> bool:
        """Whether the renewal of this token has begun, and was not seen to end."""
        try:
            return read_private(self.path, "renewal mark") == _content(token)
        except (ConfigError, FileNotFoundError):
            return False


def _content(token: TokenCredentials) -> bytes:
    return digest(token.token).encode() + b"\n"
