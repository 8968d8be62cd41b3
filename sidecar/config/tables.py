"""The tables of the configuration file: a dataclass for each, a field for each key.

Name, type, default and help of an option are said here and nowhere else; config.example.toml is
rendered from it.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sidecar.config import options
from sidecar.config.options import Address, Kind, option
from sidecar.credentials import Secret
from sidecar.http.target import BaseURL


@dataclass(frozen=True, slots=True)
class Jira:
    """Which Jira, as whom, and the way there."""

    base_url: BaseURL = option(
        Kind.TEXT,
        options.base_url,
        "Jira's URL, with its context path if it has one.",
        required=True,
        example="https://jira.example.com",
    )
    consumer_key: str = option(
        Kind.TEXT,
        options.consumer_key,
        "The consumer key of the incoming application link in Jira.",
        required=True,
        example="OauthKey",
    )
    private_key: Path = option(
        Kind.TEXT,
        options.file_path,
        "The RSA private key: PKCS#1 or PKCS#8 PEM, encrypted or not, or bare base64 PKCS#8. Only "
        "the sidecar's user may be able to read it (0600). Where there is a "
        "$CREDENTIALS_DIRECTORY/private_key (systemd), that is the default.",
        default="private_key.pem",
    )
    private_key_passphrase_file: Path | None = option(
        Kind.TEXT,
        options.file_path,
        "A file that holds the private key's passphrase, 0600.",
        example="passphrase",
        default_note="$CREDENTIALS_DIRECTORY/passphrase if there is one, else none",
    )
    signing_url: BaseURL = option(
        Kind.TEXT,
        options.base_url,
        "What Jira believes its own URL is, behind a reverse proxy that is configured wrongly.",
        example="http://jira.internal:8080",
        default_note="base_url",
    )
    two_legged: bool = option(
        Kind.SWITCH,
        options.switch,
        "Sign as the application link itself (two-legged OAuth): no sign-in, no access token, "
        "nothing to renew. Jira answers as the link's Execute as user; the link must allow "
        "2-Legged OAuth.",
        default=False,
        example=True,
    )
    act_as: str | None = option(
        Kind.TEXT,
        options.user_name,
        "With two_legged: the Jira user for every request that names none. The link must allow "
        "user impersonation.",
        example="ci-deploy",
    )
    ca_file: Path | None = option(
        Kind.TEXT,
        options.file_path,
        "PEM certificates to trust for Jira, besides the system's: a CA's, or Jira's own.",
        example="ca.pem",
    )
    client_certificate: Path | None = option(
        Kind.TEXT,
        options.file_path,
        "PEM certificate for a Jira that asks for one (mutual TLS); it may hold the key as well.",
        example="client.pem",
    )
    client_key: Path | None = option(
        Kind.TEXT,
        options.file_path,
        "The private key of client_certificate.",
        example="client.key",
    )
    proxy: Secret | None = option(
        Kind.TEXT,
        options.proxy_url,
        "HTTP proxy on the way to Jira: http://[USER:PASSWORD@]HOST:PORT. With a password in it, "
        "keep this file to yourself (0600).",
        example="http://proxy.example.com:3128",
    )


@dataclass(frozen=True, slots=True)
class Token:
    """Where the access token is kept."""

    path: Path = option(
        Kind.TEXT,
        options.file_path,
        "The access token's file, which `sidecar auth` writes. It belongs to one base_url and "
        "consumer_key; several Jiras need several files.",
        example="~/.local/state/sidecar/token.json",
        default_note="$STATE_DIRECTORY/token.json (systemd), else "
        "$XDG_STATE_HOME/sidecar/token.json",
    )


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the sidecar listens; sockets that systemd passes replace the addresses."""

    addresses: tuple[Address, ...] = option(
        Kind.TEXTS,
        options.addresses,
        "HOST:PORT, [IPv6]:PORT or unix:/PATH; port 0 picks one. Whoever reaches the sidecar acts "
        "as you: anything but loopback and unix sockets needs access.key_file.",
        default=["127.0.0.1:8088", "[::1]:8088"],
        flag="--listen",
    )
    unix_mode: int = option(
        Kind.TEXT,
        options.file_mode,
        "Permissions of unix sockets, octal.",
        default="0600",
    )
    tls_certificate: Path | None = option(
        Kind.TEXT,
        options.file_path,
        "PEM certificate to serve https with, for clients that insist on it. Needs tls_key.",
        example="localhost.pem",
    )
    tls_key: Path | None = option(
        Kind.TEXT,
        options.file_path,
        "The private key of tls_certificate.",
        example="localhost.key",
    )


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what.

    Hosts, origins and rules are as written, and such as sidecar/access can read.
    """

    hosts: tuple[str, ...] = option(
        Kind.TEXTS,
        options.hosts,
        "Names by which clients may address the sidecar, besides localhost, 127.0.0.1 and [::1]; "
        'such as "sidecar.internal".',
        default=[],
        example=["sidecar.internal"],
    )
    origins: tuple[str, ...] = option(
        Kind.TEXTS,
        options.origins,
        'Web pages that may use the sidecar from a browser; such as "https://tools.example.com".',
        default=[],
        example=["https://tools.example.com"],
    )
    key_file: Path | None = option(
        Kind.TEXT,
        options.file_path,
        "A file, 0600, whose content callers must send as X-Sidecar-Key, as a Bearer token or as "
        "the password of Basic; or a folder with such a file for each caller, whose name the log "
        "then shows.",
        example="access_key",
    )
    read_only: bool = option(
        Kind.SWITCH,
        options.switch,
        "Forward nothing that changes anything: only GET, HEAD, OPTIONS and searches.",
        default=False,
    )
    allow: tuple[str, ...] = option(
        Kind.TEXTS,
        options.rules,
        'With rules here, everything else is refused. A rule is "GET /rest/api/*/issue/**": a '
        "method or * (GET covers HEAD) and a path without context path, in which * stands for one "
        "segment and ** for any number.",
        default=[],
        example=["GET /rest/api/*/issue/**"],
    )
    deny: tuple[str, ...] = option(
        Kind.TEXTS,
        options.rules,
        "Rules for what is refused, whatever allow says.",
        default=[],
        example=["* /rest/api/*/user/**"],
    )
    act_as: tuple[str, ...] = option(
        Kind.TEXTS,
        options.user_patterns,
        'With jira.two_legged: whom a caller may act as by the field X-Sidecar-Act-As. "ci-*" is '
        'for every caller, "NAME: ci-*" for the one whose access key has that name; only * is '
        "special.",
        default=[],
        example=["ci-*"],
    )


@dataclass(frozen=True, slots=True)
class Links:
    """Links in Jira's answers."""

    rewrite: bool = option(
        Kind.SWITCH,
        options.switch,
        "Make links in JSON answers lead to the sidecar, so that clients that follow them stay "
        "signed in. Attachments and the values of entity properties stay as they are.",
        default=True,
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take; there is no limit on a whole request."""

    connect: float = option(
        Kind.NUMBER, options.seconds, "Seconds to get a connection to Jira.", default=10
    )
    response: float = option(
        Kind.NUMBER,
        options.seconds,
        "Seconds from the last byte of a request to the head of Jira's answer.",
        default=120,
    )
    idle: float = option(
        Kind.NUMBER,
        options.seconds,
        "Seconds between two pieces of a body, either way.",
        default=60,
    )
    shutdown: float = option(
        Kind.NUMBER,
        options.seconds,
        "Seconds that requests in flight have to finish when the sidecar is stopped.",
        default=30,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once, and how large."""

    connections: int = option(
        Kind.WHOLE, options.between(1, 10_000), "Requests to Jira at a time.", default=100
    )
    waiting: int = option(
        Kind.WHOLE,
        options.between(0, 1_000_000),
        "Requests that may wait for their turn; more are answered with 503.",
        default=1000,
    )
    rate_wait: float = option(
        Kind.NUMBER,
        options.seconds_or_zero,
        "Seconds that a request may be held while Jira answers 429, too many requests; 0 passes "
        "every 429 on at once.",
        default=30,
    )
    clients: int | None = option(
        Kind.WHOLE,
        options.between(1, 65_536),
        "Open connections of clients. At the limit the one that has been idle longest is closed; "
        "where none is idle, the new one gets 503.",
        default_note="what the process may open less what it needs itself, 4096 at most",
        example=4096,
    )
    form_bytes: int = option(
        Kind.WHOLE,
        options.between(0, 64 * 1024 * 1024),
        "Largest form body, which is held in memory to be signed. 2 MiB is Jira's own limit "
        "(Tomcat's maxPostSize).",
        default=2 * 1024 * 1024,
    )
    head_bytes: int = option(
        Kind.WHOLE,
        options.between(1024, 1024 * 1024),
        "Largest head of a request or an answer: its first line, fields and trailers together.",
        default=64 * 1024,
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What is written to stderr."""

    format: str = option(
        Kind.TEXT,
        options.one_of("text", "json"),
        '"text", or "json": one object a line.',
        default="text",
    )
    level: str = option(
        Kind.TEXT,
        options.one_of("debug", "info", "warning", "error"),
        '"debug", "info", "warning" or "error".',
        default="info",
    )


@dataclass(frozen=True, slots=True)
class Admin:
    """The listener for monitoring."""

    address: Address | None = option(
        Kind.TEXT,
        options.address,
        "A second listener, at any address, that serves /_sidecar/* alone.",
        example="127.0.0.1:8089",
    )
