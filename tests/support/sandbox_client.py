"""A client of the sandbox that signs with oauthlib: it shares no code with either side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from oauthlib.common import generate_nonce
from oauthlib.oauth1 import SIGNATURE_RSA
from oauthlib.oauth1 import Client as Signer
from oauthlib.oauth1.rfc5849 import signature as rfc5849

from sidecar.sandbox import Sandbox
from tests.support.wire import Client, Response

OAUTH = "/plugins/servlet/oauth/"
Pairs = Sequence[tuple[str, str]]


class SandboxClient(Client):
    """Requests to a sandbox below its context path, signed unless told otherwise."""

    sandbox: Sandbox
    """Where it is in this process."""

    def __init__(
        self, sandbox: Sandbox | str, key: RSAPrivateKey, token: str | None = None
    ) -> None:
        if isinstance(sandbox, Sandbox):
            self.sandbox = sandbox
        address = urlsplit(sandbox if isinstance(sandbox, str) else sandbox.url)
        super().__init__(address.hostname or "", address.port or 0)
        self.context = address.path
        self.key = key
        self.token = token

    def protocol_parameters(self, **changes: str | None) -> list[tuple[str, str]]:
        """The six and the version, with changes; None leaves one out."""
        parameters: dict[str, str | None] = {
            "oauth_consumer_key": "OauthKey",
            "oauth_token": self.token,
            "oauth_signature_method": SIGNATURE_RSA,
            "oauth_timestamp": str(int(time.time())),
            "oauth_nonce": generate_nonce(),
            "oauth_version": "1.0",
        }
        parameters |= changes
        return [(name, value) for name, value in parameters.items() if value is not None]

    def sign(
        self,
        method: str,
        target: str,
        *,
        parameters: Pairs | None = None,
        also: Pairs = (),
        origin: str | None = None,
    ) -> str:
        """Give an Authorization value for a target; `also` are the parameters of a form body."""
        parts = list(self.protocol_parameters() if parameters is None else parameters)
        path, _, query = target.partition("?")
        pairs = [*parts, *parse_qsl(query, keep_blank_values=True), *also]
        base = rfc5849.signature_base_string(
            method,
            (origin or f"http://{self.authority}") + path,
            rfc5849.normalize_parameters(pairs),
        )
        signature = rfc5849.sign_rsa_sha1_with_client(base, Signer("", rsa_key=self.key))
        escape = rfc5849.utils.escape
        signed = [*parts, ("oauth_signature", signature)]
        return "OAuth " + ", ".join(f'{name}="{escape(value)}"' for name, value in signed)

    async def call(
        self, method: str, path: str, *fields: tuple[str, str], body: bytes = b"", **signing: Any
    ) -> Response:
        """One signed request."""
        target = self.context + path
        authorization = ("Authorization", self.sign(method, target, **signing))
        return await self.request(method, target, authorization, *fields, body=body)

    async def token_call(self, endpoint: str, **changes: str | None) -> Response:
        """One signed POST to a token endpoint, with changed protocol parameters."""
        parameters = self.protocol_parameters(**changes)
        return await self.call("POST", OAUTH + endpoint, parameters=parameters)

    async def decide(self, token: str, button: str = "approve=Allow") -> Response:
        """Press a button on the approval page."""
        target = f"{self.context}{OAUTH}authorize"
        page = (await self.get(f"{target}?oauth_token={token}")).body.decode()
        xsrf_token = page.partition('name="atl_token" value="')[2].partition('"')[0]
        body = f"oauth_token={token}&atl_token={xsrf_token}&{button}".encode()
        form = ("Content-Type", "application/x-www-form-urlencoded")
        return await self.request("POST", target, form, body=body)


def problem(answer: Response) -> dict[str, str]:
    """The parameters in the form body of a refusal."""
    return dict(parse_qsl(answer.body.decode(), keep_blank_values=True))


def challenges(answer: Response) -> list[dict[str, str]]:
    """The parameters of each WWW-Authenticate field."""
    values = answer.all("WWW-Authenticate")
    assert all(value.startswith("OAuth ") for value in values)
    parts = [value.removeprefix("OAuth ").split(", ") for value in values]
    return [
        {name: unquote(value.strip('"')) for name, _, value in (each.partition("=") for each in of)}
        for of in parts
    ]
