"""The whole configuration: its tables, the options in them by name, and what in it is unwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sidecar.config.options import Option, TCPAddress, UnixAddress
from sidecar.config.tables import (
    Access,
    Admin,
    Jira,
    Limits,
    Links,
    Listen,
    Log,
    Timeouts,
    Token,
)
from sidecar.http.shown import quoted


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, checked; every path in it is absolute."""

    jira: Jira
    token: Token
    listen: Listen
    access: Access
    links: Links
    timeouts: Timeouts
    limits: Limits
    log: Log
    admin: Admin
    path: Path | None
    """The file it came from; None where environment and flags sufficed."""

    def warnings(self) -> list[str]:
        """Say what is allowed but unwise."""
        return list(_unwise(self))


TABLES: dict[str, type[Any]] = {
    "jira": Jira,
    "token": Token,
    "listen": Listen,
    "access": Access,
    "links": Links,
    "timeouts": Timeouts,
    "limits": Limits,
    "log": Log,
    "admin": Admin,
}
OPTIONS: dict[str, Option] = {
    f"{table}.{field.name}": field.metadata["option"]
    for table, cls in TABLES.items()
    for field in fields(cls)
}


def _unwise(config: Config) -> Iterator[str]:
    jira, listen = config.jira, config.listen
    if jira.base_url.scheme == "http" and not TCPAddress(jira.base_url.host, 0).is_local:
        yield f"{jira.base_url} is plain http: whoever is on the way reads and changes everything"
    if jira.proxy and "@" in jira.proxy.reveal() and config.path and _others_can_read(config.path):
        yield f"{config.path} holds the proxy's password and others can read it: chmod 600"
    if config.access.hosts and not (config.access.key_file or listen.tls_certificate):
        # Browsers send Sec-Fetch-Site to https and loopback names alone.
        yield "web pages can send GETs to the names in access.hosts: set access.key_file"
    for pattern in config.access.act_as:
        if pattern.rpartition(":")[2].strip() == "*":
            yield f"access.act_as {quoted(pattern)} lets callers act as anybody, administrators too"
    for address in listen.addresses:
        if isinstance(address, UnixAddress):
            if listen.unix_mode & 0o077 and not config.access.key_file:
                mode = f"listen.unix_mode {listen.unix_mode:04o}"
                yield f"{mode} lets others use {address}, and so act as you"
        elif not address.is_local:
            yield f"{address} can be reached from elsewhere; only access.key_file guards it"
            if not listen.tls_certificate:
                yield f"{address} is plain http: the access key can be read on the way"


def _others_can_read(path: Path) -> bool:
    """Whether somebody besides the owner reads a file, or besides the group of one of root's."""
    try:
        info = path.stat()
    except OSError:
        return False
    return info.st_mode & (0o027 if info.st_uid == 0 else 0o077) != 0
