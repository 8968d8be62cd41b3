"""What `sidecar request` is asked for: a path, a URL on Jira, or one on the sidecar itself."""

from __future__ import annotations

import shlex

from sidecar.check.listeners import by_files
from sidecar.config.load import Address, Config, TCPAddress
from sidecar.errors import UsageError
from sidecar.http.target import BaseURL, Target, absolute_form, clean

_OWN_PAGES = "/_sidecar/"


def check_form(where: str) -> None:
    """Raise UsageError or RequestRefused for what no configuration could make sense of."""
    clean(_split(where)[1], "")


def target(config: Config, where: str) -> Target:
    """The target below Jira's context path; nothing is ever signed for another host.

    Raises UsageError or RequestRefused.
    """
    base = config.jira.base_url
    origin, path = _split(where)
    if origin is not None and not _is_jiras(base, *origin):
        if not _is_own(config, *origin):
            addresses = ", ".join(map(str, config.listen.addresses))
            raise UsageError(
                "that URL is not on the configured Jira, nor on the sidecar itself",
                f"jira.base_url is {base}, and listen.addresses has {addresses}; a path such as"
                " /rest/api/2/myself will do",
            )
        if f"{path.partition('?')[0]}/".startswith(_OWN_PAGES):
            raise UsageError(
                "that is a page of the sidecar's own, not Jira's", f"curl {shlex.quote(where)}"
            )
    return clean(path, base.path)


def _split(where: str) -> tuple[tuple[str, str] | None, str]:
    """Scheme and authority of a URL, and the rest of it; a path has none."""
    if "://" in where and not where.startswith("/"):
        scheme, authority, path = absolute_form(where)
        return (scheme, authority), path
    return None, where if where.startswith("/") else "/" + where


def _is_jiras(base: BaseURL, scheme: str, authority: str) -> bool:
    return scheme == base.scheme and base.is_same_authority(scheme, authority)


def _is_own(config: Config, scheme: str, authority: str) -> bool:
    """Whether a link leads to the sidecar, by whichever name its client called it.

    Its scheme does not count: TLS may end in front of us.
    """
    try:
        url = BaseURL.parse(f"{scheme}://{authority}")
    except ValueError:
        return False
    name = url.host.rstrip(".")
    if any(_names(entry.strip().lower(), name, url.port) for entry in config.access.hosts):
        return True
    running = [address for place in by_files(config)[0] for address in place.addresses]
    known = (*config.listen.addresses, *running)
    return any(_leads_to(address, name, url.port) for address in known)


def _names(entry: str, name: str, port: int) -> bool:
    """Whether an entry of access.hosts has the name, with that port or with none."""
    bracketed = f"[{name}]" if ":" in name else name
    return entry in (name, bracketed, f"{bracketed}:{port}")


def _leads_to(address: Address, name: str, port: int) -> bool:
    """Whether name and port lead to a listener; an address of any interface is ours by loopback."""
    if not isinstance(address, TCPAddress) or address.port != port:
        return False
    is_any = address.host in ("0.0.0.0", "::")  # noqa: S104 — to compare, not to listen on
    is_loopback = TCPAddress(name, port).is_local
    return name == address.host.lower() or (is_loopback and (address.is_local or is_any))
