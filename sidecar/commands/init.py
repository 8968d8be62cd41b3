"""What `sidecar init` does: a configuration file, a key beside it, and what Jira's form wants."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import tomli
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.commands.site import Site
from sidecar.config import options
from sidecar.config.load import load, token_path
from sidecar.config.places import is_there
from sidecar.config.rendering import rewritten
from sidecar.config.settings import Config
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import ConfigError, StoreError, UsageError
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

T = TypeVar("T")

KEY_NAME = "private_key.pem"
_USUAL = Site()
_LIMIT = 1024 * 1024  # bytes; as tomlfile.py has it
_MOST_BITS = 8192  # makes a signature of 20 ms; making a longer key takes minutes


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
    is_edited: bool = False
    """Whether a configuration was there, of which all other settings stay."""


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
    StoreError where a file exists already or cannot be written.  With `force` what is there is
    kept under another name, and a configuration keeps all settings but those that are given.
    """
    url, consumer_key = _checked(base_url, consumer_key, bits)
    config_path = config_path.absolute()
    has_token = access_token is not None
    refuse_existing(config_path, environ, has_token=has_token, force=force, site=site)
    former = _former(config_path, environ)
    key_path = site.key_path or (former or config_path.with_name(KEY_NAME))
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
    text, doubts = rewritten(_content(config_path), values, site.values)
    files[config_path] = text.encode()
    kept = _free_names(files)
    before = {name: _content(path) or b"" for path, name in kept.items()}
    # Wherever the token is kept.
    read = partial(load, config_path, {}, {"token.path": str(config_path)})
    written = _write_all(before | files, read, public=config_path)
    two_legged = written.jira.two_legged
    return Provisioned(
        config_path,
        key_path,
        tokens.path if tokens else None,
        application_link(consumer_key, public_key_base64(key), two_legged=two_legged),
        two_legged,
        [*(f"{config_path}: {doubt}" for doubt in doubts), *written.warnings(), *key_warnings(key)],
        kept,
        has_new_key=site.key is None,
        is_edited=config_path in kept and not doubts,
    )


def known_values(config_path: Path) -> dict[str, str]:
    """The URL and the consumer key that a configuration has, as far as they can be read."""
    try:
        jira = tomli.loads((_content(config_path) or b"").decode("utf-8-sig")).get("jira", {})
        return {name: jira[name] for name in ("base_url", "consumer_key") if name in jira}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _former(config_path: Path, environ: Mapping[str, str]) -> Path | None:
    """Where a configuration that is there has its private key; None without a good one."""
    try:
        return load(config_path, environ, {}).jira.private_key if is_there(config_path) else None
    except ConfigError:
        return None


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
        _write_all({jira.private_key: private_key_pem(key)}, lambda: None)
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


def _write_all(
    files: Mapping[Path, bytes], read: Callable[[], T], *, public: Path | None = None
) -> T:
    """Write all files and `read` them; or restore what was there, whatever fails.

    What is replaced keeps its owner and mode, so that a service can read it as before.  All but
    `public` is secret.
    """
    before: dict[Path, bytes | None] = {}
    try:
        for path, data in files.items():
            before[path] = _content(path)
            write_private(path, data, like=_like(path, is_secret=path != public))
        return read()
    except BaseException:
        for path, content in before.items():
            with contextlib.suppress(StoreError, OSError):
                _restore(path, content)
        raise


def _like(path: Path, *, is_secret: bool) -> os.stat_result | None:
    """The file that is replaced, if its owner and mode are good ones."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    others = stat.S_IMODE(info.st_mode) & (0o027 if info.st_uid == 0 else 0o077)
    return None if is_secret and others else info


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif _content(path) != content:
        write_private(path, content, like=_like(path, is_secret=False))


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
