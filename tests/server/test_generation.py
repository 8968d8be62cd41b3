"""What one configuration makes: it ends with its last request; what a reload may change."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.load import Config, load
from sidecar.errors import ConfigError, RequestRefused
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from sidecar.server.generation import access_rules, merged
from tests.conftest import Running, make_config
from tests.support.waiting import PATIENCE, until

MYSELF = "/rest/api/2/myself"


def plain_config(**options: object) -> Config:
    values: dict[str, object] = {
        "jira.base_url": "https://jira.example.com",
        "jira.consumer_key": "K",
    }
    values |= {name.replace("__", "."): value for name, value in options.items()}
    return load(None, {"HOME": "/nowhere"}, values)


class TestLife:
    async def test_it_counts_its_requests_and_closes_after_the_last(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        (generation,) = sidecar.server.generations
        assert (generation.in_flight, generation.waiting) == (0, 0)
        async with await sidecar.wire() as wire:
            await wire.send(sidecar.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
            sandbox.release("g")
            await wire.head()
            assert generation.in_flight == 1
            retiring = asyncio.create_task(generation.retire())
            done, _ = await asyncio.wait([retiring], timeout=0.05)
            assert not done
            sandbox.release("g")
            await wire.reader.readuntil(b"0\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                await retiring
        assert generation.in_flight == 0

    async def test_a_request_that_waits_for_its_turn_is_counted_apart(
        self, sandbox: Sandbox, make_sidecar: Callable[..., Any]
    ) -> None:
        sidecar = await make_sidecar(
            sandbox.url, token=sandbox.grant().token, limits__connections=1
        )
        (generation,) = sidecar.server.generations
        async with await sidecar.wire() as first, await sidecar.wire() as second:
            await first.send(sidecar.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
            sandbox.release("g")
            await first.head()
            await second.send(sidecar.message("GET", MYSELF))
            await until(lambda: generation.waiting)
            assert generation.in_flight == 2
            sandbox.release("g")
            assert (await second.receive()).status == 200
        assert generation.waiting == 0


class TestMerged:
    @given(st.sampled_from(["head_bytes", "connections", "waiting", "form_bytes"]))
    def test_it_changes_what_can_change_and_nothing_else(self, key: str) -> None:
        before = plain_config()
        limits = dataclasses.replace(before.limits, **{key: getattr(before.limits, key) + 1})
        after, waiting = merged(before, dataclasses.replace(before, limits=limits))
        assert waiting == (["limits.head_bytes"] if key == "head_bytes" else [])
        assert (after == before) is bool(waiting)

    @pytest.mark.parametrize(
        ("options", "waits"),
        [
            ({"listen__addresses": ["127.0.0.1:1"]}, "listen.addresses"),
            ({"listen__unix_mode": "0660"}, "listen.unix_mode"),
            ({"admin__address": "127.0.0.1:1"}, "admin.address"),
        ],
    )
    def test_what_is_listened_on_waits_for_a_restart(
        self, options: dict[str, object], waits: str
    ) -> None:
        before = plain_config()
        after, waiting = merged(before, plain_config(**options, timeouts__idle=7))
        assert waiting == [waits]
        assert after.timeouts.idle == 7
        assert (after.listen, after.admin) == (before.listen, before.admin)

    def test_https_comes_and_goes_by_a_restart_and_another_certificate_at_once(self) -> None:
        plain = plain_config()
        secure = plain_config(listen__tls_certificate="/a", listen__tls_key="/b")
        other = plain_config(listen__tls_certificate="/c", listen__tls_key="/d")
        assert merged(plain, secure) == (plain, ["listen.tls_certificate"])
        assert merged(secure, plain) == (secure, ["listen.tls_certificate"])
        assert merged(secure, other) == (other, [])


class TestAccessRules:
    def test_they_are_those_of_the_configuration_with_the_key_that_the_file_holds(
        self, tmp_path: Path, private_key: RSAPrivateKey
    ) -> None:
        key = tmp_path / "access_key"
        write_private(key, b"open sesame\n")
        config = make_config(
            "https://jira.example.com", tmp_path, private_key, access__key_file=str(key)
        )
        access = access_rules(config)
        host = (b"Host", b"localhost")
        access.check_key([host, (b"X-Sidecar-Key", b"open sesame")])
        with pytest.raises(RequestRefused):
            access.check_key([host, (b"X-Sidecar-Key", b"open")])
        key.chmod(0o644)
        with pytest.raises(ConfigError, match="access_key"):
            access_rules(config)
