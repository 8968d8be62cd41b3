"""`sidecar check --ready`: asks the running sidecar alone whether it is ready, for exec probes.

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

from sidecar.check.step import Step, failed
from sidecar.config.load import Config
from sidecar.config.options import Address, TCPAddress, UnixAddress
from sidecar.errors import ConfigError, NotAuthorized, SidecarError, UpstreamError

PATIENCE = 5.0
"""Seconds; the answer comes from memory."""

_LIMIT = 64 * 1024
_REQUEST = b"GET /_sidecar/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — to connect to, not to listen on
_HEAD = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[^\n]*\r\n(.*?\r\n)\r\n", re.DOTALL)
_LENGTH = re.compile(rb"^content-length: *([0-9]{1,9})\r$", re.IGNORECASE | re.MULTILINE)


def ready(config: Config) -> Step:
    """The one step: pass on 200; fails with 77 on 503, with 69 if nothing of ours answers.

    Asked is admin.address if there is one, else the first of listen.addresses that exists on
    this machine.
    """
    try:
        return Step("ready", "pass", _ask(config))
    except SidecarError as error:
        return failed("ready", error)


def _ask(config: Config) -> str:
    is_admin = config.admin.address is not None
    addresses = (config.admin.address,) if config.admin.address else config.listen.addresses
    secure = config.listen.tls_certificate is not None and not is_admin
    sock, where = _connect(addresses)
    with sock:
        try:
            if secure:
                with _secured(sock) as secured:
                    status, reason, hint = _exchange(secured)
            else:
                status, reason, hint = _exchange(sock)
        except (OSError, ValueError) as error:
            late = isinstance(error, TimeoutError)
            raise UpstreamError(
                f"What listens at {where} does not answer"
                + (f" within {PATIENCE:g} s." if late else " as the sidecar does."),
                "is it the sidecar, and does it hang? Its log says more",
            ) from None
    if status == 200:
        return f"The sidecar at {where} is ready."
    if status == 503:
        raise NotAuthorized(f"The sidecar at {where} is not ready: {reason or 'no reason'}", hint)
    raise UpstreamError(
        f"What listens at {where} answers with status {status}, as the sidecar would not.",
        "is another program at that address? See listen.addresses and admin.address",
    )


def _connect(addresses: tuple[Address, ...]) -> tuple[socket.socket, str]:
    """A connection to the first of the addresses that takes one; how it is called in messages."""
    errors = []
    for address in addresses:
        if isinstance(address, TCPAddress) and address.port == 0:
            raise ConfigError(
                f"{address}: port 0 picks a port that nobody else knows.",
                "give admin.address, or listen.addresses, a port of its own",
            )
        try:
            return _open(address), str(address)
        except OSError as error:
            errors.append(f"{address} ({(error.strerror or str(error)).lower()})")
    raise UpstreamError(
        f"No sidecar listens at {', '.join(errors)}.", "start it with `sidecar run`"
    )


def _open(address: Address) -> socket.socket:
    if isinstance(address, TCPAddress):
        host = _ANY.get(address.host, address.host)
        return _open_tcp(host, address.port)
    assert isinstance(address, UnixAddress)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(PATIENCE)
        sock.connect(str(address.path))
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


def _exchange(sock: socket.socket) -> tuple[int, str, str]:
    """Ask, and return status, reason and hint; ValueError for anything but such an answer."""
    sock.sendall(_REQUEST)
    data = b""
    while (match := _HEAD.match(data)) is None or len(data) < match.end() + _length(match[2]):
        piece = sock.recv(_LIMIT)
        data += piece
        if not piece or len(data) > _LIMIT:
            break
    if match is None:
        raise ValueError("no HTTP")
    try:
        document = json.loads(data[match.end() :])
    except ValueError:
        document = {}
    texts = document if isinstance(document, dict) else {}
    return int(match[1]), str(texts.get("reason") or ""), str(texts.get("hint") or "")


def _length(fields: bytes) -> int:
    match = _LENGTH.search(fields)
    return int(match[1]) if match is not None else _LIMIT
