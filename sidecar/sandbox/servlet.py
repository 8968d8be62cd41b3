"""The pages and endpoints under plugins/servlet/oauth/."""

from __future__ import annotations

from html import escape

from sidecar.sandbox.answers import Answer, Call, answer_page
from sidecar.sandbox.message import Message
from sidecar.sandbox.provider import Provider, RequestToken

PLAIN = "text/plain;charset=UTF-8"


def answer_oauth(provider: Provider, endpoint: str, call: Call, message: Message) -> Answer | None:
    """Answer one of the three endpoints; None where there is none of this name."""
    if endpoint == "authorize":
        return _authorize(provider, call)
    if endpoint not in ("request-token", "access-token"):
        return None
    if call.method in ("GET", "HEAD"):
        return Answer(200, b"")
    if call.method != "POST":
        return Answer(405, b"", fields=[("Allow", "GET, HEAD, POST")])
    if endpoint == "request-token":
        return Answer(200, provider.request_token(message).encode(), PLAIN)
    return Answer(200, provider.access_token(message).form().encode(), PLAIN)


def _authorize(provider: Provider, call: Call) -> Answer:
    """Show the page with Allow and Deny, or act on it."""
    token = provider.undecided(call.parameter("oauth_token") or None)
    if call.method in ("GET", "HEAD"):
        return _approval_page(provider, token, call)
    if call.method != "POST":
        return Answer(405, b"", fields=[("Allow", "GET, HEAD, POST")])
    names = {name for name, _ in call.parameters}
    if "approve" not in names and "deny" not in names:
        return _approval_page(provider, token, call)
    user = call.parameter("os_username", "alana")
    goes_to = provider.decide(token, user, approve="deny" not in names)
    if goes_to is not None:
        return Answer(302, b"", fields=[("Location", goes_to)])
    return _outcome_page(token)


def _approval_page(provider: Provider, token: RequestToken, call: Call) -> Answer:
    """The login page and the approval page in one: any user name will do."""
    return answer_page(
        "Authorize - Jira",
        f"""
<h1>Welcome to Jira</h1>
<p>The application <b>{escape(provider.consumer_key)}</b> would like to have
<b>read and write access</b> to your data on this site.</p>
<form method="post" action="{escape(call.path)}">
<input type="hidden" name="oauth_token" value="{escape(token.token)}">
<p><label>Log in as <input name="os_username" value="alana"></label></p>
<p><input type="submit" name="approve" value="Allow">
<input type="submit" name="deny" value="Deny"></p>
</form>
""",
    )


def _outcome_page(token: RequestToken) -> Answer:
    """The page for a dance without a callback."""
    if token.denied:
        return answer_page(
            "Access Denied - Jira", "<h1>Access Denied</h1>\n<p>You have denied the access.</p>\n"
        )
    return answer_page(
        "Access Approved - Jira",
        "<h1>Access Approved</h1>\n<p>You have successfully authorized the application. "
        f"Your verification code is '{token.verifier}'. Enter it in the application.</p>\n",
    )
