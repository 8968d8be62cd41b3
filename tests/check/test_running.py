"""How the running sidecar is found and asked: its addresses, TLS, its access key."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.check.running import Said, ask, unexpected
from sidecar.config.load import Config, load
from sidecar.errors import ConfigError, UpstreamError
from sidecar.files.private import write_private
from sidecar.net import holders
from sidecar.server.server import Server
from sidecar.signin.one_time_code import CodeFile
from tests.conftest import MakeSidecar, make_config
from tests.support.checking import TLS, always, certificates
from tests.support.dancing import answer
from tests.support.raw_server import Peer, RawServer

__all__ = ["certificates"]
KEY = b"open sesame"
JIRA = "http://127.0.0.1:1"


def config_at(folder: Path, key: RSAPrivateKey, address: str, **options: Any) -> Config:
    return make_config(JIRA, folder, key, listen__addresses=[address], **options)


async def asked(config: Config, page: str = "status", *, shows_key: bool = True) -> Said:
    return await asyncio.to_thread(ask, config, page, shows_key=shows_key)


def listening_at(*addresses: str) -> Any:
    """The table `listen` with these addresses."""
    jira = {"jira.base_url": JIRA, "jira.consumer_key": "x", "access.key_file": "/k"}
    return load(None, {"HOME": "/"}, {**jira, "listen.addresses": list(addresses)}).listen


def left(config: Config, *urls: str) -> None:
    """Leave a file behind as a sidecar does that listens at these URLs."""
    for file in CodeFile.all_beside(config.token.path):
        file.path.unlink()
    CodeFile.of(config.token.path, urls).write(urls)


def listening_as(proc: Path, url: str, uid: int) -> None:
    """Make a /proc in which the socket at a URL of 127.0.0.1 is a user's."""
    (proc / "net").mkdir(exist_ok=True)
    port = int(url.rpartition(":")[2])
    line = (
        f"0: {0x7F000001.to_bytes(4, sys.byteorder).hex().upper()}:{port:04X} 0 0A 0 0 0 {uid} 0 7"
    )
    (proc / "net" / "tcp").write_text(f"head\n{line}\n")


def ready_answer() -> bytes:
    return answer(200, '{"ready": true}')


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


class TestElsewhere:
    """`run --listen 127.0.0.1:9999`: the file beside the token says where it is."""

    @pytest.fixture
    def config(
        self, tmp_path: Path, private_key: RSAPrivateKey, key_file: dict[str, str]
    ) -> Config:
        """It names an address where nobody listens."""
        return config_at(tmp_path, private_key, "127.0.0.1:1", **key_file)

    @pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "unix:{folder}/a socket"])
    async def test_it_is_found_by_its_file_and_shown_the_key(
        self, config: Config, address: str
    ) -> None:
        listen = listening_at(address.format(folder=config.token.path.parent.parent))
        server = Server(replace(config, listen=listen), {})
        [url] = await server.start()
        try:
            said = await asked(config)
        finally:
            await server.stop(0)
        assert (said.where, said.status) == (url.removeprefix("http://"), 200)
        with pytest.raises(UpstreamError, match="No sidecar listens at 127"):
            await asked(config)

    async def test_a_port_that_was_picked_is_found(
        self, make_sidecar: MakeSidecar, key_file: dict[str, str]
    ) -> None:
        running = await make_sidecar(JIRA, **key_file)
        assert (await asked(running.config)).where == running.authority

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
    async def test_a_socket_of_systemd_s_in_the_abstract_namespace(self, config: Config) -> None:
        name = f"sidecar test {os.getpid()}"

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.send(ready_answer())

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await script(Peer(reader, writer))
            writer.close()

        left(config, f"unix:@{name}")
        async with await asyncio.start_unix_server(connected, "\0" + name):
            assert (await asked(config, "ready", shows_key=False)).status == 200

    async def test_what_took_the_port_since_is_no_sidecar_and_the_next_place_is_asked(
        self,
        make_sidecar: MakeSidecar,
        tmp_path: Path,
        private_key: RSAPrivateKey,
        key_file: dict[str, str],
    ) -> None:
        running = await make_sidecar(JIRA, **key_file)
        running.server.ownership.close()  # only an old file is left
        config = config_at(tmp_path, private_key, running.authority, **key_file)
        for raw in (answer(404, "{}"), answer(200, '{"a": 1}'), answer(401, "no"), b"SSH-2.0\r\n"):
            async with RawServer(always(raw)) as server:
                left(config, server.url)
                assert (await asked(config)).where == running.authority
                with pytest.raises(UpstreamError, match="What listens at"):
                    await asked(replace(config, listen=listening_at("127.0.0.1:1")))

    @pytest.mark.parametrize("is_ours", [True, False])
    async def test_what_another_user_runs_there_is_shown_no_key(
        self, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_ours: bool
    ) -> None:
        """The sidecar may have been killed, and its port taken by somebody else."""
        heads: list[bytes] = []

        async def script(peer: Peer) -> None:
            heads.append(await peer.head())
            await peer.send(ready_answer())

        async with RawServer(script) as server:
            left(config, server.url)
            listening_as(tmp_path, server.url, os.geteuid() if is_ours else 4242)
            monkeypatch.setattr(holders, "_PROC", tmp_path)
            if is_ours:
                assert (await asked(config)).status == 200
                assert KEY in heads[0]
                return
            with pytest.raises(UpstreamError, match="no access key is sent"):
                await asked(config)
        assert not any(KEY in head for head in heads)

    async def test_an_old_file_takes_no_certificate_away(
        self, tmp_path: Path, private_key: RSAPrivateKey, key_file: dict[str, str],
        certificates: TLS, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """It is from before there was TLS: what listens there in plain http is shown no key."""
        heads: list[bytes] = []

        async def script(peer: Peer) -> None:
            heads.append(await peer.head())

        leaf = certificates.ca.issue_cert("sidecar.example").private_key_and_cert_chain_pem
        write_private(tmp_path / "tls.pem", leaf.bytes())
        files = dict.fromkeys(("listen__tls_certificate", "listen__tls_key"), tmp_path / "tls.pem")
        async with RawServer(script) as server:
            address = server.url.rpartition("//")[2]
            paths = {name: str(path) for name, path in files.items()}
            config = config_at(tmp_path, private_key, address, **paths, **key_file)
            left(config, server.url)
            listening_as(tmp_path, server.url, 4242)
            monkeypatch.setattr(holders, "_PROC", tmp_path)
            with pytest.raises(UpstreamError):
                await asked(config)
        assert not any(KEY in head for head in heads)

    async def test_a_file_that_others_could_have_written_is_not_believed(
        self, make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        running = await make_sidecar(JIRA)
        [file] = CodeFile.all_beside(running.config.token.path)
        file.path.chmod(0o666)
        assert (await asked(config_at(tmp_path, private_key, running.authority))).status == 200
        with pytest.raises(UpstreamError, match="No sidecar listens at 127"):
            await asked(config_at(tmp_path, private_key, "127.0.0.1:1"))


def test_an_unexpected_status_is_told_with_where() -> None:
    error = unexpected(Said("127.0.0.1:8088", 418, {}))
    assert "127.0.0.1:8088 answers with status 418" in error.message
