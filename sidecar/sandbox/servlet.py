"""The addresses under plugins/servlet/oauth/."""

from __future__ import annotations

import hmac

from sidecar.sandbox.answers import Answer, Call
from sidecar.sandbox.approval import approval_page, outcome_page, problem_page, xsrf_page
from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.provider import Provider

PLAIN = "text/plain;charset=UTF-8"


def answer_oauth(provider: Provider, endpoint: str, call: Call, message: Message) -> Answer | None:
    """Answer one of the three endpoints; None where there is none of this name."""
    if endpoint not in ("authorize", "request-token", "access-token"):
        return None
    if call.method not in ("GET", "HEAD", "POST"):
        return Answer(405, b"", fields=[("Allow", "GET, HEAD, POST")])
    if endpoint == "authorize":
        try:
            return _authorize(provider, call)
        except OAuthProblem as problem:
            return problem_page(problem, call.base)
    if call.method != "POST":
        return Answer(200, b"")
    if endpoint == "request-token":
        return Answer(200, provider.request_token(message).encode(), PLAIN)
    return Answer(200, provider.access_token(message).form().encode(), PLAIN)


def _authorize(provider: Provider, call: Call) -> Answer:
    """Show the page with Allow and Deny, or act on it."""
    token = provider.undecided(call.parameter("oauth_token") or None)
    names = {name for name, _ in call.parameters}
    if call.method != "POST" or not names & {"approve", "deny"}:
        return approval_page(provider.link, token, call)
    if not hmac.compare_digest(call.parameter("atl_token").encode(), token.xsrf_token.encode()):
        return xsrf_page()
    user = call.parameter("os_username", "alana")
    goes_to = provider.decide(token, user, approve="deny" not in names)
    if goes_to is not None:
        return Answer(302, b"", fields=[("Location", goes_to)])
    return outcome_page(token)
