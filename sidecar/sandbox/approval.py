"""The pages on which a user allows or denies an application's access."""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import urlsplit

from sidecar.sandbox import catalog
from sidecar.sandbox.answers import Answer, Call
from sidecar.sandbox.link import Link
from sidecar.sandbox.message import OAuthProblem
from sidecar.sandbox.provider import RequestToken
from sidecar.sandbox.refusals import answer_problem

_HTML: Final = "text/html;charset=UTF-8"
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from outside; no form-action, which would stop the redirect to the callback."""

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #172b4d; --dim: #5e6c84; --paper: #fff; --ground: #f4f5f7;
  --line: #dfe1e6; --bar: #0747a6; --blue: #0052cc; --on-blue: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #dee4ea; --dim: #9fadbc; --paper: #22272b;
  --ground: #161a1d; --line: #454f59; --bar: #1c2b41; --blue: #579dff; --on-blue: #161a1d; } }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
header { background: var(--bar); color: #fff; padding: .75rem 1.5rem;
  font-weight: 600; }
main { max-width: 34rem; margin: 3rem auto; padding: 1.5rem 2rem 2rem; background: var(--paper);
  border: 1px solid var(--line); border-radius: 4px; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .5rem 1.25rem; margin: 1.5rem 0; }
dt { color: var(--dim); } dd { margin: 0; }
select, button { font: inherit; color: inherit; }
select { padding: .25rem .5rem; max-width: 100%; }
button { padding: .5rem 1.5rem; margin-right: .5rem; border: 1px solid var(--line);
  border-radius: 4px; background: var(--paper); cursor: pointer; }
button.first { background: var(--blue); border-color: var(--blue); color: var(--on-blue); }
.code { font-size: 1.25rem; font-weight: 600; }
@media (max-width: 36rem) { main { margin: 0; border: 0; } dl { display: block; }
  dd { margin-bottom: .75rem; } }
"""

_PROBLEMS: Final = {
    "token_expired": (
        "This request has expired",
        "A request for access can be answered for 10 minutes.",
    ),
    "token_used": (
        "This request has been answered",
        "Somebody has already pressed Allow or Deny for it.",
    ),
    "token_rejected": (
        "This request is unknown",
        "Jira has no such request for access: it was made at another Jira, or it is over.",
    ),
    "parameter_absent": (
        "No request was named",
        "The address has no oauth_token, which tells which application asks.",
    ),
}
_AGAIN: Final = "<p>Go back to the application and start again from there.</p>"


def approval_page(link: Link, token: RequestToken, call: Call) -> Answer:
    """Say who asks, for what and as whom; the choice of a user stands for Jira's login page."""
    name = escape(link.name)
    people = "".join(
        f'<option value="{escape(user)}">{escape(title)} ({escape(user)})</option>'
        for user, title in catalog.USERS.items()
        if user not in catalog.INACTIVE
    )
    return _page(
        "Allow access to your Jira data?",
        f"""
<p>The application <b>{name}</b> would like to have <b>read and write access</b> to your data on
this Jira.</p>
<form method="post" action="{escape(call.path)}">
<input type="hidden" name="oauth_token" value="{escape(token.token)}">
<input type="hidden" name="atl_token" value="{escape(token.xsrf_token)}">
<dl>
<dt>Who asks</dt><dd>{name} (consumer key {escape(link.consumer_key)})</dd>
<dt>What for</dt><dd>To see and change everything that you can, until you take the access back
under Profile, Authorized applications</dd>
<dt><label for="user">As whom</label></dt>
<dd><select id="user" name="os_username">{people}</select></dd>
<dt>Then</dt><dd>{_afterwards(link, token)}</dd>
</dl>
<button class="first" type="submit" name="approve" value="Allow">Allow</button>
<button type="submit" name="deny" value="Deny">Deny</button>
</form>
""",
    )


def _afterwards(link: Link, token: RequestToken) -> str:
    callback = link.callback_url if token.callback in (None, "oob") else token.callback
    if callback is None:
        return "Jira shows a code to enter in the application"
    return f"Jira sends you back to {escape(urlsplit(callback).netloc)}"


def outcome_page(token: RequestToken) -> Answer:
    """The page for a dance without a callback."""
    if token.denied:
        return _page(
            "Access Denied", "<p>You have denied the access.  You can close this page.</p>"
        )
    if token.callback is None:
        return _page("Access Approved", "<p>You have successfully authorized the application.</p>")
    return _page(
        "Access Approved",
        "<p>You have successfully authorized the application.</p>\n"
        f"<p class=\"code\">Your verification code is '{token.verifier}'.</p>\n"
        "<p>Enter it in the application.</p>",
    )


def problem_page(problem: OAuthProblem, realm: str) -> Answer:
    """Refuse for a browser: the status and the challenges of the problem, and a page to read."""
    title, text = _PROBLEMS.get(problem.problem, ("This request is refused", problem.problem))
    page = _page(title, f"<p>{escape(text)}</p>\n{_AGAIN}")
    refused = answer_problem(problem, realm)
    page.status, page.fields = refused.status, [*page.fields, *refused.fields]
    return page


def xsrf_page() -> Answer:
    """Refuse a form that did not come from this page."""
    text = "Jira could not make sure that this form came from its own page."
    page = _page("XSRF Security Token Missing", f"<p>{text}</p>\n{_AGAIN}")
    page.status = 403
    return page


def _page(title: str, content: str) -> Answer:
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{title} - Jira</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><header>Sandbox Jira</header>\n"
        f"<main><h1>{title}</h1>{content}</main></body></html>\n"
    )
    fields = [("Content-Security-Policy", _POLICY), ("X-Frame-Options", "DENY")]
    return Answer(200, text.encode(), _HTML, fields)
