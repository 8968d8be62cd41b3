"""What a path or URL of `sidecar request` stands for, and for which host nothing is signed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.commands.where import check_form, target
from sidecar.config.load import Config
from sidecar.errors import RequestRefused, UsageError
from sidecar.signin.one_time_code import CodeFile
from tests.conftest import make_config

JIRA = "https://jira.example.com/jira"


@pytest.fixture
def config(tmp_path: Path, private_key: RSAPrivateKey) -> Config:
    options = {
        "listen__addresses": ["127.0.0.1:8088", "[::1]:8090", "0.0.0.0:8091", "unix:/s.sock"],
        "access__hosts": ["sidecar.internal", "other.internal:444", "::2"],
        "access__key_file": str(tmp_path / "access"),
    }
    return make_config(JIRA, tmp_path, private_key, **options)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8088", "https://localhost:8088", "HTTP://LOCALHOST:8088",
        "http://127.0.0.1:8088", "http://[::1]:8088", "http://127.0.0.2:8090",
        "http://[::1]:8090", "http://localhost:8091", "https://sidecar.internal",
        "https://sidecar.internal:9000", "http://sidecar.internal.:80",
        "https://other.internal:444", "http://[::2]:1", "https://jira.example.com",
        "https://JIRA.example.com:443", "",
    ],
)  # fmt: skip
def test_links_of_jira_and_of_the_sidecar_are_taken(config: Config, origin: str) -> None:
    for path in ("/jira/rest/api/2/issue/JJ-2?a=b", "/rest/api/2/issue/JJ-2?a=b"):
        assert str(target(config, origin + path)) == "/jira/rest/api/2/issue/JJ-2?a=b"


def test_a_sidecar_that_listens_elsewhere_than_configured_is_known_too(config: Config) -> None:
    """As `sidecar run --listen 127.0.0.1:9999` does."""
    urls = ["http://127.0.0.1:9999"]
    with pytest.raises(UsageError, match="nor on the sidecar itself"):
        target(config, "http://localhost:9999/rest/api/2/myself")
    CodeFile.of(config.token.path, urls).write(urls)
    found = target(config, "http://localhost:9999/rest/api/2/myself")
    assert str(found) == "/jira/rest/api/2/myself"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost", "http://localhost:8089", "http://10.0.0.1:8091",
        "https://other.internal", "http://evil.example:8088", "http://sidecar.internal.evil",
        "http://localhost.evil:8088", "http://jira.example.com", "https://jira.example.com:444",
    ],
)  # fmt: skip
def test_nothing_is_signed_for_another_host(config: Config, origin: str) -> None:
    with pytest.raises(
        UsageError, match="not on the configured Jira, nor on the sidecar"
    ) as caught:
        target(config, f"{origin}/rest/api/2/myself")
    assert JIRA in caught.value.hint
    assert "127.0.0.1:8088" in caught.value.hint


@pytest.mark.parametrize("path", ["/_sidecar", "/_sidecar/", "/_sidecar/status?x=1"])
def test_the_sidecars_own_pages_are_not_jiras(config: Config, path: str) -> None:
    with pytest.raises(UsageError, match="the sidecar's own") as caught:
        target(config, f"http://localhost:8088{path}")
    assert f"http://localhost:8088{path}" in caught.value.hint
    assert str(target(config, "http://localhost:8088/_sidecars")) == "/jira/_sidecars"
    assert str(target(config, path)).startswith("/jira/_sidecar")


@pytest.mark.parametrize(
    "where", ["http://", "ftp://localhost/x", "http://u:p@localhost:8088/", "/a b", "/ä", "/../x"]
)
def test_what_is_no_path_and_no_url_needs_no_configuration_to_be_refused(where: str) -> None:
    with pytest.raises((UsageError, RequestRefused)):
        check_form(where)


@pytest.mark.parametrize("where", ["", "/", "rest/x", "//x", "http://anything/x", "/jira/x?a=b"])
def test_whatever_has_the_form_of_one_may_be_one(where: str) -> None:
    check_form(where)
