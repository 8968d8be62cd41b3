"""Where the running sidecar is looked for, and in which order."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.check.listeners import Place, _at, by_files, may_have_key, places
from sidecar.config.load import Config
from sidecar.config.options import TCPAddress, UnixAddress
from sidecar.signin.one_time_code import CodeFile
from tests.conftest import make_config

JIRA = "http://127.0.0.1:1"


def leaves(config: Config, *urls: str) -> None:
    CodeFile.of(config.token.path, urls).write(urls)


def listed(config: Config) -> list[list[str]]:
    return [[str(address) for address in place.addresses] for place in places(config)]


def test_files_come_between_admin_address_and_the_rest_of_the_configured_addresses(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = make_config(
        JIRA,
        tmp_path,
        private_key,
        listen__addresses=["127.0.0.1:8088", "[::1]:8088"],
        admin__address="127.0.0.1:9100",
    )
    assert listed(config) == [["127.0.0.1:9100"], ["127.0.0.1:8088", "[::1]:8088"]]
    leaves(config, "http://127.0.0.1:9999")
    leaves(config, "what is this", "http://[::1]:8088", "http://127.0.0.1:7000", "unix:/s")
    assert listed(config) == [
        ["127.0.0.1:9100"],
        ["[::1]:8088", "127.0.0.1:7000", "unix:/s"],
        ["127.0.0.1:9999"],
        ["127.0.0.1:8088"],
    ]
    leaves(config, "https://[::1]:8088")
    assert listed(config)[-1] == ["127.0.0.1:8088", "[::1]:8088"]  # in plain http


def test_near_addresses_come_first(tmp_path: Path, private_key: RSAPrivateKey) -> None:
    config = make_config(JIRA, tmp_path, private_key)
    leaves(config, "https://10.0.0.1:8443", "https://[::1]:8443", "https://0.0.0.0:8443")
    [place] = by_files(config)[0]
    assert list(map(str, place.addresses)) == ["0.0.0.0:8443", "[::1]:8443", "10.0.0.1:8443"]
    assert place.is_secured


def test_a_file_that_cannot_be_believed_is_passed_over_and_told(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = make_config(JIRA, tmp_path, private_key)
    leaves(config, "http://127.0.0.1:7000")
    leaves(config, "http://127.0.0.1:7001")
    config.token.path.with_name("open_7000.json").write_text("{")
    found, doubt = by_files(config)
    assert [str(place.addresses[0]) for place in found] == ["127.0.0.1:7001"]
    assert doubt is not None
    assert "open_7000.json" in doubt.message


def test_a_unix_socket_of_ours_may_have_the_key(tmp_path: Path, private_key: RSAPrivateKey) -> None:
    config = make_config(JIRA, tmp_path, private_key)
    gone, there = UnixAddress(tmp_path / "gone"), UnixAddress(tmp_path / "there")
    there.path.touch()
    assert may_have_key(config, Place((there,), is_secured=False), there)
    assert not may_have_key(config, Place((gone,), is_secured=False), gone)


@given(st.text() | st.from_regex(r"(https?://|unix:)[\w.:\[\]/ ]*", fullmatch=True))
def test_whatever_a_file_says_is_an_address_or_none(url: str) -> None:
    match _at(url):
        case (TCPAddress() as address, _):
            assert 0 < address.port < 65536
        case (UnixAddress(), is_secured):
            assert not is_secured
        case other:
            assert other is None
