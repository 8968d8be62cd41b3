"""The signer: what it puts into `Authorization`, and that oauthlib's server side accepts it."""

from __future__ import annotations

import base64
import itertools
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.common import Request  # type: ignore[import-untyped,unused-ignore]
from oauthlib.oauth1.rfc5849.signature import (  # type: ignore[import-untyped,unused-ignore]
    collect_parameters,
    verify_rsa_sha1,
)

from sidecar.signing.long_parameters import LongParameters
from sidecar.signing.signature import encode_form, encode_parameters, encode_query
from sidecar.signing.signer import Signer, random_nonce
from tests.support.waiting import PATIENCE

KEY = generate_private_key(65537, 1024)
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
TOKEN = "nnch734d00sl2jdk"


def signer(consumer_key: str = "OauthKey", key: RSAPrivateKey = KEY) -> Signer:
    nonces = map("nonce{}".format, itertools.count())
    return Signer(key, consumer_key, clock=lambda: 137131200.9, nonce=nonces.__next__)


def fields(authorization: bytes) -> dict[str, str]:
    """The protocol parameters of a header, decoded; each may be there only once."""
    scheme, _, rest = authorization.decode("ascii").partition(" ")
    assert scheme == "OAuth"
    pairs = [re.fullmatch('([a-z_]+)="([A-Za-z0-9._~%-]*)"', part) for part in rest.split(", ")]
    found = [(pair[1], unquote(pair[2])) for pair in pairs if pair]
    assert len(found) == len(pairs) == len(dict(found))
    return dict(found)


def test_the_header_holds_what_jira_asks_for() -> None:
    found = fields(signer().authorization("GET", "https://jira.example.com/a", [], TOKEN))
    assert len(base64.b64decode(found.pop("oauth_signature"), validate=True)) == 128
    assert found == {
        "oauth_consumer_key": "OauthKey",
        "oauth_token": TOKEN,
        "oauth_signature_method": "RSA-SHA1",
        "oauth_version": "1.0",
        "oauth_timestamp": "137131200",
        "oauth_nonce": "nonce0",
    }


def test_a_request_token_is_asked_for_without_a_token_and_with_a_callback() -> None:
    extra = [("oauth_callback", "http://127.0.0.1:9/cb?a=b c")]
    unsigned = signer().prepare("POST", "https://jira.example.com/request-token", [], None, extra)
    found = fields(unsigned.authorization(b"signature"))
    assert "oauth_token" not in found
    assert found["oauth_callback"] == "http://127.0.0.1:9/cb?a=b c"
    assert b"oauth_callback%3Dhttp%253A%252F%252F127.0.0.1%253A9" in unsigned.base_string
    assert b"oauth_token" not in unsigned.base_string


def test_what_is_signed_besides_is_signed_beside_the_usual_parameters() -> None:
    extra = [("oauth_callback", "oob")]
    unsigned = signer().prepare("POST", "http://j/", [], TOKEN, extra)
    signed = unquote(unsigned.base_string.decode().rpartition("&")[2])
    names = [pair.partition("=")[0].removeprefix("oauth_") for pair in signed.split("&")]
    assert names == [
        "callback", "consumer_key", "nonce", "signature_method", "timestamp", "token", "version",
    ]  # fmt: skip


def test_it_knows_its_own_signatures() -> None:
    made = signer().signature(b"text")
    assert signer().has_made(made, b"text")
    assert not signer().has_made(made, b"another text")
    assert not signer().has_made(made[::-1], b"text")


def test_the_base_string_holds_all_parameters_sorted() -> None:
    parameters = encode_query("z=%2f&oauth=1&b+c") + encode_form(b"a=1")
    unsigned = signer().prepare("POST", "http://jira:8080/x", parameters, "a/b")
    assert unsigned.base_string == (
        b"POST&http%3A%2F%2Fjira%3A8080%2Fx&a%3D1%26b%2520c%3D%26oauth%3D1"
        b"%26oauth_consumer_key%3DOauthKey%26oauth_nonce%3Dnonce0%26oauth_signature_method"
        b"%3DRSA-SHA1%26oauth_timestamp%3D137131200%26oauth_token%3Da%252Fb%26oauth_version%3D1.0"
        b"%26z%3D%252F"
    )


def test_each_token_gets_its_own_header() -> None:
    one = signer()
    seen = [fields(one.authorization("GET", "http://j/", [], t)) for t in ("a", "b", None, "a")]
    assert [found.get("oauth_token") for found in seen] == ["a", "b", None, "a"]


def test_every_preparation_takes_a_new_nonce_and_asks_the_clock() -> None:
    times = iter([1000.0, 1300.2])
    one = Signer(KEY, "OauthKey", clock=times.__next__)
    first, second = (fields(one.authorization("GET", "http://j/", [], TOKEN)) for _ in range(2))
    assert first["oauth_nonce"] != second["oauth_nonce"]
    assert (first["oauth_timestamp"], second["oauth_timestamp"]) == ("1000", "1300")


def test_the_reference_signature_of_the_oauth_test_cases() -> None:
    """wiki.oauth.net/TestCases, "RSA-SHA1": its private key, request and signature."""
    key = load_der_private_key(base64.b64decode(WIKI_KEY), None)
    assert isinstance(key, RSAPrivateKey)
    wiki = Signer(
        key, "dpf43f3p2l4k3l03", clock=lambda: 1196666512, nonce=lambda: "13917289812797014437"
    )
    query = encode_query("file=vacaction.jpg&size=original")
    found = fields(wiki.authorization("GET", "http://photos.example.net/photos", query, None))
    assert found["oauth_signature"] == (
        "jvTp/wX1TYtByB1m+Pbyo0lnCOLIsyGCH7wke8AUs3BpnwZJtAuEJkvQL2/9n4s5wUmUl4aCI4BwpraNx4RtEXMe"
        "5qg5T1LVTGliMRpKasKsW//e+RinhejgCuzoH26dyF8iY2ZZ/5D1ilgeijhV/vBka5twt399mXwaYdCwFYE="
    )


WIKI_KEY = """
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBALRiMLAh9iimur8VA7qVvdqxevEuUkW4K+2KdMXmnQbG9Aa7
k7eBjK1S+0LYmVjPKlJGNXHDGuy5Fw/d7rjVJ0BLB+ubPK8iA/Tw3hLQgXMRRGRXXCn8ikfuQfjUS1uZSatdLB81mydBETlJ
hI6GH4twrbDJCR2Bwy/XWXgqgGRzAgMBAAECgYBYWVtleUzavkbrPjy0T5FMou8HX9u2AC2ry8vD/l7cqedtwMPp9k7TubgN
Fo+NGvKsl2ynyprOZR1xjQ7WgrgVB+mmuScOM/5HVceFuGRDhYTCObE+y1kxRloNYXnx3ei1zbeYLPCHdhxRYW7T0qcynNmw
rn05/KO2RLjgQNalsQJBANeA3Q4Nugqy4QBUCEC09SqylT2K9FrrItqL2QKc9v0ZzO2uwllCbg0dwpVuYPYXYvikNHHg+aCW
F+VXsb9rpPsCQQDWR9TT4ORdzoj+NccnqkMsDmzt0EfNaAOwHOmVJ2RVBspPcxt5iN4HI7HNeG6U5YsFBb+/GZbgfBT3kpNG
WPTpAkBI+gFhjfJvRw38n3g/+UeAkwMI2TJQS4n8+hid0uus3/zOjDySH3XHCUnocn1xOJAyZODBo47E+67R4jV1/gzbAkEA
klJaspRPXP877NssM5nAZMU0/O/NGCZ+3jPgDUno6WbJn5cqm8MqWhW1xGkImgRk+fkDBquiq4gPiT898jusgQJAd5Zrr6Q8
AO/0isr/3aa6O6NLQxISLKcPDk2NOccAfS/xOtfOz4sJYM3+Bs4Io9+dZGSDCA54Lw03eHTNQghS0A==
"""


def oauthlib_accepts(method: str, url: str, authorization: bytes) -> bool:
    """Whether oauthlib's server side verifies the request with this header."""
    headers = {"Authorization": authorization.decode()}
    request = Request(url, method, None, headers)
    every = collect_parameters(
        uri_query=request.uri_query, headers=headers, exclude_oauth_signature=False
    )
    request.params = [(name, value) for name, value in every if name != "oauth_signature"]
    request.signature = dict(every)["oauth_signature"]
    return bool(verify_rsa_sha1(request, PUBLIC_PEM.decode()))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=400)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=st.sampled_from(["/", "/rest/api/2/issue/JJ-2", "//x", "/a%2Fb;v=1/%7e", "/jira/a,b"]),
    pairs=st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
    consumer_key=TEXTS,
    token=TEXTS,
)
def test_oauthlib_verifies_every_request(
    method: str, path: str, pairs: list[tuple[str, str]], consumer_key: str, token: str
) -> None:
    query = "&".join(f"{name}={value}" for name, value in encode_parameters(pairs))
    uri = f"https://jira.example.com:8443{path}"
    header = signer(consumer_key).authorization(method, uri, encode_query(query), token)
    assert oauthlib_accepts(method, f"{uri}?{query}", header)
    assert not oauthlib_accepts(method, f"{uri}/?{query}", header)


def test_threads_may_sign_at_once() -> None:
    one = Signer(KEY, "OauthKey")
    url = "https://jira.example.com/a"

    def sign(number: int) -> bytes:
        return one.authorization("GET", url, encode_query(f"n={number}"), f"token{number % 3}")

    with ThreadPoolExecutor(8) as pool:
        headers = list(pool.map(sign, range(400)))
    assert len({fields(header)["oauth_nonce"] for header in headers}) == 400
    for number, header in enumerate(headers):
        assert fields(header)["oauth_token"] == f"token{number % 3}"
        assert oauthlib_accepts("GET", f"{url}?n={number}", header)


def test_nonces_are_128_random_bits_and_never_repeat() -> None:
    with ThreadPoolExecutor(8) as pool:
        nonces = [
            nonce
            for some in pool.map(lambda _: [random_nonce() for _ in range(2500)], range(8))
            for nonce in some
        ]
    assert len(set(nonces)) == 20_000
    assert len({half for nonce in nonces for half in (nonce[:16], nonce[16:])}) == 40_000
    assert all(re.fullmatch("[0-9a-f]{32}", nonce) for nonce in nonces)


FORK = """
import os
from sidecar.signing.signer import random_nonce
random_nonce()
reader, writer = os.pipe()
if child := os.fork():
    os.waitpid(child, 0)
    print(os.read(reader, 32).decode(), random_nonce())
else:
    os.write(writer, random_nonce().encode())
"""


def test_a_forked_child_does_not_repeat_its_parents_nonces() -> None:
    result = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    child, parent = result.stdout.split()
    assert child != parent


def test_a_signature_is_percent_encoded_in_capitals() -> None:
    header = signer().prepare("GET", "http://j/", [], TOKEN).authorization(b"\xfb\xff")
    assert header.endswith(b', oauth_signature="%2B%2F8%3D"')


def test_nothing_secret_is_in_a_repr() -> None:
    one = signer()
    unsigned = one.prepare("GET", "http://j/", [], TOKEN)
    assert TOKEN in unsigned.base_string.decode()
    assert TOKEN not in repr(unsigned) + str(unsigned) + repr(one)
    assert repr(one._constants) == "_Constants(…)"


def test_a_signature_is_rsassa_pkcs1_v1_5_with_sha_1() -> None:
    signature = signer().signature(b"text")
    KEY.public_key().verify(signature, b"text", PKCS1v15(), SHA1())
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(signature, b"other", PKCS1v15(), SHA1())


def test_long_parameters_are_signed_as_short_ones_are() -> None:
    query, form = "q=1&b=%2c", b"a=" + b"%ff," * 5000
    parameters = [*encode_query(query), *encode_form(form)]
    short = signer().prepare("POST", "https://jira.example.com/a", parameters, TOKEN)
    long = signer().prepare(
        "POST",
        "https://jira.example.com/a",
        LongParameters(query, form, lambda _: None),
        TOKEN,
    )
    assert long.hashing is not None
    assert long.base_string == b""
    try:
        while True:
            next(long.hashing)
    except StopIteration as end:
        signature = signer().sign_hash(end.value)
    assert signature == signer().signature(short.base_string)
    assert long.authorization(signature) == short.authorization(signature)
