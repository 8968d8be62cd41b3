"""How the provider refuses: with a problem, with an echo of what was sent, or with a page."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

from sidecar.sandbox.answers import FORM, Answer
from sidecar.sandbox.message import Message, OAuthProblem, percent_encode

STATUS: Final = {
    **dict.fromkeys(
        (
            *("parameter_absent", "parameter_rejected", "version_rejected"),
            *("signature_method_rejected", "timestamp_refused"),
        ),
        400,
    ),
    **dict.fromkeys(
        (
            *("nonce_used", "signature_invalid", "consumer_key_unknown", "consumer_key_rejected"),
            *("token_rejected", "token_expired", "token_used", "token_revoked"),
            *("permission_unknown", "permission_denied", "additional_authorization_required"),
        ),
        401,
    ),
    **dict.fromkeys(("user_refused", "consumer_key_refused"), 503),
}
"""net.oauth's table; a problem that it does not know is a 403."""


class MayNotLogIn(Exception):
    """The signature is right, and its user may not log in."""


def answer_problem(problem: OAuthProblem, realm: str) -> Answer:
    """Refuse with the parameters in WWW-Authenticate and, form-encoded, in the body.

    Their order varies (a HashMap's).
    """
    shuffled = random.sample(problem.parameters, len(problem.parameters))
    answer = _refuse(STATUS.get(problem.problem, 403), shuffled, realm)
    answer.body, answer.content_type = urlencode(shuffled).encode(), FORM + ";charset=UTF-8"
    return answer


def answer_echo(status: int, message: Message, realm: str) -> Answer:
    """Refuse without a problem: the challenge repeats what was sent, the body is empty."""
    return _refuse(status, message.parameters, realm)


def _refuse(status: int, parameters: Iterable[tuple[str, str]], realm: str) -> Answer:
    """Give the challenge with these parameters; on a 401 one with the realm alone comes first."""
    pairs = [
        f'{percent_encode(name)}="{percent_encode(value)}"'
        for name, value in parameters
        if name.startswith("oauth_")
    ]
    challenges = [", ".join([realm_challenge(realm), *pairs])]
    if status == 401:
        challenges.insert(0, realm_challenge(realm))
    return Answer(status, fields=[("WWW-Authenticate", challenge) for challenge in challenges])


def realm_challenge(realm: str) -> str:
    """The WWW-Authenticate value that every 401 begins with."""
    return f'OAuth realm="{percent_encode(realm)}"'
