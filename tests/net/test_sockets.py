"""Sockets: ours, and those that a service manager passes."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.config.load import Config
from sidecar.errors import AddressInUse, ConfigError
from sidecar.files.private import write_private
from sidecar.net import sockets
from sidecar.net.sockets import Listening, open_sockets, passed_sockets
from tests.conftest import make_config

ME = str(os.getpid())


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def configured(tmp_path: Path, private_key: RSAPrivateKey) -> Any:
    """Make a configuration with the options given."""

    def configure(**options: Any) -> Config:
        return make_config("https://jira.example.com", tmp_path, private_key, **options)

    return configure


@pytest.fixture
def opened(stack: ExitStack, configured: Any) -> Any:
    """Open sockets by options; they are closed at the end."""

    def opening(environ: dict[str, str] | None = None, **options: Any) -> list[Listening]:
        found = open_sockets(configured(**options), environ or {})
        for listening in found:
            stack.callback(listening.socket.close)
        return found

    return opening


@pytest.fixture
def passed(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pass sockets as systemd does; they must have neighbouring descriptors."""

    def passing(*given: socket.socket, names: str = "") -> dict[str, str]:
        first = os.dup(0)
        while not _placed(given, first + 1):
            first += 1
        for sock in given:
            sock.close()
        monkeypatch.setattr(sockets, "_FIRST_PASSED_FD", first + 1)
        return {"LISTEN_FDS": str(len(given)), "LISTEN_PID": ME, "LISTEN_FDNAMES": names}

    return passing


def _placed(given: Sequence[socket.socket], first: int) -> bool:
    """Whether the sockets have the descriptors from `first` on, too."""
    numbers = range(first, first + len(given))
    if any(map(_is_open, numbers)):
        return False
    for sock, number in zip(given, numbers, strict=True):
        try:
            os.dup2(sock.fileno(), number)
        except OSError as error:  # EBUSY: another thread waits in accept(2), which has reserved it
            if error.errno != errno.EBUSY:
                raise
            for placed in range(first, number):
                os.close(placed)
            return False
    return True


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def bound(address: str = "127.0.0.1", *, listen: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind((address, 0))
    if listen:
        sock.listen()
    return sock


class TestTCP:
    def test_port_0_picks_one_and_the_url_names_it(self, opened: Any) -> None:
        (one,) = opened()
        port = one.socket.getsockname()[1]
        assert one.url("http") == f"http://127.0.0.1:{port}"
        assert one.is_local
        assert one.is_ours

    def test_ipv6_stands_in_brackets_and_is_alone(self, opened: Any) -> None:
        found = opened(listen__addresses=["[::1]:0", "127.0.0.1:0"])
        if len(found) == 1:
            pytest.skip("no IPv6 here")
        assert found[0].url("https").startswith("https://[::1]:")
        assert found[0].socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    def test_where_there_is_no_ipv6_it_is_skipped(
        self, opened: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = socket.socket

        def without_ipv6(family: int = -1, *more: Any, **named: Any) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            return real(family, *more, **named)

        monkeypatch.setattr(socket, "socket", without_ipv6)
        assert len(opened(listen__addresses=["127.0.0.1:0", "[::1]:0"])) == 1
        with pytest.raises(ConfigError, match="no IPv6"):
            opened(listen__addresses=["[::1]:0"])

    def test_a_port_in_use_is_said_and_nothing_stays_open(
        self, opened: Any, stack: ExitStack
    ) -> None:
        taken = stack.enter_context(bound())
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = bound()
        port = free.getsockname()[1]
        free.close()
        with pytest.raises(AddressInUse, match="in use already"):
            opened(listen__addresses=[f"127.0.0.1:{port}", address])
        assert len(opened(listen__addresses=[f"127.0.0.1:{port}"])) == 1

    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    def test_whose_address_is_in_use_is_said_by_its_key(
        self, opened: Any, stack: ExitStack, tmp_path: Path, kind: str
    ) -> None:
        taken = stack.enter_context(bound())
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        if kind == "unix":
            address = f"unix:{tmp_path}/s"
            opened(listen__addresses=[address])
        with pytest.raises(AddressInUse) as caught:
            opened(listen__addresses=[address])
        assert "listen.addresses (or --listen) takes another" in caught.value.hint
        with pytest.raises(AddressInUse) as caught:
            opened(admin__address=address)
        assert "admin.address takes another" in caught.value.hint
        assert "--listen" not in caught.value.hint

    def test_a_name_without_an_address_is_said_by_its_key(
        self, opened: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = socket.getaddrinfo

        def resolve(host: str, *more: Any, **named: Any) -> Any:
            if host == "admin.invalid":
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return real(host, *more, **named)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(
            ConfigError, match=r"admin\.address: admin\.invalid:1: no such"
        ) as caught:
            opened(admin__address="admin.invalid:1")
        assert "admin.address must name an address of this machine" in caught.value.hint

    def test_an_address_of_another_machine_is_a_configuration_error(
        self, opened: Any, tmp_path: Path
    ) -> None:
        write_private(tmp_path / "key", b"correct horse")
        with pytest.raises(ConfigError, match=r"192\.0\.2\.1:80"):
            opened(listen__addresses=["192.0.2.1:8088"], access__key_file=str(tmp_path / "key"))

    def test_admins_socket_is_last_and_marked(self, opened: Any) -> None:
        main, admin = opened(admin__address="0.0.0.0:0")
        assert not main.is_admin
        assert admin.is_admin
        assert not admin.is_local  # any address will do


class TestUnix:
    def test_it_has_its_mode_from_the_first_moment_and_is_removed(
        self, opened: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "s"
        (one,) = opened(listen__addresses=[f"unix:{path}"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert one.url("http") == f"unix:{path}"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["private_key.pem", "s"]
        one.remove()
        assert not path.exists()

    def test_the_mode_is_configured(self, opened: Any, tmp_path: Path) -> None:
        opened(listen__addresses=[f"unix:{tmp_path}/s"], listen__unix_mode="0660")
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660

    def test_a_stale_socket_is_replaced_and_a_live_one_is_in_use(
        self, opened: Any, tmp_path: Path
    ) -> None:
        address = f"unix:{tmp_path}/s"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(tmp_path / "s"))
        opened(listen__addresses=[address])
        with pytest.raises(AddressInUse):
            opened(listen__addresses=[address])

    def test_a_folder_that_is_missing_is_said(self, opened: Any, tmp_path: Path) -> None:
        address = f"unix:{tmp_path}/none/s"
        with pytest.raises(ConfigError, match=rf"cannot listen on {address}: No such") as caught:
            opened(listen__addresses=[address])
        assert "listen.addresses" in caught.value.hint

    @pytest.mark.parametrize("kind", ["file", "folder", "link"])
    def test_what_is_no_socket_is_never_replaced(
        self, opened: Any, tmp_path: Path, kind: str
    ) -> None:
        path = tmp_path / "s"
        if kind == "file":
            path.write_text("precious")
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(tmp_path / "precious")
        for key, options in (
            ("listen.addresses", {"listen__addresses": [f"unix:{path}"]}),
            ("admin.address", {"admin__address": f"unix:{path}"}),
        ):
            with pytest.raises(ConfigError, match="no socket of ours") as caught:
                opened(**options)
            assert key in caught.value.hint
        assert path.is_symlink() or path.exists()

    def test_nobody_can_connect_in_between_who_cannot_afterwards(
        self, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        modes: list[int] = []
        real = socket.socket.listen

        def listen(sock: socket.socket, *backlog: int) -> None:
            modes.append(stat.S_IMODE(Path(sock.getsockname()).stat().st_mode))
            real(sock, *backlog)

        monkeypatch.setattr(socket.socket, "listen", listen)
        opened(listen__addresses=[f"unix:{tmp_path}/s"], listen__unix_mode="0640")
        assert modes == [0o640]


class TestPassed:
    def test_they_replace_the_addresses_and_leave_the_environment(
        self, opened: Any, passed: Any
    ) -> None:
        sock = bound()
        port = sock.getsockname()[1]
        environ = passed(sock) | {"OTHER": "1"}
        (one,) = opened(environ)
        assert one.url("http") == f"http://127.0.0.1:{port}"
        assert not one.is_ours
        assert not os.get_inheritable(one.socket.fileno())
        assert environ == {"OTHER": "1"}

    def test_one_named_admin_is_admins_and_the_addresses_are_still_opened(
        self, opened: Any, passed: Any
    ) -> None:
        main, admin = opened(passed(bound(), names="admin"), admin__address="127.0.0.1:1")
        assert main.is_ours
        assert admin.is_admin
        assert not admin.is_ours

    def test_admin_is_opened_where_it_was_not_passed(self, opened: Any, passed: Any) -> None:
        main, admin = opened(passed(bound(), names="x"), admin__address="127.0.0.1:0")
        assert not main.is_ours
        assert admin.is_ours
        assert admin.is_admin

    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"LISTEN_FDS": "1"},
            {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
            {"LISTEN_FDS": "0", "LISTEN_PID": ME},
            {"LISTEN_FDS": "-1", "LISTEN_PID": ME},
            {"LISTEN_FDS": "\u0661", "LISTEN_PID": ME},
        ],
    )
    def test_those_of_another_process_are_not_taken(self, environ: dict[str, str]) -> None:
        assert passed_sockets(environ) == []
        assert not environ

    def test_what_is_no_listening_stream_socket_is_refused(
        self, opened: Any, passed: Any, tmp_path: Path
    ) -> None:
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sock, said in ((datagram, "stream socket"), (bound(listen=False), "does not listen")):
            with pytest.raises(ConfigError, match=said):
                opened(passed(sock))
        with pytest.raises(ConfigError, match="is no socket"):
            opened(passed(bound(), Path(os.devnull).open("rb")))  # noqa: SIM115 — passing closes it

    def test_what_others_can_reach_needs_an_access_key(
        self, opened: Any, passed: Any, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=r"access\.key_file"):
            opened(passed(bound("0.0.0.0")))
        write_private(tmp_path / "key", b"correct horse")
        (one,) = opened(passed(bound("0.0.0.0")), access__key_file=str(tmp_path / "key"))
        assert not one.is_local

    def test_a_unix_socket_keeps_its_file(self, opened: Any, passed: Any, tmp_path: Path) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        (one,) = opened(passed(sock))
        assert one.url("http") == f"unix:{tmp_path}/s"
        one.remove()
        assert (tmp_path / "s").exists()

    def test_what_is_unwise_is_said(
        self, opened: Any, passed: Any, configured: Any, tmp_path: Path
    ) -> None:
        write_private(tmp_path / "key", b"correct horse")
        key: dict[str, Any] = {"access__key_file": str(tmp_path / "key")}
        key["listen__addresses"] = ["127.0.0.1:8088", "[::1]:8088"]
        found = opened(passed(bound("0.0.0.0")), **key)
        first, second = sockets.warnings(found, configured(**key))
        assert "reached from elsewhere" in first
        assert "plain http" in second
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        (tmp_path / "s").chmod(0o666)
        unused, said = sockets.warnings(opened(passed(sock)), configured())
        assert "listen.addresses is not used" in unused
        assert "SocketMode=0600" in said
        (tmp_path / "s").chmod(0o600)
        (one,) = opened(listen__addresses=["127.0.0.1:0"])
        assert not list(sockets.warnings([one], configured()))


def test_a_name_that_leads_elsewhere_is_no_loopback(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *more: Any, **named: Any) -> Any:
        return real("0.0.0.0" if host == "localhost" else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ConfigError, match="reached from elsewhere"):
        opened(listen__addresses=["localhost:0"])
