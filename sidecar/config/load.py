"""TOML file + environment + flags → one frozen Config, or an error that names file, line and key.

tables.py lists the options; this module finds their values.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NoReturn

from sidecar.access.acting import UserPatterns
from sidecar.access.callers import AccessControl
from sidecar.config import options, places
from sidecar.config.environment import given_by, variable_of
from sidecar.config.nearest import nearest_option, nearest_table
from sidecar.config.options import Address, TCPAddress, UnixAddress
from sidecar.config.settings import OPTIONS, TABLES, Config
from sidecar.config.tomlfile import read_toml
from sidecar.errors import ConfigError, UsageError
from sidecar.http.shown import quoted

__all__ = [
    "Address",
    "Config",
    "TCPAddress",
    "UnixAddress",
    "load",
    "token_path",
    "variable_of",
]

_HOMELESS = ("there is no home folder to keep the token in", "set token.path")
_CREDENTIALS = {
    "jira.private_key": "private_key",
    "jira.private_key_passphrase_file": "passphrase",
}
_UNIX_PATH_MAX = 103  # sun_path holds 104 bytes on macOS and 108 on Linux, the final NUL included


@dataclass(frozen=True, slots=True)
class Given:
    """A value before it is parsed: a variable's text, or what TOML holds."""

    value: object = field(repr=False)
    place: str
    """Where it stands, for a message: `config.toml:7`, `SIDECAR_LOG_LEVEL` or `--listen`."""
    source: Literal["default", "file", "environment", "flag"]
    base: Path | None = None
    """The folder that relative paths are relative to; None for the current folder."""


def load(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
    *,
    finds: bool = True,
) -> Config:
    """Read the configuration: overrides > environment > file > default.

    `path` is --config's; `overrides` has flags by option name (`{"listen.addresses": [...]}`),
    those that are None left out.  Without a path a file is looked for where it usually is, unless
    `finds` is false.  Raises ConfigError, or UsageError for a flag's value.
    """
    file = path or (places.find_config(environ) if finds else None)
    folder = file.absolute().parent if file else None
    given = _defaults(folder) | _surroundings(environ)
    if file:
        given |= _from_file(file)
    given |= _from_environment(environ)
    given |= _from_flags(overrides)
    _require(given, file, environ)
    home = places.home(environ)
    values = dict.fromkeys(OPTIONS) | {name: _read(name, one, home) for name, one in given.items()}
    values["jira.signing_url"] = values["jira.signing_url"] or values["jira.base_url"]
    tables = {
        table: cls(**{field.name: values[f"{table}.{field.name}"] for field in fields(cls)})
        for table, cls in TABLES.items()
    }
    config = Config(**tables, path=file and file.absolute())
    for name, problem, hint in _contradictions(config):
        raise ConfigError(_message(given[name], name, problem), hint)
    return config


def token_path(environ: Mapping[str, str]) -> Path:
    """Return token.path as it is where no configuration file sets it."""
    given = (_surroundings(environ) | _from_environment(environ)).get("token.path")
    if given is None:
        raise ConfigError(*_HOMELESS)
    path = _read("token.path", given, places.home(environ))
    assert isinstance(path, Path)
    return path


# --- where values come from ---


def _defaults(folder: Path | None) -> dict[str, Given]:
    return {
        name: Given(one.default, name, "default", folder)
        for name, one in OPTIONS.items()
        if one.default is not None
    }


def _surroundings(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the defaults that depend on the environment: systemd's folders and XDG's."""
    found = {"token.path": places.state_file(environ, "token.json")}
    for name, credential in _CREDENTIALS.items():
        found[name] = places.credential(environ, credential)
    return {name: Given(str(file), name, "default") for name, file in found.items() if file}


def _from_file(file: Path) -> dict[str, Given]:
    document, lines = read_toml(file)
    base = file.absolute().parent
    given = {}
    for table, keys in document.items():
        place = f"{file}:{lines.get((table,), 1)}"
        if table not in TABLES:
            _refuse_unknown(place, table, is_table=isinstance(keys, dict))
        if not isinstance(keys, dict):
            problem = f"{place}: {table}: must be a table, [{table}], that is there once"
            raise ConfigError(problem, f"put its keys below a line [{table}]")
        for key, value in keys.items():
            name = f"{table}.{key}"
            place = f"{file}:{lines.get((table, key), 1)}"
            if name not in OPTIONS:
                _refuse_unknown(place, name)
            given[name] = Given(value, place, "file", base)
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    return {
        name: Given(text, variable_of(name), "environment")
        for name, text in given_by(environ).items()
    }


def _from_flags(overrides: Mapping[str, object]) -> dict[str, Given]:
    return {
        name: Given(
            list(value) if isinstance(value, tuple) else value, OPTIONS[name].flag or name, "flag"
        )
        for name, value in overrides.items()
        if value is not None
    }


def _require(given: Mapping[str, Given], file: Path | None, environ: Mapping[str, str]) -> None:
    missing = [name for name, one in OPTIONS.items() if one.required and name not in given]
    if missing and file is None:
        raise _no_configuration(missing, environ)
    if missing:
        table, _, key = missing[0].partition(".")
        raise ConfigError(
            f"{file}: {' and '.join(missing)} missing",
            f"put {key} = {options.to_toml(OPTIONS[missing[0]].example)} below [{table}], or run "
            "`sidecar init`",
        )
    if "token.path" not in given:
        raise ConfigError(*_HOMELESS)


def _no_configuration(missing: list[str], environ: Mapping[str, str]) -> ConfigError:
    """The error where no file is found and the environment does not suffice."""
    usual = places.usual_configs(environ)
    hidden = {file: why for file in usual if (why := places.hidden(file))}
    absent = " and no ".join(str(file) for file in usual if file not in hidden)
    said = [f"there is no {absent}"] if absent else []
    said += [f"{file} cannot be looked at: {why}" for file, why in hidden.items()]
    hint = f"run `sidecar init`, or set {' and '.join(map(variable_of, missing))}"
    if hidden:
        folders = " and ".join(str(file.parent) for file in hidden)
        hint = f"let this user search {folders}; or {hint}"
    return ConfigError(f"no configuration: {'; '.join(said)}", hint)


# --- reading and checking values ---


def _read(name: str, given: Given, home: Path | None) -> object:
    """Turn a given value into what Config holds."""
    one = OPTIONS[name]
    try:
        value = given.value
        if isinstance(value, str) and given.source == "environment":
            value = options.from_text(one.kind, value)
        options.check_kind(one.kind, value)
        return _anchored(one.read(value), given.base, home)
    except ValueError as error:
        kind = UsageError if given.source == "flag" else ConfigError
        raise kind(_message(given, name, str(error)), _example(given, name)) from None


def _anchored(value: object, base: Path | None, home: Path | None) -> object:
    """Make the paths in a value absolute; `~/` is the home folder."""
    if isinstance(value, UnixAddress):
        return UnixAddress(_absolute(value.path, base, home))
    if isinstance(value, tuple):
        return tuple(_anchored(item, base, home) for item in value)
    return _absolute(value, base, home) if isinstance(value, Path) else value


def _absolute(path: Path, base: Path | None, home: Path | None) -> Path:
    if path.parts[:1] == ("~",) and home:
        return home.joinpath(*path.parts[1:])
    return base / path if base else path.absolute()


def _contradictions(config: Config) -> Iterator[tuple[str, str, str]]:
    """Find values that make no sense together: key, problem and hint of each."""
    listen, jira, admin = config.listen, config.jira, config.admin.address
    for address in listen.addresses:
        if not address.is_local and not config.access.key_file:
            yield (
                "listen.addresses",
                f"{address} can be reached from elsewhere, and there is no access.key_file",
                "whoever reaches it acts as you: listen on 127.0.0.1, or set access.key_file",
            )
        if address == admin and not (isinstance(address, TCPAddress) and address.port == 0):
            yield "admin.address", f"{address} is in listen.addresses too", "give it another port"
    for one in (*listen.addresses, admin):
        if isinstance(one, UnixAddress) and len(os.fsencode(one.path)) > _UNIX_PATH_MAX:
            name = "admin.address" if one is admin else "listen.addresses"
            yield name, f"{one} has more than {_UNIX_PATH_MAX} bytes", "choose a shorter path"
    if listen.tls_certificate and not listen.tls_key:
        yield "listen.tls_certificate", "there is no listen.tls_key", "set both, or neither"
    if listen.tls_key and not listen.tls_certificate:
        yield "listen.tls_key", "there is no listen.tls_certificate", "set both, or neither"
    if jira.client_key and not jira.client_certificate:
        yield "jira.client_key", "there is no jira.client_certificate", "set both, or neither"
    yield from _three_legged_act_as(config)
    yield from _senseless_access(config)


def _three_legged_act_as(config: Config) -> Iterator[tuple[str, str, str]]:
    """Find what only two-legged OAuth can do: there a token says who the user is."""
    if config.jira.two_legged:
        return
    named = {"jira.act_as": config.jira.act_as, "access.act_as": config.access.act_as}
    for name, value in named.items():
        if value:
            yield (
                name,
                "needs jira.two_legged: an access token acts as its own user alone",
                "set jira.two_legged = true if the application link allows it, or remove it",
            )


def _senseless_access(config: Config) -> Iterator[tuple[str, str, str]]:
    """Find entries of `access` that cannot be used as rules below Jira's context path."""
    for key in ("hosts", "origins", "allow", "deny"):
        name = f"access.{key}"
        entries: dict[str, Any] = {key: getattr(config.access, key)}
        try:
            AccessControl(base_url=config.jira.base_url, **entries)
        except ConfigError as error:
            yield name, error.message.removeprefix(f"{name}: "), error.hint
    try:
        patterns = UserPatterns(config.access.act_as)
    except ConfigError as error:
        yield "access.act_as", error.message.removeprefix("access.act_as: "), error.hint
        return
    if patterns.callers and not config.access.key_file:
        caller = quoted(min(patterns.callers))
        yield (
            "access.act_as",
            f"{caller} is a caller's name, and there is no access.key_file",
            "make access.key_file a folder with a key for each caller, or leave the name out",
        )


# --- messages ---


def _message(given: Given, name: str, problem: str) -> str:
    if given.source in ("default", "flag"):  # the place says it already
        return f"{given.place}: {problem}"
    return f"{given.place}: {name}: {problem}"


def _example(given: Given, name: str) -> str:
    one = OPTIONS[name]
    value = one.default if one.example is None else one.example
    texts = value if isinstance(value, list) else [str(value)]
    if given.source == "flag":
        return f"for example: {given.place} {texts[0]}"
    if given.source == "environment":
        return f"for example: {given.place}={','.join(texts)}"
    return f"for example: {name.partition('.')[2]} = {options.to_toml(value)}"


def _refuse_unknown(place: str, name: str, *, is_table: bool = False) -> NoReturn:
    """Refuse an unknown key or table, and suggest the nearest known one."""
    if is_table:
        nearest = nearest_table(name)
        hint = f"did you mean [{nearest}]?" if nearest else f"there are {', '.join(TABLES)}"
        raise ConfigError(f"{place}: unknown table {quoted(name)}", hint)
    nearest = nearest_option(name)
    hint = f'did you mean "{nearest}"?' if nearest else "config.example.toml shows every key"
    raise ConfigError(f"{place}: unknown key {quoted(name)}", hint)
