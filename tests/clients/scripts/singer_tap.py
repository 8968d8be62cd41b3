# mypy: ignore-errors
"""A session with singer's tap-jira, which insists on https; it reads and writes nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import certifi
from session import FOLDER, PASSWORD, URL, USER, equal

# It asks requests in a way that leaves REQUESTS_CA_BUNDLE out: the authority must be in certifi's
# file.  A copy of certifi stands in for the one that its user would add a line to.
COPY = Path(FOLDER, "certifi")
shutil.copytree(Path(certifi.__file__).parent, COPY, dirs_exist_ok=True)
with Path(COPY, "cacert.pem").open("a") as bundle:
    bundle.write(Path(FOLDER, "ca.pem").read_text())

TAP = str(Path(sys.prefix, "bin", "tap-jira"))
STREAMS = ("issues", "issue_comments", "projects", "users", "resolutions")


def tap(*words):
    """The lines that the tap prints, parsed."""
    environ = {**os.environ, "PYTHONPATH": FOLDER}
    done = subprocess.run([TAP, *words], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


config = Path(FOLDER, "tap.json")
config.write_text(
    json.dumps(
        {
            "base_url": URL,
            "username": USER,
            "password": PASSWORD,
            "user_agent": "tap-jira",
            "start_date": "2020-01-01T00:00:00Z",
        }
    )
)
catalog = json.loads(tap("--config", str(config), "--discover"))
for stream in catalog["streams"]:
    for entry in stream["metadata"]:
        if not entry["breadcrumb"]:
            entry["metadata"]["selected"] = stream["tap_stream_id"] in STREAMS[:3]
        else:
            entry["metadata"]["selected"] = True
chosen = Path(FOLDER, "catalog.json")
chosen.write_text(json.dumps(catalog))
messages = [
    json.loads(line)
    for line in tap("--config", str(config), "--properties", str(chosen)).splitlines()
]
keys = {
    each["record"]["key"]
    for each in messages
    if each["type"] == "RECORD" and each["stream"] == "issues"
}
equal(len(keys), 299)  # the documented issue is older than the start date
