"""How the running sidecar is found and asked: its addresses, TLS, its access key."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.check.running import Said, ask, unexpected
from sidecar.config.load import Config
from sidecar.errors import ConfigError, UpstreamError
from sidecar.files.private import write_private
from tests.conftest import MakeSidecar, make_config
from tests.support.checking import TLS, certificates
from tests.support.raw_server import Peer, RawServer

__all__ = ["certificates"]
KEY = b"open sesame"
JIRA = "http://127.0.0.1:1"


def config_at(folder: Path, key: RSAPrivateKey, address: str, **options: Any) -> Config:
    return make_config(JIRA, folder, key, listen__addresses=[address], **options)


async def asked(config: Config, page: str = "status", *, shows_key: bool = True) -> Said:
    return await asyncio.to_thread(ask, config, page, shows_key=shows_key)


@pytest.fixture
def key_file(tmp_path: Path) -> dict[str, str]:
    """The option access.key_file, with one key."""
    write_private(tmp_path / "access", KEY + b"\n")
    return {"access__key_file": str(tmp_path / "access")}


async def test_by_tcp_and_by_a_unix_socket_with_the_access_key(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey, key_file: dict[str, str]
) -> None:
    unix = f"unix:{tmp_path}/s"
    running = await make_sidecar(JIRA, listen__addresses=["127.0.0.1:0", unix], **key_file)
    for address in (running.authority, unix):
        config = config_at(tmp_path, private_key, address, **key_file)
        said = await asked(config)
        assert (said.where, said.status, said.document["base_url"]) == (address, 200, JIRA)
        assert (await asked(config, shows_key=False)).status == 401
        assert (await asked(config, "ready", shows_key=False)).status == 503


async def test_with_one_of_the_keys_of_a_folder(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    write_private(tmp_path / "keys" / "build", KEY)
    write_private(tmp_path / "keys" / "deploy", b"another word")
    keys = {"access__key_file": str(tmp_path / "keys")}
    running = await make_sidecar(JIRA, **keys)
    config = config_at(tmp_path, private_key, running.authority, **keys)
    assert (await asked(config)).status == 200


async def test_a_key_that_cannot_be_read_is_an_error_of_the_configuration(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = config_at(
        tmp_path, private_key, "127.0.0.1:1", access__key_file=str(tmp_path / "nothing")
    )
    with pytest.raises(ConfigError, match="nothing"):
        await asked(config)


async def test_the_listener_for_monitoring_is_shown_no_key(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey, key_file: dict[str, str]
) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with RawServer(script) as server:
        admin = {"admin__address": server.url.removeprefix("http://")}
        config = config_at(tmp_path, private_key, "127.0.0.1:1", **admin, **key_file)
        assert (await asked(config)).status == 200
    assert KEY not in heads[0]


class TestTLS:
    @pytest.fixture
    def files(self, tmp_path: Path, certificates: TLS) -> dict[str, str]:
        """The options of a listener whose certificate has that of an issuer behind it."""
        leaf = certificates.ca.issue_cert("sidecar.example")
        chain = leaf.private_key_and_cert_chain_pem.bytes() + certificates.ca.cert_pem.bytes()
        write_private(tmp_path / "tls.pem", chain)
        path = str(tmp_path / "tls.pem")
        return {"listen__tls_certificate": path, "listen__tls_key": path}

    async def test_the_key_goes_to_whoever_shows_our_certificate(
        self,
        make_sidecar: MakeSidecar,
        tmp_path: Path,
        private_key: RSAPrivateKey,
        key_file: dict[str, str],
        files: dict[str, str],
    ) -> None:
        running = await make_sidecar(JIRA, **files, **key_file)
        config = config_at(tmp_path, private_key, running.authority, **files, **key_file)
        assert (await asked(config)).status == 200

    async def test_and_to_nobody_else(
        self,
        tmp_path: Path,
        private_key: RSAPrivateKey,
        certificates: TLS,
        key_file: dict[str, str],
        files: dict[str, str],
    ) -> None:
        heads: list[bytes] = []

        async def script(peer: Peer) -> None:
            heads.append(await peer.head())

        async with RawServer(script, context=certificates.server("sidecar.example")) as server:
            address = server.url.rpartition("//")[2]
            config = config_at(tmp_path, private_key, address, **files, **key_file)
            with pytest.raises(UpstreamError, match="no access key is sent"):
                await asked(config)
        assert not heads

    async def test_a_certificate_that_cannot_be_read_is_an_error_of_the_configuration(
        self,
        make_sidecar: MakeSidecar,
        tmp_path: Path,
        private_key: RSAPrivateKey,
        key_file: dict[str, str],
        files: dict[str, str],
    ) -> None:
        running = await make_sidecar(JIRA, **files, **key_file)
        config = config_at(tmp_path, private_key, running.authority, **files, **key_file)
        (tmp_path / "tls.pem").unlink()
        with pytest.raises(ConfigError, match=r"tls\.pem: cannot be read"):
            await asked(config)


async def test_where_nothing_listens_it_says_how_to_start_it(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UpstreamError, match="No sidecar listens") as caught:
        await asked(config_at(tmp_path, private_key, f"127.0.0.1:{port}"))
    assert caught.value.hint == "start it with `sidecar run`"


def test_an_unexpected_status_is_told_with_where() -> None:
    error = unexpected(Said("127.0.0.1:8088", 418, {}))
    assert "127.0.0.1:8088 answers with status 418" in error.message
