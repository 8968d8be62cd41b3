"""Signing in from the page: the way of its owner, and of everybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.files.private import write_private
from sidecar.html.answers import page_fields
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, store_token
from tests.support.owning import ARRIVAL, SIGN_IN, Owner, hidden, link_to_jira, title
from tests.support.wire import Response


@pytest.fixture
async def owner(sandbox: Sandbox, make_sidecar: MakeSidecar) -> Owner:
    """An owner whose sidecar has no token yet."""
    return Owner(await make_sidecar(sandbox.url))


def stored_user(owner: Owner) -> str | None:
    token = owner.sidecar.token_file.load()
    return None if token is None else token.user


BROWSER = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


def text(page: Response) -> str:
    return page.body.decode()


async def test_the_whole_way(sandbox: Sandbox, owner: Owner) -> None:
    location = await owner.decide(await owner.begin())
    assert location.startswith(f"{owner.origin}/_sidecar/callback/")
    page = await owner.arrive(location)
    assert (page.status, title(page)) == (200, "Signed in")
    assert "Signed in as Alana Example (alana) until " in text(page)
    assert f"curl {owner.origin}/rest/api/2/myself" in text(page).replace("<wbr>", "")
    for name, value in page_fields():
        assert page[name.decode()] == value.decode()
    assert not page.all("Set-Cookie")
    assert not page.all("Location")
    assert (await owner.sidecar.get("/rest/api/2/myself")).json()["name"] == "alana"
    assert stored_user(owner) == "alana"


async def test_what_begins_it_answers_with_a_link_and_never_leads_away(owner: Owner) -> None:
    await owner.own()
    page = await owner.post(SIGN_IN)
    assert page.status == 200
    assert not page.all("Location")
    assert hidden(page, "grant") == owner.grant
    assert 'rel="noreferrer"' in text(page)
    assert "10 more minutes" in text(page)


async def test_without_a_script_the_code_itself_is_posted(owner: Owner) -> None:
    """Somebody may paste the whole address."""
    code = await owner.code()
    page = await owner.post(SIGN_IN, code=f" {owner.origin}/_sidecar/#code={code} ")
    assert link_to_jira(page)
    owner.grant = hidden(page, "grant")
    assert (await owner.post(f"{SIGN_IN}/answer", answer="wrong")).status != 403


async def test_a_code_is_good_once(owner: Owner) -> None:
    code = await owner.code()
    assert (await owner.post(SIGN_IN, code=code)).status == 200
    again = await owner.post(SIGN_IN, code=code)
    assert (again.status, title(again)) == (403, "This browser may not sign in")
    assert 'data-grant=""' in text(again), "the script forgets what it has"


async def test_a_code_that_was_shown_twice_ends_what_the_first_began(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    """Another account may have seen the browser's command line, and been quicker."""
    code = await owner.code()
    thief = Owner(owner.sidecar)
    page = await thief.post(SIGN_IN, code=code)
    thief.grant = hidden(page, "grant")
    location = await thief.decide(link_to_jira(page))
    refused = await owner.post("/_sidecar/page/owner", code=code)
    assert refused.status == 403
    assert "was used before" in refused.message
    assert (await thief.arrive(location)).status in (403, 404)
    assert (await thief.post(SIGN_IN)).status == 403
    assert stored_user(owner) is None
    assert "was shown twice" in caplog.text


async def test_an_old_code_is_not_taken(owner: Owner) -> None:
    refused = await owner.post("/_sidecar/page/owner", code=await owner.code(age=301))
    assert refused.status == 403
    assert "expired" in refused.message


@pytest.mark.parametrize(
    "missing", ["Origin", "Sec-Fetch-Site", "process", "grant", "everything of a browser's"]
)
@pytest.mark.parametrize("path", [SIGN_IN, f"{SIGN_IN}/answer", f"{SIGN_IN}/confirm"])
async def test_nothing_is_done_where_one_proof_is_missing(
    sandbox: Sandbox, owner: Owner, missing: str, path: str
) -> None:
    await owner.own()
    fields = [field for field in owner.fields() if field[0] != missing]
    form = {missing: ""} if missing in ("process", "grant") else {}
    if missing.startswith("everything"):
        fields = []
    refused = await owner.posted(path, fields, **form)
    assert refused.status == 403
    assert not sandbox.log


@pytest.mark.parametrize(
    "field",
    [
        ("Origin", "http://evil.test"),
        ("Origin", "null"),
        ("Origin", "http://localhost:1"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "none"),
    ],
)
async def test_a_form_of_another_page_is_refused(
    sandbox: Sandbox, owner: Owner, field: tuple[str, str]
) -> None:
    await owner.own()
    fields = [field if name == field[0] else (name, value) for name, value in owner.fields()]
    assert (await owner.posted(SIGN_IN, fields)).status == 403
    assert not sandbox.log


async def test_nobody_signs_in_by_a_name_that_is_read_on_the_way(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(sandbox.url, access__hosts=["sidecar.test"])
    owner = Owner(sidecar)
    await owner.own()
    here = ("Host", f"sidecar.test:{sidecar.port}")
    fields = [here, ("Origin", f"http://{here[1]}"), ("Sec-Fetch-Site", "same-origin")]
    refused = await owner.posted(SIGN_IN, fields)
    assert title(refused) == "Not signed in"
    assert "ssh -L" in text(refused)
    assert not sandbox.log


async def test_whoever_has_an_access_key_is_not_the_owner(
    sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
) -> None:
    """The key lets one call, and nothing else; and nobody signs in without it."""
    write_private(tmp_path / "key", b"open sesame")
    sidecar = await make_sidecar(sandbox.url, access__key_file=str(tmp_path / "key"))
    owner, key = Owner(sidecar), ("X-Sidecar-Key", "open sesame")
    refused = await owner.posted(SIGN_IN, [*owner.fields(), key])
    assert refused.status == 403
    code = await owner.code()
    assert (await owner.posted(SIGN_IN, owner.fields(), code=code)).status == 401
    begun = await owner.posted(SIGN_IN, [*owner.fields(), key], code=code)
    location = await owner.decide(link_to_jira(begun))
    assert (await owner.arrive(location)).status == 401
    done = await owner.arrive(location, *ARRIVAL, key)
    assert title(done) == "Signed in"
    assert f"curl -u any {owner.origin}" in text(done)


async def test_two_legged_nobody_signs_in(sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    owner = Owner(await make_sidecar(sandbox.url, jira__two_legged=True))
    await owner.own()
    assert "There is nothing to sign in" in text(await owner.post(SIGN_IN))


async def test_a_denial_has_its_page(owner: Owner) -> None:
    location = await owner.decide(await owner.begin(), deny=True)
    page = await owner.arrive(location)
    assert (page.status, title(page)) == (200, "Access denied")
    assert 'class="state bad"' in text(page)
    assert stored_user(owner) is None
    assert (await owner.arrive(location)).status == 403, "that dance is over"


async def test_what_the_link_refuses_has_its_page(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    owner = Owner(await make_sidecar(sandbox.url, jira__consumer_key="Stranger"))
    await owner.own()
    page = await owner.post(SIGN_IN)
    assert (page.status, title(page)) == (503, "The application link does not fit")
    assert "Stranger" in text(page)


async def test_a_jira_that_is_away_has_its_page(
    sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    owner = Owner(await make_sidecar("http://127.0.0.1:9"))
    await owner.own()
    page = await owner.post(SIGN_IN)
    assert (page.status, title(page)) == (502, "Jira cannot be asked")


class TestAnotherUser:
    """Whoever is signed in stays, until the owner has agreed to another."""

    @pytest.fixture
    async def owner(self, sandbox: Sandbox, make_sidecar: MakeSidecar) -> Owner:
        sidecar = await make_sidecar(sandbox.url)
        store_token(sidecar.config, sandbox.grant().token, user="alana")
        return Owner(sidecar)

    async def arrived(self, owner: Owner) -> Response:
        page = await owner.arrive(await owner.decide(await owner.begin(), user="bob"))
        assert (page.status, title(page)) == (200, "Another user than before")
        assert stored_user(owner) == "alana"
        return page

    async def test_is_asked_for_and_then_stored(self, owner: Owner) -> None:
        page = await self.arrived(owner)
        assert "The sidecar has acted as alana." in text(page)
        assert hidden(page, "grant") == "", "whoever has the callback's address is not the owner"
        done = await owner.post(f"{SIGN_IN}/confirm", decision="yes")
        assert title(done) == "Signed in"
        assert stored_user(owner) == "bob"

    async def test_has_a_name_that_is_text(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(sandbox.url)
        harm = "<img src=x onerror=alert(1)>'\"\x1b[31m"
        store_token(sidecar.config, sandbox.grant().token, user=harm)
        owner = Owner(sidecar)
        page = await owner.arrive(await owner.decide(await owner.begin()))
        assert title(page) == "Another user than before"
        assert "<img" not in text(page)
        assert "\x1b" not in text(page)
        assert "&lt;img src=x onerror=alert(1)&gt;" in text(page)

    async def test_may_be_declined(self, owner: Owner) -> None:
        await self.arrived(owner)
        page = await owner.post(f"{SIGN_IN}/confirm", decision="no")
        assert title(page) == "Nothing has changed"
        assert stored_user(owner) == "alana"
        over = await owner.post(f"{SIGN_IN}/confirm", decision="yes")
        assert title(over) == "Not this sign-in"
        assert stored_user(owner) == "alana"

    async def test_is_confirmed_by_nobody_else(self, owner: Owner) -> None:
        """The page that came with the callback has no more than everybody can read."""
        page = await self.arrived(owner)
        owner.grant = hidden(page, "grant")
        assert (await owner.post(f"{SIGN_IN}/confirm", decision="yes")).status == 403
        assert stored_user(owner) == "alana"

    async def test_without_a_script_a_code_confirms(self, owner: Owner) -> None:
        await self.arrived(owner)
        owner.grant = ""
        code = await owner.code()
        assert title(await owner.post(f"{SIGN_IN}/confirm", decision="yes", code=code)) == (
            "Signed in"
        )

    async def test_the_same_user_is_not_asked_again(self, owner: Owner) -> None:
        page = await owner.arrive(await owner.decide(await owner.begin()))
        assert title(page) == "Signed in"


class TestTyped:
    """A browser on another machine ends on a page that it cannot show."""

    async def test_the_address_is_pasted(self, owner: Owner) -> None:
        location = await owner.decide(await owner.begin())
        page = await owner.post(f"{SIGN_IN}/answer", answer=location)
        assert title(page) == "Signed in"
        assert stored_user(owner) == "alana"

    async def test_a_code_that_is_wrong_may_be_given_again(self, owner: Owner) -> None:
        location = await owner.decide(await owner.begin())
        page = await owner.post(f"{SIGN_IN}/answer", answer="qTJkPi")
        assert title(page) == "That code does not fit"
        assert hidden(page, "grant") == owner.grant, "the form is there once more"
        page = await owner.post(f"{SIGN_IN}/answer", answer=location)
        assert title(page) == "Signed in"

    async def test_the_address_that_says_denied(self, owner: Owner) -> None:
        location = await owner.decide(await owner.begin(), deny=True)
        page = await owner.post(f"{SIGN_IN}/answer", answer=location)
        assert title(page) == "Access denied"

    async def test_an_answer_that_nobody_waits_for(self, owner: Owner) -> None:
        await owner.own()
        page = await owner.post(f"{SIGN_IN}/answer", answer="qTJkPi")
        assert title(page) == "Not this sign-in"


class TestCallback:
    """It exists while a dance waits, for the browser that Jira sends, once."""

    async def test_there_is_none_before_and_after(self, owner: Owner) -> None:
        somewhere = f"/_sidecar/callback/{'0' * 32}?oauth_token=x&oauth_verifier=y"
        assert (await owner.arrive(somewhere)).status == 403
        assert (await owner.sidecar.get(somewhere)).status == 404
        location = await owner.decide(await owner.begin())
        assert (await owner.arrive(somewhere)).status == 403
        assert title(await owner.arrive(location)) == "Signed in"
        assert (await owner.arrive(location)).status == 403
        assert (await owner.sidecar.get(location.removeprefix(owner.origin))).status == 404

    async def test_when_it_is_over_a_browser_gets_a_page_and_a_tool_json(
        self, owner: Owner
    ) -> None:
        location = await owner.decide(await owner.begin())
        await owner.arrive(location)
        site, status = ARRIVAL[0], 403
        for fields in ([*ARRIVAL, BROWSER], [BROWSER]):
            page = await owner.arrive(location, *fields)
            assert (page.status, title(page)) == (status, "This sign-in is over")
            assert page["Content-Type"] == "text/html; charset=utf-8"
            assert "error=http_request_denied" in page["Proxy-Status"]
            for name, value in page_fields():
                assert page.all(name.decode()) == [value.decode()]
            status = 404  # typed, it comes from nowhere
        for field in (("Accept", "application/json"), ("Accept", "*/*")):
            told = await owner.arrive(location, site, field)
            assert told.json()["errorMessages"]

    async def test_while_it_waits_who_may_not_have_it_is_told_on_a_page(self, owner: Owner) -> None:
        location = await owner.decide(await owner.begin())
        page = await owner.arrive(location, ARRIVAL[0], BROWSER)  # no navigation
        assert (page.status, title(page)) == (403, "This cannot be shown")
        assert "Only a browser that comes from Jira" in text(page)

    @pytest.mark.parametrize(
        "fields",
        [
            [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
            [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")],
            [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")],
            [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "object")],
            [],
            [*ARRIVAL[1:], ("Sec-Purpose", "prefetch;prerender")],
            [*ARRIVAL[1:], ("Origin", "http://evil.test")],
            [*ARRIVAL[1:], ("Sec-Fetch-Site", "same-origin")],
            [*ARRIVAL[1:], ("Host", "evil.test")],
        ],
    )
    async def test_it_takes_a_navigation_alone(
        self, owner: Owner, fields: list[tuple[str, str]]
    ) -> None:
        location = await owner.decide(await owner.begin())
        assert (await owner.arrive(location, ARRIVAL[0], *fields)).status in (403, 421, 503)
        assert title(await owner.arrive(location)) == "Signed in", "that used nothing up"

    @pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PUT"])
    async def test_it_takes_get_alone(self, owner: Owner, method: str) -> None:
        location = await owner.decide(await owner.begin())
        target = location.removeprefix(owner.origin)
        assert (await owner.sidecar.request(method, target, *ARRIVAL)).status == 405
        assert title(await owner.arrive(location)) == "Signed in"

    async def test_another_sign_ins_approval_signs_nobody_in(
        self, sandbox: Sandbox, owner: Owner
    ) -> None:
        """Login CSRF: the attacker has approved with an own request token, and knows our path."""
        url = await owner.begin()
        path = (await owner.decide(url)).partition("?")[0]
        attacker = Owner(owner.sidecar)
        await attacker.own()
        theirs = await attacker.decide(await attacker.begin(), user="bob")
        url = await owner.begin()
        mine = await owner.decide(url)
        mixed = f"{mine.partition('?')[0]}?{theirs.partition('?')[2]}"
        page = await owner.arrive(mixed)
        assert (page.status, title(page)) == (200, "Not this sign-in")
        assert (await owner.arrive(theirs)).status == 403
        assert (await owner.arrive(f"{path}?{mine.partition('?')[2]}")).status == 403
        assert stored_user(owner) is None
        assert title(await owner.arrive(mine)) == "Signed in"
        assert stored_user(owner) == "alana"

    async def test_an_answer_that_came_is_not_taken_again(self, owner: Owner) -> None:
        url = await owner.begin()
        location = await owner.decide(url)
        before, name, _ = location.partition("oauth_verifier=")
        wrong = await owner.arrive(f"{before}{name}abcdef")
        assert title(wrong) == "That code does not fit"
        page = await owner.arrive(location)
        assert title(page) == "Not this sign-in"
        assert "has come already" in text(page)
        assert title(await owner.post(f"{SIGN_IN}/answer", answer=location)) == "Signed in"

    async def test_no_log_line_has_its_path_nor_what_lets_one_sign_in(
        self, owner: Owner, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        code = await owner.code()
        page = await owner.post(SIGN_IN, code=code)
        owner.grant = hidden(page, "grant")
        location = await owner.decide(link_to_jira(page))
        await owner.arrive(location, ("Origin", "http://evil.test"))
        await owner.post(SIGN_IN, code=code, grant="")
        path, _, query = location.rpartition("/")[2].partition("?")
        await owner.post(f"{SIGN_IN}/answer", answer=f"{location}x")
        await owner.arrive(location)
        lines = [one.getMessage() for one in caplog.records if one.name.startswith("sidecar")]
        assert any("GET /_sidecar/callback/ 403" in line for line in lines)
        parameters = [text.partition("=")[2] for text in query.split("&")]
        for secret in (path, code, owner.grant, owner.process, *parameters):
            assert len(secret) >= 6
            assert not [line for line in lines if secret in line]


async def test_a_reload_ends_it(owner: Owner) -> None:
    location = await owner.decide(await owner.begin())
    owner.sidecar.server.reload(owner.sidecar.config)
    assert (await owner.arrive(location)).status == 403
    assert title(await owner.post(f"{SIGN_IN}/answer", answer=location)) == "Not this sign-in"
    assert stored_user(owner) is None


async def test_another_that_begins_ends_it(owner: Owner) -> None:
    first = await owner.decide(await owner.begin())
    second = await owner.decide(await owner.begin())
    assert (await owner.arrive(first)).status == 403
    assert title(await owner.arrive(second)) == "Signed in"


@pytest.mark.parametrize("path", [SIGN_IN, f"{SIGN_IN}/answer", f"{SIGN_IN}/confirm"])
async def test_a_form_s_address_by_itself_leads_to_the_page(owner: Owner, path: str) -> None:
    answer = await owner.sidecar.get(path)
    assert (answer.status, answer["Location"]) == (303, "/_sidecar/")
