"""The guide: what to enter in Jira, and how to sign in."""

from __future__ import annotations

from html import unescape

from sidecar.jira.application_link import application_link
from sidecar.sandbox import Sandbox
from tests.conftest import CONSUMER_KEY, MakeSidecar, Running
from tests.support.owning import Owner, hidden
from tests.support.waiting import until


async def page_of(sidecar: Running) -> str:
    return unescape((await sidecar.get("/_sidecar/")).body.decode())


async def test_without_a_token_it_is_all_there(sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    sidecar = await make_sidecar(sandbox.url)
    page = await page_of(sidecar)
    key = sidecar.server.identity.public_key
    for step in application_link(CONSUMER_KEY, key):
        assert step.instruction in page
        for field in step.fields:
            assert field.name in page
            assert field.value in page
    assert key.startswith("-----BEGIN PUBLIC KEY-----")
    assert ">Sign in</button>" in page
    answer = await sidecar.get("/_sidecar/")
    assert hidden(answer, "process") == sidecar.server.ownership.process_token
    assert hidden(answer, "grant") == ""


async def test_with_a_token_one_may_sign_in_again(sidecar: Running) -> None:
    page = await page_of(sidecar)
    assert ">Sign in again</button>" in page
    assert ">Sign in</button>" not in page


async def test_two_legged_nobody_signs_in(sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    page = await page_of(await make_sidecar(sandbox.url, jira__two_legged=True))
    assert "nobody signs in" in page
    assert "Allow 2-Legged OAuth" in page
    assert '/_sidecar/page/sign-in"' not in page


async def test_while_one_waits_its_answer_can_be_pasted_but_is_not_told(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    """Whoever may read the page learns neither the request token nor the callback's address."""
    owner = Owner(await make_sidecar(sandbox.url))
    assert "waits for Jira" not in await page_of(owner.sidecar)
    url = await owner.begin()
    page = await page_of(owner.sidecar)
    assert "A sign-in waits for Jira" in page
    assert url.rpartition("=")[2] not in page
    assert "/_sidecar/callback/" not in page
    assert owner.grant not in page


async def test_a_token_that_died_leads_to_another_sign_in(
    sandbox: Sandbox, sidecar: Running
) -> None:
    sandbox.faults.revoked = True
    await sidecar.get("/rest/api/2/myself")
    await until(lambda: sidecar.server.readiness.why_not() is not None)
    page = await page_of(sidecar)
    assert '<h2 id="guide-title">Sign in again</h2>' in page
    assert page.index("Sign in again</button>") < page.index("Last 15 minutes")
