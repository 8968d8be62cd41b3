"""`sidecar open`: the address of the running sidecar's page, with a one-time code."""

from __future__ import annotations

import time
from collections.abc import Callable

from sidecar.check.listeners import ANY, Place, by_files
from sidecar.check.running import is_sidecar
from sidecar.config.load import Config
from sidecar.config.options import TCPAddress
from sidecar.errors import ConfigError, UpstreamError
from sidecar.signin.one_time_code import make_code

_START = "start it with `sidecar run`"


def address(config: Config, clock: Callable[[], float] = time.time) -> str:
    """The page's address; UpstreamError where no sidecar answers, ConfigError without a page."""
    found, doubt = by_files(config)
    if not found:
        raise doubt or UpstreamError(
            f"No running sidecar has its token at {config.token.path}.",
            f"{_START}; for the system service it is `sudo sidecar open --system`",
        )
    tried = []
    for place in found:
        for one in place.addresses:
            if isinstance(one, TCPAddress) and place.running is not None:
                if is_sidecar(place, one):
                    code = make_code(place.running.secret, clock())
                    return f"{_url(place, one)}/_sidecar/#code={code}"
                tried.append(_url(place, one))
    if not tried:
        raise ConfigError(
            "The sidecar listens on a unix socket only, which no browser can open.",
            'add "127.0.0.1:8088" to listen.addresses',
        )
    raise UpstreamError(f"No sidecar listens at {', '.join(dict.fromkeys(tried))}.", _START)


def _url(place: Place, one: TCPAddress) -> str:
    """A listener's URL as a browser on this machine opens it."""
    near = TCPAddress(ANY.get(one.host, one.host), one.port)
    if place.is_secured and near.is_local:
        near = TCPAddress("localhost", one.port)  # what certificates name
    return f"{'https' if place.is_secured else 'http'}://{near}"
