"""A command becomes the service's user, and root waits for what comes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.errors import ConfigError
from sidecar.system.acting import group, owner
from sidecar.system.names import Service
from sidecar.system.unit import Unit
from tests.support.processes import Done, Shell, shell
from tests.support.systemd import SERVICE, Systemd, needs_root, uid

__all__ = ["shell"]

BECOME = """
import json, os, signal, sys
from sidecar.system.acting import become
from sidecar.system.names import Service
from sidecar.system.unit import find
code = become(find(Service(), "auth"))
if code is not None:
    left = [name for name in os.listdir("/run") if name.startswith("sidecar-")]
    print("root", code, left, flush=True)
    os._exit(0)
"""
TELL = """
umask = os.umask(0)
print(json.dumps({"ids": [*os.getresuid(), *os.getresgid()], "groups": sorted(os.getgroups()),
    "umask": umask, "cwd": os.getcwd(), "environ": dict(os.environ)}), flush=True)
"""


@pytest.fixture
def systemd(shell: Shell) -> Systemd:
    return Systemd(shell)


async def as_service(systemd: Systemd, then: str = TELL) -> Done:
    return await systemd.python("-c", BECOME + then)


@needs_root
async def test_the_child_is_the_units_user_with_all_that_the_unit_has(systemd: Systemd) -> None:
    systemd.has(
        "sidecar.service", SERVICE,
        Group="daemon", SupplementaryGroups=["adm"], UMask=0o027, Environment=["A=b"],
    )  # fmt: skip
    told = (await as_service(systemd)).out.splitlines()
    found: dict[str, Any] = json.loads(told[0])
    assert found["ids"][:3] == [uid()] * 3
    assert len(set(found["ids"][3:])) == 1
    assert len(found["groups"]) >= 2
    assert (found["umask"], found["cwd"]) == (0o027, "/")
    assert found["environ"]["A"] == "b"
    assert found["environ"]["STATE_DIRECTORY"] == "/var/lib/sidecar"
    assert found["environ"]["SIDECAR_LISTEN_ADDRESSES"] == "127.0.0.1:8088"
    assert told[1:] == ["root 0 []"]


@needs_root
async def test_state_folders_are_made_as_systemd_makes_them(systemd: Systemd) -> None:
    systemd.has("sidecar.service", SERVICE, StateDirectory=["sidecar/work"])
    await as_service(systemd)
    above = (systemd.folder / "lib" / "sidecar").stat()
    assert (above.st_uid, above.st_mode & 0o777) == (0, 0o755)
    own = (systemd.folder / "lib" / "sidecar" / "work").stat()
    assert (own.st_uid, own.st_mode & 0o777) == (uid(), 0o700)


@needs_root
async def test_a_state_folder_that_cannot_be_made_is_an_error(systemd: Systemd) -> None:
    (systemd.folder / "lib" / "sidecar").touch()
    systemd.has("sidecar.service", SERVICE, StateDirectory=["sidecar/work"])
    done = await systemd.run("check", "--system")
    assert (done.code, done.out) == (78, "")
    assert "/var/lib/sidecar/work: cannot be made" in done.error


@needs_root
async def test_a_program_that_the_user_cannot_read_is_said(systemd: Systemd) -> None:
    hidden = (
        "import sidecar.system.acting as acting\n"
        "from sidecar.cli import main\n"
        "acting.__file__ = '/root/secret/acting.py'\n"
        "main()"
    )
    done = await systemd.python("-c", hidden, "check", "--system")
    assert done.code == 78
    assert "user cannot read this program: /root/secret/acting.py" in done.error


TERMINATED = """
signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
os.kill(os.getppid(), signal.SIGTERM)
while True:
    signal.pause()
"""


@needs_root
@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("os._exit(78)", 78),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getppid(), signal.SIGINT); os._exit(3)", 3),
        (TERMINATED, 5),
    ],
    ids=["its exit code", "a signal", "Ctrl-C is left to it", "other signals are passed on"],
)
async def test_root_comes_to_what_the_child_came_to(systemd: Systemd, then: str, code: int) -> None:
    systemd.has("sidecar.service", SERVICE, User="root")  # who may signal root
    done = await as_service(systemd, then)
    assert done.out == f"root {code} []\n"


def properties(**others: object) -> Unit:
    return Unit(Service(), SERVICE | others)


def test_users_and_groups_have_names_or_numbers() -> None:
    assert owner(properties(User="0")).pw_uid == owner(properties(User="")).pw_uid == 0
    root = owner(properties(User="root"))
    assert group(properties(Group="0"), root) == group(properties(), root) == 0


@pytest.mark.parametrize(
    ("dynamic", "hint"),
    [(False, "run `sidecar init`"), (True, "`systemctl start sidecar.service`")],
)
def test_a_user_who_is_missing_is_an_error(dynamic: bool, hint: str) -> None:
    with pytest.raises(ConfigError, match="the user no-such, who does not exist") as caught:
        owner(properties(User="no-such", DynamicUser=dynamic))
    assert hint in caught.value.hint


def test_a_group_that_is_missing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="group no-such does not exist"):
        group(properties(Group="no-such"), owner(properties()))
