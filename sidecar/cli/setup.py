"""`sidecar init` and `sidecar public-key`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidecar.cli.base import Global, ask, example, global_options, say

if TYPE_CHECKING:
    from sidecar.provision import FormStep


@click.command(epilog=example("sidecar init --base-url https://jira.example.com --consumer-key CI"))
@click.option("--base-url", metavar="URL", help="Jira's URL, with its context path.")
@click.option("--consumer-key", metavar="KEY", help="The application link's consumer key.")
@click.option("--bits", type=int, default=2048, show_default=True, help="Size of the RSA key.")
@click.option(
    "--from",
    "sample",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Import the config.properties of Atlassian's sample client.",
)
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@global_options
@click.pass_obj
def init(
    settings: Global,
    base_url: str | None,
    consumer_key: str | None,
    bits: int,
    sample: Path | None,
    force: bool,
) -> None:
    """Write a configuration and a key, and say what to enter in Jira."""
    from sidecar import places, provision, sample_client

    known = sample_client.read_sample_client(sample) if sample else sample_client.SampleClient()
    url = base_url or known.base_url or ask("--base-url", "Jira's URL")
    key = consumer_key or known.consumer_key or ask("--consumer-key", "Consumer key", "OauthKey")
    made = provision.provision(
        settings.config_path or places.user_config(os.environ),
        url,
        key,
        os.environ,
        bits=bits,
        private_key=known.private_key,
        access_token=known.access_token,
        force=force,
    )
    for warning in made.warnings:
        say(f"sidecar: warning: {warning}")
    say(f"wrote {made.config_path}\nwrote {made.key_path}")
    if made.token_path:
        say(f"wrote {made.token_path}")
    click.echo(_form_text(made.form))
    say("\nThen run: sidecar auth")


@click.command("public-key", epilog=example("sidecar public-key --format base64"))
@click.option("--format", "form", type=click.Choice(["pem", "base64"]), default="pem")
@global_options
@click.pass_obj
def public_key(settings: Global, form: str) -> None:
    """Print the public key as Jira's application link takes it."""
    from sidecar import keys

    config = settings.load()
    key = keys.load_private_key(config.jira.private_key, config.jira.private_key_passphrase_file)
    text = keys.public_key_pem(key) if form == "pem" else keys.public_key_base64(key)
    click.echo(text.rstrip("\n"))


def _form_text(steps: tuple[FormStep, ...]) -> str:
    """What to enter in Jira, page by page."""
    lines = []
    for number, step in enumerate(steps, 1):
        lines.append(f"{number}. {step.instruction}")
        lines += [
            f"     {one.name + ':':<22} {one.value or '(leave empty)'}" for one in step.fields
        ]
    return "\n".join(lines)
