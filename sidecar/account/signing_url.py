"""The URL that we sign for: what Jira believes its own URL is.

Behind a reverse proxy that Tomcat knows nothing of, Jira believes in another scheme, host, port
or context path than its clients use, and finds every signature wrong.
"""

from __future__ import annotations

import logging

from sidecar.errors import with_hint
from sidecar.http.target import BaseURL
from sidecar.jira.base_strings import Difference, compare_base_strings
from sidecar.jira.problems import Problem
from sidecar.signing.signature import signature_base_string
from sidecar.telemetry.troubles import Quiet

log = logging.getLogger(__name__)


_MOST_URLS = 4
"""Told apart in the log: nodes of one Jira may believe in different URLs."""


class SigningURL:
    """Starts as configured, and follows what Jira shows of its own base strings."""

    def __init__(self, base_url: BaseURL, configured: BaseURL) -> None:
        self.url = configured
        self._base_url = base_url
        self._configured = configured
        self._quiet = Quiet(most_kinds=_MOST_URLS)

    def difference(
        self, problem: Problem, base_string: bytes, signed_for: BaseURL
    ) -> Difference | None:
        """How Jira's base string differs from ours, where Jira names its own.

        Ours is empty where it was too long to be kept: Jira names none of more than 8 KiB.
        """
        theirs = problem.parameters.get("oauth_signature_base_string")
        if not theirs or not base_string:
            return None
        return compare_base_strings(theirs, base_string.decode(), signed_for.path)

    def perceived(
        self, problem: Problem, base_string: bytes, signed_for: BaseURL
    ) -> BaseURL | None:
        """The URL that Jira believes in, if signing for that is all it takes.

        If Jira does not show its base string, what we have learnt may be out of date: the
        configured URL is tried again.
        """
        difference = self.difference(problem, base_string, signed_for)
        if difference is None:
            return self._configured if signed_for != self._configured else None
        if difference.perceived is None:
            return None
        try:
            return BaseURL.parse(difference.perceived)
        except ValueError:  # port 0, for example
            return None

    def take(self, url: BaseURL) -> None:
        """Sign for this URL from now on, and say nothing."""
        self.url = url

    def believe(self, url: BaseURL) -> None:
        """Sign for this URL from now on, and say once how to make that last."""
        if url == self.url:
            return
        self.take(url)
        again = self._quiet.due(str(url))
        if again is None:
            return
        if url == self._configured:
            log.info("Jira believes again that its URL is %s: we sign for that%s", url, again)
        elif url == self._base_url:
            log.warning(
                "Jira believes that its URL is %s, as it should, and jira.signing_url is %s. We"
                " sign for what Jira believes from now on.%s What to do: remove jira.signing_url.",
                url,
                self._configured,
                again,
            )
        else:
            log.warning(
                "We sign for what Jira believes from now on.%s %s", again, self._advice(url)
            )

    def _advice(self, url: BaseURL) -> str:
        """How to make Jira, which believes in `url`, believe in the URL that is asked for."""
        theirs, ours = (
            signature_base_string("GET", f"{at}/rest", []) for at in (url, self._base_url)
        )
        difference = compare_base_strings(theirs, ours, self._base_url.path)
        return with_hint(difference.sentence, difference.hint)
