"""How fast links are rewritten: python benchmarks/links.py [ROUNDS]

Feeds searches of 50 and 1,000 issues, written as Jira does and in other ways, through the rewriter
in pieces of 64 KiB and prints MB/s of input (1 MB is 1,000,000 bytes), median and best of ROUNDS
(15), all ways taking turns; and, in microseconds, what a small answer costs in all, what building
Links costs, and what the first piece waits.
"""

from __future__ import annotations

import json
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from sidecar.jira.links import Links

BASE = "https://jira.example.com/jira"
ISSUE = Path(__file__).parents[1] / "sidecar/sandbox/JJ-2.json"
PIECE = 65536
LINKS = Links({BASE, "http://jira.internal:8080/jira"}, b"http://localhost:8088")


def search(issues: int) -> dict[str, object]:
    """A page of search results whose every issue is JJ-2, its links on BASE."""
    issue = json.loads(ISSUE.read_text().replace("https://example-dev1.atlassian.net", BASE))
    return {"startAt": 0, "maxResults": issues, "total": issues, "issues": [issue] * issues}


def texts() -> dict[str, bytes]:
    """The same search in the forms that a Jira or a plug-in may write."""
    page = search(1000)
    compact = json.dumps(page, separators=(",", ":")).encode()
    return {
        "50 issues, compact": json.dumps(search(50), separators=(",", ":")).encode(),
        "1,000 issues, compact": compact,
        "1,000 issues, indented": json.dumps(page, indent=2).encode(),
        "1,000 issues, escaped slashes": compact.replace(b"/", rb"\/"),
        "1,000 issues, avatars on Jira too": compact.replace(
            b"https://secure.gravatar.com", BASE.encode() + b"/secure"
        ),
        "1,000 issues, texts that name Jira": compact.replace(
            b'"description":"', b'"description":"see ' + BASE.encode() + rb"/browse/JJ-1\r\n"
        ),
        "1,000 issues, no link to Jira": compact.replace(b"jira.example.com", b"j.example.com"),
        "one string of 7 MB": json.dumps({"body": "text \\ with " + "words " * 10**6}).encode(),
    }


def seconds(text: bytes, piece: int = PIECE) -> float:
    """Time to rewrite one body."""
    pieces = [text[at : at + piece] for at in range(0, len(text), piece)]
    rewriter = LINKS.rewriter()
    start = perf_counter()
    for data in pieces:
        rewriter.feed(data)
    rewriter.finish()
    return perf_counter() - start


def microseconds(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=2000, repeat=5)) / 2000 * 1e6


def small_answer() -> None:
    rewriter = LINKS.rewriter()
    rewriter.feed(b'{"id":"10001","key":"JJ-1","self":"https://jira.example.com/jira/rest/x"}')
    rewriter.finish()


def main(rounds: int) -> None:
    bodies = texts()
    times: dict[str, list[float]] = {name: [] for name in bodies}
    for _ in range(rounds):
        for name, body in bodies.items():
            times[name].append(seconds(body))
    print(f"{'':36}{'median':>8}{'best':>8}  MB/s")
    for name, body in bodies.items():
        size = len(body) / 1e6
        print(f"{name:36}{size / median(times[name]):8.0f}{size / min(times[name]):8.0f}")
    first = bodies["1,000 issues, compact"][:4096]
    urls = {BASE}
    print(f"{'one answer of 74 bytes':36}{microseconds(small_answer):8.1f} µs")
    links = microseconds(lambda: Links(urls, b"http://localhost:8088"))
    print(f"{'Links for another Host':36}{links:8.1f} µs")
    wait = microseconds(lambda: LINKS.rewriter().feed(first))
    print(f"{'a first piece of 4 KiB':36}{wait:8.1f} µs")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
