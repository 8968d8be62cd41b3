"""What answers where Jira should: Jira, Jira Cloud, a login page, a captive portal; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from sidecar.errors import ConfigError, NotJira, SidecarError, TLSError, UpstreamError
from sidecar.http.fields import first, values
from sidecar.http.shown import printable
from sidecar.http.target import BaseURL
from sidecar.jira.problems import json_object, oauth_problem

if TYPE_CHECKING:
    from sidecar.upstream.pool import Answer

SERVER_INFO = "/rest/api/2/serverInfo"

_SHOWN = 64 * 1024  # bytes of a page that are looked at
_LOGIN = re.compile(
    r"log[ -]?[io]n|sign[ -]?[io]n|\bsso\b|single sign|saml|adfs|openid|oauth2|\bidp\b|okta|"
    r"keycloak|shibboleth|anmeld|type=[\"']?password",
    re.IGNORECASE,
)
_CAPTIVE = re.compile(
    r"captive|hot-?spot|wi-?fi|wlan|guest (?:net|access)|terms of use|accept (?:the )?terms",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"\bsquid\b|zscaler|blue ?coat|forcepoint|fortiguard|web filter|"
    r"(?:page|site|access) (?:is |has been )?(?:blocked|denied)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
# Where a context path ends and Jira's own pages begin.
_PAGES = re.compile(
    r"/(?:secure|rest|plugins|browse|projects|issues|s|servicedesk|login\.jsp|default\.jsp"
    r"|index\.jsp)?(?:/.*)?\Z",
    re.DOTALL,
)
_BYPASS = (
    "whoever runs that must let /plugins/servlet/oauth/ and /rest/ through to Jira, or"
    " jira.base_url must be an address that reaches Jira itself"
)


class ServerInfo(NamedTuple):
    """What Jira says of itself."""

    base_url: str
    """What it calls itself; "" if it does not say."""
    version: str
    deployment: str
    """Server, Cloud; "" on old versions."""


def server_info(answer: Answer) -> ServerInfo | None:
    """Read serverInfo; None for anything else."""
    document = json_object(answer.body) if answer.status == 200 else None
    if document is None or not {"baseUrl", "versionNumbers"} & document.keys():
        return None
    texts = (document.get(name) for name in ("baseUrl", "version", "deploymentType"))
    return ServerInfo(*(printable(text) if isinstance(text, str) else "" for text in texts))


def is_jiras(answer: Answer) -> bool:
    """Whether an answer is Jira's own, by what a gateway would not add.

    A redirect or a 404 is not: Jira, too, gives them to what is not below its context path.
    """
    if server_info(answer) is not None or oauth_problem(answer.fields, answer.body) is not None:
        return True
    if answer.status == 404 or 300 <= answer.status < 400:
        return False
    if first(answer.fields, b"x-arequestid") or first(answer.fields, b"x-ausername"):
        return True
    return any(
        value.lower().startswith(b"oauth") for value in values(answer.fields, b"www-authenticate")
    )


def is_token(answer: Answer) -> bool:
    """Whether a token endpoint gave a token (RFC 5849 §2.1)."""
    return answer.status == 200 and b"oauth_token=" in answer.body


def is_cloud(answer: Answer) -> bool:
    """Whether Jira Cloud answered."""
    info = server_info(answer)
    server = first(answer.fields, b"server") or b""
    return (info is not None and info.deployment == "Cloud") or server.startswith(b"Atlassian")


def not_jira(answer: Answer, base: BaseURL) -> SidecarError:
    """The error for an answer to serverInfo at `base` that is not Jira's."""
    status, text = answer.status, answer.body[:_SHOWN].decode("utf-8", "replace")
    if 300 <= status < 400:
        return _redirected(answer, base)
    if status == 511:  # RFC 6585 §6
        return _captive(base, "it asks for a login to the network (511)")
    if "required SSL certificate" in text or "SSL certificate error" in text:  # nginx
        return TLSError(
            f"{base.authority} wants a client certificate.",
            "get one from whoever runs Jira; jira.client_certificate and jira.client_key name it",
        )
    if base.scheme == "http" and re.search(r"HTTP request.{0,20} to (an )?HTTPS", text):
        return TLSError(  # nginx and Go say it so
            f"{base.authority} speaks TLS, and jira.base_url says plain http.",
            f'write it with https: jira.base_url = "https{str(base)[4:]}"',
        )
    if status >= 500 or status == 429:
        return _busy(status, base)
    if status in (401, 403, 407):
        return _guarded(answer, base)
    if status == 404:
        return NotJira(
            f"There is no Jira at {base}: {SERVER_INFO} is not found (404).",
            "open Jira in a browser: jira.base_url is what stands before /secure/, /browse/ or"
            " /login.jsp",
        )
    return _page(status, text, base)


def _busy(status: int, base: BaseURL) -> UpstreamError:
    if status == 429:
        return UpstreamError(
            f"{base.authority} lets nothing more of us through for now: its rate limit (429).",
            "try again in a minute; a Jira administrator can raise the user's limit",
        )
    return UpstreamError(
        f"{base.authority} answers with status {status}.",
        "Jira may be starting or overloaded: try again in a minute; its log says more",
    )


def unwilling(answer: Answer, base: BaseURL, question: str) -> SidecarError:
    """The error for an answer of no use to a signed request, though it names no OAuth problem."""
    if answer.status >= 500 or answer.status == 429:
        return _busy(answer.status, base)
    if not is_jiras(answer):
        return not_jira(answer, base)
    return UpstreamError(
        f"Jira answers the question {question} with status {answer.status}.",
        "its log says why, and so may: sidecar request -i /rest/api/2/myself",
    )


def _page(status: int, text: str, base: BaseURL) -> NotJira:
    title = _TITLE.search(text)
    named = f' titled "{printable(unescape(title[1]).strip(), 80)}"' if title else ""
    if _CAPTIVE.search(text):
        return _captive(base, f"it is a web page{named}")
    if _FILTER.search(text):
        return NotJira(
            f"A web filter answers in place of {base.authority}, with a web page{named}.",
            f"have {base.authority} allowed there, or go through it with jira.proxy",
        )
    if _LOGIN.search(text):
        return NotJira(
            f"A login page (single sign-on) answers in place of Jira at {base.authority}{named}.",
            _BYPASS,
        )
    if "<" in text[:200]:
        return NotJira(
            f"{base} answers with a web page{named}, status {status}, which is not Jira's.",
            "see whether jira.base_url is right; a login page or a captive portal may be in"
            " between: " + _BYPASS,
        )
    return NotJira(
        f"What {base} answers, with status {status}, is not Jira's.",
        "see whether jira.base_url is the address of Jira Data Center or Server",
    )


def _captive(base: BaseURL, how: str) -> NotJira:
    return NotJira(
        f"A captive portal or proxy of this network answers in place of {base.authority}: {how}.",
        "open any web page in a browser and log in to the network, or use another network",
    )


def _guarded(answer: Answer, base: BaseURL) -> SidecarError:
    """401, 403, 407 by something that is not Jira."""
    if answer.status == 407:
        return _captive(base, "it wants a login of its own (407); see jira.proxy")
    text = answer.body[:_SHOWN].decode("utf-8", "replace")
    if _FILTER.search(text):
        return _page(answer.status, text, base)
    schemes = {
        printable(value.partition(b" ")[0].decode("latin-1"), 20)
        for value in values(answer.fields, b"www-authenticate")
    }
    how = f" ({', '.join(sorted(schemes))})" if schemes else ""
    return NotJira(
        f"A gateway in front of {base.authority} wants a login of its own{how}: status"
        f" {answer.status}.",
        _BYPASS,
    )


def _redirected(answer: Answer, base: BaseURL) -> SidecarError:
    location = _location(answer, f"{base}{SERVER_INFO}")
    if (meant := redirected_base(answer, base)) is not None and meant != base:
        kind = ConfigError if meant.origin == base.origin else NotJira
        return kind(f"{base} redirects to {meant}.", f'set jira.base_url = "{meant}"')
    where = printable(location.partition("?")[0])
    if _CAPTIVE.search(location):
        return _captive(base, f"it redirects to {where}")
    if _LOGIN.search(location):
        return NotJira(
            f"A login page (single sign-on) stands in front of {base.authority}: requests are"
            f" redirected to {where}.",
            _BYPASS,
        )
    return NotJira(
        f"{base.authority} redirects to {where} instead of answering.",
        f"a login page, a gateway or a captive portal stands in front of Jira: {_BYPASS}",
    )


def _location(answer: Answer, asked: str) -> str:
    """The absolute URL that an answer to the URL `asked` redirects to, without user names."""
    location = (first(answer.fields, b"location") or b"").decode("utf-8", "replace")
    try:
        target = urlsplit(urljoin(asked, location))
    except ValueError:
        return "elsewhere"
    return target._replace(netloc=target.netloc.rpartition("@")[2], fragment="").geturl()


def redirected_base(answer: Answer, base: BaseURL) -> BaseURL | None:
    """The base URL that a redirect of serverInfo means, if it goes to serverInfo elsewhere."""
    location = _location(answer, f"{base}{SERVER_INFO}").partition("?")[0]
    prefix = location.removesuffix("/").removesuffix(SERVER_INFO)
    if not 300 <= answer.status < 400 or prefix == location:
        return None
    try:
        return BaseURL.parse(prefix)
    except ValueError:
        return None


def redirected_path(answer: Answer, origin: str, target: str) -> str | None:
    """The context path that an answer to `target` redirects to, if it does so on the same host."""
    if not 300 <= answer.status < 400:
        return None
    try:
        led_to = BaseURL.parse(_location(answer, origin + target).partition("?")[0])
    except ValueError:
        return None
    return _PAGES.sub("", led_to.path + "/") if led_to.origin == origin else None


def paths_to_try(base: BaseURL, known: str | None) -> Iterator[str]:
    """Context paths that Jira may be below instead: `known` is what it called itself once."""
    if known:
        with suppress(ValueError):
            yield BaseURL.parse(known).path
    path = base.path
    while path:
        path = path.rpartition("/")[0]
        yield path
    yield "/jira"


def context_path_wrong(base: BaseURL, found: BaseURL) -> ConfigError:
    """The error for a Jira that was found below another path."""
    if not base.path:
        message = f"jira.base_url lacks the context path {found.path}."
    elif not found.path:
        message = f"jira.base_url has a context path too many: Jira is not below {base.path}."
    else:
        message = f"jira.base_url has the context path {base.path}, and Jira's is {found.path}."
    return ConfigError(message, f'set jira.base_url = "{found}"')
