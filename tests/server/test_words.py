"""What is served, as whom and until when, is said in one line."""

from __future__ import annotations

from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, store_token


async def test_it_says_what_it_serves_as_whom_and_until_when(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url)
    missing = f"There is no access token for Jira yet: {sidecar.config.token.path} does not exist"
    assert sidecar.server.summary() == f"{sandbox.url}: {missing}: run `sidecar auth`"
    store_token(sidecar.config, "t" * 32, user="alana")
    assert sidecar.server.summary() == f"{sandbox.url} as alana"
    store_token(sidecar.config, "u" * 32, user="alana", expires_at=1_900_000_000.0)
    assert sidecar.server.summary() == f"{sandbox.url} as alana until 2030-03-17"


async def test_it_introduces_itself_as_people_say_it(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url)
    introduction = sidecar.server.introduction
    assert introduction() == f"{sandbox.url}, with nobody signed in yet"
    facts = {"user": "alana", "display_name": "Alana Example"}
    store_token(sidecar.config, "t" * 32, **facts)
    assert introduction() == f"{sandbox.url} as Alana Example (alana)"
    store_token(sidecar.config, "u" * 32, **facts, expires_at=1_900_000_000.0)
    assert introduction().startswith(f"{sandbox.url} as Alana Example (alana) until")
    two_legged = await make_sidecar(sandbox.url, jira__two_legged=True)
    assert two_legged.server.introduction().startswith(f"{sandbox.url}, two-legged, as ")
