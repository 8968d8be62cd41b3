"""What the benchmark's Jira answers: files below one folder, made from the documentation's JJ-2."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from benchmarks.processes import ROOT

ISSUE = ROOT / "sidecar/sandbox/JJ-2.json"
SMALL = "/rest/api/2/user"
SEARCHES = {"50 kB": "/rest/api/2/search-50kB", "5 MB": "/rest/api/2/search-5MB"}
BULK = "/bulk"
BULK_BYTES = 512 << 20


def write(folder: Path, base_url: str) -> None:
    """Write every answer, its links on `base_url`; searches gzipped, too."""
    rest = folder / "rest/api/2"
    rest.mkdir(parents=True)
    issue = json.loads(ISSUE.read_text().replace("https://example-dev1.atlassian.net", base_url))
    (folder / SMALL[1:]).write_bytes(_compact(issue["fields"]["assignee"]))
    one = len(_compact(issue))
    for name, size in (("50 kB", 50_000), ("5 MB", 5_000_000)):
        issues = round(size / one)
        page = {"startAt": 0, "maxResults": issues, "total": issues, "issues": [issue] * issues}
        text = _compact(page)
        path = folder / SEARCHES[name][1:]
        path.write_bytes(text)
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(text, 6))
    with (folder / BULK[1:]).open("wb") as bulk:
        bulk.truncate(BULK_BYTES)  # a sparse file: its zeros need no disk


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
