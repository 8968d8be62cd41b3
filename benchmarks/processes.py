"""Processes that are measured: started on a free port, watched through /proc, ended for sure."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def busy_seconds() -> float:
    """Processor time that all cores have spent on anything, or had taken by the hypervisor."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A child process in a session of its own; it does not outlive the benchmark."""

    def __init__(
        self, name: str, command: Sequence[str | Path], environ: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.started = time.perf_counter()
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [str(word) for word in command],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def wait_for(self, port: int, seconds: float = 20.0) -> None:
        """Return when something listens on the port; RuntimeError where nothing ever does."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            if self._child.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {self.last_words()}")
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            time.sleep(0.005)
        raise RuntimeError(f"{self.name} does not listen after {seconds:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-400:].strip().replace("\n", " | ")

    def stop(self) -> None:
        """End it and what it started: by SIGTERM, after three seconds by SIGKILL."""
        for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            if self._child.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
        with suppress(ProcessLookupError):  # what it left behind
            os.killpg(self._child.pid, signal.SIGKILL)

    def family(self) -> list[int]:
        """Its process id and those of its children."""
        found = [self._child.pid]
        for pid in found:
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """Processor time used so far, all threads and children, user and system."""
        total = 0
        for pid in self.family():
            with suppress(OSError):
                after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(after_name[11]) + int(after_name[12])  # utime and stime, proc(5)
        return total / TICKS

    def memory(self) -> float:
        """Resident memory now, in MiB."""
        return self._status("VmRSS")

    def peak_memory(self) -> float:
        """The most resident memory since the start or `forget_peak`, in MiB."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Begin anew with the peak."""
        for pid in self.family():
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> float:
        kibibytes = 0
        for pid in self.family():
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(field + ":"):
                        kibibytes += int(line.split()[1])
        return kibibytes / 1024
