"""Attachments: uploads as multipart forms, downloads with ranges and validators."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import quote

from sidecar.sandbox import catalog
from sidecar.sandbox.answers import Answer, BadRequest, Call, answer_errors, answer_json
from sidecar.sandbox.catalog import Thing
from sidecar.sandbox.issues import Issues
from sidecar.sandbox.rest_issues import no_issue
from sidecar.sandbox.router import Router

MOST_BYTES = 64 << 20
"""Of one upload."""
MOST_TOTAL = 256 << 20
"""Of all attachments together; they are the only bodies that are kept."""

_BOUNDARY = re.compile(
    r'multipart/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))', re.I
)
_FILENAME = re.compile(r'(?:^|;)\s*filename=(?:"((?:[^"\\]|\\.)*)"|([^";]+))', re.I)
"""The name may lack quotes: Ansible sends it so, and Jira's parser reads it up to the next `;`."""
_RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*", re.I)


@dataclass(slots=True)
class File:
    """An attachment: what Jira says about it, and its bytes."""

    about: Thing
    data: bytes
    etag: str
    issue: Thing


class FileResources:
    """Attachments of issues, and the files themselves."""

    def __init__(self, base: str, issues: Issues) -> None:
        self.base = base
        self.issues = issues
        self._files: dict[str, File] = {}

    def register(self, router: Router) -> None:
        """Take the paths."""
        router.add("POST", "rest/api/2/issue/*/attachments", self.attach)
        router.add("GET", "rest/api/2/attachment/meta", self.meta)
        router.add("GET", "rest/api/2/attachment/*", self.about)
        router.add("DELETE", "rest/api/2/attachment/*", self.delete)
        router.add("GET", "secure/attachment/*/*", self.content)
        router.add("GET", "secure/thumbnail/*/*", self.thumbnail)
        router.add("GET", "rest/api/2/attachment/content/*", self.content)

    async def attach(self, call: Call, name: str) -> Answer:
        """Attach files: an array, one entry for each."""
        issue = self.issues.find(name)
        if issue is None:
            return no_issue()
        parts = read_multipart(call.fields.get("content-type"), await call.body.read(MOST_BYTES))
        if not parts:
            raise BadRequest("No file was sent")
        held = sum(len(file.data) for file in self._files.values())
        if held + sum(len(data) for _, _, data in parts) > MOST_TOTAL:
            return answer_errors(413, f"The sandbox keeps no more than {MOST_TOTAL} bytes")
        return answer_json([self._keep(issue, call.user or "", *part) for part in parts])

    def _keep(self, issue: Thing, user: str, name: str, media_type: str, data: bytes) -> Thing:
        number = self.issues.next_id()
        about = {
            "self": f"{self.base}/rest/api/2/attachment/{number}",
            "id": number,
            "filename": name,
            "author": catalog.user(self.base, user),
            "created": self.issues.timestamp(),
            "size": len(data),
            "mimeType": media_type,
            "content": f"{self.base}/secure/attachment/{number}/{quote(name, safe='')}",
        }
        if media_type.startswith("image/"):
            about["thumbnail"] = f"{self.base}/secure/thumbnail/{number}/_thumb_{number}.png"
        etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        self._files[number] = File(about, data, etag, issue)
        issue["fields"]["attachment"].append(about)
        return about

    async def meta(self, call: Call) -> Answer:
        """Say how large an attachment may be."""
        return answer_json({"enabled": True, "uploadLimit": MOST_BYTES})

    async def about(self, call: Call, number: str) -> Answer:
        """Describe an attachment."""
        file = self._files.get(number)
        return answer_json(file.about) if file else _no_file(number)

    async def delete(self, call: Call, number: str) -> Answer:
        """Delete an attachment."""
        file = self._files.pop(number, None)
        if file is None:
            return _no_file(number)
        file.issue["fields"]["attachment"].remove(file.about)
        return Answer(204)

    async def content(self, call: Call, number: str, name: str = "") -> Answer:
        """Give the file, a range of it, or 304; any name will do."""
        file = self._files.get(number)
        return answer_file(call, file) if file else _no_file(number)

    async def thumbnail(self, call: Call, number: str, name: str) -> Answer:
        """Give a picture as its own thumbnail; only pictures have one."""
        file = self._files.get(number)
        if file is None or "thumbnail" not in file.about:
            return _no_file(number)
        return answer_file(call, file)


def _no_file(number: str) -> Answer:
    return answer_errors(404, f"The attachment with id '{number}' does not exist")


def answer_file(call: Call, file: File) -> Answer:
    """Answer with validators (RFC 9110 §8.8) and a single range (§14.2), if one is asked for."""
    name = quote(file.about["filename"], safe="")
    fields = [
        ("ETag", file.etag),
        ("Last-Modified", formatdate(0, usegmt=True)),
        ("Cache-Control", "private, max-age=31536000"),
        ("Accept-Ranges", "bytes"),
    ]
    known = [tag.strip().removeprefix("W/") for tag in call.fields.get("if-none-match").split(",")]
    if file.etag in known or known == ["*"]:
        return Answer(304, fields=fields)
    fields.append(("Content-Disposition", f"attachment; filename*=UTF-8''{name}"))
    media_type, size = file.about["mimeType"], len(file.data)
    if_range = call.fields.get("if-range")
    asked = "" if if_range not in ("", file.etag) else call.fields.get("range")
    if (window := read_range(asked, size)) is None:
        return Answer(200, file.data, media_type, fields)
    start, end = window
    if start >= end:
        return Answer(416, b"", fields=[("Content-Range", f"bytes */{size}"), *fields[:1]])
    fields.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
    return Answer(206, file.data[start:end], media_type, fields)


def read_range(text: str, size: int) -> tuple[int, int] | None:
    """Give the half-open range of a `Range` value; None if it is to be ignored.

    An unsatisfiable one gives an empty range. Several ranges are ignored, as a server may.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def read_multipart(content_type: str, body: bytes) -> list[tuple[str, str, bytes]]:
    """Give name, media type and bytes of every file in a multipart form (RFC 7578)."""
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise BadRequest("Content-Type is not multipart/form-data with a boundary")
    delimiter = b"\r\n--" + (match[1] or match[2]).encode("latin-1")
    _, *parts = (b"\r\n" + body).split(delimiter)
    if not parts or not parts[-1].startswith(b"--"):
        raise BadRequest("Stream ended unexpectedly")
    found = []
    for part in parts[:-1]:
        head, separator, data = part.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        fields = {line.partition(":")[0].lower(): line.partition(":")[2] for line in lines}
        filename = _FILENAME.search(fields.get("content-disposition", ""))
        if separator and filename:
            quoted, bare = filename.groups("")
            name = re.sub(r"\\(.)", r"\1", quoted) or bare.strip() or "file"
            media_type = fields.get("content-type", "application/octet-stream").strip()
            found.append((name, media_type, data))
    return found
