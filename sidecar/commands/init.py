"""What `sidecar init` does: a configuration file, a key beside it, and what Jira's form wants."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.commands.site import Site
from sidecar.config import options
from sidecar.config.load import load, token_path
from sidecar.config.places import is_there
from sidecar.config.settings import OPTIONS, TABLES, Config
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import StoreError, UsageError
from sidecar.files.keys import (
    LEAST_BITS,
    generate_private_key,
    key_warnings,
    private_key_pem,
    public_key_base64,
    verify_signing,
)
from sidecar.files.private import write_private
from sidecar.files.regular import open_regular
from sidecar.files.tokens import TokenFile
from sidecar.http.shown import quoted
from sidecar.http.target import BaseURL
from sidecar.jira.application_link import FormStep, application_link

KEY_NAME = "private_key.pem"
_USUAL = Site()
_LIMIT = 1024 * 1024  # bytes; as tomlfile.py has it
_MOST_BITS = 8192  # makes a signature of 20 ms; making a longer key takes minutes
_HEADER = (
    "Configuration of jira-oauth-sidecar. A line like #key = value shows a key's default, or an "
    "example where it has none. An environment variable such as SIDECAR_JIRA_BASE_URL overrides "
    "the key, here jira.base_url. Relative paths are relative to this file."
)

_TITLES = {
    "jira": "Which Jira, as whom, and the way there",
    "token": "Where the access token is kept",
    "listen": "Where the sidecar listens; sockets that systemd passes replace the addresses",
    "access": "Who may do what",
    "links": "Links in Jira's answers",
    "timeouts": "How long things may take; there is no limit on a whole request",
    "limits": "How much at once, and how large",
    "log": "What is written to stderr",
    "admin": "The listener for monitoring",
}
"""Not the docstrings of the tables: `python -OO` drops those."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What `init` wrote."""

    config_path: Path
    key_path: Path
    token_path: Path | None
    """Where an imported access token was stored; None where there was none."""
    form: tuple[FormStep, ...]
    two_legged: bool = False
    """Whether nobody has to sign in."""
    warnings: list[str] = field(default_factory=list)
    kept: dict[Path, Path] = field(default_factory=dict)
    """Where the former content of each file that was replaced is now."""
    has_new_key: bool = True


def provision(
    config_path: Path,
    base_url: BaseURL | str,
    consumer_key: str,
    environ: Mapping[str, str],
    *,
    bits: int = 2048,
    private_key: RSAPrivateKey | None = None,
    access_token: Secret | None = None,
    two_legged: bool = False,
    force: bool = False,
    site: Site = _USUAL,
) -> Provisioned:
    """Write the configuration file and the private key beside it, all or nothing.

    `private_key` and `access_token` are imported ones.  Raises UsageError for a wrong value, and
    StoreError where a file exists already or cannot be written; with `force` what is there is
    kept under another name.
    """
    url, consumer_key = _checked(base_url, consumer_key, bits)
    config_path = config_path.absolute()
    has_token = access_token is not None
    refuse_existing(config_path, environ, has_token=has_token, force=force, site=site)
    key_path = site.key_path or config_path.with_name(KEY_NAME)
    tokens = TokenFile(token_path(environ), url, consumer_key) if access_token else None
    key = _only_key(private_key, site) or generate_private_key(bits)
    verify_signing(key)
    files = {} if site.key else {key_path: private_key_pem(key)}
    if tokens and access_token:
        tokens.ensure_replaceable()
        # RSA-SHA1 never uses the token secret, so the sample client did not keep it.
        files[tokens.path] = tokens.encode(TokenCredentials(access_token, Secret("")))
    values: dict[str, object] = {"jira.base_url": str(url), "jira.consumer_key": consumer_key}
    if two_legged:
        values["jira.two_legged"] = True
    values |= site.values
    files[config_path] = render(values).encode()
    kept = _free_names(files)
    _write_all({name: _content(path) or b"" for path, name in kept.items()} | files)
    written = load(config_path, {}, {"token.path": str(config_path)})  # wherever that is
    return Provisioned(
        config_path,
        key_path,
        tokens.path if tokens else None,
        application_link(consumer_key, public_key_base64(key), two_legged=two_legged),
        two_legged,
        [*written.warnings(), *key_warnings(key)],
        kept,
        has_new_key=site.key is None,
    )


def _only_key(imported: RSAPrivateKey | None, site: Site) -> RSAPrivateKey | None:
    """The key that is given; StoreError where there is another one already."""
    if imported and site.key and imported.private_numbers() != site.key.private_numbers():
        raise StoreError(
            f"{site.key_path} holds another key than the one to be imported",
            "give the service a key of its own by LoadCredential=private_key:FILE in a drop-in",
        )
    return site.key or imported


def without_key(
    config_path: Path, environ: Mapping[str, str], site: Site = _USUAL
) -> Config | None:
    """The configuration at a path, if it is there and its private key is not.

    For the system service a key that is there does not matter: it stays.  Raises ConfigError for
    one that makes no sense.
    """
    if not os.path.exists(config_path):
        return None
    _refuse_irregular(config_path)
    found = load(config_path, environ, {})
    if site.key_path is not None:
        return replace(found, jira=replace(found.jira, private_key=site.key_path))
    return None if is_there(found.jira.private_key) else found


def provision_key(
    found: Config,
    config_path: Path,
    base_url: BaseURL | str | None = None,
    consumer_key: str | None = None,
    *,
    bits: int = 2048,
    two_legged: bool = False,
    site: Site = _USUAL,
) -> Provisioned:
    """Make the private key that a configuration lacks, and leave everything else as it is.

    Raises StoreError where `base_url`, `consumer_key` or `two_legged` is given and not as found.
    """
    jira = found.jira
    elsewhere = "" if site.is_service else "; or choose another place with --config"
    url, name = _checked(base_url or jira.base_url, consumer_key or jira.consumer_key, bits)
    for option, given, has in (
        ("base_url", str(url), str(jira.base_url)),
        ("consumer_key", name, jira.consumer_key),
    ):
        if given != has:
            raise StoreError(
                f"{config_path} exists already, and its jira.{option} is {quoted(has)}, "
                f"not {quoted(given)}",
                f"leave --{option.replace('_', '-')} out to make just the key for it{elsewhere}",
            )
    if two_legged and not jira.two_legged:
        raise StoreError(
            f"{config_path} exists already, without jira.two_legged",
            f"set two_legged = true there, below [jira]{elsewhere}",
        )
    key = site.key or generate_private_key(bits)
    verify_signing(key)
    if site.key is None:
        _write_all({jira.private_key: private_key_pem(key)})
    return Provisioned(
        config_path,
        jira.private_key,
        None,
        application_link(name, public_key_base64(key), two_legged=jira.two_legged),
        jira.two_legged,
        [*found.warnings(), *key_warnings(key)],
        has_new_key=site.key is None,
    )


def check_bits(bits: int | None) -> None:
    """Raise UsageError for a size that no key should have."""
    if bits is not None and not LEAST_BITS <= bits <= _MOST_BITS:
        raise UsageError(
            f"--bits: must be from {LEAST_BITS} to {_MOST_BITS}", "2048 is a good size"
        )


def _checked(base_url: BaseURL | str, consumer_key: str, bits: int) -> tuple[BaseURL, str]:
    check_bits(bits)
    try:
        url = base_url if isinstance(base_url, BaseURL) else BaseURL.parse(base_url)
    except ValueError as error:
        hint = "for example: --base-url https://jira.example.com"
        raise UsageError(f"--base-url: {error}", hint) from None
    try:
        return url, options.consumer_key(consumer_key)
    except ValueError as error:
        raise UsageError(
            f"--consumer-key: {error}", "for example: --consumer-key OauthKey"
        ) from None


def refuse_existing(
    config_path: Path,
    environ: Mapping[str, str],
    *,
    has_token: bool,
    force: bool,
    site: Site = _USUAL,
) -> None:
    """Raise StoreError where provision() finds a file; with `force` only where it is none."""
    key_path = site.key_path or config_path.with_name(KEY_NAME)
    if config_path == key_path:
        raise UsageError(f"--config: {KEY_NAME} is the private key's name", "choose another name")
    elsewhere = {config_path: "place with --config", key_path: "place with --config"}
    if site.key is not None:
        del elsewhere[key_path]
    if has_token:
        elsewhere[token_path(environ)] = "token.path with SIDECAR_TOKEN_PATH"
    existing = [path for path in elsewhere if is_there(path)]
    for path in existing:
        _refuse_irregular(path)
    if existing and not force:
        names = " and ".join(map(str, existing))
        others = " and another ".join(dict.fromkeys(elsewhere[path] for path in existing))
        raise StoreError(
            f"{names} exist{'s' if len(existing) == 1 else ''} already",
            f"{'' if site.is_service else f'choose another {others}; or '}overwrite with --force,"
            f" which keeps what is there as {existing[0].name}.bak",
        )


def _refuse_irregular(path: Path) -> None:
    """Raise StoreError for a device, a FIFO or a folder: it cannot be replaced."""
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path}: not a regular file", "choose another place with --config")


def _free_names(paths: Iterable[Path]) -> dict[Path, Path]:
    """For each file that is there, a name beside it that is not: config.toml.bak, ….bak2, …."""
    return {
        path: next(
            name
            for number in itertools.count(1)
            if not is_there(
                name := path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
            )
        )
        for path in paths
        if os.path.exists(path)
    }


def _write_all(files: Mapping[Path, bytes]) -> None:
    """Write all files; or restore what was there, and raise StoreError."""
    before: dict[Path, bytes | None] = {}
    try:
        for path, data in files.items():
            before[path] = _content(path)
            write_private(path, data)
    except BaseException:
        for path, content in before.items():
            with contextlib.suppress(StoreError, OSError):
                _restore(path, content)
        raise


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif _content(path) != content:
        write_private(path, content)


def _content(path: Path) -> bytes | None:
    hint = "choose another place, or move it away"
    try:
        with open_regular(path) as stream:
            data = stream.read(_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be replaced: {error.strerror}", hint) from None
    if len(data) > _LIMIT:
        raise StoreError(f"{path}: larger than 1 MiB; it is not replaced", hint)
    return data


def render(values: Mapping[str, object]) -> str:
    """Write a configuration file that explains every option, with `values` set by option name."""
    parts = [_comment(_HEADER)]
    for table, cls in TABLES.items():
        parts += ["", "", f"# --- {_TITLES[table]} ---", f"[{table}]"]
        for one in fields(cls):
            parts += ["", *_entry(f"{table}.{one.name}", values)]
    return "\n".join(parts) + "\n"


def example() -> str:
    """Write config.example.toml."""
    return render({name: str(one.example) for name, one in OPTIONS.items() if one.required})


def _entry(name: str, values: Mapping[str, object]) -> list[str]:
    one, key = OPTIONS[name], name.partition(".")[2]
    note = one.default_note or ("none" if one.default is None and not one.required else "")
    lines = [_comment(f"{one.help} Default: {note}." if note else one.help)]
    if name in values:
        return [*lines, f"{key} = {options.to_toml(values[name])}"]
    value = one.example if one.default is None else one.default
    return [*lines, f"#{key} = {options.to_toml(value)}"]


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, 86, break_on_hyphens=False))
