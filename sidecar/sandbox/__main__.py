"""`python -m sidecar.sandbox`: the sandbox Jira on its own, for development."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.sandbox import Sandbox


@click.command(
    epilog="Example: sidecar public-key > k.pem && "
    "python -m sidecar.sandbox --port 2990 --public-key k.pem"
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=2990, show_default=True, help="0: any."
)
@click.option("--context-path", default="", help="Such as /jira.")
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file, as `sidecar public-key` prints it.  Without it every signature is invalid "
    "until a key is sent, once: curl --data-binary @k.pem BASE_URL/_sandbox/public-key",
)
@click.option("--consumer-key", default="OauthKey", show_default=True)
def main(port: int, context_path: str, public_key: Path | None, consumer_key: str) -> None:
    """A small Jira with an OAuth 1.0a provider, in memory, on 127.0.0.1.

    Prints its base URL on stdout and serves until SIGINT or SIGTERM.
    """
    key = None if public_key is None else _read_key(public_key)
    sandbox = Sandbox(public_key=key, consumer_key=consumer_key, context_path=context_path)
    try:
        asyncio.run(_serve(sandbox, port))
    except OSError as error:
        click.echo(f"sandbox: error: cannot listen on 127.0.0.1:{port}: {error.strerror}", err=True)
        sys.exit(75)


def _read_key(path: Path) -> RSAPublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: no public key in PEM: {error}") from None
    if not isinstance(key, RSAPublicKey):
        raise click.BadParameter(f"{path}: not an RSA key")
    return key


async def _serve(sandbox: Sandbox, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await sandbox.start(port=port)
    click.echo(sandbox.url)
    click.echo(
        f"consumer key {sandbox.provider.consumer_key!r}, "
        f"public key {'configured' if sandbox.public_key else 'missing: see --help'}; "
        "users alana and admin; Ctrl-C stops",
        err=True,
    )
    await stopped.wait()
    await sandbox.stop()


main(prog_name="python -m sidecar.sandbox")
