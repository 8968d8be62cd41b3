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
from sidecar.sandbox.java import JavaException
from sidecar.sandbox.link import Link
from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.provider import Grant, Provider
from sidecar.sandbox.refusals import MayNotLogIn
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

    @property
    def link(self) -> Link:
        return self.provider.validator.link

    @property
    def faults(self) -> Faults:
        return self.provider.faults

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
            return Message("POST", URI, pairs, more)
        return Message("POST", URI, [*pairs, signed], more)

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


WRONG = base64.b64encode(bytes(256)).decode()
"""A signature as long as the key's, and wrong."""


def refused(act: Callable[[], object]) -> OAuthProblem:
    with pytest.raises(OAuthProblem) as caught:
        act()
    return caught.value


@pytest.fixture
def world(private_key: RSAPrivateKey) -> World:
    faults = Faults()

    def now() -> float:
        return this.time

    link = Link("OauthKey", private_key.public_key(), "An application", execute_as="builds")
    this = World(Provider(Validator(link, faults, now), faults, now), private_key)
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
    bad: dict[str, str | None] = {"oauth_callback": "nonsense", "oauth_signature": WRONG}
    world.link.three_legged = False
    assert world.problem(act, **bad, oauth_consumer_key=None) == "parameter_absent"
    assert world.problem(act, **bad, oauth_consumer_key="x") == "consumer_key_unknown"
    assert world.problem(act, **bad) == "permission_denied"
    world.link.three_legged = True
    assert world.problem(act, **bad) == "parameter_rejected"
    bad["oauth_callback"] = "oob"
    assert world.problem(act, **bad) == "signature_invalid"


def test_without_a_callback_a_verifier_is_not_needed(world: World) -> None:
    reply = world.provider.request_token(world.message())
    token = world.provider.undecided(dict(parse_qsl(reply))["oauth_token"])
    assert world.provider.decide(token, "alana", approve=True) is None
    assert world.provider.access_token(world.message(oauth_token=token.token)).token


def test_a_renewal_keeps_the_secret_and_its_session_counts_from_then_on(world: World) -> None:
    old = world.provider.grant("alana", session_expires_in=100)
    world.time += 99
    new = world.provider.access_token(world.message(**renewal(old)))
    assert new.secret == old.secret
    held = world.provider.access_tokens[new.token]
    assert held.session_expires_at == world.time + new.session_expires_in


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
    world.link.callback_url = link
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
    wrong: dict[str, str | None] = {
        "oauth_consumer_key": "other",
        "oauth_verifier": None,
        "oauth_signature": WRONG,
    }
    assert world.problem(act, **wrong) == "parameter_absent"
    assert world.problem(act, **wrong, oauth_token="x") == "token_rejected"
    undecided = world.request_token()
    assert world.problem(act, **wrong, oauth_token=undecided) == "permission_unknown"
    denied = world.request_token()
    world.provider.decide(world.provider.undecided(denied), "alana", approve=False)
    assert world.problem(act, **wrong, oauth_token=denied) == "permission_denied"
    token, verifier = world.approved()
    wrong["oauth_token"] = token
    assert world.problem(act, **wrong) == "token_rejected"
    wrong["oauth_consumer_key"] = "OauthKey"
    assert world.problem(act, **wrong) == "parameter_absent"
    assert world.problem(act, **wrong | {"oauth_verifier": "nope"}) == "token_rejected"
    right = {"oauth_token": token, "oauth_verifier": verifier}
    assert world.problem(act, **right, oauth_signature=WRONG) == "signature_invalid"
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
    bad = {"oauth_signature": WRONG}
    assert world.problem(act, oauth_token=old.token, **bad) == "parameter_absent"
    assert world.problem(act, **renewal(old, oauth_session_handle="x", **bad)) == "token_rejected"
    assert world.problem(act, **renewal(old, **bad)) == "signature_invalid"
    world.time += 100
    assert world.problem(act, **renewal(old, **bad)) == "permission_denied"


def test_a_renewal_compares_no_consumer(world: World) -> None:
    old = world.provider.grant("alana")
    assert world.provider.access_token(world.message(**renewal(old, oauth_consumer_key="x"))).token


# ── resources ───────────────────────────────────────────────────────────────────────────────


def test_a_resource_checks_its_token_first_and_the_link_last(world: World) -> None:
    act = world.provider.authenticate
    token = world.provider.grant("retired", expires_in=1000).token
    everything: dict[str, str | None] = {
        "oauth_token": "x",
        "oauth_consumer_key": "other",
        "oauth_signature": WRONG,
    }
    world.link.three_legged = False
    world.time += 2000
    assert world.problem(act, **everything) == "token_rejected"
    everything["oauth_token"] = token
    assert world.problem(act, **everything) == "token_rejected"
    everything["oauth_consumer_key"] = "OauthKey"
    assert world.problem(act, **everything) == "token_expired"
    world.time = NOW
    assert world.problem(act, **everything) == "signature_invalid"
    del everything["oauth_signature"]
    assert world.problem(act, **everything) == "permission_denied"
    world.link.three_legged = True
    with pytest.raises(MayNotLogIn):
        act(world.message(**everything))


def test_a_request_token_is_no_access_token(world: World) -> None:
    token = world.request_token()
    assert world.problem(world.provider.authenticate, oauth_token=token) == "token_rejected"


# ── two-legged ──────────────────────────────────────────────────────────────────────────────

REQUESTOR = "xoauth_requestor_id"


def acts_as(world: World, *more: tuple[str, str], **changes: str | None) -> str | None:
    """The user of a two-legged request with these parameters; "-" where it may not log in."""
    try:
        return world.provider.authenticate(world.message(*more, oauth_token="", **changes))
    except MayNotLogIn:
        return "-"


def test_two_legged_checks_the_consumer_first_and_its_user_last(world: World) -> None:
    act = world.provider.authenticate
    bad: dict[str, str | None] = {"oauth_token": "", "oauth_signature": WRONG}
    assert world.problem(act, **bad, oauth_consumer_key="x") == "consumer_key_unknown"
    assert world.problem(act, **bad, oauth_signature_method="X") == "signature_method_rejected"
    twice = ("oauth_token", "")
    assert world.problem(act, twice, **bad, oauth_version="2") == "parameter_rejected"
    assert world.problem(act, **bad) == "signature_invalid"
    assert acts_as(world) == "-"
    world.faults.link_gone = True
    assert world.problem(act, oauth_token="") == "consumer_key_unknown"


@pytest.mark.parametrize("two_legged", [True, False])
@pytest.mark.parametrize("impersonation", [True, False])
@pytest.mark.parametrize(
    ("parameters", "user"),
    [
        ([], None),
        ([(REQUESTOR, "alana")], "alana"),
        ([("user_id", "alana")], "alana"),
        ([("user_id", "william"), (REQUESTOR, "alana"), (REQUESTOR, "admin")], "alana"),
        ([("user_id", "alana"), (REQUESTOR, "")], "nobody"),
        ([(REQUESTOR, "no such user")], "nobody"),
        ([("user_id", "")], "nobody"),
        ([(REQUESTOR, "retired")], "-"),
    ],
)
def test_a_two_legged_request_names_its_user_or_is_the_links(
    world: World,
    parameters: list[tuple[str, str]],
    user: str | None,
    two_legged: bool,
    impersonation: bool,
) -> None:
    world.link.two_legged, world.link.impersonation = two_legged, impersonation
    allowed = impersonation if parameters else two_legged
    expected = {None: "builds", "nobody": None}.get(user, user)
    assert acts_as(world, *parameters) == (expected if allowed else "-")


@pytest.mark.parametrize(
    ("execute_as", "user"), [(None, None), ("", None), ("gone", None), ("retired", "-")]
)
def test_a_link_may_execute_as_nobody(
    world: World, execute_as: str | None, user: str | None
) -> None:
    world.link.two_legged, world.link.execute_as = True, execute_as
    assert acts_as(world) == user


def test_a_requestor_in_the_header_is_ignored(world: World) -> None:
    world.link.two_legged = True
    assert acts_as(world, **{REQUESTOR: "alana"}) == "builds"


def test_faults_change_the_link_and_give_it_back(world: World) -> None:
    assert acts_as(world) == "-"
    world.faults.two_legged, world.faults.execute_as = True, "alana"
    assert acts_as(world) == "alana"
    world.faults.impersonation = True
    assert acts_as(world, ("user_id", "admin")) == "admin"
    world.faults.clear()
    assert acts_as(world) == "-"
    assert world.link.execute_as == "builds"


def test_any_problem_can_be_named_in_place_of_a_signature_s(world: World) -> None:
    world.faults.problem = "token_revoked"
    token = world.provider.grant("alana").token
    assert world.problem(world.provider.authenticate, oauth_token=token) == "token_revoked"
    assert world.problem(world.provider.request_token) == "token_revoked"


def test_the_signature_of_a_key_of_another_size_breaks_jira(world: World) -> None:
    token = world.provider.grant("alana").token
    with pytest.raises(JavaException):
        world.provider.authenticate(world.message(oauth_token=token, oauth_signature="YmFk"))


def test_tables_stay_within_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.sandbox.provider.MOST_TOKENS", 3)
    tokens = [world.provider.grant("alana").token for _ in range(5)]
    assert list(world.provider.access_tokens) == tokens[2:]
