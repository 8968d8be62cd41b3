from __future__ import annotations

import base64
import time
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from oauthlib.common import Request
from oauthlib.oauth1 import SIGNATURE_RSA, SIGNATURE_TYPE_QUERY
from oauthlib.oauth1 import Client as Signer

from sidecar.sandbox.faults import Faults
from sidecar.sandbox.java import JavaException
from sidecar.sandbox.link import Link
from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.validator import Validator

NOW = 1_800_000_000.0
URI = "http://jira.example.com/rest/api/2/myself"


class World:
    """A validator whose clock stands still, and oauthlib signing for it."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self.key = key
        self.time = NOW
        self.faults = Faults()
        link = Link("OauthKey", key.public_key(), "An application")
        self.validator = Validator(link, self.faults, lambda: self.time)

    def message(self, *more: tuple[str, str], **changes: str | None) -> Message:
        """A message that oauthlib has signed; `more` and `changes` come in on the way."""
        signer = Signer(
            "OauthKey",
            resource_owner_key=changes.pop("token", "T"),
            signature_method=SIGNATURE_RSA,
            signature_type=SIGNATURE_TYPE_QUERY,
            rsa_key=self.key,
            timestamp=changes.pop("timestamp", str(int(self.time))),
            nonce=changes.pop("nonce", None),
        )
        uri, _, _ = signer.sign(URI + "?jql=a%20%2B%C3%A9&jql=")
        signed = dict(changes)
        pairs = parse_qsl(Request(uri).uri_query, keep_blank_values=True)
        pairs = [(name, signed.get(name, value) or "") for name, value in pairs
                 if signed.get(name, value) is not None]  # fmt: skip
        added = [(name, value) for name, value in signed.items()
                 if value is not None and name not in dict(pairs)]  # fmt: skip
        return Message("GET", URI, [*pairs, *added, *more])

    def problem(self, *more: tuple[str, str], **changes: str | None) -> dict[str, str]:
        with pytest.raises(OAuthProblem) as caught:
            self.validator.validate(self.message(*more, **changes))
        return dict(caught.value.parameters)


@pytest.fixture
def world(private_key: RSAPrivateKey) -> World:
    return World(private_key)


def test_what_oauthlib_signs_is_right(world: World) -> None:
    world.validator.validate(world.message())


def test_checks_come_in_their_order(world: World) -> None:
    everything: dict[str, str | None] = {
        "oauth_signature_method": "PLAINTEXT",
        "oauth_version": "2.0",
        "timestamp": "1",
        "nonce": "again",
        "oauth_signature": base64.b64encode(bytes(256)).decode(),
    }
    world.validator.validate(world.message(nonce="again"))
    duplicate = ("oauth_nonce", "second")
    assert world.problem(duplicate, **everything)["oauth_problem"] == "signature_method_rejected"
    everything["oauth_signature_method"] = "RSA-SHA1"
    assert world.problem(duplicate, **everything)["oauth_problem"] == "parameter_rejected"
    for name, better, problem in (
        ("oauth_version", "1.0", "version_rejected"),
        ("timestamp", str(int(NOW)), "timestamp_refused"),
        ("nonce", "new", "nonce_used"),
    ):
        assert world.problem(**everything)["oauth_problem"] == problem
        everything[name] = better
    assert world.problem(**everything)["oauth_problem"] == "signature_invalid"


def test_another_method_is_refused_without_a_list_of_others(world: World) -> None:
    said = world.problem(oauth_signature_method="HMAC-SHA1")
    assert said == {"oauth_problem": "signature_method_rejected"}


def test_what_is_repeated_is_listed_with_all_its_values(world: World) -> None:
    said = world.problem(("oauth_token", "a b&"), ("oauth_nonce", "m"), nonce="n")
    listed = set(said["oauth_parameters_rejected"].split("&"))
    assert listed == {"oauth_nonce=n", "oauth_nonce=m", "oauth_token=T", "oauth_token=a%20b%26"}


@pytest.mark.parametrize(
    "name",
    [
        *("consumer_key", "token", "token_secret", "callback", "signature_method"),
        *("signature", "timestamp", "nonce", "version"),
    ],
)
def test_nine_parameters_stand_once(world: World, name: str) -> None:
    twice = ("oauth_" + name, "x"), ("oauth_" + name, "x")
    assert world.problem(*twice)["oauth_problem"] == "parameter_rejected"


@pytest.mark.parametrize("name", ["oauth_verifier", "oauth_session_handle", "oauth_body_hash"])
def test_other_parameters_may_be_repeated(world: World, name: str) -> None:
    assert world.problem((name, "x"), (name, "y"))["oauth_problem"] == "signature_invalid"


@pytest.mark.parametrize("version", ["1", " 1.00 ", "1d", "NaN", None])
def test_any_number_that_is_one_is_the_version(world: World, version: str | None) -> None:
    # The version passes; what fails then is the signature, which oauthlib made over another.
    assert world.problem(oauth_version=version)["oauth_problem"] == "signature_invalid"


@pytest.mark.parametrize("version", ["1.1", "2", "0", "-Infinity"])
def test_another_number_is_rejected(world: World, version: str) -> None:
    said = world.problem(oauth_version=version)
    assert said == {"oauth_problem": "version_rejected", "oauth_acceptable_versions": "1.0-1.0"}


@pytest.mark.parametrize(
    "changes", [{"oauth_version": "one"}, {"oauth_timestamp": "now"}, {"oauth_timestamp": ""}]
)
def test_what_is_no_number_breaks_jira(world: World, changes: dict[str, str | None]) -> None:
    with pytest.raises(JavaException):
        world.validator.validate(world.message(**changes))


@pytest.mark.parametrize(
    ("now", "earliest", "latest"),
    [(NOW, -300, 300), (NOW + 0.499, -300, 300), (NOW + 0.5, -299, 301), (NOW + 0.9, -299, 301)],
)
def test_the_window_is_rounded_to_seconds(
    world: World, now: float, earliest: int, latest: int
) -> None:
    for offset, accepted in (
        (earliest, True), (latest, True), (earliest - 1, False), (latest + 1, False),
    ):  # fmt: skip
        world.time = now
        timestamp = str(int(NOW) + offset)
        if accepted:
            world.validator.validate(world.message(timestamp=timestamp))
        else:
            acceptable = f"{int(NOW) + earliest}-{int(NOW) + latest}"
            said = world.problem(timestamp=timestamp)["oauth_acceptable_timestamps"]
            assert said == acceptable


def test_a_nonce_is_used_up_even_by_a_wrong_signature(world: World) -> None:
    said = world.problem(nonce="once", oauth_signature=base64.b64encode(bytes(256)).decode())
    assert said["oauth_problem"] == "signature_invalid"
    assert world.problem(nonce="once")["oauth_problem"] == "nonce_used"


def test_another_node_knows_no_nonce_of_this_one(world: World) -> None:
    message = world.message()
    world.validator.validate(message)
    other = Message(message.method, message.uri, message.parameters, node=1)
    world.validator.validate(other)
    with pytest.raises(OAuthProblem):
        world.validator.validate(other)


def test_a_wrong_signature_is_shown_jiras_base_string(world: World) -> None:
    message = world.message(("a", "b c"))
    with pytest.raises(OAuthProblem) as caught:
        world.validator.validate(message)
    assert dict(caught.value.parameters) == {
        "oauth_problem": "signature_invalid",
        "oauth_signature": message.get("oauth_signature"),
        "oauth_signature_base_string": message.signature_base_string(),
        "oauth_signature_method": "RSA-SHA1",
    }


@pytest.mark.parametrize("size", [1024, 3072])
def test_a_key_of_another_size_breaks_jira(world: World, size: int) -> None:
    world.key = generate_private_key(65537, size)
    with pytest.raises(JavaException, match="Bad signature length"):
        world.validator.validate(world.message())


def test_another_key_of_the_same_size_is_a_wrong_signature(world: World) -> None:
    world.key = generate_private_key(65537, 2048)
    assert world.problem()["oauth_problem"] == "signature_invalid"


def test_a_link_without_a_key_breaks_jira(world: World) -> None:
    world.validator.link.public_key = None
    with pytest.raises(JavaException, match="need to set public key"):
        world.validator.validate(world.message())


def test_nonces_can_be_refused_as_often_as_asked_for(world: World) -> None:
    world.faults.nonce_used = 1
    assert world.problem()["oauth_problem"] == "nonce_used"
    world.validator.validate(world.message())


def test_the_clock_of_the_sandbox_is_the_machines(private_key: RSAPrivateKey) -> None:
    world = World(private_key)
    world.time = time.time()
    world.validator.validate(world.message(timestamp=str(int(time.time()))))
