"""The lock: one holder at a time, whatever the path by which each reaches the token."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.errors import StoreError
from sidecar.files.lock import Lock, locked, locked_if_free

HOLDER = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process hold the lock."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield holder
        if holder.stdin and not holder.stdin.closed:
            holder.stdin.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """Where a token is, which the lock is about."""
    return tmp_path / "token.json"


def lock_path(token: Path) -> Path:
    return token.with_name(f".{token.name}.lock")


async def test_one_task_at_a_time_holds_the_lock(token: Path) -> None:
    inside = 0

    async def hold() -> None:
        nonlocal inside
        async with locked(token, 60):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(hold() for _ in range(3)))
    assert stat.S_IMODE(lock_path(token).stat().st_mode) == 0o600


async def test_a_lock_that_another_process_holds_is_waited_for(token: Path) -> None:
    entered = asyncio.Event()

    async def wait() -> None:
        async with locked(token, 60):
            entered.set()

    with held_elsewhere(lock_path(token)) as holder:
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert not entered.is_set()
        assert holder.stdin
        holder.stdin.close()
        await asyncio.wait_for(waiting, 10)
    assert entered.is_set()


async def test_waiting_for_the_lock_ends_with_patience(token: Path) -> None:
    with (
        held_elsewhere(lock_path(token)),
        pytest.raises(StoreError, match=r"has held the lock for 0 s") as caught,
    ):
        async with locked(token, 0):
            pytest.fail("it is held elsewhere")
    assert caught.value.hint


async def test_a_killed_process_holds_no_lock(token: Path) -> None:
    with held_elsewhere(lock_path(token)) as holder:
        holder.kill()
        holder.wait()
        async with locked(token, 0):
            pass


async def test_the_lock_is_given_up_whatever_happens(token: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with locked(token, 60):
            raise ZeroDivisionError
    async with locked(token, 0):
        pass


async def test_a_folder_that_is_missing_or_does_not_lock_is_a_store_error(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="cannot be written: No such file"):
        await locked(token / "token.json", 60).__aenter__()

    def unsupported(*_: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(StoreError, match="cannot be locked: No locks available"):
        await locked(token, 60).__aenter__()


def test_a_link_to_the_token_leads_to_the_same_lock(token: Path, tmp_path: Path) -> None:
    """Two sidecars whose token paths differ must not renew at once."""
    token.write_bytes(b"{}")
    folder = tmp_path / "another"
    folder.mkdir()
    (folder / "link.json").symlink_to(token)
    (tmp_path / "linked").symlink_to(tmp_path)
    for path in (folder / "link.json", tmp_path / "linked" / "token.json"):
        with locked_if_free(token) as is_ours, locked_if_free(path) as is_theirs:
            assert (is_ours, is_theirs) == (True, False)
    assert not list(folder.glob(".*"))


def test_a_lock_that_is_free_is_taken_and_one_that_is_not_is_left(token: Path) -> None:
    for _ in range(2):
        with locked_if_free(token) as is_ours:
            assert is_ours
            with locked_if_free(token) as is_ours_too:
                assert not is_ours_too


def test_a_lock_of_another_user_comes_with_the_command_that_helps(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `sudo sidecar auth` leaves one behind."""
    Lock(token).close()

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    user = os.geteuid() + 1
    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(StoreError, match=r"\.token\.json\.lock: cannot be written") as caught:
        Lock(token)
    assert f"chown {user} {lock_path(token)}, or remove it" in caught.value.hint
