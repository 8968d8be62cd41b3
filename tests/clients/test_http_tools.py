"""What curl, wget, aria2 and HTTPie do with HTTP, each told nothing but the sidecar's address."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.files.private import write_private
from tests.clients.conftest import MakeStand, Ran, prepared, run
from tests.clients.stand import PASSWORD, USER, Stand

DATA = hashlib.shake_256(b"tools").digest(5 << 20)
CREDENTIALS = f"{USER}:{PASSWORD}"

Tool = Callable[..., Awaitable[Ran]]


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip where a tool is not installed."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


pytestmark = [prepared, needs("curl")]


@pytest.fixture
async def stand(make_stand: MakeStand) -> Stand:
    return await make_stand(context_path="/jira")


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Run a tool, which must end well unless told otherwise."""

    async def ran(*words: str, stdin: bytes = b"", code: int = 0, **environ: str) -> Ran:
        done = await run(*words, folder=tmp_path, stdin=stdin, environ=environ)
        assert done.code == code, done.err
        return done

    return ran


@pytest.fixture
def curl(tool: Tool) -> Tool:
    """curl without a progress bar, with credentials."""

    async def ran(*words: str, **options: Any) -> Ran:
        return await tool("curl", "-sS", "-u", CREDENTIALS, *words, **options)

    return ran


@pytest.fixture
async def file(stand: Stand, curl: Tool, tmp_path: Path) -> str:
    """The address of an attachment that holds DATA."""
    (tmp_path / "data").write_bytes(DATA)
    where = f"{stand.url}/rest/api/2/issue/JJ-2/attachments"
    [about] = json.loads((await curl("-F", "file=@data", where)).out)
    return str(about["content"])


# ── uploads ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_curl_waits_for_100_continue(
    stand: Stand, curl: Tool, tmp_path: Path, method: str
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "20")
    where = f"{stand.url}/_sandbox/echo/x"
    done = await curl("-i", "-X", method, "-T", "data", *expect, where)
    assert done.out.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    (record,) = stand.sandbox.log
    assert record.body_sha256 == hashlib.sha256(DATA).hexdigest()
    assert record.fields.all("content-length") == [str(len(DATA))]
    assert not record.fields.all("expect")
    stand.check()


async def test_no_100_is_sent_where_the_request_is_refused(
    stand: Stand, curl: Tool, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "20")
    refused = f"{stand.url}/rest/../x?y"
    done = await curl("-i", "--path-as-is", "-T", "data", *expect, refused)
    assert done.out.startswith(b"HTTP/1.1 400 ")
    assert not stand.sandbox.log
    assert len(stand.tap.lines[0].asked) < 1000, "the body was not sent"


async def test_another_expectation_is_417(stand: Stand, curl: Tool) -> None:
    done = await curl("-i", "-H", "Expect: miracles", "-d", "x", f"{stand.url}/rest/api/2/search")
    assert done.out.startswith(b"HTTP/1.1 417 ")
    assert not stand.sandbox.log


async def test_an_upload_of_unknown_length_stays_chunked(stand: Stand, curl: Tool) -> None:
    await curl("--fail", "-T", "-", f"{stand.url}/_sandbox/echo/x", stdin=DATA)
    (record,) = stand.sandbox.log
    assert record.method == "PUT"
    assert record.fields.all("transfer-encoding") == ["chunked"]
    assert not record.fields.all("content-length")
    assert record.body_sha256 == hashlib.sha256(DATA).hexdigest()
    stand.check()


async def test_an_upload_that_its_user_breaks_off_is_not_completed(
    stand: Stand, curl: Tool
) -> None:
    slow = ("-T", "-", "--limit-rate", "1M", "--max-time", "1")
    await curl(*slow, f"{stand.url}/_sandbox/echo/x", stdin=DATA, code=28)
    await stand.sidecar.says("PUT /_sandbox/echo/x 400")
    (record,) = stand.sandbox.log
    assert not record.body_complete


@pytest.mark.parametrize(
    "form", ['{"jql": "key = JJ-2"}', "a=%zz&b=50%&c=ü&d=+&&=x&e", "q=[x]{y}|z", ""]
)
async def test_what_curl_labels_a_form_is_signed_as_one(
    stand: Stand, curl: Tool, form: str
) -> None:
    await curl("--fail", "-d", form, f"{stand.url}/_sandbox/echo/x?a=b&c")
    (record,) = stand.sandbox.log
    assert record.fields.get("content-type") == "application/x-www-form-urlencoded"
    assert record.body_sha256 == hashlib.sha256(form.encode()).hexdigest()
    stand.check()


async def test_json_under_a_forms_name_finds_what_it_asks_for(stand: Stand, curl: Tool) -> None:
    done = await curl("-d", '{"jql": "key = JJ-2"}', f"{stand.url}/rest/api/2/search")
    assert json.loads(done.out)["issues"][0]["key"] == "JJ-2"
    stand.check()


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "OPTIONS"])
async def test_any_method_may_have_a_body(stand: Stand, curl: Tool, method: str) -> None:
    body = ("-H", "Content-Type: application/json", "-d", "{}")
    await curl("--fail", "-X", method, *body, f"{stand.url}/_sandbox/echo/x")
    stand.check()


# ── downloads ───────────────────────────────────────────────────────────────────────────────


@needs("aria2c")
async def test_aria2_fetches_ranges_in_parallel(
    stand: Stand, tool: Tool, file: str, tmp_path: Path
) -> None:
    options = ("-x4", "-s4", "-k1M", "--file-allocation=none", "--quiet", "-o", "whole")
    # Slow enough that the first connection has not fetched it all before there is another.
    slowly = "--max-download-limit=3M"
    user = (f"--http-user={USER}", f"--http-passwd={PASSWORD}", "--http-auth-challenge=false")
    await tool("aria2c", *options, slowly, *user, file)
    assert (tmp_path / "whole").read_bytes() == DATA
    ranges = [record for record in stand.sandbox.log if record.fields.all("range")]
    assert len(ranges) >= 3
    # What aria2 asked for last may have come by another connection before this one was answered.
    assert {record.status for record in ranges} - {None} == {206}
    stand.check_log()


@needs("wget", "aria2c")
@pytest.mark.parametrize(
    "words",
    [
        ["curl", "-sS", "-C", "-", "-o", "part"],
        ["wget", "-q", "-c", "-O", "part"],
        ["aria2c", "-q", "-c", "--allow-overwrite=false", "-o", "part"],
    ],
    ids=lambda words: str(words[0]),
)
async def test_a_download_is_resumed(
    stand: Stand, tool: Tool, file: str, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "part").write_bytes(DATA[:1_234_567])
    await tool(*words, file)
    assert (tmp_path / "part").read_bytes() == DATA
    assert stand.sandbox.log[-1].status == 206
    assert stand.sandbox.log[-1].fields.all("accept-encoding") in ([], ["identity"])
    stand.check()


@needs("wget")
async def test_wget_sees_by_416_that_it_has_everything(
    stand: Stand, tool: Tool, file: str, tmp_path: Path
) -> None:
    (tmp_path / "part").write_bytes(DATA)
    done = await tool("wget", "-c", "-O", "part", file)
    assert "416" in done.err
    assert "already fully retrieved" in done.err
    stand.check()


@pytest.mark.parametrize(
    ("asked", "status", "got"),
    [
        ("0-9", 206, DATA[:10]),
        ("5242000-", 206, DATA[5242000:]),
        ("-100", 206, DATA[-100:]),
        ("99999999-", 416, b""),
    ],
)
async def test_a_range_is_passed_through(
    stand: Stand, curl: Tool, file: str, asked: str, status: int, got: bytes
) -> None:
    done = await curl("-i", "--compressed", "-r", asked, file)
    head, _, body = done.out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert re.search(rb"(?i)content-range: bytes", head)
    assert body == got
    stand.check()


async def test_what_is_known_already_is_304(stand: Stand, curl: Tool, file: str) -> None:
    await curl("--etag-save", "etag", "-o", "whole", file)
    done = await curl("-i", "--etag-compare", "etag", file)
    assert done.out.startswith(b"HTTP/1.1 304 ")
    stand.check()


async def test_head_is_like_get_without_a_body(stand: Stand, curl: Tool, file: str) -> None:
    done = await curl("-I", file)
    assert re.search(rb"(?i)content-length: %d\r" % len(DATA), done.out)
    done = await curl("-I", f"{stand.url}/rest/api/2/myself")
    assert done.out.startswith(b"HTTP/1.1 200 ")
    assert b"ontent-length" not in done.out.lower()
    stand.check()


@needs("wget")
async def test_wget_asks_whether_a_file_is_there(stand: Stand, tool: Tool, file: str) -> None:
    await tool("wget", "-q", "--spider", file)
    await tool("wget", "-q", "--spider", f"{stand.url}/rest/api/2/issue/NO-1", code=8)
    assert [record.method for record in stand.sandbox.log][1:] == ["HEAD", "HEAD"]
    stand.check()


async def test_a_compressed_answer_reads_the_same(stand: Stand, curl: Tool) -> None:
    where = f"{stand.url}/rest/api/2/search?maxResults=20"
    plain = json.loads((await curl(where)).out)
    assert json.loads((await curl("--compressed", where)).out) == plain
    assert json.loads((await curl("--tr-encoding", where)).out) == plain
    assert stand.sandbox.log[1].fields.all("accept-encoding") == ["gzip"]
    assert not stand.sandbox.log[2].fields.all("te")
    assert plain["issues"][0]["self"].startswith(f"{stand.url}/jira/rest/api/2/issue/")
    stand.check()


# ── versions and connections ────────────────────────────────────────────────────────────────


async def test_http_1_0_gets_an_answer_that_the_connections_end_ends(
    stand: Stand, curl: Tool, file: str
) -> None:
    done = await curl("-i", "--http1.0", f"{stand.url}/rest/api/2/myself")
    head, _, body = done.out.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert json.loads(body)["name"] == "alana"
    assert (await curl("--http1.0", file)).out == DATA
    await curl("--fail", "--http1.0", "-d", "a=b", f"{stand.url}/_sandbox/echo/x")
    stand.check()


async def test_an_upgrade_to_http_2_is_ignored(stand: Stand, curl: Tool) -> None:
    done = await curl("-i", "--http2", f"{stand.url}/rest/api/2/myself")
    assert done.out.startswith(b"HTTP/1.1 200 ")
    (record,) = stand.sandbox.log
    assert not record.fields.all("upgrade")
    assert not record.fields.all("http2-settings")
    stand.check()


async def test_http_2_without_asking_is_refused_and_does_no_harm(stand: Stand, curl: Tool) -> None:
    where = f"{stand.url}/rest/api/2/myself"
    done = await run("curl", "-sS", "--http2-prior-knowledge", where, folder=stand.folder)
    assert done.code != 0
    assert not stand.sandbox.log
    assert json.loads((await curl(where)).out)["name"] == "alana"


async def test_an_answer_says_who_is_signed_in(stand: Stand, curl: Tool) -> None:
    """go-jira logs in again without that, or when it says `anonymous`."""
    done = await curl("-I", f"{stand.url}/rest/api/2/serverInfo")
    assert b"X-AUSERNAME: alana\r\n" in done.out
    stand.check()


async def test_one_connection_serves_many_requests(stand: Stand, curl: Tool) -> None:
    where = f"{stand.url}/rest/api/2/"
    each = [f"{where}myself", f"{where}issue/JJ-2", f"{where}issue/NO-1", f"{where}field"]
    await curl(*each)
    assert len(stand.tap.lines) == 1
    stand.check()


async def test_sixty_requests_at_a_time_are_all_answered(stand: Stand, curl: Tool) -> None:
    each = [f"{stand.url}/rest/api/2/issue/JJ-{number}?fields=summary" for number in range(1, 61)]
    done = await curl("--fail", "-Z", "--parallel-max", "60", *each)
    assert done.out.count(b'"summary"') == 60
    assert len(stand.tap.lines) > 10
    stand.check()


async def test_a_head_that_is_too_large_is_431(stand: Stand, curl: Tool) -> None:
    done = await curl("-i", "-H", f"X-Long: {'x' * 70_000}", f"{stand.url}/rest/api/2/myself")
    assert done.out.startswith(b"HTTP/1.1 431 ")
    assert not stand.sandbox.log


# ── ways to the sidecar ─────────────────────────────────────────────────────────────────────


async def test_curl_takes_the_sidecar_for_its_http_proxy(stand: Stand, curl: Tool) -> None:
    done = await curl("-x", stand.url, f"{stand.sandbox.url}/rest/api/2/myself")
    myself = json.loads(done.out)
    assert myself["self"].startswith(stand.sandbox.url), "links stay Jira's"
    (sent,) = stand.tap.requests
    assert sent.target == f"{stand.sandbox.url}/rest/api/2/myself"
    stand.check()


@needs("wget", "http")
async def test_wget_and_httpie_take_it_from_the_environment(stand: Stand, tool: Tool) -> None:
    where = f"{stand.sandbox.url}/rest/api/2/myself"
    wget = await tool("wget", "-q", "-O", "-", where, http_proxy=stand.url, no_proxy="")
    http = await tool("http", "--ignore-stdin", "-b", where, http_proxy=stand.url, no_proxy="")
    assert json.loads(wget.out) == json.loads(http.out)
    assert all(sent.target.startswith("http://") for sent in stand.tap.requests)
    stand.check()


async def test_as_a_proxy_it_leads_nowhere_else(stand: Stand, curl: Tool) -> None:
    done = await curl("-i", "-x", stand.url, "http://jira.example.com/rest/api/2/myself")
    assert done.out.startswith(b"HTTP/1.1 421 ")
    tunnel = ("-x", stand.url, f"https://{stand.sandbox.url.split('/')[2]}/jira/rest/api/2/myself")
    done = await curl(*tunnel, code=56)
    assert "CONNECT" in done.err
    assert not stand.sandbox.log


async def test_a_unix_socket_is_as_good(stand: Stand, curl: Tool, tmp_path: Path) -> None:
    done = await curl(
        "--unix-socket", str(tmp_path / "sidecar.sock"), "http://localhost/rest/api/2/myself"
    )
    assert json.loads(done.out)["self"].startswith("http://localhost/jira/rest/")
    stand.check_log()


@needs("wget")
async def test_https_is_served_to_those_who_insist(
    make_stand: MakeStand, curl: Tool, tool: Tool
) -> None:
    stand = await make_stand(context_path="/jira", tls=True)
    where = f"{stand.url}/rest/api/2/myself"
    done = await curl("-i", "--http2", "--cacert", "ca.pem", where)
    head, _, body = done.out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["self"].startswith(f"{stand.url}/jira/rest/")
    done = await tool("wget", "-q", "-O", "-", "--ca-certificate=ca.pem", where)
    assert json.loads(done.out)["name"] == "alana"
    await curl("--cacert", "ca.pem", "--tls-max", "1.1", where, code=35)
    await run("curl", "-sS", where.replace("https", "http"), folder=stand.folder)
    await curl(
        "--fail", "--cacert", "ca.pem", "-T", "-", f"{stand.url}/_sandbox/echo/x", stdin=DATA
    )
    assert stand.sandbox.log[-1].body_sha256 == hashlib.sha256(DATA).hexdigest()
    stand.check()


# ── what tools add ──────────────────────────────────────────────────────────────────────────


@needs("http")
async def test_httpie_reads_writes_and_downloads(
    stand: Stand, tool: Tool, file: str, tmp_path: Path
) -> None:
    http = ("http", "--ignore-stdin", "--check-status", "-a", CREDENTIALS)
    api = f"{stand.url}/rest/api/2/"
    done = await tool(*http, "-b", f"{api}search", 'jql==summary ~ "Größe Blattes"')
    assert json.loads(done.out)["total"] == 75
    await tool(*http, f"{api}issue/JJ-2/comment", "body=ä [x]", "Cookie:JSESSIONID=dummy")
    await tool(*http, "--form", f"{stand.url}/_sandbox/echo/x", "a=ä [x]%", "b=c d")
    await tool(*http, "--chunked", "PUT", f"{stand.url}/_sandbox/echo/x", "a=b")
    await tool(*http, "--multipart", f"{api}issue/JJ-2/attachments", "file@data")
    await tool(*http, "-d", "-o", "whole", file)
    assert (tmp_path / "whole").read_bytes() == DATA
    stand.check()


@needs("http")
async def test_a_compressed_body_is_left_alone(stand: Stand, tool: Tool) -> None:
    words = ("http", "--ignore-stdin", "--check-status", "--compress", "--compress")
    await tool(*words, "PUT", f"{stand.url}/_sandbox/echo/x", "a=b")
    assert stand.sandbox.log[0].fields.all("content-encoding") == ["deflate"]
    stand.check()


@needs("wget", "http", "aria2c")
async def test_the_access_key_is_a_password_to_every_tool(
    make_stand: MakeStand, curl: Tool, tool: Tool, tmp_path: Path
) -> None:
    write_private(tmp_path / "key", f"{PASSWORD}\n".encode())
    stand = await make_stand(more='[access]\nkey_file = "key"')
    where = f"{stand.url}/rest/api/2/myself"
    bearer = ("-H", f"Authorization: Bearer {PASSWORD}")
    by_name = ("-H", f"X-Sidecar-Key: {PASSWORD}")
    await curl("--fail", where)
    await curl("--fail", "--anyauth", where)
    await tool("curl", "-sS", "--fail", *bearer, where)
    await tool("curl", "-sS", "--fail", *by_name, where)
    await tool("wget", "-q", "-O", "-", f"--user={USER}", f"--password={PASSWORD}", where)
    await tool("http", "--ignore-stdin", "--check-status", "-a", CREDENTIALS, where)
    await tool("aria2c", "-q", f"--http-user={USER}", f"--http-passwd={PASSWORD}", where)
    assert len(stand.sandbox.log) == 7
    await tool("curl", "-sS", "--fail", where, code=22)
    await tool("wget", "-q", "-O", "-", where, code=6)
    assert len(stand.sandbox.log) == 7
    stand.check_log()


@needs("wget")
async def test_wget_reads_and_writes(stand: Stand, tool: Tool) -> None:
    user = (f"--user={USER}", f"--password={PASSWORD}", "--auth-no-challenge")
    wget = ("wget", "-q", "-O", "-", *user)
    json_body = ("--header=Content-Type: application/json", '--body-data={"body": "ä"}')
    api = f"{stand.url}/rest/api/2/"
    await tool(*wget, "--method=POST", *json_body, f"{api}issue/JJ-2/comment")
    await tool(*wget, "--post-data=a=ä%20[x]&b", f"{stand.url}/_sandbox/echo/x")
    done = await tool(*wget, f"{api}search?jql=key=JJ-2&x=[a]{{b}}|c")
    assert json.loads(done.out)["total"] == 1
    stand.check()


async def test_a_browsers_name_does_not_make_jira_refuse(stand: Stand, curl: Tool) -> None:
    browser = ("-A", "Mozilla/5.0 (X11)", "-e", "https://intranet.example.com/")
    body = ("-H", "Content-Type: application/json", "-d", '{"body": "x"}')
    await curl("--fail", *browser, *body, f"{stand.url}/rest/api/2/issue/JJ-2/comment")
    stand.check()


async def test_a_redirect_is_followed_back_to_the_sidecar(stand: Stand, curl: Tool) -> None:
    done = await curl("-L", f"{stand.url}/_sandbox/redirect?to=/rest/api/2/myself")
    assert json.loads(done.out)["name"] == "alana"
    away = f"{stand.url}/_sandbox/redirect?to=https://elsewhere.example.com/x"
    done = await curl("-o", "nothing", "-w", "%{redirect_url}", away)
    assert done.out == b"https://elsewhere.example.com/x"
    stand.check()


async def test_a_name_that_is_not_ours_is_421(stand: Stand, curl: Tool) -> None:
    done = await curl("-i", "-H", "Host: rebound.example.com", f"{stand.url}/rest/api/2/myself")
    assert done.out.startswith(b"HTTP/1.1 421 ")
    assert not stand.sandbox.log


async def test_what_curl_does_not_encode_is_cleaned_or_explained(stand: Stand, curl: Tool) -> None:
    await curl(
        "--fail", "-g", f"{stand.url}/_sandbox/echo/a[b]{{c}}|^`?x=[a]{{b}}|\\<>\"%zz&y'!*()"
    )
    done = await curl("-i", f"{stand.url}/rest/api/2/search?jql=é")
    assert done.out.startswith(b"HTTP/1.1 400 ")
    assert b"%C3%A9" in done.out
    (record,) = stand.sandbox.log
    assert record.status == 200
    stand.check_log()
