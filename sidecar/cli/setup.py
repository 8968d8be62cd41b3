"""`sidecar init` and `sidecar public-key`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidecar.cli.base import (
    Global,
    ask,
    example,
    global_options,
    run_coroutine,
    say,
    show,
    system_options,
    warn,
)
from sidecar.errors import UsageError

if TYPE_CHECKING:
    from sidecar.commands.init import Provisioned
    from sidecar.commands.jira_url import Meaning
    from sidecar.commands.sample_client import SampleClient
    from sidecar.commands.site import Site
    from sidecar.config.load import Config
    from sidecar.credentials import Secret
    from sidecar.http.target import BaseURL
    from sidecar.jira.application_link import FormStep
    from sidecar.system.unit import Unit


@click.command(
    help="Write a configuration and a key, and say what to enter in Jira.\n\n"
    "If only the key of a configuration is missing, make just that.",
    epilog=example("sidecar init --base-url https://jira.example.com --consumer-key CI"),
)
@click.option("--base-url", metavar="URL", help="Jira's URL, with its context path.")
@click.option(
    "--consumer-key", metavar="KEY", help="A name that you choose; Jira's link gets the same."
)
@click.option("--bits", type=int, help="Size of the RSA key; 2048 if it is not given.")
@click.option(
    "--from",
    "sample",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Import the config.properties of Atlassian's sample client.",
)
@click.option(
    "--two-legged",
    is_flag=True,
    help="For an application link that acts by itself: no sign-in, no access token.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace the key that is there, and change what is given in the configuration; both are"
    " kept as NAME.bak.",
)
@click.option(
    "--rotate-key",
    is_flag=True,
    help="Make another key, which takes the old one's place once Jira accepts it.",
)
@click.option("--offline", is_flag=True, help="Do not look whether Jira answers.")
@system_options
@global_options
@click.pass_obj
def init(
    settings: Global,
    base_url: str | None,
    consumer_key: str | None,
    bits: int | None,
    sample: Path | None,
    two_legged: bool,
    force: bool,
    rotate_key: bool,
    offline: bool,
) -> None:
    from sidecar.commands.init import provision_key, without_key
    from sidecar.commands.sample_client import SampleClient, read_sample_client
    from sidecar.config import places

    unit = settings.unit()
    if rotate_key:
        others = {
            "--base-url": base_url, "--consumer-key": consumer_key, "--from": sample,
            "--two-legged": two_legged,
        }  # fmt: skip
        for name in (name for name, value in others.items() if value):
            raise UsageError(f"{name}: --rotate-key changes only the key", f"leave {name} out")
        _rotate(settings, unit, bits, force=force, offline=offline)
        return
    site, environ = _place(unit, force=force)
    path = settings.config_path or places.user_config(os.environ)
    keyless = None if sample or force else without_key(path, environ, site)
    known = read_sample_client(sample) if sample else SampleClient()
    if keyless:
        made = provision_key(
            keyless,
            path,
            base_url,
            consumer_key,
            bits=2048 if bits is None else bits,
            two_legged=two_legged,
            site=site,
        )
        say(f"{path} is there and stays as it is{': only its key was missing' * made.has_new_key}")
    else:
        if known.private_key and bits is not None:
            raise UsageError(f"--bits: {sample} has a key already", "leave --bits out")
        if two_legged:
            known = replace(known, access_token=None)
        given = base_url, consumer_key, bits
        made = _provision(
            path, *given, known, environ, site, two_legged=two_legged, force=force, offline=offline
        )
    _tell(made, settings, is_new=keyless is None)
    if unit:
        _run_service(unit, made, known.access_token, environ)
    command = "check" if known.access_token or made.two_legged else "auth"
    say(settings.with_config(f"\nThen run: sidecar {command}"))


def _place(unit: Unit | None, *, force: bool) -> tuple[Site, Mapping[str, str]]:
    """Where the files lie, and the environment that says where the token does."""
    from sidecar.commands.site import Site, service_site

    if unit is None:
        return Site(), os.environ
    environ = {"HOME": "/"}
    if unit.state_folders:
        environ["STATE_DIRECTORY"] = str(unit.state_folders[0])
    return service_site(unit, force=force), environ


def _provision(
    path: Path,
    base_url: str | None,
    consumer_key: str | None,
    bits: int | None,
    known: SampleClient,
    environ: Mapping[str, str],
    site: Site,
    *,
    two_legged: bool,
    force: bool,
    offline: bool,
) -> Provisioned:
    """Write everything, having asked for what is not known."""
    from sidecar.commands.init import known_values, provision, refuse_existing
    from sidecar.config import options

    has_token = known.access_token is not None
    refuse_existing(path, environ, has_token=has_token, force=force, site=site)
    found = known_values(path) if force else {}
    text = base_url or (str(known.base_url) if known.base_url else None)
    key = consumer_key or known.consumer_key or found.get("consumer_key")
    _refuse_missing({"--base-url": text or found.get("base_url"), "--consumer-key": key})
    if text is None and "base_url" in found:
        url: BaseURL | str = found["base_url"]
    else:
        url = _jira_url(text, path if force else None, offline=offline)
    return provision(
        path,
        url,
        key or ask("--consumer-key", "Consumer key", options.consumer_key, "OauthKey"),
        environ,
        bits=2048 if bits is None else bits,
        private_key=known.private_key,
        access_token=None if site.is_service else known.access_token,
        two_legged=two_legged,
        force=force,
        site=site,
    )


def _refuse_missing(values: Mapping[str, str | None]) -> None:
    """Raise UsageError for all that is missing and cannot be asked for."""
    missing = [name for name, value in values.items() if value is None]
    if not missing or sys.stdin.isatty():
        return
    verb, it = ("are", "them") if len(missing) > 1 else ("is", "it")
    flags = "--base-url https://jira.example.com --consumer-key OauthKey"
    hint = f"give {it}, for example {flags}; there is no terminal to ask on"
    raise UsageError(f"{' and '.join(missing)} {verb} missing", hint)


def _jira_url(text: str | None, config_path: Path | None, *, offline: bool) -> BaseURL:
    """Jira's base URL: what the user gives, or what looking there shows that it should be."""
    from sidecar.commands import jira_url

    def confirm(said: str) -> bool:
        return click.confirm(f"{said}. Take that?", default=True, err=True)

    config_of = partial(jira_url.configured, config_path, os.environ)
    is_terminal, default = sys.stdin.isatty(), None
    while True:
        given = text or ask("--base-url", "Jira's URL", str, default)
        text = looked = None
        try:
            meaning = _meaning(given)
            looked = None if offline else run_coroutine(jira_url.look(meaning, config_of))
            return jira_url.settle(meaning, looked, say, confirm if is_terminal else None)
        except UsageError as error:
            if not is_terminal:
                raise
            say(f"Error: {error.message.removeprefix('--base-url: ')}")
            default = None if looked and looked.url else jira_url.likely(given)


def _meaning(text: str) -> Meaning:
    from sidecar.commands.jira_url import meaning_of

    try:
        return meaning_of(text)
    except ValueError as error:
        hint = "for example: --base-url https://jira.example.com"
        raise UsageError(f"--base-url: {error}", hint) from None


def _tell(made: Provisioned, settings: Global, *, is_new: bool) -> None:
    """Say what was done, and what to enter in Jira."""
    warn(map(settings.with_config, made.warnings))
    for path, kept in made.kept.items():
        say(f"kept the former {path} as {kept}")
    key_path = made.key_path if made.has_new_key else None
    for written in (made.config_path if is_new else None, key_path, made.token_path):
        if written is not None:
            say(f"wrote {written}")
    if made.is_edited:
        say(f"all other settings of {made.config_path} stay as they were")
    show(_form_text(made.form))


def _run_service(
    unit: Unit, made: Provisioned, access_token: Secret | None, environ: Mapping[str, str]
) -> None:
    """Let the service read what was written, store an imported token as its user, and start it."""
    from sidecar.config.load import load
    from sidecar.system import ownership, starting

    ownership.hand_over(unit, made.config_path, made.key_path)
    if access_token is not None:
        _store_as_service(unit, load(made.config_path, environ, {}), access_token)
    starting.start(unit, restart=True)
    say(f"{unit.service.unit} runs, now and after each boot")
    for address in load(made.config_path, environ, {}).listen.addresses:
        if unit.service.instance:
            say(f"it listens on {address}")


def _store_as_service(unit: Unit, config: Config, access_token: Secret) -> None:
    from sidecar.credentials import Secret, TokenCredentials
    from sidecar.files.tokens import TokenFile
    from sidecar.system.acting import become

    code = become(unit)
    if code is None:  # the service's user
        file = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key)
        # RSA-SHA1 never uses the token secret, so the sample client did not keep it.
        file.save(TokenCredentials(access_token, Secret("")))
        say(f"wrote {file.path}")
    if code != 0:
        raise click.exceptions.Exit(code or 0)


def _rotate(
    settings: Global, unit: Unit | None, bits: int | None, *, force: bool, offline: bool
) -> None:
    """Have another key wait, and say what to do about it."""
    from sidecar.commands.init import check_bits
    from sidecar.commands.rotate import handed_out_by, of_service, rotate

    check_bits(bits)
    config = settings.load()
    if unit:
        config = of_service(config, unit)
    made = run_coroutine(rotate(config, os.environ, bits=bits, force=force, offline=offline))
    units = handed_out_by(config.jira.private_key)
    restart = f"`sudo systemctl restart {' '.join(map(shlex.quote, units))}`"
    if made.kept:
        say(f"kept the key that waited before as {made.kept}")
    if made.told:
        show(made.told)
        if units:
            say(f"{_COPIES}. Now run {restart}")
        return
    say(f"wrote {made.path}" if made.is_new else f"{made.path} waits already")
    if made.doubt:
        say(f"sidecar: warning: whether Jira accepts it could not be asked: {made.doubt}")
    show(_form_text(made.form))
    if units:
        command = settings.with_config("sidecar init --rotate-key")
        say(
            f"\nUntil that is entered the old key signs. {_COPIES}: once the new one is entered,"
            f" run `{command}` again, which puts it in place, and then {restart}"
        )
        return
    text = (
        "\nUntil that is entered the old key signs. `sidecar run`, `sidecar check` and `sidecar"
        " auth` notice when Jira accepts the new one, and put it in the old one's place."
    )
    say(settings.with_config(text))


_COPIES = "The service signs by a copy of the key, which systemd hands out at its start"


@click.command(
    "public-key",
    help="Print the public key as Jira's application link takes it.",
    epilog=example("sidecar public-key --format base64"),
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["pem", "base64"]),
    default="pem",
    help="What to print: a PEM file, or its base64 alone on one line.",
)
@global_options
@click.pass_obj
def public_key(settings: Global, form: str) -> None:
    from sidecar.files import keys

    config = settings.load()
    key = keys.load_private_key(config.jira.private_key, config.jira.private_key_passphrase_file)
    text = keys.public_key_pem(key) if form == "pem" else keys.public_key_base64(key)
    show(text.rstrip("\n"))


def _form_text(steps: tuple[FormStep, ...]) -> str:
    """What to enter in Jira, page by page."""
    lines = []
    for number, step in enumerate(steps, 1):
        lines.append(f"{number}. {step.instruction}")
        lines += [
            f"     {one.name + ':':<22} {one.value or '(leave empty)'}" for one in step.fields
        ]
    return "\n".join(lines)
