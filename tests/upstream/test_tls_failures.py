"""Why TLS failed is told by OpenSSL's codes, and whose certificate it was by who complains."""

from __future__ import annotations

import ssl

import pytest

from sidecar.errors import CertificateError, TLSError, UnknownIssuer
from sidecar.http.target import BaseURL
from sidecar.upstream.tls_failures import is_plain_end, tls_failed

BASE = BaseURL.parse("https://jira.example.com:8443/jira")


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "in another language")
    error.reason = reason
    return error


def distrust(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "in another language")
    error.verify_code = code
    error.verify_message = "in another language"
    return error


@pytest.mark.parametrize(
    ("alert", "text"),
    [
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "it has expired"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "it was revoked"),
        ("TLSV1_ALERT_UNKNOWN_CA", "the CA that signed it is unknown there"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "its signature is wrong"),
        ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "not of a kind"),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", "not acceptable"),
        ("TLSV1_ALERT_ACCESS_DENIED", "no access"),
        ("TLSV1_ALERT_DECRYPT_ERROR", "key"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "certificate required"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "handshake failure"),
    ],
)
def test_an_alert_about_a_certificate_is_about_ours(alert: str, text: str) -> None:
    shown = tls_failed(ssl_error(alert), BASE, has_certificate=True)
    assert type(shown) is TLSError
    assert "does not accept our client certificate (jira.client_certificate)" in shown.message
    assert text in shown.message
    none = tls_failed(ssl_error(alert), BASE, has_certificate=False)
    assert type(none) is TLSError
    assert "a client certificate" in none.message
    assert "jira.client_certificate and jira.client_key name it" in none.hint


def test_a_client_certificate_that_has_expired_is_not_taken_for_jira_s() -> None:
    ours = tls_failed(ssl_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"), BASE, has_certificate=True)
    assert "Jira's own certificate is not meant" in ours.hint
    theirs = tls_failed(distrust(10), BASE, has_certificate=True)
    assert type(theirs) is CertificateError
    assert str(theirs) == "The TLS certificate of jira.example.com:8443 has expired."


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"])
def test_what_speaks_no_tls_may_be_plain_http(reason: str) -> None:
    error = tls_failed(ssl_error(reason), BASE, has_certificate=False)
    assert type(error) is TLSError
    assert "does not speak TLS at that port: " in error.message
    assert 'jira.base_url = "http://jira.example.com:8443/jira"' in error.hint


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "no TLS version in common"),
        ("UNSUPPORTED_PROTOCOL", "no TLS version in common"),
        ("TLSV1_UNRECOGNIZED_NAME", "does not know itself by the name jira.example.com"),
        ("TLSV1_ALERT_INTERNAL_ERROR", "failed: tlsv1 alert internal error"),
    ],
)
def test_other_kinds(reason: str, text: str) -> None:
    error = tls_failed(ssl_error(reason), BASE, has_certificate=True)
    assert type(error) is TLSError
    assert text in error.message


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (62, "for another name than jira.example.com"),
        (64, "for another name"),
        (9, "is not valid yet"),
        (10, "has expired"),
        (18, "a CA unknown here"),
        (20, "a CA unknown here"),
        (23, "not to be trusted"),
    ],
)
def test_why_jira_s_certificate_is_not_trusted(code: int, text: str) -> None:
    error = tls_failed(distrust(code), BASE, has_certificate=False)
    assert type(error) is (UnknownIssuer if "CA unknown" in text else CertificateError)
    assert text in error.message
    assert error.hint


def test_an_end_without_a_word_is_no_failure_of_tls() -> None:
    for end in (None, ConnectionResetError(), ssl.SSLEOFError(8, "x"), ssl.SSLError(1, "x")):
        assert is_plain_end(end)
    assert is_plain_end(ssl_error("UNEXPECTED_EOF_WHILE_READING"))
    assert not is_plain_end(ssl_error("TLSV1_ALERT_UNKNOWN_CA"))
