"""Which machine it was, and which versions of everything."""

from __future__ import annotations

import os
import platform
import re
import ssl
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.targets import BUILT, NGINX_WITH_NJS, NODE_BIN, PYTHON12, PYTHON13
from sidecar import __version__

_COMMANDS: dict[str, list[str | Path]] = {
    "nginx": ["/usr/sbin/nginx", "-v"],
    "wrk": ["wrk", "-v"],
    "Go": [BUILT / "tools/bin/go", "version"],
    "Node": [NODE_BIN, "--version"],
    "nginx with njs": [*NGINX_WITH_NJS, "-v"],
    "mitmproxy": [BUILT / "mitmproxy/bin/mitmdump", "--version"],
}
_DISTRIBUTIONS = ("aiohttp", "cryptography", "oauthlib", "uvloop")


def facts() -> dict[str, str]:
    """Machine and versions, by name; what is not there is left out."""
    found = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{_system()}, Linux {platform.release()}",
        "sidecar": __version__,
        "Python": platform.python_version(),
        "OpenSSL of cryptography": _openssl(),
    }
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for name, command in _COMMANDS.items():
        if version := _version([str(word) for word in command]):
            found[name] = version
    if version := _package_version(BUILT / "apt/cache/archives", "libnginx-mod-http-js"):
        found["njs"] = version
    pythons = [(sys.executable,), PYTHON12, PYTHON13]
    versions = [_version([*map(str, python), "--version"]) for python in pythons]
    names = ("the first row's", "Debian 12's", "Debian 13's")
    found["Pythons"] = ", ".join(f"{n} {v}" for n, v in zip(names, versions, strict=True) if v)
    return found


def _package_version(folder: Path, package: str) -> str:
    """The version of a Debian package by the name of its file."""
    files = sorted(folder.glob(f"{package}_*.deb"))
    return files[0].name.split("_")[1] if files else ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return sys.platform


def _openssl() -> str:
    from cryptography.hazmat.backends.openssl.backend import backend

    try:
        return str(backend.openssl_version_text())
    except AttributeError:
        return ssl.OPENSSL_VERSION


def _version(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    number = re.search(r"\d+\.\d+[\w.+-]*", said.stdout + said.stderr)
    return number[0] if number else ""
