"""A command goes on as the service's user, in a child process; root waits for it.

So the token that `auth` stores belongs to the service from the start: root writes nothing below a
folder of that user's.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sidecar.errors import ConfigError
from sidecar.system.surroundings import environment, hand_out
from sidecar.system.unit import Unit, passed_addresses, socket_of

RUN = Path("/run")
"""Where the credentials are kept meanwhile: in memory."""
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


def become(unit: Unit) -> int | None:
    """Split in two: return None in a child that is the unit's user, and its exit code in root.

    The child has the unit's groups, umask, environment, state folder and credentials.  ConfigError
    where it cannot have them.
    """
    user = owner(unit)
    groups = _groups(unit, user)
    for folder in unit.state_folders:
        _make_state_folder(folder, unit.properties["StateDirectoryMode"], user.pw_uid, groups[0])
    credentials = Path(tempfile.mkdtemp(prefix="sidecar-", dir=RUN))
    child = -1
    try:
        hand_out(unit.properties, credentials, user.pw_uid)
        surroundings = environment(unit.properties, user, credentials, os.environ)
        if addresses := passed_addresses(socket_of(unit)):  # they replace those of the file
            surroundings["SIDECAR_LISTEN_ADDRESSES"] = ",".join(addresses)
        with _no_signals():
            child = _fork()
            if child:
                return _exit_code(child)
    finally:
        if child:
            shutil.rmtree(credentials, ignore_errors=True)
    _switch(user.pw_uid, groups, unit.properties["UMask"], surroundings)
    return None


def owner(unit: Unit) -> pwd.struct_passwd:
    """The user that the unit runs as; ConfigError where there is none."""
    name = unit.properties["User"] or "root"
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        problem = f"{unit.service.unit} runs as the user {name}, who does not exist"
    if unit.properties["DynamicUser"]:
        raise ConfigError(problem, f"start it first: `systemctl start {unit.service.unit}`")
    raise ConfigError(problem, "run `sidecar init`, which makes the user sidecar")


def group(unit: Unit, user: pwd.struct_passwd) -> int:
    """The group that the unit runs as; ConfigError where there is none."""
    name = unit.properties["Group"]
    return _group_number(name) if name else user.pw_gid


def _groups(unit: Unit, user: pwd.struct_passwd) -> list[int]:
    """The unit's group, and then all that it has besides."""
    first = group(unit, user)
    more = map(_group_number, unit.properties["SupplementaryGroups"])
    return list(dict.fromkeys([first, *os.getgrouplist(user.pw_name, first), *more]))


def _group_number(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"the service's group {name} does not exist", "see the unit") from None


def _make_state_folder(path: Path, mode: int, uid: int, gid: int) -> None:
    """Make a state folder as systemd does when the service first starts."""
    if path.exists():
        return
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        # By the descriptor: the folder above may be the user's, who could put a link there.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"{path}: cannot be made: {error.strerror}"
        raise ConfigError(message, "it is the service's state folder") from None


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork()


@contextmanager
def _no_signals() -> Iterator[None]:
    """Hold back the signals that end a process, in both halves."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_code(child: int) -> int:
    """Wait for the child, which gets the signals that we get; 128 and more if one ended it.

    A Ctrl-C reaches both of us; only the child decides what it means.
    """

    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    held_back = signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code


def _switch(uid: int, groups: list[int], umask: int, surroundings: Mapping[str, str]) -> None:
    """Become the user for good, where the service would be."""
    os.setgroups(groups)
    os.setresgid(groups[0], groups[0], groups[0])
    os.setresuid(uid, uid, uid)
    os.umask(umask)
    os.chdir("/")
    os.environ.clear()
    os.environ.update(surroundings)
    for file in (__file__, shutil.__file__):  # ours and Python's own: more is imported from there
        if not os.access(file, os.R_OK):
            raise ConfigError(
                f"the service's user cannot read this program: {file}",
                "install it where everybody can read it: by the package, or in /opt/sidecar",
            )
