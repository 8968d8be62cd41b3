"""How to let the sidecar into Jira: what to enter in Jira's form, and *Sign in*."""

from __future__ import annotations

from typing import Any

from sidecar.errors import SidecarError
from sidecar.jira.application_link import application_link
from sidecar.page.service import Service

_OF_THE_TOKEN = ("token_", "permission_", "user_")
"""How the problems begin that are not the application link's, the key's or the clock's."""


def guide(service: Service, seconds_left: float) -> dict[str, Any]:
    """What the template says; `seconds_left`: how long a sign-in that has begun waits."""
    identity, jira = service.identity(), service.config().jira
    need = sign_in_need(service)
    return {
        "is_first": need == "first",
        "died": need == "again",
        "is_urgent": need != "none" or seconds_left > 0,
        "two_legged": jira.two_legged,
        "jira": str(identity.base_url),
        "steps": application_link(
            jira.consumer_key, identity.public_key, two_legged=jira.two_legged
        ),
        "public_key": identity.public_key,
        "process": service.ownership.process_token,
        "minutes": -(-round(seconds_left) // 60),
    }


def sign_in_need(service: Service) -> str:
    """Whether somebody has to sign in: `first`, `none`, or `again`, where that mends a refusal."""
    try:
        service.identity().token.current()
    except SidecarError:
        return "first"
    why = service.readiness.why_not()
    return "again" if why is not None and why.problem.startswith(_OF_THE_TOKEN) else "none"
