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
from sidecar.sandbox.catalog import ADMINISTRATORS, USERS
from sidecar.sandbox.link import Link


@click.command(
    help="A small Jira with an OAuth 1.0a provider, in memory, on 127.0.0.1.\n\n"
    "Prints its base URL on stdout and serves until SIGINT or SIGTERM.",
    epilog="Example: sidecar public-key > k.pem && "
    "python -m sidecar.sandbox --port 2990 --public-key k.pem",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=2990, show_default=True, help="0: any."
)
@click.option("--context-path", default="", help="Such as /jira.")
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file, as `sidecar public-key` prints it.  Without it every signed request gets a 500 "
    "until a key is sent, once: curl --data-binary @k.pem BASE_URL/_sandbox/public-key",
)
@click.option("--consumer-key", default="OauthKey", show_default=True)
@click.option("--two-legged", is_flag=True, help="Allow 2-Legged OAuth in the application link.")
@click.option(
    "--execute-as",
    type=click.Choice([name for name in USERS if name not in ADMINISTRATORS]),
    default="builds",
    show_default=True,
    help="The user of two-legged requests that name none.",
)
@click.option("--impersonation", is_flag=True, help="Let two-legged requests name their user.")
def main(
    port: int,
    context_path: str,
    public_key: Path | None,
    consumer_key: str,
    two_legged: bool,
    execute_as: str,
    impersonation: bool,
) -> None:
    sandbox = Sandbox(
        public_key=None if public_key is None else _read_key(public_key),
        consumer_key=consumer_key,
        context_path=context_path,
        two_legged=two_legged,
        execute_as=execute_as,
        impersonation=impersonation,
    )
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
        f"consumer key {sandbox.link.consumer_key!r}, "
        f"public key {'configured' if sandbox.public_key else 'missing: see --help'}, "
        f"{_two_legged(sandbox.link)}; users {', '.join(USERS)}; Ctrl-C stops",
        err=True,
    )
    await stopped.wait()
    await sandbox.stop()


def _two_legged(link: Link) -> str:
    """What the link allows without a user's approval."""
    allowed = [f"two-legged as {link.execute_as}"] if link.two_legged else []
    allowed += ["two-legged as any user"] if link.impersonation else []
    return " and ".join(allowed) or "three-legged alone"


main(prog_name="python -m sidecar.sandbox")
