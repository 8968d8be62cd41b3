from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox.faults import Faults
from sidecar.sandbox.message import JavaException, Message, OAuthProblem
from sidecar.sandbox.provider import Grant, Provider
from sidecar.sandbox.validator import Validator

NOW = 1_800_000_000.0
URI = "http://jira.example.com/plugins/servlet/oauth/access-token"


@dataclass
class World:
    """A provider whose clock stands still, and a consumer that signs for it."""

    provider: Provider
    key: RSAPrivateKey
    time: float = NOW
    nonces: itertools.count[int] = field(default_factory=itertools.count)

    def message(self, *more: tuple[str, str], **changes: str | None) -> Message:
        """A message with a right signature over what it says, `changes` included."""
        parameters: dict[str, str | None] = {
            "oauth_consumer_key": "OauthKey",
            "oauth_signature_method": "RSA-SHA1",
            "oauth_timestamp": str(int(self.time)),
            "oauth_nonce": f"n{next(self.nonces)}",
        }
        parameters |= changes
        pairs = [*((name, value) for name, value in parameters.items() if value is not None), *more]
        base = Message("POST", URI, pairs).signature_base_string()
        signature = self.key.sign(base.encode(), PKCS1v15(), hashes.SHA1())
        signed = ("oauth_signature", base64.b64encode(signature).decode())
        if "oauth_signature" in changes:
            return Message("POST", URI, pairs)
        return Message("POST", URI, [*pairs, signed])

    def request_token(self, callback: str = "oob") -> str:
        reply = self.provider.request_token(self.message(oauth_callback=callback))
        return dict(parse_qsl(reply))["oauth_token"]

    def approved(self) -> tuple[str, str]:
        """A request token that its user has allowed, with the verifier."""
        token = self.provider.undecided(self.request_token())
        self.provider.decide(token, "alana", approve=True)
        assert token.verifier is not None
        return token.token, token.verifier

    def problem(
        self, act: Callable[[Message], object], *more: tuple[str, str], **how: str | None
    ) -> str:
        """What the provider says against a message."""
        return refused(lambda: act(self.message(*more, **how))).problem


def refused(act: Callable[[], object]) -> OAuthProblem:
    with pytest.raises(OAuthProblem) as caught:
        act()
    return caught.value


@pytest.fixture
def world(private_key: RSAPrivateKey) -> World:
    faults = Faults()

    def now() -> float:
        return this.time

    validator = Validator(private_key.public_key(), faults, now)
    this = World(Provider("OauthKey", validator, faults, now), private_key)
    return this


# ── request-token ───────────────────────────────────────────────────────────────────────────


def test_a_request_token_is_two_times_32_alphanumerics(world: World) -> None:
    reply = world.provider.request_token(world.message(oauth_callback="oob"))
    assert list(dict(parse_qsl(reply))) == [
        "oauth_token",
        "oauth_token_secret",
        "oauth_callback_confirmed",
    ]
    token, secret, confirmed = dict(parse_qsl(reply)).values()
    assert len(token) == len(secret) == 32
    assert (token + secret).isalnum()
    assert confirmed == "true"


def test_a_request_token_is_refused_in_order(world: World) -> None:
    act = world.provider.request_token
    assert world.problem(act, oauth_consumer_key=None) == "parameter_absent"
    assert world.problem(act) == "parameter_absent"
    assert (
        world.problem(act, oauth_consumer_key="x", oauth_callback="oob") == "consumer_key_unknown"
    )
    bad = {"oauth_callback": "nonsense", "oauth_signature": "bad"}
    assert world.problem(act, **bad) == "signature_invalid"
    assert world.problem(act, oauth_callback="nonsense") == "parameter_rejected"


@pytest.mark.parametrize("callback", ["http://127.0.0.1:4321/cb?x=1", "https://e.example/", "oob"])
def test_any_absolute_callback_will_do(world: World, callback: str) -> None:
    assert world.request_token(callback)


@pytest.mark.parametrize(
    "callback", ["/cb", "ftp://h/", "javascript:alert(1)", "http://", "//h/", ""]
)
def test_other_callbacks_are_rejected(world: World, callback: str) -> None:
    problem = world.problem(world.provider.request_token, oauth_callback=callback)
    assert problem == "parameter_rejected"


# ── authorize ───────────────────────────────────────────────────────────────────────────────


def test_the_authorize_page_checks_its_token_first(world: World) -> None:
    provider = world.provider
    token = world.request_token()
    assert refused(lambda: provider.undecided(None)).problem == "parameter_absent"
    assert refused(lambda: provider.undecided("x")).problem == "token_rejected"
    access = provider.grant("alana").token
    assert refused(lambda: provider.undecided(access)).problem == "token_rejected"
    provider.decide(provider.undecided(token), "alana", approve=True)
    world.time += 700
    assert refused(lambda: provider.undecided(token)).problem == "token_used"


@pytest.mark.parametrize(("age", "problem"), [(599, None), (600, "token_expired")])
def test_a_request_token_lives_600_seconds(world: World, age: int, problem: str | None) -> None:
    token = world.request_token()
    world.time += age
    if problem is None:
        assert world.provider.undecided(token).token == token
    else:
        assert refused(lambda: world.provider.undecided(token)).problem == problem


@pytest.mark.parametrize(
    ("requested", "link", "goes_to"),
    [
        ("oob", None, None),
        ("oob", "https://link.example/cb", "https://link.example/cb?"),
        ("http://127.0.0.1:1/cb", "https://link.example/cb", "http://127.0.0.1:1/cb?"),
        ("http://127.0.0.1:1/cb?state=a%26b", None, "http://127.0.0.1:1/cb?state=a%26b&"),
    ],
)
@pytest.mark.parametrize("approve", [True, False])
def test_the_decision_goes_to_the_request_s_callback_then_to_the_link_s(
    world: World, requested: str, link: str | None, goes_to: str | None, approve: bool
) -> None:
    world.provider.callback_url = link
    token = world.provider.undecided(world.request_token(requested))
    where = world.provider.decide(token, "alana", approve=approve)
    if goes_to is None:
        assert where is None
    else:
        verifier = token.verifier if approve else "denied"
        assert where == f"{goes_to}oauth_token={token.token}&oauth_verifier={verifier}"


def test_a_verifier_is_6_alphanumerics(world: World) -> None:
    _, verifier = world.approved()
    assert len(verifier) == 6
    assert verifier.isalnum()


# ── access-token ────────────────────────────────────────────────────────────────────────────


def test_an_exchange_is_refused_in_order_and_then_tried_again(world: World) -> None:
    act = world.provider.access_token
    wrong = {"oauth_verifier": "nope", "oauth_signature": "bad"}
    assert world.problem(act) == "parameter_absent"
    assert world.problem(act, oauth_token="x") == "token_rejected"
    undecided = world.request_token()
    assert world.problem(act, oauth_token=undecided, **wrong) == "permission_unknown"
    denied = world.request_token()
    world.provider.decide(world.provider.undecided(denied), "alana", approve=False)
    assert world.problem(act, oauth_token=denied, **wrong) == "permission_denied"
    token, verifier = world.approved()
    assert world.problem(act, oauth_token=token, oauth_signature="bad") == "parameter_absent"
    assert world.problem(act, oauth_token=token, **wrong) == "token_rejected"
    right = {"oauth_token": token, "oauth_verifier": verifier}
    assert world.problem(act, **right, oauth_signature="bad") == "signature_invalid"
    other = {**right, "oauth_consumer_key": "other"}
    assert world.problem(act, **other) == "token_rejected"
    assert act(world.message(**right)).token
    assert world.problem(act, **right) == "token_rejected"


def test_an_exchange_comes_too_late_before_anything_else(world: World) -> None:
    token = world.request_token()
    world.time += 600
    assert world.problem(world.provider.access_token, oauth_token=token) == "token_expired"


def test_an_access_token_says_how_long_it_lives(world: World) -> None:
    token, verifier = world.approved()
    message = world.message(oauth_token=token, oauth_verifier=verifier)
    grant = world.provider.access_token(message)
    reply = dict(parse_qsl(grant.form()))
    assert reply == {
        "oauth_token": grant.token,
        "oauth_token_secret": grant.secret,
        "oauth_expires_in": "157680000",
        "oauth_session_handle": grant.session_handle,
        "oauth_authorization_expires_in": "160272000",
    }


def renewal(grant: Grant, **changes: str | None) -> dict[str, str | None]:
    return {"oauth_token": grant.token, "oauth_session_handle": grant.session_handle} | changes


def test_a_renewal_replaces_token_and_handle_at_once(world: World) -> None:
    old = world.provider.grant("alana", expires_in=10)
    world.time += 20
    new = world.provider.access_token(world.message(**renewal(old)))
    assert new.token != old.token
    assert new.session_handle != old.session_handle
    assert world.problem(world.provider.authenticate, oauth_token=old.token) == "token_rejected"
    assert world.provider.authenticate(world.message(oauth_token=new.token)) == "alana"
    assert world.problem(world.provider.access_token, **renewal(old)) == "token_rejected"


def test_a_renewal_is_refused_in_order(world: World) -> None:
    act = world.provider.access_token
    old = world.provider.grant("alana", session_expires_in=100)
    assert world.problem(act, oauth_token=old.token) == "parameter_absent"
    assert world.problem(act, **renewal(old, oauth_session_handle="x")) == "token_rejected"
    assert world.problem(act, **renewal(old, oauth_consumer_key="x")) == "token_rejected"
    assert world.problem(act, **renewal(old, oauth_signature="bad")) == "signature_invalid"
    world.time += 100
    assert world.problem(act, **renewal(old, oauth_signature="bad")) == "permission_denied"


# ── resources ───────────────────────────────────────────────────────────────────────────────


def test_a_resource_checks_everything_in_order(world: World) -> None:
    act = world.provider.authenticate
    token = world.provider.grant("alana", expires_in=1000).token
    everything: dict[str, str | None] = {
        "oauth_token": "x",
        "oauth_consumer_key": "other",
        "oauth_signature_method": "PLAINTEXT",
        "oauth_version": "2.0",
        "oauth_timestamp": "1",
        "oauth_nonce": "again",
        "oauth_signature": "bad",
    }
    world.provider.validator.nonces["OauthKey", "again"] = 0
    duplicate = ("oauth_nonce", "second")
    world.time += 2000
    for name, value, problem in (
        ("oauth_token", token, "token_rejected"),
        ("oauth_consumer_key", "OauthKey", "token_rejected"),
        ("", "", "token_expired"),
        ("oauth_signature_method", "RSA-SHA1", "signature_method_rejected"),
        ("duplicate", "", "parameter_rejected"),
        ("oauth_version", "1.0", "version_rejected"),
        ("oauth_timestamp", str(int(NOW)), "timestamp_refused"),
        ("oauth_nonce", "new", "nonce_used"),
    ):
        more = [] if "duplicate" in everything else [duplicate]
        assert (
            world.problem(act, *more, **{k: v for k, v in everything.items() if k != "duplicate"})
            == problem
        )
        if not name:
            world.time = NOW
        else:
            everything[name] = value
    del everything["duplicate"]
    assert world.problem(act, **everything) == "signature_invalid"


def test_a_request_token_is_no_access_token(world: World) -> None:
    token = world.request_token()
    assert world.problem(world.provider.authenticate, oauth_token=token) == "token_rejected"


@pytest.mark.parametrize(
    ("off", "accepted"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_a_timestamp_may_be_300_seconds_off(world: World, off: int, accepted: bool) -> None:
    token = world.provider.grant("alana").token
    message = world.message(oauth_token=token, oauth_timestamp=str(int(NOW) + off))
    if accepted:
        assert world.provider.authenticate(message) == "alana"
        return
    problem = refused(lambda: world.provider.authenticate(message))
    acceptable = dict(problem.parameters)["oauth_acceptable_timestamps"]
    assert acceptable == f"{int(NOW) - 300}-{int(NOW) + 300}"


def test_a_timestamp_that_is_no_number_breaks_jira(world: World) -> None:
    token = world.provider.grant("alana").token
    with pytest.raises(JavaException):
        world.provider.authenticate(world.message(oauth_token=token, oauth_timestamp="now"))


def test_a_nonce_is_used_up_even_by_a_wrong_signature(world: World) -> None:
    act, token = world.provider.authenticate, world.provider.grant("alana").token
    once = {"oauth_token": token, "oauth_nonce": "once"}
    assert world.problem(act, **once, oauth_signature="bad") == "signature_invalid"
    assert world.problem(act, **once) == "nonce_used"


def test_a_wrong_signature_is_shown_jiras_base_string(world: World) -> None:
    token = world.provider.grant("alana").token
    message = world.message(("a", "b c"), oauth_token=token, oauth_signature="YmFk")
    problem = refused(lambda: world.provider.authenticate(message))
    assert dict(problem.parameters) == {
        "oauth_problem": "signature_invalid",
        "oauth_signature": "YmFk",
        "oauth_signature_base_string": message.signature_base_string(),
        "oauth_signature_method": "RSA-SHA1",
    }


def test_without_a_public_key_no_signature_is_right(world: World) -> None:
    token = world.provider.grant("alana").token
    world.provider.validator.public_key = None
    assert world.problem(world.provider.authenticate, oauth_token=token) == "signature_invalid"


def test_tables_stay_within_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.sandbox.provider.MOST_TOKENS", 3)
    tokens = [world.provider.grant("alana").token for _ in range(5)]
    assert list(world.provider.access_tokens) == tokens[2:]
