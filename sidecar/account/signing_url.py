"""The URL that we sign for: what Jira believes its own URL is.

Behind a reverse proxy that Tomcat knows nothing of, Jira believes in another scheme, host, port
or context path than its clients use, and finds every signature wrong.
"""

from __future__ import annotations

import logging

from sidecar.http.target import BaseURL
from sidecar.jira.base_strings import Difference, compare_base_strings
from sidecar.jira.problems import Problem
from sidecar.signing.signature import percent_encode
from sidecar.telemetry.troubles import Quiet

log = logging.getLogger("sidecar.oauth")

_MOST_URLS = 8
"""Kept for advice; nodes of one Jira may believe in different URLs."""


class SigningURL:
    """Starts as configured, and follows what Jira shows of its own base strings."""

    def __init__(self, base_url: BaseURL, configured: BaseURL) -> None:
        self.url = configured
        self._base_url = base_url
        self._configured = configured
        self._advice: dict[BaseURL, str] = {}
        self._quiet = Quiet()

    def difference(
        self, problem: Problem, base_string: bytes, signed_for: BaseURL
    ) -> Difference | None:
        """How Jira's base string differs from ours, where Jira names its own.

        Ours is empty where it was too long to be kept: Jira names none of more than 8 KiB.
        """
        theirs = problem.parameters.get("oauth_signature_base_string")
        if not theirs or not base_string:
            return None
        return compare_base_strings(theirs, base_string.decode("ascii"), signed_for.path)

    def perceived(
        self, problem: Problem, base_string: bytes, signed_for: BaseURL
    ) -> BaseURL | None:
        """The URL that Jira believes in, if signing for that is all it takes.

        Where Jira does not show its base string, what was learnt may be out of date.
        """
        difference = self.difference(problem, base_string, signed_for)
        if difference is None:
            return self._configured if signed_for != self._configured else None
        if difference.perceived is None:
            return None
        try:
            url = BaseURL.parse(difference.perceived)
        except ValueError:  # port 0, for example: it is not ours to understand
            return None
        if url not in self._advice:
            if len(self._advice) >= _MOST_URLS:
                self._advice.clear()
            # Advice is about the URL that is asked for, whatever was signed this time.
            asked_for = _rebased(base_string, signed_for, self._base_url)
            about = self.difference(problem, asked_for, self._base_url)
            self._advice[url] = f"{about.sentence} What to do: {about.hint}." if about else ""
        return url

    def believe(self, url: BaseURL) -> None:
        """Sign for this URL from now on, and say once how to make that last."""
        if url == self.url:
            return
        self.url = url
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
                "We sign for what Jira believes from now on.%s %s",
                again,
                self._advice.get(url, ""),
            )


def _rebased(base_string: bytes, signed_for: BaseURL, url: BaseURL) -> bytes:
    """The base string of the same request, had it been signed for another URL."""
    method, uri, parameters = base_string.decode("ascii").split("&")
    below = uri.removeprefix(percent_encode(str(signed_for)))
    return f"{method}&{percent_encode(str(url))}{below}&{parameters}".encode("ascii")
