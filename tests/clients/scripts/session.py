# mypy: ignore-errors
"""What a session's script is told; these scripts run under the Python of each client."""

import hashlib
import os

URL = os.environ["SESSION_URL"]
JIRA = os.environ["SESSION_JIRA"]
USER = os.environ["SESSION_USER"]
PASSWORD = os.environ["SESSION_PASSWORD"]
TOKEN = os.environ["SESSION_TOKEN"]
SUMMARY = os.environ["SESSION_SUMMARY"]
DESCRIPTION = os.environ["SESSION_DESCRIPTION"]
JQL = os.environ["SESSION_JQL"]
MATCHES = int(os.environ["SESSION_MATCHES"])
LONG_JQL = os.environ["SESSION_LONG_JQL"]
LONG_MATCHES = int(os.environ["SESSION_LONG_MATCHES"])
LONGEST_JQL = os.environ["SESSION_LONGEST_JQL"]
FILE = os.environ["SESSION_FILE"]
SHA256 = os.environ["SESSION_SHA256"]
FOLDER = os.environ["SESSION_FOLDER"]


def sha256(data):
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def equal(found, wanted):
    """Stop where something is not what it ought to be."""
    if found != wanted:
        raise SystemExit(f"found {found!r}\nnot   {wanted!r}")
