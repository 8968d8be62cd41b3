"""What is served, as whom and until when: for systemd's status line, and for people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sidecar.account.identity import Identity
from sidecar.account.readiness import NotReady
from sidecar.errors import SidecarError
from sidecar.http.shown import full_name


def status_line(identity: Identity, why: NotReady | None, named: Callable[[str], str]) -> str:
    """One line for systemd; `why` we are not ready, with the commands completed by `named`."""
    base_url = identity.base_url
    if why is not None:
        return f"{base_url}: {named(why.summary)}"
    token = identity.token.current()
    if token.is_two_legged:
        who = full_name(token.user, token.display_name) if token.user else "its link"
        return f"{base_url} as {who}, two-legged"
    name = token.user or "somebody"
    if token.expires_at is None:
        return f"{base_url} as {name}"
    return f"{base_url} as {name} until {datetime.fromtimestamp(token.expires_at, UTC):%Y-%m-%d}"


def introduction(identity: Identity) -> str:
    """What `run` says of itself to people at its start."""
    base_url = identity.base_url
    try:
        token = identity.token.current()
    except SidecarError:  # which warnings() tells of
        return f"{base_url}, with nobody signed in yet"
    if token.is_two_legged:
        who = full_name(token.user, token.display_name) if token.user else "its link"
        return f"{base_url}, two-legged, as {who}"
    who = full_name(token.user, token.display_name)
    if token.expires_at is None:
        return f"{base_url} as {who}"
    return f"{base_url} as {who} until {datetime.fromtimestamp(token.expires_at):%Y-%m-%d}"
