"""The REST surface: which module answers which path, and which paths need a login."""

from __future__ import annotations

from sidecar.sandbox.answers import Answer, Call, answer_errors, answer_json
from sidecar.sandbox.issues import FieldErrors, Issues
from sidecar.sandbox.login import Login
from sidecar.sandbox.paths import rest_resource
from sidecar.sandbox.provider import Provider
from sidecar.sandbox.rest_catalog import CatalogResources
from sidecar.sandbox.rest_files import FileResources
from sidecar.sandbox.rest_issues import IssueResources
from sidecar.sandbox.rest_parts import PartResources
from sidecar.sandbox.rest_properties import PropertyResources
from sidecar.sandbox.rest_session import SessionResources
from sidecar.sandbox.router import Route, Router
from sidecar.sandbox.tools import Tools


class Rest:
    """All resources, found by their path."""

    def __init__(self, base: str, provider: Provider, login: Login) -> None:
        self.router = Router()
        self.issues = Issues(base, provider.now)
        self.tools = Tools(provider)
        CatalogResources(base, self.issues, provider.now).register(self.router)
        SessionResources(base, login).register(self.router)
        IssueResources(base, self.issues).register(self.router)
        PartResources(base, self.issues).register(self.router)
        FileResources(base, self.issues).register(self.router)
        PropertyResources(base, self.issues).register(self.router)
        self.tools.register(self.router)

    async def answer(self, call: Call) -> Answer:
        """Answer a call; an anonymous one reaches only public resources."""
        segments = rest_resource(call.segments)
        found = self.router.find(segments)
        if found is None:
            address = f"null for uri: {call.base}/{'/'.join(segments)}"
            return answer_json({"message": address, "status-code": 404}, 404)
        route, wild = found
        if call.user is None and not route.public and not self._is_open(segments):
            return _login_required(segments)
        return await self._dispatch(call, route, wild)

    def _is_open(self, segments: list[str]) -> bool:
        return segments[:1] == ["_sandbox"] and self.tools.open

    @staticmethod
    async def _dispatch(call: Call, route: Route, wild: list[str]) -> Answer:
        method = "GET" if call.method == "HEAD" else call.method
        handler = route.handlers.get(method) or route.handlers.get("*")
        if handler is None:
            status = 200 if method == "OPTIONS" else 405
            return Answer(status, fields=[("Allow", route.allow)])
        try:
            return await handler(call, *wild)
        except FieldErrors as refusal:
            return answer_errors(400, **refusal.errors)


def _login_required(segments: list[str]) -> Answer:
    if segments[-1] in ("myself", "session"):
        message = "Client must be authenticated to access this resource."
        return answer_json({"message": message, "status-code": 401}, 401)
    return answer_errors(
        401, "You do not have the permission to see the specified issue.", "Login Required"
    )
