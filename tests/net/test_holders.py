"""Whose process holds a port, as /proc tells it."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from pathlib import Path

import pytest

from sidecar.net import holders
from sidecar.net.holders import Holder, holder_of, users_at

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LINE = (
    "   0: {where} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1\n"
)
ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of our own."""
    (tmp_path / "net").mkdir()
    monkeypatch.setattr(holders, "_PROC", tmp_path)
    monkeypatch.setattr(sys, "byteorder", "little")
    return tmp_path


def listens(proc: Path, where: str, *, uid: int = 0, table: str = "tcp", state: str = "0A") -> None:
    line = LINE.format(where=where, state=state, uid=uid, inode=7)
    (proc / "net" / table).write_text(HEAD + line)


def process(proc: Path, pid: int, cmdline: str, cgroup: str, parent: int = 1) -> None:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "fd" / "3").symlink_to("socket:[7]")
    (folder / "cmdline").write_bytes(cmdline.replace(" ", "\0").encode())
    (folder / "cgroup").write_text(f"0::{cgroup}\n")
    (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nUid:\t0\n")
    (folder / "comm").write_text("systemd\n" if pid == 1 else "x\n")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this is not Linux")
@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_our_own_socket_is_ours(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        port = sock.getsockname()[1]
        assert holder_of(host, port) is None
        sock.listen()
        found = holder_of(host, port)
        assert found is not None
        assert (found.user, found.pid, found.is_ours) == (ME, os.getpid(), True)


@pytest.mark.parametrize(
    ("where", "table", "asked"),
    [
        ("0100007F:1F98", "tcp", "127.0.0.1"),
        ("00000000:1F98", "tcp", "127.0.0.1"),
        ("0100007F:1F98", "tcp", "0.0.0.0"),
        ("00000000000000000000000001000000:1F98", "tcp6", "::1"),
        ("00000000000000000000000000000000:1F98", "tcp6", "127.0.0.1"),
    ],
)
def test_an_address_is_held_by_itself_and_by_all_addresses(
    proc: Path, where: str, table: str, asked: str
) -> None:
    listens(proc, where, table=table)
    assert holder_of(asked, 8088) == Holder("root", is_ours=False)
    assert holder_of(asked, 8089) is None


@pytest.mark.parametrize(("where", "state"), [("0200007F:1F98", "0A"), ("0100007F:1F98", "01")])
def test_others_do_not_hold_it(proc: Path, where: str, state: str) -> None:
    listens(proc, where, state=state)
    assert holder_of("127.0.0.1", 8088) is None
    assert holder_of("localhost", 8088) is None


@pytest.mark.parametrize(
    ("cmdline", "cgroup", "said", "stop"),
    [
        (
            "/usr/bin/python3 -I /usr/bin/sidecar run",
            "/user.slice/user-1.slice/user@1.service/app.slice/sidecar.service",
            "daemon's sidecar.service (pid 41)",
            "sudo systemctl --user --machine=daemon@ disable --now sidecar.service",
        ),
        (
            "/home/x/bin/python /home/x/bin/sidecar run",
            "/user.slice/session-1.scope",
            "daemon's sidecar run (pid 41)",
            "sudo kill 41",
        ),
        ("nginx: -g", "/system.slice/nginx.service", "daemon's nginx.service (pid 41)",
         "sudo systemctl disable --now nginx.service"),
        ("/usr/bin/nc -l", "/", "daemon's nc (pid 41)", "sudo kill 41"),
        ("", "/", "daemon's process (pid 41)", "sudo kill 41"),
    ],
)  # fmt: skip
def test_a_process_is_named_by_its_unit_or_program(
    proc: Path, cmdline: str, cgroup: str, said: str, stop: str
) -> None:
    listens(proc, "0100007F:1F98", uid=pwd.getpwnam("daemon").pw_uid)
    process(proc, 1, "/sbin/init", "/init.scope")
    process(proc, 41, cmdline, cgroup)
    found = holder_of("127.0.0.1", 8088)
    assert found is not None
    assert (str(found), found.stop) == (said, stop)


def test_what_another_program_started_is_not_stopped_with_its_unit(proc: Path) -> None:
    listens(proc, "0100007F:1F98")
    process(proc, 40, "/usr/sbin/cron", "/system.slice/cron.service")
    process(proc, 41, "sidecar run", "/system.slice/cron.service", parent=40)
    (proc / "40" / "fd" / "3").unlink()
    found = holder_of("127.0.0.1", 8088)
    assert found is not None
    assert (found.unit, found.program, found.pid) == ("", "sidecar run", 41)


def test_ones_own_is_stopped_without_root() -> None:
    assert Holder("me", 5, is_ours=True).stop == "kill 5"
    unit = Holder("me", 5, unit="x.service", is_users_unit=True, is_ours=True)
    assert unit.stop == "systemctl --user disable --now x.service"


def test_without_a_process_only_the_user_is_known(proc: Path) -> None:
    listens(proc, "0100007F:1F98", uid=4_000_000_000)
    found = holder_of("127.0.0.1", 8088)
    assert found is not None
    assert (str(found), found.stop) == ("uid 4000000000's process", "")


def test_where_proc_is_another_systems_nobody_is_known(proc: Path) -> None:
    (proc / "net").rmdir()
    assert holder_of("127.0.0.1", 8088) is None


def test_the_users_whose_sockets_get_what_is_sent_to_an_address(proc: Path) -> None:
    lines = [
        LINE.format(where=where, state="0A", uid=uid, inode=7)
        for where, uid in (("0100007F:1F98", 1), ("00000000:1F98", 2), ("0200007F:1F98", 3))
    ]
    (proc / "net" / "tcp").write_text(HEAD + "".join(lines))
    assert users_at("127.0.0.1", 8088) == {1, 2}
    assert users_at("127.0.0.1", 8089) == set()
    assert users_at("no.address", 8088) == set()
