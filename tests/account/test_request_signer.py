"""Signing requests for one Jira."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.clock import JiraClock
from sidecar.account.request_signer import RequestSigner
from sidecar.account.signing_url import SigningURL
from sidecar.credentials import Secret, TokenCredentials
from sidecar.http.target import BaseURL
from sidecar.signing.signature import encode_query
from sidecar.signing.signer import Signer

BASE = BaseURL.parse("http://inside:8080/jira")
BELIEVED = BaseURL.parse("https://jira.example.com/tracker")
TOKEN = TokenCredentials(Secret("TOKEN"), Secret("s3cret"))
NOW = 1_763_000_000.0


@pytest.fixture
def clock() -> JiraClock:
    return JiraClock(lambda: NOW)


@pytest.fixture
def signer(private_key: RSAPrivateKey, clock: JiraClock) -> RequestSigner:
    signer = Signer(private_key, "OauthKey", clock=clock.now)
    return RequestSigner(BASE, signer, clock, SigningURL(BASE, BASE))


def test_it_signs_for_the_url_that_jira_believes_in(signer: RequestSigner) -> None:
    path = "/jira/rest/api/2/myself"
    first = signer.prepare("GET", path, [], TOKEN).sign()
    assert first.url == BASE
    assert "http://inside:8080/jira/rest/" in unquote(first.base_string.decode())
    signer.signing_url.take(BELIEVED)
    second = signer.prepare("GET", path, [], TOKEN).sign()
    assert second.url == BELIEVED
    assert "https://jira.example.com/tracker/rest/" in unquote(second.base_string.decode())
    assert signer.prepare("GET", path, [], TOKEN, url=BASE).sign().url == BASE


def test_it_signs_by_jiras_clock_and_says_by_which_correction(
    signer: RequestSigner, clock: JiraClock
) -> None:
    clock.believe(7200.0)
    signed = signer.prepare("GET", "/jira/", [], TOKEN).sign()
    assert signed.clock_correction == 7200.0
    assert f'oauth_timestamp="{int(NOW) + 7200}"'.encode() in signed.authorization


@pytest.mark.parametrize(
    ("token", "parameter"),
    [
        (TOKEN, b'oauth_token="TOKEN"'),
        (None, None),
        (TokenCredentials(Secret(""), Secret("")), b'oauth_token=""'),
    ],
    ids=["a token", "none", "an empty one"],
)
def test_a_token_is_signed_as_it_is_and_none_is_left_out(
    signer: RequestSigner, token: TokenCredentials | None, parameter: bytes | None
) -> None:
    """The application link itself signs with an empty one."""
    signed = signer.prepare("GET", "/jira/", [], token).sign()
    assert signed.token == token
    if parameter is None:
        assert b"oauth_token" not in signed.authorization + signed.base_string
    else:
        assert parameter in signed.authorization
        assert b"oauth_token%3D" in signed.base_string


def test_parameters_and_protocol_parameters_are_signed(signer: RequestSigner) -> None:
    signed = signer.prepare(
        "POST", "/jira/x", encode_query("a=1"), None, extra=[("oauth_callback", "oob")]
    ).sign()
    assert b"a%3D1%26oauth_callback%3Doob" in signed.base_string
    assert b'oauth_callback="oob"' in signed.authorization
    assert signer.signer.private_key.key_size == 2048


def test_no_secret_is_in_a_repr(signer: RequestSigner) -> None:
    prepared = signer.prepare("GET", "/jira/", [], TOKEN)
    shown = f"{prepared!r}{prepared.sign()!r}"
    assert "TOKEN" not in shown
    assert "inside" in shown
