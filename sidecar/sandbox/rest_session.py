"""The resources that log in and out."""

from __future__ import annotations

from sidecar.sandbox.answers import Answer, Call, answer_errors, answer_json, answer_page
from sidecar.sandbox.login import Login
from sidecar.sandbox.provider import random_text
from sidecar.sandbox.router import Router


class SessionResources:
    """Sessions that are begun with a password; none outlives its answer."""

    def __init__(self, base: str, login: Login) -> None:
        self.base = base
        self.login = login

    def register(self, router: Router) -> None:
        """Take the paths."""
        router.add("GET", "rest/auth/1/session", self.session)
        router.add("POST", "rest/auth/1/session", self.log_in, public=True)
        router.add("DELETE", "rest/auth/1/session", self.log_out, public=True)
        router.add("POST", "rest/gadget/1.0/login", self.gadget, public=True)
        router.add("GET|POST", "login.jsp", self.page, public=True)

    async def session(self, call: Call) -> Answer:
        """Say whose session this request has."""
        user = call.user or ""
        address = f"{self.base}/rest/api/latest/user?username={user}"
        info = {"failedLoginCount": self.login.failures(user), "loginCount": 1}
        return answer_json({"self": address, "name": user, "loginInfo": info})

    async def log_in(self, call: Call) -> Answer:
        """Try a password; many wrong ones trigger the CAPTCHA."""
        given = await call.json()
        name, password = str(given.get("username", "")), str(given.get("password", ""))
        refused = self.login.attempt(name, password)
        if refused is not None:
            answer = answer_errors(refused.status, "Login failed")
            answer.fields += refused.fields
            return answer
        session = {"name": "JSESSIONID", "value": random_text(32)}
        return answer_json({"session": session, "loginInfo": {"loginCount": 1}})

    async def log_out(self, call: Call) -> Answer:
        """Say that the session has ended; there was none to end."""
        return Answer(204 if call.user else 401)

    async def gadget(self, call: Call) -> Answer:
        """Say whether the parameters that the login filter has looked at were right."""
        return answer_json({"loginSucceeded": call.user is not None})

    async def page(self, call: Call) -> Answer:
        """Show the login page; its form is for the login filter."""
        fields = "".join(f'<input name="{name}">' for name in ("os_username", "os_password"))
        return answer_page("Log in - Jira", f'<form method="post">{fields}<button>Log in</button>')
