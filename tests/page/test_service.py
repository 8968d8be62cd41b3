"""What the page knows of the service is what is true now, after a reload, too."""

from __future__ import annotations

from dataclasses import replace

from sidecar.http.target import BaseURL
from tests.conftest import Running


async def test_after_a_reload_the_page_is_about_the_new_jira(sidecar: Running) -> None:
    assert str(sidecar.config.jira.base_url) in await page_of(sidecar)
    other = BaseURL.parse("https://other.example/jira")
    jira = replace(sidecar.config.jira, base_url=other, signing_url=other)
    sidecar.server.reload(replace(sidecar.config, jira=jira))
    page = await page_of(sidecar)
    assert "passes them on to Jira at https://other.example/jira." in page
    assert "The token is another Jira’s" in page


async def page_of(sidecar: Running) -> str:
    return (await sidecar.get("/_sidecar/")).body.decode()
