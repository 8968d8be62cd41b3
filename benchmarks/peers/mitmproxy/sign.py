"""What one writes for mitmproxy: an add-on that signs each request, with oauthlib's rules."""

import os
import secrets
import time
from base64 import b64encode
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mitmproxy import http
from oauthlib.oauth1.rfc5849 import signature
from oauthlib.oauth1.rfc5849.parameters import prepare_headers

KEY = cast(RSAPrivateKey, load_pem_private_key(Path(os.environ["PRIVATE_KEY"]).read_bytes(), None))
UPSTREAM = os.environ["UPSTREAM"]


def requestheaders(flow: http.HTTPFlow) -> None:
    """Sign, and stream the body: by default mitmproxy holds bodies whole."""
    request = flow.request
    request.stream = True
    oauth = [
        ("oauth_consumer_key", os.environ["CONSUMER_KEY"]),
        ("oauth_nonce", secrets.token_hex(16)),
        ("oauth_signature_method", "RSA-SHA1"),
        ("oauth_timestamp", str(int(time.time()))),
        ("oauth_token", os.environ["TOKEN"]),
        ("oauth_version", "1.0"),
    ]
    uri = UPSTREAM + request.path
    parameters = signature.collect_parameters(uri_query=urlsplit(uri).query) + oauth
    base_string = signature.signature_base_string(
        request.method,
        signature.base_string_uri(uri),
        signature.normalize_parameters(parameters),
    )
    signed = KEY.sign(base_string.encode(), PKCS1v15(), SHA1())
    oauth.append(("oauth_signature", b64encode(signed).decode()))
    request.headers["Authorization"] = prepare_headers(oauth)["Authorization"]


def responseheaders(flow: http.HTTPFlow) -> None:
    """Stream the body."""
    assert flow.response is not None
    flow.response.stream = True
