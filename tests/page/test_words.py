"""What is said of a request, and the line that repeats it."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import errors
from sidecar.jira.explanations import EXPLANATIONS
from sidecar.page.words import failure, remark, repeating, what_happened
from sidecar.telemetry.record import Record, shown_path

ORIGIN = "http://localhost:8088"


def record(method: str = "GET", path: str = "/x", **facts: object) -> Record:
    made = Record(method, path, "id", 0.0, status=200, answered_by="jira")
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def told(**facts: object) -> str:
    return " ".join(what_happened(record(**facts)))  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", EXPLANATIONS)
def test_every_problem_is_told_with_what_to_do(problem: str) -> None:
    text = told(problem=problem, status=401)
    assert EXPLANATIONS[problem].sentence in text
    assert "What to do: " in text
    assert remark(record(problem=problem)) == problem


def test_a_problem_that_nobody_knows_is_told_too() -> None:
    assert told(problem="other", status=401) == "Jira refused the request’s OAuth signature."


def test_what_was_healed_is_told() -> None:
    text = told(resent_for="timestamp_refused", retries=1)
    assert EXPLANATIONS["timestamp_refused"].sentence in text
    assert "put that right and sent the request again" in text
    assert "The client saw nothing of it." in text
    assert remark(record(resent_for="timestamp_refused")) == "healed: timestamp_refused"


def test_what_could_not_be_healed_is_not_told_as_healed() -> None:
    text = told(resent_for="token_rejected", problem="token_rejected", retries=1, status=401)
    assert "saw nothing" not in text
    assert text.count(EXPLANATIONS["token_rejected"].sentence) == 1


def test_a_lost_connection_is_told() -> None:
    assert "connection to Jira was lost" in told(retries=1)
    assert remark(record(retries=1)) == "sent again"


OURS = {
    error.proxy_error: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.SidecarError)
}


@pytest.mark.parametrize("token", sorted(OURS))
def test_each_of_our_own_errors_has_a_sentence(token: str) -> None:
    status = OURS[token].status
    text = told(error=token, status=status, answered_by="sidecar")
    assert text
    assert text.endswith(".")
    assert remark(record(error=token)) == token


@pytest.mark.parametrize("status", [400, 401, 403, 405, 408, 413, 417, 418, 421, 431, 508])
def test_each_refusal_has_a_sentence(status: int) -> None:
    assert told(error="http_request_denied", status=status, answered_by="sidecar").endswith(".")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_jiras_own_errors_are_told_as_jiras(status: int) -> None:
    assert told(status=status).startswith("Jira")


@pytest.mark.parametrize("who", ["client", "jira", "sidecar"])
def test_an_early_end_is_told(who: str) -> None:
    assert told(closed_early=who)
    assert remark(record(closed_early=who)).startswith("ended early by")


def test_another_method_is_told() -> None:
    assert told(sent_as="POST").startswith("It went to Jira by POST")


def test_nothing_is_told_where_all_went_well() -> None:
    assert told() == remark(record()) == ""


def test_a_way_to_jira_that_fails_in_an_unknown_way_is_told() -> None:
    assert failure("who_knows") == "Jira could not be reached."


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (("GET", "/rest/api/2/issue/JJ-2"), "curl http://localhost:8088/rest/api/2/issue/JJ-2"),
        (("HEAD", "/x"), "curl --head http://localhost:8088/x"),
        (("DELETE", "/x"), "curl -X DELETE http://localhost:8088/x"),
        (("GET", "/a'$(id)`id`;x"), "curl 'http://localhost:8088/a'\"'\"'$(id)`id`;x'"),
        (("GET", "/a[1]{b}"), "curl --globoff 'http://localhost:8088/a[1]{b}'"),
        (("GET", "/a/.hidden"), "curl --path-as-is http://localhost:8088/a/.hidden"),
        (("GET", "http://jira/x"), "curl -x http://localhost:8088 http://jira/x"),
        (("G'$(id)", "/x"), "curl -X 'G'\"'\"'$(id)' http://localhost:8088/x"),
    ],
)
def test_a_line_repeats_it(sent: tuple[str, str], line: str) -> None:
    assert repeating(record(*sent), ORIGIN, needs_key=False) == line


def test_the_access_key_is_asked_for_by_curl_and_never_written() -> None:
    assert repeating(record(), ORIGIN, needs_key=True) == f"curl -u sidecar {ORIGIN}/x"


@pytest.mark.parametrize("target", ["/" + "x" * 1001, "/\udce9", "/\x1b[31m", "*", "x"])
def test_what_is_not_kept_whole_is_not_repeated(target: str) -> None:
    assert repeating(record(path=shown_path(target)), ORIGIN, needs_key=False) == ""


@given(
    st.text(st.characters(codec="latin-1", exclude_characters="?"), max_size=30),
    st.text("!#$%&'*+.^_`|~AZ", min_size=1, max_size=9),
)
def test_a_shell_takes_it_for_what_it_was(path: str, method: str) -> None:
    line = repeating(record(method, shown_path("/" + path)), ORIGIN, needs_key=False)
    if line:
        words = shlex.split(line)
        assert words[-1] == f"{ORIGIN}/{path}"
        assert method in words


def test_a_real_shell_runs_nothing_of_it() -> None:
    path = "/'$(echo harm)`echo harm`\"$HOME;&|<>*?~ !x"
    line = repeating(record(path=path.replace("?", "")), ORIGIN, needs_key=False)
    done = subprocess.run(
        ["sh", "-c", line.replace("curl", "printf %s", 1)], capture_output=True, text=True
    )
    assert done.stdout == ORIGIN + path.replace("?", "")
    assert not done.stderr


def test_a_request_that_was_held_says_for_how_long() -> None:
    one = record(held=2.04, absorbed=1)
    assert remark(one) == "held for 2.0 s"
    (told,) = what_happened(one)
    assert "waited 2.0 s for its turn, and the client saw no 429." in told
    refused = what_happened(record(status=429, held=30.0, absorbed=2))
    assert "waited 30.0 s for its turn." in refused[0]
    assert "too many requests" in refused[1]
