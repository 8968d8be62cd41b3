"""The steps that need no Jira: configuration, key, file modes, token."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.token_in_use import unused_token
from sidecar.check.step import NeedsNewToken, Passed
from sidecar.config.load import Config
from sidecar.credentials import LATEST, WARNING_SECONDS, TokenCredentials
from sidecar.errors import ConfigError, SidecarError
from sidecar.files import keys
from sidecar.files.access_keys import read_access_keys, without_key
from sidecar.files.private import refuse_unless_private
from sidecar.files.tokens import TokenFile
from sidecar.http.shown import full_name
from sidecar.net import tls
from sidecar.rotation.next_key import NextKey

_CLOUD = (".atlassian.net", ".jira.com", ".jira-dev.com")
_ACCESS_KEY = "access key"


def configuration(config: Config) -> Passed:
    """Judge a configuration that could be read; ConfigError where `run` would refuse it."""
    base = config.jira.base_url
    if is_cloud_host(base.host):
        raise is_cloud(base.host)
    if config.listen.tls_certificate is not None:
        tls.server_context(config.listen.tls_certificate, config.listen.tls_key)
    where = f"in {config.path}" if config.path else "from the environment"
    warnings = config.warnings() + without_key(config.access)
    return Passed(f"The configuration {where} makes sense: Jira is {base}.{notes(warnings)}")


def named_files(config: Config) -> None:
    """Read what a reload reads besides the configuration; ConfigError for what is no good."""
    jira, listen = config.jira, config.listen
    tls.client_context(jira.ca_file, jira.client_certificate, jira.client_key)
    if listen.tls_certificate is not None:
        tls.server_context(listen.tls_certificate, listen.tls_key)
    if config.access.key_file is not None:
        read_access_keys(config.access.key_file).refuse()


def is_cloud_host(host: str) -> bool:
    """Whether a name is one of Jira Cloud's."""
    return host.rstrip(".").endswith(_CLOUD)


def is_cloud(host: str) -> ConfigError:
    """The error for a Jira that is not one of ours."""
    return ConfigError(
        f"{host} is Jira Cloud, which has given up OAuth 1.0a: the sidecar is for Jira Data Center"
        " and Server.",
        "use an API token of your Atlassian account with Jira Cloud; it needs no sidecar",
    )


def private_key(config: Config) -> tuple[RSAPrivateKey, Passed]:
    """Read the key and sign with it; ConfigError says what is wrong with it, or with OpenSSL."""
    jira = config.jira
    key = keys.load_private_key(jira.private_key, jira.private_key_passphrase_file)
    keys.verify_signing(key)
    message = (
        f"The private key signs: RSA of {key.key_size} bits, SHA-256 of its public half"
        f" {keys.fingerprint(key)}.{notes([*_waiting(config), *keys.key_warnings(key)])}"
    )
    return key, Passed(message)


def _waiting(config: Config) -> list[str]:
    """Say of a key that is to follow that it is there."""
    waiting = NextKey(config.jira.private_key, config.jira.private_key_passphrase_file)
    return [f"another waits in {waiting.path} until Jira accepts it"] * waiting.is_there()


def file_modes(config: Config) -> Passed:
    """Look at the permissions of every file that holds a secret; ConfigError names all at fault."""
    found = [
        (path, what)
        for path, what in _secret_files(config)
        if what == _ACCESS_KEY or os.path.lexists(path)
    ]
    errors: list[SidecarError] = []
    for path, what in found:
        try:
            _judge(path, what)
        except ConfigError as error:
            errors.append(error)
    if errors:
        hints = dict.fromkeys(error.hint for error in errors)
        raise ConfigError("; ".join(error.message for error in errors), "; ".join(hints))
    if not found:
        return Passed("There is no file with a secret in it yet.")
    names = ", ".join(dict.fromkeys(what for _, what in found))
    return Passed(f"Nobody else can read the secrets here: {names}.{notes(_unwritable(config))}")


def _judge(path: Path, what: str) -> None:
    """Raise ConfigError for a file that `run` takes no secret from."""
    if what == _ACCESS_KEY:
        read_access_keys(path).refuse()
        return
    try:
        refuse_unless_private(os.stat(path), path, what)
    except OSError as error:
        raise ConfigError(
            f"{path}: the {what} cannot be looked at: {error.strerror}",
            f"run `ls -lL {path}` to see where it leads",
        ) from None


def _secret_files(config: Config) -> Iterator[tuple[Path, str]]:
    jira = config.jira
    yield jira.private_key, "private key"
    if not jira.two_legged:
        yield config.token.path, "token"
    optional = (
        (jira.private_key_passphrase_file, "passphrase"),
        (config.access.key_file, _ACCESS_KEY),
        (jira.client_key or _with_key(jira.client_certificate), "TLS key"),
        (config.listen.tls_key, "TLS key"),
    )
    yield from ((path, what) for path, what in optional if path is not None)


def _with_key(certificate: Path | None) -> Path | None:
    """A certificate's file, if it holds the private key as well."""
    with suppress(OSError):
        if certificate is not None and tls.holds_key(certificate):
            return certificate
    return None


def _unwritable(config: Config) -> list[str]:
    folder = config.token.path.parent
    if config.jira.two_legged or not folder.exists() or os.access(folder, os.W_OK | os.X_OK):
        return []
    return [f"{folder} cannot be written to: no renewed token could be stored there"]


def no_token_needed(config: Config) -> Passed:
    """Say so where the application link itself signs, and of a token file that is there."""
    file = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key)
    message = "No access token is needed: jira.two_legged is set, and nothing has to be renewed."
    return Passed(message + notes(unused_token(file)))


def load_token(config: Config) -> TokenCredentials:
    """Read the token, alive or not; NotAuthorized or ConfigError where there is none of ours."""
    file = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key)
    found = file.load()
    if found is None:
        message = f"There is no access token for Jira yet: {file.path} does not exist."
        raise NeedsNewToken(message, "run `sidecar auth`")
    return found


def access_token(config: Config, token: TokenCredentials, now: float) -> Passed:
    """Say whose token it is and how long it lives, and see whether its renewal could be stored."""
    if token.session_handle is not None:
        file = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key)
        if (error := file.store_error()) is not None:
            about = ended(token, now) if has_ended(token, now) else token_passed(token, now)
            message = f"{about.message} A renewed one could not be stored: {error.message}"
            raise type(error)(f"{message.rstrip('.')}.", error.hint)
    if has_ended(token, now):
        raise ended(token, now)
    passed = token_passed(token, now)
    return Passed(passed.message + notes(_copied(config)), passed.hint)


def _copied(config: Config) -> list[str]:
    """Say where the token was stored, if that was another machine."""
    file = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key)
    file.load()
    host = file.other_machine()
    warning = f"it was stored on {host}, another machine: a renewal there ends it here"
    return [warning] if host else []


def has_ended(token: TokenCredentials, now: float) -> bool:
    """Whether the token's life is over."""
    return token.expires_at is not None and token.expires_at <= now


def ended(token: TokenCredentials, now: float) -> NeedsNewToken:
    """The error for a token whose life is over: a living session renews it."""
    when = f" on {day(token.expires_at)}" if token.expires_at else ""
    message = f"The access token came to its end{when}."
    if not token.is_renewable(now):
        return NeedsNewToken(message, "run `sidecar auth`")
    until = f", until {day(token.session_expires_at)}" if token.session_expires_at else ""
    return NeedsNewToken(
        message,
        f"`sidecar run` renews it by itself with its next request{until};"
        " or run `sidecar auth` for a new one",
    )


def token_passed(token: TokenCredentials, now: float) -> Passed:
    """Say whose token it is and how long it lives."""
    owner = f" of {full_name(token.user, token.display_name)}" if token.user else ""
    if token.expires_at is None:
        return Passed(f"There is an access token{owner}; Jira named no end of it.")
    message = f"There is an access token{owner}, until {day(token.expires_at)}."
    left = token.expires_at - now
    if left > WARNING_SECONDS:
        return Passed(message)
    days = int(left // 86400)
    message = f"{message} That is {'in ' + count(days, 'day') if days else 'within a day'}."
    if token.is_renewable(token.expires_at):
        return Passed(
            message,
            "`sidecar run` renews it by itself in its last day; or run `sidecar auth` before then",
        )
    return Passed(message, "run `sidecar auth` before then")


def day(when: float | None) -> str:
    """A date by the calendar of this machine; a certificate may be for ever (RFC 5280 §4.1.2.5)."""
    return f"{datetime.fromtimestamp(when):%Y-%m-%d}" if when and when < LATEST else "forever"


def count(number: int, thing: str) -> str:
    """`1 day`, `20 days`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def notes(warnings: list[str]) -> str:
    """What is allowed but unwise, to stand behind a sentence."""
    return "".join(f" But note: {warning.rstrip('.')}." for warning in warnings)
