"""What is measured: the sidecar, the same without signatures, and what people would use instead."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import ROOT
from sidecar.credentials import Secret, TokenCredentials
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL

CONSUMER_KEY = "OauthKey"
HERE = ROOT / "benchmarks"
BUILT = HERE / ".peers"


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


def sidecar(toml: str = "", module: str = "sidecar") -> Callable[[Setting], Start]:
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
        command: list[str | Path] = [sys.executable, "-m", module, "run", "--config", config]
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


def njs(setting: Setting) -> Start:
    """nginx with two workers and the script."""
    text = filled(
        HERE / "peers/njs/nginx.conf",
        FOLDER=str(setting.folder),
        SCRIPTS=str(HERE / "peers/njs"),
        AUTHORITY=setting.upstream.removeprefix("http://"),
        LISTEN=f"127.0.0.1:{setting.port}",
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
    return Start(["/usr/sbin/nginx", "-p", setting.folder, "-c", config], {})


def filled(template: Path, **values: str) -> str:
    """A template's text with its @NAMES@ replaced."""
    text = template.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


QUIET = '[log]\nlevel = "warning"\n'
"""No line for each request: the peers write none either."""

DIRECT = Target("direct", "nothing in between", signs=False)
UNSIGNED = Target(
    "unsigned",
    "the sidecar, not signing",
    sidecar(QUIET, "benchmarks.unsigned"),
    signs=False,
)
SIDECAR = Target("sidecar", "**the sidecar**", sidecar(QUIET))
LOGGING = Target("logging", "the sidecar with a log line for each request", sidecar())
NO_LINKS = Target(
    "no-links",
    "the sidecar, `links.rewrite = false`",
    sidecar(QUIET + "[links]\nrewrite = false\n"),
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
    needs=(Path("/usr/sbin/nginx"), Path("/usr/lib/nginx/modules/ngx_http_js_module.so")),
)
MITMPROXY = Target(
    "mitmproxy",
    "mitmproxy with an add-on",
    mitmproxy,
    needs=(BUILT / "mitmproxy/bin/mitmdump",),
)
NODE = Target(
    "node",
    "Node `http-proxy`, `oauth-1.0a`",
    lambda setting: Start(
        ["node", HERE / "peers/node/proxy.js"],
        {**program()(setting).environ, "NODE_PATH": str(BUILT / "node/node_modules")},
    ),
    needs=("node", BUILT / "node/node_modules/http-proxy", BUILT / "node/node_modules/oauth-1.0a"),
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
PEERS = (GO, NJS, NODE, MITMPROXY, NAIVE)
ALL = (DIRECT, PLAIN, UNSIGNED, SIDECAR, LOGGING, NO_LINKS, *PEERS)
