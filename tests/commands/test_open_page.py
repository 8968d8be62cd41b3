"""Where `sidecar open` finds the running sidecar, and what it says where it finds none."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from sidecar.commands.open_page import address
from sidecar.config.options import TCPAddress
from sidecar.errors import ConfigError, UpstreamError
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from sidecar.signin.one_time_code import CodeFile
from tests.conftest import MakeSidecar


async def test_the_address_has_a_code_behind_the_hash(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    """What stands there is sent to nobody, and in no Referer."""
    sidecar = await make_sidecar(sandbox.url)
    url = await asyncio.to_thread(address, sidecar.config)
    page = re.escape(f"http://{sidecar.authority}/_sidecar/")
    assert re.fullmatch(page + r"#code=[0-9a-f]+-[0-9a-f]{32}", url)
    assert url != await asyncio.to_thread(address, sidecar.config, lambda: 1.0)


@pytest.mark.parametrize(
    ("addresses", "begins"),
    [
        (["127.0.0.1:0", "[::1]:0"], "http://127.0.0.1:"),
        (["[::1]:0"], "http://[::1]:"),
        (["unix:{folder}/socket", "127.0.0.1:0"], "http://127.0.0.1:"),
    ],
)
async def test_it_is_one_that_a_browser_can_open(
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    tmp_path: Path,
    addresses: list[str],
    begins: str,
) -> None:
    listen = [one.format(folder=tmp_path) for one in addresses]
    sidecar = await make_sidecar(sandbox.url, listen__addresses=["127.0.0.1:0", *listen])
    urls = [one.url("http") for one in sidecar.server.listening][1:]
    sidecar.server.ownership.listens(sidecar.config.token.path, urls)
    assert (await asyncio.to_thread(address, sidecar.config)).startswith(begins)


async def test_one_that_listens_everywhere_is_opened_by_loopback(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url)
    everywhere = f"http://0.0.0.0:{sidecar.port}"
    sidecar.server.ownership.listens(sidecar.config.token.path, [everywhere])
    url = await asyncio.to_thread(address, sidecar.config)
    assert url.startswith(f"http://127.0.0.1:{sidecar.port}/_sidecar/#")


async def test_https_is_opened_by_a_name_that_certificates_have(
    sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.pem"
    issued = trustme.CA().issue_cert("localhost")
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    write_private(key, issued.private_key_pem.bytes())
    sidecar = await make_sidecar(
        sandbox.url, listen__tls_certificate=str(certificate), listen__tls_key=str(key)
    )
    url = await asyncio.to_thread(address, sidecar.config)
    assert url.startswith(f"https://localhost:{sidecar.port}/_sidecar/#")


async def test_a_unix_socket_alone_cannot_be_opened(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url)
    sidecar.server.ownership.listens(sidecar.config.token.path, ["unix:/run/sidecar/socket"])
    with pytest.raises(ConfigError, match="no browser can open"):
        await asyncio.to_thread(address, sidecar.config)


async def test_where_none_has_run(sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    sidecar = await make_sidecar(sandbox.url)
    await sidecar.server.stop(0)
    with pytest.raises(UpstreamError, match="No running sidecar") as raised:
        await asyncio.to_thread(address, sidecar.config)
    assert "sidecar run" in raised.value.hint


async def test_a_file_that_was_left_behind_is_not_taken_for_a_running_sidecar(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    """Something else may listen there by now."""
    sidecar = await make_sidecar(sandbox.url)
    await sidecar.server.stop(0)
    left = CodeFile.of(sidecar.config.token.path, ["http://127.0.0.1:9"])
    left.write(["http://127.0.0.1:9", sandbox.url.removesuffix("/jira")])
    with pytest.raises(UpstreamError, match=r"No sidecar listens at http://127\.0\.0\.1:9, http"):
        await asyncio.to_thread(address, sidecar.config)


async def test_of_several_the_one_that_runs_is_found(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    one, other = await make_sidecar(sandbox.url), await make_sidecar(sandbox.url)
    assert len(CodeFile.all_beside(one.config.token.path)) == 2
    await one.server.stop(0)
    assert f":{other.port}/" in await asyncio.to_thread(address, one.config)


async def test_of_several_that_run_the_one_that_is_configured_comes_first(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    one, other = await make_sidecar(sandbox.url), await make_sidecar(sandbox.url)
    for wanted in (one, other):
        config = replace(
            wanted.config,
            listen=replace(wanted.config.listen, addresses=(TCPAddress("127.0.0.1", wanted.port),)),
        )
        assert f":{wanted.port}/" in await asyncio.to_thread(address, config)
