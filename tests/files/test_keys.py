"""Private keys in every form that is taken, and what is said about every other."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from sidecar.credentials import Secret
from sidecar.errors import ConfigError
from sidecar.files import keys
from sidecar.files.private import write_private

PASSPHRASE = Secret("pass phrase é")

# Made with `openssl genrsa 512`: cryptography does not make keys that short.
SHORT = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBALLkWtEzLEl3LVpyTecpeoMZMbGo/sqoKfaYZm5qAPClAQ2UWeAy
gW+ay5muSJ0xk3b6uv6nsBoyLR4V27MdV1cCAwEAAQJAeU4PpzwkE80Um/hWiyG9
SZiT8fy+iX1utyCwlL6c1JBsZwhMXKERKL/qayg0Z74w5E6aKilux9jh1Ogy+csv
wQIhAOLGr+pOqpNdbO8/Hc80SKwYHC8OwEKmIye630xBHrzrAiEAyfH6NtsklZP+
SH8j8pEI1jZ0vsOYkkSAVVtpwtFyREUCIQCGQjtD7O7v8A/eVO/BDKM5v8xvz7vj
uZh2nRw2eRdJoQIgQz39cNKbZer3WrBrCdPdO2a6jOKYJOwGR2W+243eHHkCIEoE
a33J7wYnQZZneHS4ZunIiGPOGnLgNh4PXMXoRarU
-----END RSA PRIVATE KEY-----
"""


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """1024 bits: the least that is accepted, and quickly made."""
    return keys.generate_private_key(1024)


def encoded(
    key: Any,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encoding: Encoding = Encoding.PEM,
    *,
    is_encrypted: bool = False,
) -> bytes:
    encryption = (
        BestAvailableEncryption(PASSPHRASE.reveal().encode()) if is_encrypted else NoEncryption()
    )
    data = key.private_bytes(encoding, form, encryption)
    assert isinstance(data, bytes)
    return data


def bare(data: bytes) -> bytes:
    """Strip a PEM text to its base64, on one line."""
    return b"".join(data.split(b"\n")[1:-2])


def refusal(data: bytes, passphrase: Secret | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        keys.parse_private_key(data, passphrase, "key.pem")
    error = caught.value
    assert str(error).startswith("key.pem: ")
    assert error.hint
    assert "\n" not in str(error) + error.hint
    assert error.__cause__ is None
    return error


# --- what is taken ---

FORMS: dict[str, Callable[[RSAPrivateKey], bytes]] = {
    "PKCS#1": lambda key: encoded(key, PrivateFormat.TraditionalOpenSSL),
    "PKCS#8": encoded,
    "base64": lambda key: bare(encoded(key)),
    "base64 on lines": lambda key: b"\n".join(encoded(key).split(b"\n")[1:-2]) + b"\n",
    "base64 with a byte order mark": lambda key: b"\xef\xbb\xbf" + bare(encoded(key)),
    "PEM on one line": lambda key: (
        b"-----BEGIN PRIVATE KEY-----\n" + bare(encoded(key)) + b"\n-----END PRIVATE KEY-----"
    ),
    "Windows line ends": lambda key: encoded(key).replace(b"\n", b"\r\n"),
    "indented": lambda key: b"  " + encoded(key).replace(b"\n", b"\n  "),
    "text around it": lambda key: b"Bag Attributes\n" + encoded(key) + b"\nend\n",
    "public key before it": lambda key: keys.public_key_pem(key).encode() + encoded(key),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_plain_key_is_taken_in_every_form_whether_or_not_there_is_a_passphrase(
    key: RSAPrivateKey, form: str, passphrase: Secret | None
) -> None:
    found = keys.parse_private_key(FORMS[form](key), passphrase, "key.pem")
    assert found.private_numbers() == key.private_numbers()


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_taken_with_its_passphrase(
    key: RSAPrivateKey, form: PrivateFormat
) -> None:
    data = encoded(key, form, is_encrypted=True)
    found = keys.parse_private_key(data, PASSPHRASE, "key.pem")
    assert found.private_numbers() == key.private_numbers()
    assert "the passphrase does not open" in str(refusal(data, Secret("wrong")))
    error = refusal(data)
    assert str(error) == "key.pem: the private key is encrypted, and there is no passphrase"
    assert "jira.private_key_passphrase_file" in error.hint


def changed(pem: bytes, old: str, new: str) -> bytes:
    """Replace an object identifier, given in hex, in a PEM key; return bare base64."""
    der = base64.b64decode(bare(pem))
    assert bytes.fromhex(old) in der
    return base64.b64encode(der.replace(bytes.fromhex(old), bytes.fromhex(new)))


def test_a_key_encrypted_in_an_unknown_way_comes_with_the_command_that_helps(
    key: RSAPrivateKey,
) -> None:
    data = changed(encoded(key, is_encrypted=True), "2a864886f70d01050d", "2a864886f70d01057f")
    error = refusal(data, PASSPHRASE)
    assert "encrypted in a way that is not supported" in str(error)
    assert "openssl pkcs8 -topk8" in error.hint


def test_a_key_of_an_unknown_kind_is_not_rsa(key: RSAPrivateKey) -> None:
    data = changed(encoded(key), "2a864886f70d010101", "2a864886f70d01017f")
    assert str(refusal(data)) == "key.pem: the private key is not RSA"


def test_an_encrypted_key_in_base64_is_taken_too(key: RSAPrivateKey) -> None:
    data = bare(encoded(key, is_encrypted=True))
    found = keys.parse_private_key(data, PASSPHRASE, "key.pem")
    assert found.private_numbers() == key.private_numbers()
    assert "there is no passphrase" in str(refusal(data))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_key_and_passphrase_are_read_from_their_files(
    key: RSAPrivateKey, tmp_path: Path, end: str
) -> None:
    write_private(tmp_path / "key.pem", encoded(key, is_encrypted=True))
    write_private(tmp_path / "passphrase", (PASSPHRASE.reveal() + end).encode())
    found = keys.load_private_key(tmp_path / "key.pem", tmp_path / "passphrase")
    assert found.private_numbers() == key.private_numbers()


def test_files_that_are_missing_open_or_empty_are_refused(
    key: RSAPrivateKey, tmp_path: Path
) -> None:
    file, passphrase = tmp_path / "key.pem", tmp_path / "passphrase"
    with pytest.raises(ConfigError, match=r"key\.pem: the private key file does not exist") as one:
        keys.load_private_key(file)
    assert "sidecar init" in one.value.hint
    file.write_bytes(encoded(key))
    with pytest.raises(ConfigError, match="open to others"):
        keys.load_private_key(file)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="the passphrase file does not exist"):
        keys.load_private_key(file, passphrase)
    write_private(passphrase, b"\n")
    with pytest.raises(ConfigError, match="the passphrase is empty"):
        keys.load_private_key(file, passphrase)


# --- what is not ---


@pytest.mark.parametrize("data", [b"", b" \n\n"])
def test_an_empty_file_is_called_empty(data: bytes) -> None:
    assert "the private key file is empty" in str(refusal(data))


def test_a_public_key_is_recognised_in_every_form(key: RSAPrivateKey) -> None:
    public = key.public_key()
    for data in (
        keys.public_key_pem(key).encode(),
        keys.public_key_base64(key).encode(),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    ):
        error = refusal(data)
        assert str(error) == "key.pem: this is a public key, not a private key"
        assert "jira.private_key" in error.hint


def test_a_certificate_is_recognised() -> None:
    data = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert str(refusal(data)) == "key.pem: this is a certificate, not a private key"


def test_another_pem_file_is_named() -> None:
    data = b"-----BEGIN DH PARAMETERS-----\nMIIB\n-----END DH PARAMETERS-----\n"
    assert "no private key in it, but a dh parameters" in str(refusal(data))


def test_a_key_in_opensshs_format_comes_with_the_command_that_converts_it(
    key: RSAPrivateKey,
) -> None:
    error = refusal(encoded(key, PrivateFormat.OpenSSH))
    assert "OpenSSH's own format" in str(error)
    assert "ssh-keygen -p -m PKCS8 -f key.pem.copy" in error.hint


def test_binary_der_comes_with_the_command_that_converts_it(key: RSAPrivateKey) -> None:
    error = refusal(encoded(key, encoding=Encoding.DER))
    assert "binary (DER)" in str(error)
    assert "openssl pkey -inform DER -in key.pem" in error.hint


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "EC"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
    ],
)
def test_a_key_of_another_kind_is_named(other: Any, name: str) -> None:
    for data in (encoded(other), bare(encoded(other))):
        assert f"not RSA but {name}" in str(refusal(data))


def test_an_ec_key_in_its_traditional_form_is_named() -> None:
    data = encoded(ec.generate_private_key(ec.SECP256R1()), PrivateFormat.TraditionalOpenSSL)
    assert "not RSA but EC" in str(refusal(data))


def test_512_bits_are_refused_and_less_than_2048_warned_about(
    key: RSAPrivateKey, private_key: RSAPrivateKey
) -> None:
    assert "an RSA key of 512 bits is too short" in str(refusal(SHORT))
    [warning] = keys.key_warnings(key)
    assert "1024 bits" in warning
    assert keys.key_warnings(private_key) == []


def test_a_truncated_key_is_called_truncated_or_damaged_wherever_it_ends(
    key: RSAPrivateKey,
) -> None:
    data = encoded(key)
    for end in range(40, data.rindex(b"-----") + 4, 7):
        assert "truncated: there is no -----END PRIVATE KEY-----" in str(refusal(data[:end]))
    line = bare(data)
    for end in range(8, len(line) - 3, 7):
        assert "the private key is damaged" in str(refusal(line[:end]))


def test_a_key_with_a_hole_is_called_damaged(key: RSAPrivateKey) -> None:
    data = encoded(key)
    assert "the private key is damaged" in str(refusal(data[:300] + data[365:]))
    assert "the private key is damaged" in str(refusal(data[:300] + data[365:], PASSPHRASE))


@pytest.mark.parametrize("data", [b"hello", b"\xff\xfe\x00", b"{}", b"AAAA", b"MII!", b"=="])
def test_what_is_no_key_at_all_is_told_what_one_looks_like(data: bytes) -> None:
    error = refusal(data)
    assert "this is not a private key" in str(error)
    assert "-----BEGIN" in error.hint


@given(st.binary(max_size=200), st.sampled_from([b"", b"-----BEGIN PRIVATE KEY-----\n", b"MIIE"]))
def test_no_file_at_all_gives_more_than_a_configuration_error(data: bytes, start: bytes) -> None:
    refusal(start + data)


def test_no_error_quotes_the_key(key: RSAPrivateKey) -> None:
    line = bare(encoded(key))
    for data in (line[:-9], encoded(key)[:-40], encoded(key)[:300] + encoded(key)[365:]):
        error = refusal(data)
        assert line[:20].decode() not in f"{error}{error.hint}"


# --- what Jira gets ---


def test_the_public_key_is_a_subject_public_key_info(key: RSAPrivateKey) -> None:
    """jira-oauth.md: `BEGIN PUBLIC KEY`, or its bare base64; PKCS#1 is not accepted."""
    pem, text = keys.public_key_pem(key), keys.public_key_base64(key)
    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert "\n" not in text
    numbers = key.public_key().public_numbers()
    for public in (load_pem_public_key(pem.encode()), load_der_public_key(base64.b64decode(text))):
        assert isinstance(public, rsa.RSAPublicKey)
        assert public.public_numbers() == numbers


def test_the_fingerprint_is_the_public_keys_sha256(key: RSAPrivateKey) -> None:
    der = base64.b64decode(keys.public_key_base64(key))
    assert keys.fingerprint(key) == hashlib.sha256(der).hexdigest()


def test_a_new_key_is_written_as_pkcs8_and_read_back(key: RSAPrivateKey) -> None:
    pem = keys.private_key_pem(key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    found = keys.parse_private_key(pem, None, "key.pem")
    assert found.private_numbers() == key.private_numbers()


# --- the trial signature ---


def test_a_good_key_signs_and_verifies(private_key: RSAPrivateKey) -> None:
    keys.verify_signing(private_key)


class OtherwiseKey:
    """A private key that signs as it is told and has another's public key."""

    def __init__(self, sign: Any, public: RSAPrivateKey) -> None:
        self.sign = sign
        self.public_key = public.public_key


def test_a_signature_that_does_not_verify_is_an_error(
    key: RSAPrivateKey, private_key: RSAPrivateKey
) -> None:
    with pytest.raises(ConfigError, match="does not verify"):
        keys.verify_signing(OtherwiseKey(key.sign, private_key))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [UnsupportedAlgorithm("sha1"), InternalError("policy", []), ValueError("digest")]
)
def test_a_policy_against_sha1_is_named(key: RSAPrivateKey, error: Exception) -> None:
    def forbidden(*_: object) -> bytes:
        raise error

    with pytest.raises(ConfigError, match="refuses to sign with RSA and SHA-1") as caught:
        keys.verify_signing(OtherwiseKey(forbidden, key))  # type: ignore[arg-type]
    assert "policy" in caught.value.hint
    assert caught.value.exit_code == 78


POLICY = """
openssl_conf = init
[init]
alg_section = evp
[evp]
default_properties = "fips=yes"
"""
TRY_ALL = """
import sys
from sidecar.files import keys
from sidecar.errors import ConfigError

def parse():
    with open(sys.argv[1], "rb") as file:
        keys.verify_signing(keys.parse_private_key(file.read(), None, "key.pem"))

for attempt in (parse, lambda: keys.generate_private_key(1024)):
    try:
        attempt()
        print("worked")
    except ConfigError as error:
        print(error)
"""


def test_an_openssl_that_allows_nothing_is_not_blamed_on_the_key(
    key: RSAPrivateKey, tmp_path: Path
) -> None:
    """OPENSSL_CONF asks for FIPS algorithms alone, of which this OpenSSL has none."""
    (tmp_path / "openssl.cnf").write_text(POLICY)
    (tmp_path / "key.pem").write_bytes(encoded(key))
    result = subprocess.run(
        [sys.executable, "-c", TRY_ALL, str(tmp_path / "key.pem")],
        env={**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    if "worked" in lines:
        pytest.skip("this OpenSSL does not mind the policy")
    assert [line[:36] for line in lines] == ["OpenSSL refuses to sign with RSA and"] * 2


@pytest.mark.parametrize("breaks", ["\\n", "\\r\\n"])
@pytest.mark.parametrize("around", ["", '"'])
def test_a_key_that_came_through_json_is_mended_by_the_command_in_the_hint(
    tmp_path: Path, key: RSAPrivateKey, breaks: str, around: str
) -> None:
    pem = keys.private_key_pem(key).decode()
    file = tmp_path / "my key"
    write_private(file, (around + pem.replace("\n", breaks) + around).encode())
    with pytest.raises(ConfigError, match=r"has \\n, two characters, in place of") as caught:
        keys.load_private_key(file)
    command = caught.value.hint.partition(": ")[2]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert keys.private_key_pem(keys.load_private_key(tmp_path / "NEW")).decode() == pem
