"""A machine with systemd, as far as commands can see: mounts of its own, and systemd's programs."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Done, Shell
from tests.support.waiting import PATIENCE

USER = "nobody"
SERVICE: dict[str, Any] = {
    "ExecStart": [["/usr/bin/sidecar", ["/usr/bin/sidecar", "run", "--config",
                                       "/etc/sidecar/config.toml"]]],
    "User": USER, "Group": "", "SupplementaryGroups": [], "DynamicUser": False, "UMask": 0o077,
    "StateDirectory": ["sidecar"], "StateDirectoryMode": 0o700,
    "LoadCredential": [["private_key", "/etc/sidecar/private_key.pem"],
                       ["passphrase", "sidecar.passphrase"]],
    "LoadCredentialEncrypted": [], "SetCredential": [],
    "Environment": [], "EnvironmentFiles": [], "UnsetEnvironment": ["OPENSSL_CONF"],
    "LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled",
    "Requires": ["sidecar.socket"],
}  # fmt: skip
SOCKET: dict[str, Any] = {
    "Listen": [["Stream", "127.0.0.1:8088"]],
    "LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled",
}  # fmt: skip
BUSCTL = """#!/bin/sh
# What busctl answers, as tests/support/systemd.py wrote it down.
while [ "$1" != call ]; do shift; done
case $5 in
LoadUnit) [ -e "{folder}/$7.json" ] || set -- 1 2 3 4 5 6 missing
    printf '{{"type":"o","data":["%s"]}}' "$7" ;;
GetAll) cat "{folder}/$3.json" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
# Notes what was asked of systemctl, and does what {folder}/systemctl says.
echo "systemctl $*" >> {folder}/calls
[ ! -e {folder}/systemctl ] || . {folder}/systemctl
"""
PRELUDE = """set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/over /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/over,workdir=/run/work /etc
mkdir -p /etc/sidecar /etc/credstore /etc/systemd/system
mount --bind {folder}/lib /var/lib
mount --bind {folder}/units /etc/systemd/system
mount --bind {folder}/credstore /etc/credstore
mount --bind {folder}/sidecar /etc/sidecar
if [ -d /root/{python} ]; then  # a Python that others are to reach, too
    mkdir /run/python
    mount --bind /root/{python} /run/python
    mount -t tmpfs -o mode=755 tmpfs /root
    mkdir -p /root/{python}
    mount --move /run/python /root/{python}
fi
exec "$@"
"""


class Systemd:
    """Runs commands in mounts of their own, where systemd seems to run."""

    def __init__(self, shell: Shell) -> None:
        self.folder = shell.folder / "systemd"
        self._shell = shell
        for name in ("bin", "lib", "units", "sidecar", "credstore"):
            (self.folder / name).mkdir(parents=True)
        self.program("busctl", BUSCTL)
        self.program("systemctl", SYSTEMCTL)
        self._user = USER
        self.has("sidecar.service", SERVICE)
        self.has("sidecar.socket", SOCKET)
        self.has("missing", {"LoadState": "not-found", "ActiveState": "inactive"})

    def has(self, unit: str, properties: dict[str, Any], **others: Any) -> None:
        """Let systemd know a unit by its properties."""
        known = copy.deepcopy(properties) | others
        if unit == "sidecar.service":
            self._user = known["User"]
        values = {name: {"type": "?", "data": value} for name, value in known.items()}
        text = json.dumps({"type": "a{sv}", "data": [values]})
        (self.folder / f"{unit}.json").write_text(text)

    def program(self, name: str, text: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(text.format(folder=self.folder))
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """What was asked of systemctl."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    async def run(self, *words: str, stdin: bytes = b"", **environ: str) -> Done:
        """Run a command of the sidecar's as root there."""
        stays_root = words[:1] == ("init",) and "--from" not in words
        return await self.python(
            "-m", "sidecar", *words, stdin=stdin, stays_root=stays_root, **environ
        )

    async def python(
        self, *words: str, stdin: bytes = b"", stays_root: bool = False, **environ: str
    ) -> Done:
        """Run Python as root there.

        Where it becomes somebody else, coverage is not measured: they cannot write it down.
        """
        ours = self._shell.environ
        if not (stays_root or self._user == "root"):
            ours = {name: value for name, value in ours.items() if not name.startswith("COV")}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        prelude = PRELUDE.format(folder=self.folder, python=_below_root())
        process = await asyncio.create_subprocess_exec(
            "unshare", "--mount", "sh", "-c", prelude, "sh", sys.executable, *words,
            cwd=self.folder, env=ours | {"PATH": path} | environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Done(process.returncode, out.decode(), err.decode())


def _below_root() -> str:
    """Where this Python is in the home of root, which nobody else may enter; else nowhere."""
    place = Path(sys.base_prefix)
    return str(place.relative_to("/root")) if place.is_relative_to("/root") else "nowhere"


def may_be_root() -> bool:
    """Whether tests may be root, and have mounts of their own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


needs_root = pytest.mark.skipif(not may_be_root(), reason="only root has mounts of its own")


def uid() -> int:
    """The number of the user that the service runs as."""
    return pwd.getpwnam(USER).pw_uid
