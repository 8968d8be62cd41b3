"""Asks the running sidecar for one of its pages: finds it, and speaks HTTP to it.

A probe runs every few seconds: nothing but the standard library's sockets is imported for it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import ssl
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.check.listeners import ANY, Place, may_have_key, places
from sidecar.config.load import Config
from sidecar.config.options import Address, TCPAddress, UnixAddress
from sidecar.errors import ConfigError, SidecarError, UpstreamError

PATIENCE = 5.0
"""Seconds; the answer comes from memory."""

_LIMIT = 1 << 20
_REQUEST = "GET /_sidecar/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
_HEALTHY = {"status": "ok"}
_HEAD = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[^\n]*\r\n(.*?\r\n)\r\n", re.DOTALL)
_LENGTH = re.compile(rb"^content-length: *([0-9]{1,9})\r$", re.IGNORECASE | re.MULTILINE)


class PickedPort(ConfigError):
    """The configuration lets the system pick a port, and no file says which it was."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of the running sidecar's."""

    where: str
    """The address that it was asked at."""
    status: int
    document: dict[str, Any]
    """The JSON object that it answered with; empty where it is none."""


def ask(config: Config, page: str, *, shows_key: bool = False) -> Said:
    """Get a page; UpstreamError where nothing answers that could be the sidecar.

    Every place where it may listen is asked, until one answers.  Except at admin.address,
    access.key_file's key is sent along if the page asks for it (`shows_key`).
    """
    refused: list[str] = []
    trouble: SidecarError | None = None
    for place in places(config):
        key = _key(config) if shows_key and not place.is_admin else b""
        try:
            if (connected := _connected(place.addresses, refused)) is None:
                continue
            sock, address = connected
            with sock:
                said = _asked(config, place, address, sock, _REQUEST.format(page).encode(), key)
            if place.running is None or _is_sidecars(said):
                return said
            raise unexpected(said)
        except (UpstreamError, PickedPort) as error:
            trouble = trouble or error
    raise trouble or UpstreamError(
        f"No sidecar listens at {', '.join(refused)}.", "start it with `sidecar run`"
    )


def is_sidecar(place: Place, address: Address) -> bool:
    """Whether the sidecar answers at this address of a place."""
    request = _REQUEST.format("health").encode() + b"\r\n"
    try:
        with _open(address) as sock:
            if not place.is_secured:
                return _exchange(sock, request) == (200, _HEALTHY)
            with _secured(sock) as secured:
                return _exchange(secured, request) == (200, _HEALTHY)
    except (OSError, ValueError):
        return False


def unexpected(said: Said) -> UpstreamError:
    """The error for a status that the page never has."""
    return UpstreamError(
        f"What listens at {said.where} answers with status {said.status}, as the sidecar would"
        " not.",
        "is another program at that address? See listen.addresses and admin.address",
    )


def _key(config: Config) -> bytes:
    """The field that shows an access key; empty where none is asked for."""
    if config.access.key_file is None:
        return b""
    from sidecar.files.access_keys import any_key

    return b"X-Sidecar-Key: " + any_key(config.access.key_file) + b"\r\n"


def _asked(
    config: Config, place: Place, address: Address, sock: socket.socket, head: bytes, key: bytes
) -> Said:
    """Ask what has taken a connection; UpstreamError where it is not to be asked, or no sidecar."""
    where, certificate = str(address), config.listen.tls_certificate
    shows_certificate = place.is_secured and certificate is not None
    if key and not shows_certificate and not may_have_key(config, place, address):
        raise _not_known(where)
    request = head + key + b"\r\n"
    try:
        if not place.is_secured:
            return Said(where, *_exchange(sock, request))
        with _secured(sock) as secured:
            if key and certificate:
                _require_ours(secured, certificate, where)
            return Said(where, *_exchange(secured, request))
    except (OSError, ValueError) as error:
        late = isinstance(error, TimeoutError)
        raise UpstreamError(
            f"What listens at {where} does not answer"
            + (f" within {PATIENCE:g} s." if late else " as the sidecar does."),
            "is it the sidecar, and does it hang? Its log says more",
        ) from None


def _is_sidecars(said: Said) -> bool:
    """Whether only the sidecar answers so: a file may lead to what took its port since."""
    if said.status == 401:
        return "errorMessages" in said.document
    return said.status in (200, 503) and "ready" in said.document


def _not_known(where: str) -> UpstreamError:
    return UpstreamError(
        f"What listens at {where} is not known to be this user's sidecar: no access key is sent.",
        "run this as the user who runs the sidecar, or add the address to listen.addresses",
    )


def _connected(
    addresses: tuple[Address, ...], refused: list[str]
) -> tuple[socket.socket, Address] | None:
    """A connection to the first that takes one; what is wrong with others is added to `refused`."""
    for address in addresses:
        if isinstance(address, TCPAddress) and address.port == 0:
            raise PickedPort(
                f"{address}: port 0 picks a port that nobody else knows.",
                "give admin.address, or listen.addresses, a port of its own",
            )
        try:
            return _open(address), address
        except OSError as error:
            refused.append(f"{address} ({(error.strerror or str(error)).lower()})")
    return None


def _open(address: Address) -> socket.socket:
    if isinstance(address, TCPAddress):
        host = ANY.get(address.host, address.host)
        return _open_tcp(host, address.port)
    assert isinstance(address, UnixAddress)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(PATIENCE)
        name = str(address.path)
        sock.connect("\0" + name[1:] if name.startswith("@") else name)  # @: the abstract namespace
    except OSError:
        sock.close()
        raise
    return sock


def _open_tcp(host: str, port: int) -> socket.socket:
    """Connect in a thread that nobody waits for long: a name server may be mute."""
    opened: Future[socket.socket] = Future()

    def work() -> None:
        try:
            opened.set_result(socket.create_connection((host, port), PATIENCE))
        except (OSError, UnicodeError) as error:
            opened.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return opened.result(PATIENCE)
    except TimeoutError:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
    except UnicodeError:
        raise OSError(errno.EINVAL, "no name can look like that") from None


def _secured(sock: socket.socket) -> ssl.SSLSocket:
    """TLS with our own listener: nothing secret is sent or believed, so its name and the dates of
    its certificate, which clients look at, do not count."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def _require_ours(sock: ssl.SSLSocket, certificate: Path, where: str) -> None:
    """Raise UpstreamError unless our listener's certificate is shown: the key is for it alone."""
    try:
        ours = ssl.PEM_cert_to_DER_cert(_first_certificate(certificate.read_text("ascii")))
    except OSError as error:
        hint = "run this as the user who runs the sidecar"
        raise ConfigError(f"{certificate}: cannot be read: {error.strerror}", hint) from None
    if sock.getpeercert(binary_form=True) != ours:
        raise UpstreamError(
            f"What listens at {where} does not show listen.tls_certificate: no access key is sent.",
            "see whether another program is at that address, or the file was replaced a moment ago",
        )


def _first_certificate(text: str) -> str:
    """The listener's own certificate; those of its issuers stand behind it."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    _, found, rest = text.partition(begin)
    body, ended, _ = rest.partition(end)
    if not (found and ended):
        raise ValueError("no certificate")
    return begin + body + end


def _exchange(sock: socket.socket, request: bytes) -> tuple[int, dict[str, Any]]:
    """Ask, and return status and document; ValueError for anything but such an answer."""
    sock.sendall(request)
    data = b""
    while (match := _HEAD.match(data)) is None or len(data) < match.end() + _length(match[2]):
        piece = sock.recv(65536)
        data += piece
        if not piece or len(data) > _LIMIT:
            break
    if match is None:
        raise ValueError("no HTTP")
    try:
        document = json.loads(data[match.end() :])
    except ValueError:
        document = {}
    return int(match[1]), document if isinstance(document, dict) else {}


def _length(fields: bytes) -> int:
    match = _LENGTH.search(fields)
    return int(match[1]) if match is not None else _LIMIT
