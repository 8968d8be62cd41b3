"""Signing in from the page: the form, Jira's answer, and who the sidecar is then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sidecar.credentials import Secret
from sidecar.downstream.replies import Reply, json_reply
from sidecar.errors import ConfigError, RequestRefused, SidecarError
from sidecar.html.answers import page_fields
from sidecar.html.rendering import Templates
from sidecar.page.guide import guide
from sidecar.page.outcome import of_error, of_outcome
from sidecar.page.proof import Proof, check_arrival
from sidecar.page.service import Service
from sidecar.proxy.visit import Visit
from sidecar.signin.ownership import ShownTwice
from sidecar.signin.page_dance import Outcome, PageDance
from sidecar.signin.storing import Files
from sidecar.telemetry.record import RESERVED

Handler = Callable[[Visit], Awaitable[Reply]]
Step = Callable[[Mapping[str, str]], Awaitable[Outcome]]


class SignIn:
    """The handlers of what changes who the sidecar is."""

    def __init__(self, service: Service, templates: Templates) -> None:
        self._service = service
        self._templates = templates
        self._proof = Proof(service.ownership)
        self.dance = PageDance(lambda: (service.authorizer(), Files.of(service.config())))
        self.routes: dict[str, dict[str, Handler]] = {
            "page/owner": {"POST": self._own},
            "page/sign-in": {"GET": _back, "POST": self._begin},
            "page/sign-in/answer": {"GET": _back, "POST": self._step(self._typed)},
            "page/sign-in/confirm": {"GET": _back, "POST": self._step(self._confirmed)},
        }

    def guide(self) -> dict[str, Any]:
        """What the overview says of signing in."""
        return guide(self._service, self.dance.seconds_left)

    async def arrive(self, visit: Visit) -> Reply:
        """Answer the browser that comes back from Jira: always a page, never a redirect."""
        if not self.dance.waits_at(visit.path):
            raise RequestRefused(
                404, "There is no such page here.", proxy_error="http_request_denied"
            )
        check_arrival(visit)
        query = visit.request.message.path.partition("?")[2]
        try:
            outcome = await self.dance.called_back(query)
        except SidecarError as error:
            return self._failed(visit, error, status=200)
        return self._page("sign_in_outcome.html", visit, **of_outcome(outcome))

    async def _own(self, visit: Visit) -> Reply:
        """Exchange a one-time code for a grant, for the page's script."""
        try:
            grant = await self._prove(visit, await visit.form())
        except RequestRefused:
            raise
        except SidecarError as error:
            raise _forbidden(error) from None
        return json_reply(200, {"grant": grant.reveal()})

    async def _begin(self, visit: Visit) -> Reply:
        """Begin a dance, and show the link to Jira's approval page."""
        origin = f"{visit.caller.scheme}://{visit.caller.host}"
        try:
            grant = await self._prove(visit, await visit.form())
            if self._service.config().jira.two_legged:
                raise _nothing_to_sign_in()
            url = await self.dance.begin(origin)
        except RequestRefused:
            raise
        except SidecarError as error:
            return self._failed(visit, error)
        return self._page("sign_in_begun.html", visit, url=url, grant=grant.reveal())

    def _step(self, step: Step) -> Handler:
        """A handler that goes on with the dance, for its owner's browser alone."""

        async def handle(visit: Visit) -> Reply:
            form = await visit.form()
            grant: Secret | None = None
            try:
                grant = await self._prove(visit, form)
                outcome = await step(form)
            except RequestRefused:
                raise
            except SidecarError as error:
                return self._failed(visit, error, grant=grant)
            values = of_outcome(outcome)
            return self._page("sign_in_outcome.html", visit, grant=grant.reveal(), **values)

        return handle

    async def _typed(self, form: Mapping[str, str]) -> Outcome:
        return await self.dance.typed(form.get("answer", ""))

    async def _confirmed(self, form: Mapping[str, str]) -> Outcome:
        if form.get("decision") == "yes":
            return await self.dance.confirm()
        return self.dance.cancel()

    async def _prove(self, visit: Visit, form: Mapping[str, str]) -> Secret:
        try:
            return await self._proof.of_owner(visit, form)
        except ShownTwice:
            self.dance.cancel()  # the first who showed it may have begun it
            raise

    def _failed(
        self,
        visit: Visit,
        error: SidecarError,
        *,
        status: int | None = None,
        grant: Secret | None = None,
    ) -> Reply:
        waits = self.dance.seconds_left > 0
        values = of_error(error, self._service.complete, waits=waits)
        reply = self._page(
            "sign_in_outcome.html", visit, grant=grant.reveal() if grant else "", **values
        )
        reply.status = status or values["status"]
        reply.keep_alive = not error.ends_connection
        return reply

    def _page(self, template: str, visit: Visit, *, grant: str = "", **values: Any) -> Reply:
        shared = {
            "process": self._service.ownership.process_token,
            "minutes": -(-round(self.dance.seconds_left) // 60),
            "origin": f"{visit.caller.scheme}://{visit.caller.host}",
            "needs_key": self._service.config().access.key_file is not None,
        }
        body = self._templates.render(template, grant=grant, **shared, **values)
        return Reply(200, page_fields(), body)


async def _back(_: Visit) -> Reply:
    """Lead to the page who opens a form's address by itself, as from the history."""
    return Reply(303, [(b"Location", RESERVED.encode())])


def _forbidden(error: SidecarError) -> RequestRefused:
    refused = RequestRefused(403, error.message, error.hint, proxy_error="http_request_denied")
    refused.ends_connection = error.ends_connection
    return refused


def _nothing_to_sign_in() -> SidecarError:
    return ConfigError(
        "There is nothing to sign in: with jira.two_legged the application link itself acts.",
        "who that is stands in the link, as *Execute as*",
    )
