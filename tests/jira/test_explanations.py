"""Every problem is explained: what it means, where it comes from, what to do."""

from __future__ import annotations

import pytest

from sidecar.jira.explanations import EXPLANATIONS, Remedy
from sidecar.jira.problems import Problem, explain

KNOWN = [
    "parameter_absent", "parameter_rejected", "version_rejected", "signature_method_rejected",
    "timestamp_refused", "nonce_used", "signature_invalid", "consumer_key_unknown",
    "consumer_key_rejected", "consumer_key_refused", "token_rejected", "token_expired",
    "token_used", "token_revoked", "permission_unknown", "permission_denied", "user_refused",
    "additional_authorization_required", "anonymous", "user_may_not_log_in", "not_jira",
    "key_size_mismatch", "three_legged_not_allowed", "two_legged_not_allowed",
]  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_every_problem_of_jira_and_of_the_extension_is_explained(name: str) -> None:
    problem = Problem(name)
    explanation = explain(problem)
    assert problem.label == name
    assert explanation.sentence.endswith(".")
    assert all(cause.isprintable() for cause in explanation.causes)
    assert explanation.causes
    assert explanation.hint.isascii()
    assert explanation.hint.isprintable()
    assert not explanation.hint.endswith(".")


def test_what_can_be_healed_is_named() -> None:
    healable = {name: explain(Problem(name)).remedy for name in KNOWN}
    assert {name: remedy for name, remedy in healable.items() if remedy is not Remedy.NONE} == {
        "timestamp_refused": Remedy.CLOCK,
        "nonce_used": Remedy.AGAIN,
        "signature_invalid": Remedy.COMPARE,
        "token_rejected": Remedy.RELOAD,
        "token_revoked": Remedy.RELOAD,
        "token_expired": Remedy.RENEW,
    }


def test_no_explanation_is_left_that_nothing_asks_for() -> None:
    meanings = {"impersonation_not_allowed", "link_is_nobody", "requestor_is_nobody"}
    meanings |= {"two_legged_unknown", "too_many_parameters"}
    assert set(EXPLANATIONS) == {*KNOWN, *meanings, "unreadable"}
