"""What is measured: the sidecar, the same without signatures, and what people would use instead."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import ROOT
from sidecar.credentials import Secret, TokenCredentials
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL

CONSUMER_KEY = "OauthKey"
HERE = ROOT / "benchmarks"
BUILT = HERE / ".peers"
NODE_BIN = BUILT / "node-bin/node"
NJS_ROOT = BUILT / "njs"
_NJS_LIBRARIES = NJS_ROOT / "usr/lib/x86_64-linux-gnu"
NGINX_WITH_NJS: list[str | Path] = [
    _NJS_LIBRARIES / "ld-linux-x86-64.so.2",
    "--library-path",
    _NJS_LIBRARIES,
    NJS_ROOT / "usr/sbin/nginx",
]


class Setting(NamedTuple):
    """Where and for whom a target runs."""

    folder: Path
    """Its own."""
    port: int
    upstream: str
    """Jira's origin."""
    private_key: Path
    """PKCS#8 PEM."""
    token: str


class Start(NamedTuple):
    """How a target is started."""

    command: list[str | Path]
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Target:
    """Something that requests can be sent through."""

    name: str
    title: str
    start: Callable[[Setting], Start] | None = None
    """None: requests go straight to the upstream."""
    needs: tuple[Path | str, ...] = ()
    """Files that must be there, and commands."""
    signs: bool = True
    toml: str = field(default="")
    """More of the sidecar's configuration."""

    def missing(self) -> str:
        """What is not there of what it needs; empty where it can run."""
        for need in self.needs:
            there = need.exists() if isinstance(need, Path) else shutil.which(need)
            if not there:
                return os.path.relpath(need, ROOT) if isinstance(need, Path) else need
        return ""


def sidecar(
    toml: str = "", module: str = "sidecar", python: Sequence[str | Path] = (sys.executable,)
) -> Callable[[Setting], Start]:
    """`sidecar run` with a configuration of its own; uvloop is used where it is installed."""

    def start(setting: Setting) -> Start:
        token = TokenCredentials(
            Secret(setting.token), Secret(""), user="alana", server_url=setting.upstream
        )
        path = setting.folder / "token.json"
        TokenFile(path, BaseURL.parse(setting.upstream), CONSUMER_KEY).save(token)
        config = setting.folder / "config.toml"
        config.write_text(
            f"[jira]\nbase_url = {json.dumps(setting.upstream)}\n"
            f"consumer_key = {json.dumps(CONSUMER_KEY)}\n"
            f"private_key = {json.dumps(str(setting.private_key))}\n"
            f"[token]\npath = {json.dumps(str(path))}\n"
            f'[listen]\naddresses = ["127.0.0.1:{setting.port}"]\n'
            f"{toml}"
        )
        command: list[str | Path] = [*python, "-m", module, "run", "--config", config]
        return Start(command, {"HOME": str(setting.folder)})

    return start


def program(*command: str | Path) -> Callable[[Setting], Start]:
    """A peer that takes its setting from the environment."""

    def start(setting: Setting) -> Start:
        environ = {
            "LISTEN": f"127.0.0.1:{setting.port}",
            "UPSTREAM": setting.upstream,
            "PRIVATE_KEY": str(setting.private_key),
            "CONSUMER_KEY": CONSUMER_KEY,
            "TOKEN": setting.token,
            "HOME": str(setting.folder),
        }
        return Start(list(command), environ)

    return start


def mitmproxy(setting: Setting) -> Start:
    """mitmdump as a reverse proxy with the add-on."""
    start = program(BUILT / "mitmproxy/bin/mitmdump", "--quiet")(setting)
    options = ["--mode", f"reverse:{setting.upstream}", "--set", "connection_strategy=lazy"]
    options += ["--listen-host", "127.0.0.1", "--listen-port", str(setting.port)]
    options += ["--scripts", str(HERE / "peers/mitmproxy/sign.py")]
    return Start([*start.command, *options], start.environ)


def node(script: str) -> Callable[[Setting], Start]:
    """A script of Node's."""

    def start(setting: Setting) -> Start:
        begun = program(NODE_BIN, HERE / "peers/node" / script)(setting)
        return Start(
            begun.command, {**begun.environ, "NODE_PATH": str(BUILT / "node/node_modules")}
        )

    return start


def njs(setting: Setting) -> Start:
    """nginx with as many workers as cores, and the script; with libraries of its own."""
    text = filled(
        HERE / "peers/njs/nginx.conf",
        FOLDER=str(setting.folder),
        SCRIPTS=str(HERE / "peers/njs"),
        AUTHORITY=setting.upstream.removeprefix("http://"),
        LISTEN=f"127.0.0.1:{setting.port}",
        MODULES=str(NJS_ROOT / "usr/lib/nginx/modules"),
    )
    config = setting.folder / "nginx.conf"
    config.write_text(text)
    pem = setting.private_key.read_text().splitlines()
    constants = {
        "private_key": "".join(pem[1:-1]),
        "consumer_key": CONSUMER_KEY,
        "token": setting.token,
        "upstream": setting.upstream,
    }
    (setting.folder / "setting.json").write_text(json.dumps(constants))
    return Start([*NGINX_WITH_NJS, "-p", setting.folder, "-c", config], {})


def filled(template: Path, **values: str) -> str:
    """A template's text with its @NAMES@ replaced."""
    text = template.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


QUIET = '[log]\nlevel = "warning"\n'
"""No line for each request."""

DIRECT = Target("direct", "nothing in between", signs=False)
UNSIGNED = Target(
    "unsigned",
    "the sidecar, not signing",
    sidecar(module="benchmarks.unsigned"),
    signs=False,
)
SIDECAR = Target("sidecar", "**the sidecar**", sidecar())
NOT_LOGGING = Target(
    "not-logging", "the sidecar without a log line for each request", sidecar(QUIET)
)
NO_LINKS = Target(
    "no-links",
    "the sidecar, `links.rewrite = false`",
    sidecar("[links]\nrewrite = false\n"),
)
GO = Target(
    "go",
    "Go `httputil.ReverseProxy`, gomodule/oauth1",
    program(BUILT / "go-proxy"),
    needs=(BUILT / "go-proxy",),
)
NJS = Target(
    "njs",
    "nginx with njs",
    njs,
    needs=(NJS_ROOT / "usr/lib/nginx/modules/ngx_http_js_module.so",),
)
MITMPROXY = Target(
    "mitmproxy",
    "mitmproxy with an add-on",
    mitmproxy,
    needs=(BUILT / "mitmproxy/bin/mitmdump",),
)
NODE_PACKAGES = tuple(BUILT / "node/node_modules" / name for name in ("http-proxy", "oauth-1.0a"))
NODE = Target(
    "node",
    "Node `http-proxy`, `oauth-1.0a`",
    node("proxy.js"),
    needs=(NODE_BIN, *NODE_PACKAGES),
)
CLUSTER = Target(
    "cluster",
    "Node `cluster` of the same, a worker for each core",
    node("cluster.js"),
    needs=(NODE_BIN, *NODE_PACKAGES),
)
NAIVE = Target(
    "naive", "aiohttp and oauthlib, naively", program(sys.executable, HERE / "peers/naive.py")
)
PLAIN = Target(
    "plain",
    "a plain aiohttp relay, not signing",
    program(sys.executable, HERE / "plain_relay.py"),
    signs=False,
)
PEERS = (GO, NJS, NODE, CLUSTER, MITMPROXY, NAIVE)

PYTHON12 = (BUILT / "python-debian12/bin/python",)
PYTHON13 = (HERE / "in-root", BUILT / "debian13", "/opt/sidecar/bin/python")
DEBIAN12 = Target(
    "debian12",
    "Debian 12's Python",
    sidecar(python=PYTHON12),
    needs=PYTHON12,
)
DEBIAN13 = Target(
    "debian13",
    "Debian 13's Python",
    sidecar(python=PYTHON13),
    needs=(BUILT / "debian13/opt/sidecar/bin/python", "unshare"),
)
DEBIAN12_UNSIGNED = replace(
    DEBIAN12,
    name="debian12-unsigned",
    title="Debian 12's Python, not signing",
    start=sidecar(module="benchmarks.unsigned", python=PYTHON12),
    signs=False,
)
DEBIAN13_UNSIGNED = replace(
    DEBIAN13,
    name="debian13-unsigned",
    title="Debian 13's Python, not signing",
    start=sidecar(module="benchmarks.unsigned", python=PYTHON13),
    signs=False,
)
INTERPRETERS = (SIDECAR, DEBIAN12, DEBIAN13, UNSIGNED, DEBIAN12_UNSIGNED, DEBIAN13_UNSIGNED)
ALL = (
    DIRECT,
    PLAIN,
    UNSIGNED,
    SIDECAR,
    NOT_LOGGING,
    NO_LINKS,
    *PEERS,
    *INTERPRETERS[1:3],
    *INTERPRETERS[4:],
)
