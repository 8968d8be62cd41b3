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
    is_first, died = not _has_token(service), _token_died(service)
    return {
        "is_first": is_first,
        "died": died,
        "is_urgent": is_first or died or seconds_left > 0,
        "two_legged": jira.two_legged,
        "jira": str(identity.base_url),
        "steps": application_link(
            jira.consumer_key, identity.public_key, two_legged=jira.two_legged
        ),
        "public_key": identity.public_key,
        "process": service.ownership.process_token,
        "minutes": -(-round(seconds_left) // 60),
    }


def _has_token(service: Service) -> bool:
    try:
        service.identity().token.current()
    except SidecarError:
        return False
    return True


def _token_died(service: Service) -> bool:
    """Whether Jira refuses us for what another sign-in would mend."""
    why = service.readiness.why_not()
    return why is not None and why.problem.startswith(_OF_THE_TOKEN)
