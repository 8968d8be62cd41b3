"""Log lines: what is in them, what never is, and whom they are for."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import RequestRefused
from sidecar.sandbox import Answer, Sandbox
from sidecar.telemetry import logs
from sidecar.telemetry.record import Record
from tests.conftest import MakeSidecar, Running
from tests.support.waiting import PATIENCE, until

RECORD = Record(
    "GET", "/rest/api/2/issue/JJ-2", "abc", 0.0, 200, "jira", 10, 662, 0.001, 0.03, 0.0007, 0.0412
)


class Sink(io.StringIO):
    """Standard error, read back; with a file descriptor, where one is asked for."""

    fd: int | None = None

    def fileno(self) -> int:
        if self.fd is None:
            raise OSError
        return self.fd


class Keeping(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def stderr() -> Iterator[Sink]:
    """What is logged from now on; afterwards logging is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("sidecar")
    before = list(root.handlers), root.level, ours.level
    yield Sink()
    root.handlers, root.level, ours.level = before[0], before[1], before[2]


def journal(sink: Sink, folder: Path) -> dict[str, str]:
    """Let the sink be the journal's stream."""
    sink.fd = os.open(folder / "stream", os.O_CREAT | os.O_WRONLY)
    info = os.fstat(sink.fd)
    return {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}


class TestForms:
    def test_a_line_for_people(self, stderr: Sink) -> None:
        logs.set_up("text", "info", {}, verbose=False, stream=stderr)
        logs.log_request(RECORD)
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d GET /rest/api/2/issue/JJ-2 200 in=10 out=662 total=41\.2ms"
            r" upstream=30\.0ms signing=0\.70ms retries=0 id=abc\n",
            stderr.getvalue(),
        )

    def test_an_object_for_machines(self, stderr: Sink) -> None:
        logs.set_up("json", "info", {}, verbose=False, stream=stderr)
        logs.log_request(RECORD)
        entry = json.loads(stderr.getvalue())
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
        assert entry.pop("message").startswith("GET /rest/api/2/issue/JJ-2 200 ")
        assert entry == {
            "level": "info",
            "method": "GET",
            "path": "/rest/api/2/issue/JJ-2",
            "status": 200,
            "answered_by": "jira",
            "received_bytes": 10,
            "sent_bytes": 662,
            "total_ms": 41.2,
            "upstream_ms": 30.0,
            "signing_ms": 0.7,
            "retries": 0,
            "request_id": "abc",
        }

    def test_a_request_s_line_is_a_record_as_any_other(self) -> None:
        handler = Keeping()
        logs.log.addHandler(handler)
        level, began = logs.log.level, time.time()
        logs.log.setLevel(logging.INFO)
        try:
            logs.log_request(RECORD)
            logs.log.info("%s", "another line")
        finally:
            logs.log.removeHandler(handler)
            logs.log.setLevel(level)
        ours, other = handler.records
        assert vars(ours).keys() >= vars(other).keys() - {"message"}
        assert began <= ours.created <= other.created
        assert ours.msecs == pytest.approx(ours.created % 1 * 1000)
        for name in ("name", "levelname", "levelno", "exc_info", "stack_info"):
            assert getattr(ours, name) == getattr(other, name)
        logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s").format(ours)

    def test_whose_key_it_was_and_where_from(self, stderr: Sink) -> None:
        named = Record("GET", "/x", "abc", 0.0, 401, client="uid:1000", caller="build")
        named.error = "http_request_denied"
        logs.set_up("text", "info", {}, verbose=False, stream=stderr)
        logs.log_request(named)
        end = " id=abc client=uid:1000 caller=build error=http_request_denied\n"
        assert stderr.getvalue().endswith(end)
        logs.set_up("json", "info", {}, verbose=False, stream=stderr)
        logs.log_request(named)
        entry = json.loads(stderr.getvalue().splitlines()[1])
        assert (entry["client"], entry["caller"]) == ("uid:1000", "build")

    def test_where_jira_did_not_answer_there_is_no_time_that_it_took(self, stderr: Sink) -> None:
        late = Record("GET", "/x", "abc", 0.0, 504, total=1.0012, error="http_response_timeout")
        logs.set_up("text", "info", {}, verbose=False, stream=stderr)
        logs.log_request(late)
        assert " 504 in=0 out=0 total=1001.2ms upstream=- signing=" in stderr.getvalue()
        logs.set_up("json", "info", {}, verbose=False, stream=stderr)
        logs.log_request(late)
        entry = json.loads(stderr.getvalue().splitlines()[1])
        assert (entry["total_ms"], entry["upstream_ms"]) == (1001.2, None)

    def test_what_never_became_a_request_has_fields_too(self, stderr: Sink) -> None:
        error = RequestRefused(431, "The request's head is too large.")
        said = "refused with 431: The request's head is too large. id=abc client=::1"
        logs.set_up("text", "info", {}, verbose=False, stream=stderr)
        logging.getLogger("sidecar.downstream.replies").info(logs.RefusedLine(error, "abc", "::1"))
        assert stderr.getvalue().endswith(f" {said}\n")
        logs.set_up("json", "info", {}, verbose=False, stream=stderr)
        logging.getLogger("sidecar.downstream.replies").info(logs.RefusedLine(error, "abc", "::1"))
        entry = json.loads(stderr.getvalue().splitlines()[1])
        del entry["time"]
        assert entry == {
            "level": "info",
            "message": said,
            "status": 431,
            "answered_by": "sidecar",
            "request_id": "abc",
            "error": "http_request_error",
            "client": "::1",
        }

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_the_journal_has_time_and_priority_of_its_own(
        self, stderr: Sink, tmp_path: Path, form: str
    ) -> None:
        logs.set_up(form, "debug", journal(stderr, tmp_path), verbose=False, stream=stderr)
        ours = logging.getLogger("sidecar.x")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            ours.log(level, "said")
        lines = stderr.getvalue().splitlines()
        assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>"]
        if form == "text":
            assert {line[3:] for line in lines} == {"said"}
        else:
            assert all("time" not in json.loads(line[3:]) for line in lines)

    def test_every_line_of_a_traceback_has_its_priority(self, stderr: Sink, tmp_path: Path) -> None:
        logs.set_up("text", "info", journal(stderr, tmp_path), verbose=False, stream=stderr)
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("sidecar.x").exception("a bug")
        lines = stderr.getvalue().splitlines()
        assert len(lines) > 3
        assert all(line.startswith("<3>") for line in lines)

    def test_a_stream_that_is_not_the_journals_gets_no_priorities(
        self, stderr: Sink, tmp_path: Path
    ) -> None:
        environ = journal(stderr, tmp_path)
        stderr.fd = os.open(tmp_path / "other", os.O_CREAT | os.O_WRONLY)
        for variables in (environ, {"JOURNAL_STREAM": "nonsense"}, {}):
            assert not logs.is_journal(stderr, variables)

    @given(st.text())
    def test_no_message_begins_a_second_line(self, text: str) -> None:
        record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
        for form in (logs.TextFormatter(journal=False), logs.JSONFormatter(journal=False)):
            assert form.format(record).isprintable()

    def test_the_journal_knows_an_error_that_ends_the_program_for_one(self, tmp_path: Path) -> None:
        with (tmp_path / "stream").open("wb") as stream:
            info = os.fstat(stream.fileno())
            done = subprocess.run(
                [sys.executable, "-m", "sidecar", "run", "--config", str(tmp_path / "none.toml")],
                stderr=stream,
                env={**os.environ, "JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"},
                timeout=PATIENCE,
            )
        assert done.returncode == 78
        error, hint = (tmp_path / "stream").read_text().splitlines()
        assert error.startswith("<3>sidecar: error: ")
        assert hint.startswith("<3>sidecar: hint: ")


class TestLevels:
    @pytest.mark.parametrize(
        ("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
    )
    def test_each_shows_itself_and_what_is_worse(
        self, stderr: Sink, level: str, lines: int
    ) -> None:
        logs.set_up("text", level, {}, verbose=False, stream=stderr)
        for name in logs.LEVELS:
            logging.getLogger("sidecar.x").log(logging.getLevelNamesMapping()[name.upper()], "x")
        assert len(stderr.getvalue().splitlines()) == lines

    def test_verbose_is_debug(self, stderr: Sink) -> None:
        logs.set_up("text", "error", {}, verbose=True, stream=stderr)
        logging.getLogger("sidecar.x").debug("x")
        assert stderr.getvalue()

    def test_requests_for_our_own_pages_are_debugs(self, stderr: Sink) -> None:
        for level, shown in (("info", False), ("debug", True)):
            logs.set_up("text", level, {}, verbose=False, stream=stderr)
            logs.log_request(Record("GET", "/_sidecar/ready", "abc", 0.0, 200))
            assert bool(stderr.getvalue()) is shown


class TestRequests:
    async def test_each_has_one_line_whatever_answers_it(
        self, sidecar: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sidecar.telemetry.logs")
        await sidecar.post_json("/rest/api/2/search?secret=1", {"jql": "key = JJ-2"})
        await sidecar.get("/x", ("Host", "evil.example"))
        await sidecar.get("/_sidecar/status")
        jira, ours = [r.getMessage() for r in caplog.records if r.name == "sidecar.telemetry.logs"]
        assert jira.startswith("POST /rest/api/2/search 200 in=21 out=")
        assert "secret" not in jira
        assert re.search(r"GET /x 421 in=0 out=[1-9]\d+ .* error=http_request_denied$", ours)

    async def test_an_id_is_taken_from_the_client_or_made_and_goes_both_ways(
        self, sandbox: Sandbox, sidecar: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sidecar.telemetry.logs")
        for target in ("/rest/api/2/myself", "/_sidecar/health"):
            answer = await sidecar.get(target, ("X-Request-Id", "client-7"))
            assert answer["X-Request-Id"] == "client-7"
        made = (await sidecar.get("/rest/api/2/myself"))["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{16}", made)
        assert [r.fields.get("x-request-id") for r in sandbox.log] == ["client-7", made]
        assert [r.getMessage().split(" id=")[1].split()[0] for r in caplog.records] == [
            "client-7",
            made,
        ]
        refused = await sidecar.get("/x", ("Host", "evil.example"), ("X-Request-Id", "a"))
        assert refused["X-Request-Id"] == "a"
        malformed = await sidecar.raw(b"GET / HTTP/1.1\r\nHost: a\r\nb ad: x\r\n\r\n")
        assert malformed.status == 400
        assert re.fullmatch("[0-9a-f]{16}", malformed["X-Request-Id"])

    async def test_an_id_that_cannot_be_shown_reaches_jira_as_it_is(
        self, sandbox: Sandbox, sidecar: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sidecar.telemetry.logs")
        odd = "é <6>fake " + "x" * 200
        answer = await sidecar.get("/rest/api/2/myself", ("X-Request-Id", odd))
        raw = sandbox.log[0].fields.get("x-request-id")
        assert raw is not None
        assert raw.encode("latin-1", "surrogateescape").decode() == odd or raw == odd
        shown = answer["X-Request-Id"]
        assert len(shown) == 128
        assert shown.startswith("???<6>fake?xxx")
        assert shown in caplog.records[-1].getMessage()

    async def test_an_id_of_jiras_own_is_not_doubled(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        sandbox.canned["/jira/x"] = lambda: Answer(
            200, b"", "text/plain", fields=[("X-Request-Id", "jira-1")]
        )
        assert (await sidecar.get("/x")).all("X-Request-Id") == ["jira-1"]

    async def test_a_client_that_leaves_is_one_line_and_no_traceback(
        self, sandbox: Sandbox, sidecar: Running, quiet: pytest.LogCaptureFixture
    ) -> None:
        async with await sidecar.wire() as wire:
            await wire.send(sidecar.message("GET", "/_sandbox/drip?pieces=2&gate=g&size=70000"))
            sandbox.release("g")
            await wire.head()
            wire.leave()
        await until(lambda: "closed_early=client" in quiet.text)
        lines = [r for r in quiet.records if r.name.startswith(("sidecar", "aiohttp"))]
        assert [r.levelno for r in lines] == [logging.INFO]

    async def test_what_jira_cuts_short_is_jiras(
        self, sandbox: Sandbox, sidecar: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sidecar.telemetry.logs")
        sandbox.faults.cut_off = 1000
        async with await sidecar.wire() as wire:
            await wire.send(sidecar.message("GET", "/_sandbox/bytes?n=100000"))
            await wire.end()
        await until(lambda: "closed_early=jira" in caplog.text)

    async def test_an_unreachable_jira_is_named_in_the_line(
        self, make_sidecar: MakeSidecar, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sidecar.telemetry.logs")
        sidecar = await make_sidecar("http://127.0.0.1:1", token="t" * 32)
        assert (await sidecar.get("/x")).status == 502
        assert caplog.records[-1].getMessage().endswith("error=connection_refused")
