"""`sidecar open`: the address of the running sidecar's page, with a one-time code."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.config.load import Config
from sidecar.errors import ConfigError, UpstreamError
from sidecar.signin.one_time_code import CodeFile, Running, make_code

PATIENCE = 5.0
"""Seconds; the answer comes from memory."""

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — to connect to, not to listen on
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_START = "start it with `sidecar run`"


def address(config: Config, clock: Callable[[], float] = time.time) -> str:
    """The page's address; UpstreamError where no sidecar answers, ConfigError without a page."""
    found = _running(config.token.path)
    if not found:
        raise UpstreamError(
            f"No running sidecar has its token at {config.token.path}.",
            f"{_START}; for the system service it is `sudo sidecar open --system`",
        )
    urls = [(_reachable(url), one) for one in found for url in one.urls if "://" in url]
    if not urls:
        raise ConfigError(
            "The sidecar listens on a unix socket only, which no browser can open.",
            'add "127.0.0.1:8088" to listen.addresses',
        )
    configured = {str(one).rpartition(":")[2] for one in config.listen.addresses}
    urls.sort(key=lambda pair: _preference(pair[0], configured))
    for url, running in urls:
        if _answers(url):
            return f"{url}/_sidecar/#code={make_code(running.secret, clock())}"
    tried = ", ".join(dict.fromkeys(url for url, _ in urls))
    raise UpstreamError(f"No sidecar listens at {tried}.", _START)


def _running(token_path: Path) -> list[Running]:
    """What the sidecars with this token have written."""
    files = CodeFile.all_beside(token_path)
    return [running for file in files if (running := file.read()) is not None]


def _preference(url: str, configured: set[str]) -> tuple[bool, bool, bool]:
    """Loopback before other names, a configured port before others, IPv4 before IPv6."""
    parts = urlsplit(url)
    return parts.hostname not in _LOOPBACK, str(parts.port) not in configured, "[" in url


def _reachable(url: str) -> str:
    """A listener's URL as a browser on this machine opens it."""
    parts = urlsplit(url)
    host = _EVERYWHERE.get(parts.hostname or "", parts.hostname or "")
    if parts.scheme == "https" and host in _LOOPBACK:
        host = "localhost"  # what certificates name
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port}"


def _answers(url: str) -> bool:
    """Whether the sidecar answers there."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        # Nothing secret is sent, and the browser will judge the certificate.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=PATIENCE, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/_sidecar/health", headers={"Host": "localhost"})
        return bool(json.loads(connection.getresponse().read(1024)) == {"status": "ok"})
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
