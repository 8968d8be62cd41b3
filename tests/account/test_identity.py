"""Key and token as they are on disk: taken when they change, refused when they are broken."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from sidecar.account.identity import Identity
from sidecar.account.request_signer import Signed
from sidecar.config.load import Config
from sidecar.credentials import Secret
from sidecar.errors import ConfigError, NotAuthorized, SidecarError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from tests.conftest import Running, make_config, store_token

JIRA = "https://jira.example.com/jira"
DAY = 86400.0


@pytest.fixture(scope="module")
def other_key() -> RSAPrivateKey:
    return keys.generate_private_key(1024)


@pytest.fixture
def config(tmp_path: Path, private_key: RSAPrivateKey) -> Config:
    return make_config(JIRA, tmp_path, private_key)


@pytest.fixture
def identity(config: Config) -> Identity:
    store_token(config, "FIRST", user="alana")
    return Identity(config)


def sign(identity: Identity, url: BaseURL | None = None) -> Signed:
    return identity.sign("GET", "/jira/rest/api/2/myself", [], url)


def used(signed: Signed) -> Secret:
    """The token that a request was signed with."""
    assert signed.token is not None
    return signed.token.token


def is_signed_with(key: RSAPrivateKey, signed: Signed) -> bool:
    expected = base64.b64encode(key.sign(signed.base_string, PKCS1v15(), SHA1()))
    return quote(expected, safe="").encode() in signed.authorization


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


# ── the token ───────────────────────────────────────────────────────────────────────────────


def test_a_request_is_signed_with_the_token_on_disk(identity: Identity) -> None:
    signed = sign(identity)
    assert used(signed) == Secret("FIRST")
    assert b'oauth_token="FIRST"' in signed.authorization
    assert signed.base_string.startswith(b"GET&https%3A%2F%2Fjira.example.com%2Fjira%2Frest%2F")
    assert b'oauth_consumer_key="OauthKey"' in signed.authorization
    assert identity.has_signed(signed.authorization)
    assert not identity.has_signed(b"OAuth oauth_token=OTHER")


def test_without_a_token_nothing_is_ours(config: Config) -> None:
    assert Identity(config).has_signed(b'OAuth oauth_token="FIRST"') is False


def test_a_request_is_signed_for_the_url_that_jira_believes_in_or_another(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = make_config(JIRA, tmp_path, private_key, jira__signing_url="http://inside:8080/j")
    store_token(config, "FIRST")
    identity = Identity(config)
    for signed in (sign(identity), signer_of(identity, private_key)):
        assert signed.base_string.startswith(b"GET&http%3A%2F%2Finside%3A8080%2Fj%2Frest%2F")
    url = BaseURL.parse("http://other/k")
    assert sign(identity, url).base_string.startswith(b"GET&http%3A%2F%2Fother%2Fk%2Frest%2F")


def test_timestamps_are_by_jiras_clock_whatever_key_signs(
    config: Config, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    store_token(config, "FIRST", expires_at=1600.0)
    identity = Identity(config, clock=lambda: 1000.0)
    identity.clock.believe(234.0)
    assert identity.clock_difference == 234.0
    assert identity.refresh().expires_at == 1600.0
    assert identity.token.lifetime() == (600.0, 600.0), "and lives by ours"
    assert b'oauth_timestamp="1234"' in sign(identity).authorization
    signed = signer_of(identity, other_key)
    assert b'oauth_timestamp="1234"' in signed.authorization
    assert b'oauth_consumer_key="OauthKey"' in signed.authorization
    assert is_signed_with(other_key, signed)
    write_private(config.jira.private_key, keys.private_key_pem(other_key))
    identity.clock.believe(345.0)
    changed = sign(identity)
    assert is_signed_with(other_key, changed)
    assert b'oauth_timestamp="1345"' in changed.authorization


def signer_of(identity: Identity, key: RSAPrivateKey) -> Signed:
    """A request that another key has signed."""
    path = "/jira/rest/api/2/myself"
    return identity.signer_of(key).prepare("GET", path, [], identity.refresh()).sign()


def test_a_two_legged_request_is_ours_while_it_is_on_its_way(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = make_config(JIRA, tmp_path, private_key, jira__two_legged=True, jira__act_as="alana")
    identity = Identity(config)
    assert (identity.two_legged, identity.act_as) == (True, "alana")
    signed = sign(identity)
    assert b'oauth_token=""' in signed.authorization
    assert not identity.has_signed(signed.authorization)
    identity.in_flight.add(signed.nonce)
    assert identity.has_signed(signed.authorization)
    assert identity.has_signed(b"\xff " + signed.authorization)
    assert not identity.has_signed(signed.authorization.replace(signed.nonce.encode(), b"x"))
    assert not identity.has_signed(b"0" + signed.nonce.encode()), "it is part of something longer"
    identity.in_flight.discard(signed.nonce)
    assert not identity.has_signed(signed.authorization)


def test_a_changed_token_counts_from_the_next_request_on(
    identity: Identity, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sign(identity)
    store_token(config, "SECOND")
    assert used(sign(identity)) == Secret("SECOND")
    assert [r.getMessage() for r in caplog.records if "another access token" in r.getMessage()]


def test_a_token_file_made_anew_with_the_same_token_is_no_news(
    identity: Identity, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sign(identity)
    store_token(config, "FIRST", user="alana")
    sign(identity)
    assert caplog.records == []


def test_a_broken_token_file_is_refused_once_and_the_old_token_goes_on(
    identity: Identity, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    sign(identity)
    write_private(config.token.path, b'{"version": 1, "tok')
    for _ in range(3):
        assert used(sign(identity)) == Secret("FIRST")
    (error,) = errors(caplog)
    assert "damaged" in error
    assert "going on with the token from before" in error
    assert "FIRST" not in error
    store_token_over(config, "SECOND")
    assert used(sign(identity)) == Secret("SECOND")


def store_token_over(config: Config, token: str) -> None:
    config.token.path.unlink()
    store_token(config, token)


def test_a_token_file_that_others_can_read_is_refused_until_it_is_private(
    identity: Identity, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    sign(identity)
    store_token(config, "SECOND")
    config.token.path.chmod(0o644)
    assert used(sign(identity)) == Secret("FIRST")
    assert "chmod 600" in errors(caplog)[0]
    config.token.path.chmod(0o600)
    assert used(sign(identity)) == Secret("SECOND")


def test_another_jiras_token_is_refused(
    identity: Identity, config: Config, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    sign(identity)
    config.token.path.unlink()
    store_token(make_config("https://other.example.com", tmp_path, private_key), "THEIRS")
    assert used(sign(identity)) == Secret("FIRST")
    with pytest.raises(NotAuthorized, match=r"is for \"https://other\.example\.com\""):
        Identity(config).token.current()


def test_without_a_token_file_there_is_a_hint_until_one_is_stored(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    identity = Identity(config)
    with pytest.raises(NotAuthorized) as caught:
        sign(identity)
    assert caught.value.status == 503
    assert "sidecar auth" in caught.value.hint
    store_token(config, "FIRST")
    assert used(sign(identity)) == Secret("FIRST")
    config.token.path.unlink()
    for _ in range(3):
        with pytest.raises(NotAuthorized, match="no access token"):
            sign(identity)
    (error,) = errors(caplog)
    assert "is gone" in error
    assert "sidecar auth" in error
    store_token(config, "SECOND")
    assert used(sign(identity)) == Secret("SECOND")


# ── the key ─────────────────────────────────────────────────────────────────────────────────


def test_a_changed_key_counts_from_the_next_request_on(
    identity: Identity,
    config: Config,
    private_key: RSAPrivateKey,
    other_key: RSAPrivateKey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    assert is_signed_with(private_key, sign(identity))
    write_private(config.jira.private_key, keys.private_key_pem(other_key))
    assert is_signed_with(other_key, sign(identity))
    assert identity.fingerprint == keys.fingerprint(other_key)
    assert [record.getMessage() for record in caplog.records] == [
        f"the private key has changed: its fingerprint is {identity.fingerprint} now"
    ]


def test_for_a_minute_a_request_may_come_back_that_the_key_from_before_has_signed(
    identity: Identity, config: Config, other_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("sidecar.account.identity.time.monotonic", lambda: now)
    changes: list[str] = []
    identity.watch(lambda: changes.append(identity.fingerprint))
    assert not identity.has_another_key
    assert not identity.looks_at_key()
    write_private(config.jira.private_key, keys.private_key_pem(other_key))
    assert identity.looks_at_key()
    assert changes == [keys.fingerprint(other_key)]
    now += 59.9
    assert identity.has_another_key
    now += 0.1
    assert not identity.has_another_key
    write_private(config.jira.private_key, keys.private_key_pem(other_key))
    assert not identity.looks_at_key(), "it is the same key in another file"
    assert not identity.has_another_key
    assert len(changes) == 1


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA", b"\x00\xff"])
def test_a_broken_key_is_refused_once_and_the_old_key_goes_on(
    identity: Identity,
    config: Config,
    private_key: RSAPrivateKey,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_private(config.jira.private_key, content)
    for _ in range(3):
        assert is_signed_with(private_key, sign(identity))
    (error,) = errors(caplog)
    with pytest.raises(ConfigError) as caught:
        keys.load_private_key(config.jira.private_key, None)
    why = caught.value
    assert str(config.jira.private_key) in why.message
    assert error == f"{why.message}; going on with the key from before ({why.hint})"


def test_a_key_that_vanishes_or_is_opened_to_others_changes_nothing(
    identity: Identity, config: Config, private_key: RSAPrivateKey
) -> None:
    config.jira.private_key.chmod(0o644)
    assert is_signed_with(private_key, sign(identity))
    config.jira.private_key.unlink()
    assert is_signed_with(private_key, sign(identity))


def test_a_key_and_its_passphrase_may_be_replaced_one_after_the_other(
    tmp_path: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    passphrase = tmp_path / "passphrase"
    write_private(passphrase, b"one\n")
    config = make_config(
        JIRA, tmp_path, private_key, jira__private_key_passphrase_file=str(passphrase)
    )
    store_token(config, "FIRST")
    identity = Identity(config)
    encrypted = other_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"two")
    )
    write_private(config.jira.private_key, encrypted)
    assert is_signed_with(private_key, sign(identity))
    write_private(passphrase, b"two\n")
    assert is_signed_with(other_key, sign(identity))


def test_the_next_key_takes_the_old_ones_place_and_that_is_told(
    identity: Identity,
    config: Config,
    private_key: RSAPrivateKey,
    other_key: RSAPrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sign(identity)
    changes: list[str] = []
    identity.watch(lambda: changes.append(identity.fingerprint))
    assert identity.next_key.add(other_key)
    kept = f"{config.jira.private_key}.bak"
    assert identity.adopt(other_key) == (
        "Jira accepts the new private key: it has taken the old one's place, which is kept as"
        f" {kept}"
    )
    read: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(keys, "load_private_key", lambda path, _: read.append(path))
        sign(identity)
        assert not identity.looks_at_key()
    assert read == [], "what we have put there ourselves is no news"
    assert keys.fingerprint(keys.load_private_key(Path(kept), None)) == keys.fingerprint(
        private_key
    )
    assert is_signed_with(other_key, sign(identity))
    assert identity.has_another_key
    assert changes == [keys.fingerprint(other_key)]
    store_token(config, "SECOND")
    sign(identity)
    assert len(changes) == 2, "so is another token"
    assert identity.adopt(other_key) == (
        "Jira accepts the new private key: it has taken the old one's place"
    ), "another process has done it"


def test_the_next_key_is_used_though_it_cannot_take_the_old_ones_place(
    identity: Identity, config: Config, other_key: RSAPrivateKey
) -> None:
    assert identity.next_key.add(keys.generate_private_key(1024))
    told = identity.adopt(other_key)
    assert told.startswith(
        "Jira accepts the new private key, and it is used; but it cannot take the place of"
        f" {config.jira.private_key}: {config.jira.private_key}.new: "
    )
    assert "asked about. What to do: run `sidecar init --rotate-key` where the key" in told
    assert is_signed_with(other_key, sign(identity))


def test_the_next_key_has_the_passphrase_of_the_one_in_use(
    tmp_path: Path, private_key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    passphrase = tmp_path / "passphrase"
    write_private(passphrase, b"one\n")
    option = {"jira__private_key_passphrase_file": str(passphrase)}
    identity = Identity(make_config(JIRA, tmp_path, private_key, **option))
    assert identity.next_key.add(other_key)
    assert b"ENCRYPTED" in identity.next_key.path.read_bytes()


def test_a_key_that_cannot_be_used_at_the_start_is_an_error(config: Config) -> None:
    write_private(config.jira.private_key, b"nonsense")
    with pytest.raises(ConfigError):
        Identity(config)


def test_requests_within_a_millisecond_share_a_look_at_the_files(
    identity: Identity, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("sidecar.account.identity.time.monotonic", lambda: now)
    first = identity.refresh().token
    store_token(config, "SECOND")
    now += 0.0009
    assert identity.refresh().token == first
    assert used(identity.prepare("GET", "/jira/rest", []).sign()) == first
    now += 0.0002
    assert identity.refresh().token == Secret("SECOND")


def test_a_look_is_due_at_once_where_there_is_no_token(
    identity: Identity, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.account.identity.time.monotonic", lambda: 100.0)
    config.token.path.unlink()
    with pytest.raises(NotAuthorized):
        identity.refresh()
    store_token(config, "FOUND")
    assert identity.refresh().token == Secret("FOUND")


def test_reload_reads_both_files_again_even_if_they_look_the_same(
    identity: Identity, config: Config, other_key: RSAPrivateKey
) -> None:
    sign(identity)
    for path, content in (
        (config.jira.private_key, keys.private_key_pem(other_key)),
        (config.token.path, config.token.path.read_bytes().replace(b"FIRST", b"OTHER")),
    ):
        before = path.stat()
        path.write_bytes(content.ljust(before.st_size, b"\n"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    identity.reload()
    assert identity.token.current().token == Secret("OTHER")
    assert identity.fingerprint == keys.fingerprint(other_key)


# ── in a running sidecar ────────────────────────────────────────────────────────────────────


async def test_changes_do_not_disturb_a_request_in_flight(
    sidecar: Running, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    async with await sidecar.wire() as wire:
        await wire.send(sidecar.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
        status, _, _ = await wire.head()
        sandbox.release("g")
        store_token(sidecar.config, sandbox.grant("bob").token)
        write_private(sidecar.config.jira.private_key, keys.private_key_pem(other_key))
        sandbox.public_key = other_key.public_key()
        answer = await sidecar.get("/rest/api/2/myself")
        assert (answer.status, answer.json()["name"]) == (200, "bob")
        sandbox.release("g")
        assert status == 200
        assert b"B" in await wire.reader.readuntil(b"0\r\n\r\n")


async def test_a_request_without_a_token_is_503_with_the_hint(
    sidecar: Running, sandbox: Sandbox
) -> None:
    assert (await sidecar.get("/rest/api/2/myself")).status == 200
    sidecar.config.token.path.unlink()
    answer = await sidecar.get("/rest/api/2/myself")
    assert answer.status == 503
    assert "sidecar auth" in answer.message
    assert not answer.all("Retry-After")
    store_token(sidecar.config, sandbox.grant().token)
    assert (await sidecar.get("/rest/api/2/myself")).status == 200


# ── what is said at the start ───────────────────────────────────────────────────────────────


def test_a_key_that_cannot_sign_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where OpenSSL's policy forbids SHA-1."""

    def refuse(key: RSAPrivateKey) -> None:
        raise ConfigError("no SHA-1 here")

    monkeypatch.setattr(keys, "verify_signing", refuse)
    with pytest.raises(ConfigError, match="no SHA-1 here"):
        Identity(config)


def test_a_good_token_is_nothing_to_warn_of(identity: Identity) -> None:
    assert identity.warnings() == []


def test_a_missing_token_is_warned_of(config: Config) -> None:
    (warning,) = Identity(config).warnings()
    assert warning == (
        f"There is no access token for Jira yet: {config.token.path} does not exist: requests are"
        " answered with 503. What to do: run `sidecar auth`."
    )


def test_key_and_token_are_both_warned_of(tmp_path: Path) -> None:
    config = make_config(JIRA, tmp_path, keys.generate_private_key(1024))
    store_token(config, "FIRST")
    identity = Identity(config)
    identity.renewal_mark.set(identity.token.current())
    for_key, for_token = identity.warnings()
    assert "1024 bits" in for_key
    assert "was cut short" in for_token
    config.token.path.unlink()
    for_key, for_token = Identity(config).warnings()
    assert "1024 bits" in for_key
    assert "503" in for_token


def test_errors_are_the_sidecars_own(config: Config) -> None:
    config.token.path.parent.mkdir()
    config.token.path.mkdir()
    with pytest.raises(SidecarError):
        Identity(config).token.current()
