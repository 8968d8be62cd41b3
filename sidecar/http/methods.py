"""Methods: those that are forwarded, what sets some apart, and all that HTTP knows (RFC 9110)."""

from __future__ import annotations

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that ask for nothing to be done (§9.2.1): they may be sent again."""
BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Those that may have a body: they say Content-Length: 0 where they have none (§8.6)."""

KNOWN_METHODS = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR"
    b" MKCOL MOVE NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH"
    b" SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE".split()
)
"""Those of HTTP that llhttp, the parser of aiohttp and Node.js, knows."""
