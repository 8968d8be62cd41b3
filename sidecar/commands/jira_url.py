"""The URL that a user gives for Jira: what it may mean, and where Jira really answers.

People paste the address of a page, leave out the scheme, or forget the context path.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.account.own_requests import Heard, OwnRequests
from sidecar.check import answers
from sidecar.check.local import is_cloud, is_cloud_host
from sidecar.config.load import Config, load
from sidecar.config.options import TCPAddress
from sidecar.config.places import is_there
from sidecar.errors import (
    CertificateError,
    ConfigError,
    ConnectTimeout,
    ResponseTimeout,
    SidecarError,
    UpstreamError,
    UsageError,
)
from sidecar.http.shown import printable, quoted
from sidecar.http.target import BaseURL
from sidecar.upstream.pool import Upstream

LOOK_SECONDS = 12.0
"""What looking may take in all, whatever a firewall swallows."""
TRY_SECONDS = 4.0
"""What one address may take to be reached, and again to answer."""
_MOST_REDIRECTS = 3
_SLOW = "does a firewall on the way let it through? `sidecar check` waits for longer"

_PAGE = re.compile(
    r"/(?:(?:secure|browse|rest|plugins|projects|issues|servicedesk|s|dashboards?)/[^/]"
    r"|(?:login|default|index)\.jsp|secure/?\Z).*\Z",
    re.DOTALL,
)
"""Where a context path ends and a page of Jira's begins."""
_SEARCH = re.compile(r"/(?:issues|projects|browse|secure)/?\Z")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a text may mean, the likeliest first."""

    text: str
    urls: tuple[BaseURL, ...]
    has_scheme: bool

    @property
    def is_plain(self) -> bool:
        """Whether it is a base URL as it should be."""
        try:
            return self.has_scheme and BaseURL.parse(self.text) == self.urls[0]
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Looked:
    """What has come of looking."""

    url: BaseURL | None = None
    """Where Jira answers; None where it was not found."""
    version: str = ""
    doubt: SidecarError | None = None
    """Why it was not found."""
    is_sure: bool = True
    """Whether what was given leads there by itself: on the same host, and never to plain http."""


def meaning_of(text: str) -> Meaning:
    """Read what a user gives; ValueError says what is wrong with it."""
    text = text.strip()
    has_scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None
    schemes = ("",) if has_scheme else ("https://", "http://")
    plain = re.sub(r"[?#].*", "", text, flags=re.DOTALL)
    if plain != text:  # a page by itself: /issues/?jql=…
        plain = _SEARCH.sub("", plain)
    urls = tuple(_without_page(BaseURL.parse(scheme + plain)) for scheme in schemes)
    return Meaning(text, urls, has_scheme)


def _without_page(url: BaseURL) -> BaseURL:
    return replace(url, path=_PAGE.sub("", url.path))


def likely(text: str) -> str | None:
    """What a text that lacks its scheme most likely means; None for any other."""
    try:
        meaning = meaning_of(text)
    except ValueError:
        return None
    return None if meaning.has_scheme else str(meaning.urls[0])


def configured(path: Path | None, environ: Mapping[str, str], url: BaseURL) -> Config:
    """The configuration by which a URL is looked at, as far as file and environment are known."""
    asked = {
        "jira.base_url": str(url), "jira.consumer_key": "unknown", "token.path": "token.json",
        "timeouts.connect": TRY_SECONDS, "timeouts.response": TRY_SECONDS,
    }  # fmt: skip
    if path is not None and is_there(path):
        with suppress(ConfigError):
            return load(path, environ, asked)
    return load(None, environ, asked, finds=False)


async def look(meaning: Meaning, config_of: Callable[[BaseURL], Config]) -> Looked:
    """Look for Jira at the URLs that a text may mean; ConfigError for Jira Cloud.

    `config_of` makes the configuration by which one is asked: its proxy, its trust.
    """
    looked = Looked()
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            for url in meaning.urls:
                found = await _look_at(url, config_of)
                if found.url is not None:
                    is_plain = found.url.scheme == "http" and not meaning.has_scheme
                    return replace(found, is_sure=found.is_sure and not _is_open(is_plain, found))
                looked = looked if looked.doubt else found
                if isinstance(found.doubt, CertificateError):
                    break  # there is TLS: nobody should go on without it
    except TimeoutError:
        host = meaning.urls[0].authority
        said = f"{host} did not answer within {LOOK_SECONDS:g} s."
        return Looked(doubt=ConnectTimeout(said, _SLOW))
    return looked


def _is_open(is_plain: bool, found: Looked) -> bool:
    """Whether everybody on the way could read it, and nobody has asked for that."""
    return is_plain and found.url is not None and not TCPAddress(found.url.host, 0).is_local


async def _look_at(url: BaseURL, config_of: Callable[[BaseURL], Config]) -> Looked:
    """Look for Jira at a URL, at what that redirects to, and below other context paths."""
    if is_cloud_host(url.host):
        raise is_cloud(url.host)
    given, is_sure = url, True
    for _ in range(_MOST_REDIRECTS):
        try:
            upstream = Upstream(config_of(url))
        except ConfigError as error:  # of a proxy or a certificate that is to be used
            return Looked(doubt=error)
        try:
            requests = OwnRequests(upstream, TRY_SECONDS)
            heard = await requests.ask_unsigned(url, url.path + answers.SERVER_INFO)
            if answers.is_cloud(heard.answer):
                raise is_cloud(url.host)
            if answers.is_jiras(heard.answer):
                return _found(heard, url, is_sure=is_sure)
            led_to = answers.redirected_base(heard.answer, url)
            if led_to is None or led_to == url:
                return await _elsewhere(requests, heard, url, is_sure=is_sure)
        except (ConnectTimeout, ResponseTimeout) as error:  # by limits of ours
            return Looked(doubt=ConnectTimeout(error.message, _SLOW))
        except UpstreamError as error:
            return Looked(doubt=error)
        finally:
            await upstream.close()
        is_safe = (given.scheme, led_to.scheme) != ("https", "http")
        is_sure = is_sure and is_safe and (led_to.host == url.host or url.scheme == "https")
        url = led_to
    return Looked(doubt=UpstreamError(f"{given} redirects again and again."))


async def _elsewhere(requests: OwnRequests, heard: Heard, url: BaseURL, *, is_sure: bool) -> Looked:
    """Look for Jira below other context paths of a host."""
    status = heard.answer.status
    target = url.path + answers.SERVER_INFO
    led_to = answers.redirected_path(heard.answer, url.origin, target)
    if status < 500 and (led_to is not None or not 300 <= status < 400):
        root = await requests.ask_unsigned(url, "/")
        home = answers.redirected_path(root.answer, url.origin, "/")
        paths = [led_to, home, *answers.paths_to_try(url, None)]
        for path in dict.fromkeys(path for path in paths if path not in (None, url.path)):
            other = await requests.ask_unsigned(url, f"{path}{answers.SERVER_INFO}")
            if path is not None and answers.server_info(other.answer) is not None:
                return _found(other, replace(url, path=path), is_sure=is_sure)
    return Looked(doubt=answers.not_jira(heard.answer, url))


def _found(heard: Heard, url: BaseURL, *, is_sure: bool) -> Looked:
    info = answers.server_info(heard.answer)
    return Looked(url, info.version if info else "", is_sure=is_sure)


Confirm = Callable[[str], bool]


def settle(
    meaning: Meaning, looked: Looked | None, tell: Callable[[str], None], confirm: Confirm | None
) -> BaseURL:
    """Decide which URL is taken, and tell the user; UsageError where that needs another answer.

    `looked` is None where nobody was to look; `confirm` asks the user, None where there is none to
    ask.  What Jira itself has shown to be right is then taken; anything else is not.
    """
    if looked is not None and looked.url is not None:
        return _settle_found(meaning, looked, looked.url, tell, confirm)
    likely, doubt = meaning.urls[0], looked.doubt if looked else None
    if not meaning.has_scheme:
        reason = f"; and {doubt.message[0].lower()}{doubt.message[1:]}" if doubt else ""
        raise UsageError(
            f"--base-url: the URL must begin with http:// or https://{reason}",
            f"give it in full, such as --base-url {likely}{_and_hint(doubt)}",
        )
    if not meaning.is_plain:
        _offer(meaning, likely, f"{likely} is the base URL of that page", tell, confirm)
    if doubt is not None:
        tell(
            f"sidecar: warning: no Jira was found at {likely}, which is taken as it is:"
            f" {doubt.message}"
        )
        if doubt.hint:
            tell(f"sidecar: hint: {doubt.hint}")
    return likely


def _settle_found(
    meaning: Meaning,
    looked: Looked,
    url: BaseURL,
    tell: Callable[[str], None],
    confirm: Confirm | None,
) -> BaseURL:
    version = f" {printable(looked.version, 20)}" if looked.version else ""
    said = f"Jira{version} answers at {url}"
    if meaning.is_plain and meaning.urls[0] == url:
        tell(said)
        return url
    if not looked.is_sure and confirm is None:
        raise UsageError(
            f"--base-url: {said}, and not at {printable(meaning.text)}",
            f"if that is the one, give --base-url {url}",
        )
    _offer(meaning, url, said, tell, confirm)
    return url


def _offer(
    meaning: Meaning, url: BaseURL, said: str, tell: Callable[[str], None], confirm: Confirm | None
) -> None:
    """Have another URL than the one that was given confirmed, or tell that it is taken."""
    if confirm is None:
        tell(f"{said}: taken in place of {quoted(meaning.text, 200)}")
    elif not confirm(said):
        raise UsageError(f"--base-url: {url} is not taken", "give Jira's URL")


def _and_hint(doubt: SidecarError | None) -> str:
    return f"; {doubt.hint}" if doubt is not None and doubt.hint else ""
