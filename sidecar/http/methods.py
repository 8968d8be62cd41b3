"""The methods that are forwarded, and what sets some of them apart (RFC 9110 §9)."""

from __future__ import annotations

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that ask for nothing to be done (§9.2.1): they may be sent again."""
BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Those that may have a body: they say Content-Length: 0 where they have none (§8.6)."""
