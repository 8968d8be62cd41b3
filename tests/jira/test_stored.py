"""People's files and values are told from Jira's own answers, in every spelling of their path."""

from __future__ import annotations

import pytest

from sidecar.http.paths import readings
from sidecar.jira.stored import is_download, is_stored


@pytest.mark.parametrize(
    "path",
    [
        "/secure/attachment/10000/issues.json",
        "/secure/thumbnail/10000/_thumb_10000.png",
        "/rest/api/2/attachment/content/10000",
        "/rest/api/latest/attachment/content/10000",
        "/rest/api/2/issue/JJ-2/properties/notes",
        "/rest/api/2/issue/JJ-2/properties/notes/",
        "/rest/api/2/issue/JJ-2/properties/a%2Fb",
        "/rest/api/2/user/properties/x",
        "/rest/api/2/dashboard/1/items/2/properties/x",
        "/rest/agile/1.0/board/1/properties/x",
        "/rest/api/2/comment/1/properties/notes.json",
        "//secure//attachment/10000/issues.json",
        "/secure;x/attachment;y/10000/issues.json",
        "/secure/%61ttachment/10000/issues.json",
        "/secure%2Fattachment%2F10000%2Fx",
        "/s/x/_/secure/attachment/10000/issues.json",
        "/S/x/y/_/rest/api/2/issue/JJ-2/properties/notes",
        "/SECURE/Attachment/1/x",
        "/secure/attachment/1/a%0Ab",
    ],
)
def test_what_people_stored(path: str) -> None:
    assert is_stored(readings(path))


@pytest.mark.parametrize(
    "path",
    [
        "/rest/api/2/issue/JJ-2",
        "/rest/api/2/attachment/10000",
        "/rest/api/2/issue/JJ-2/properties",
        "/rest/api/2/issue/JJ-2/properties/",
        "/rest/api/2/issue/JJ-2/properties/;x",
        "/rest/api/2/application-properties/x",
        "/secure/attachments/1/x",
        "/x/secure/attachment/1/x",
        "/properties/x",
    ],
)
def test_what_jira_makes(path: str) -> None:
    assert not is_stored(readings(path))


@pytest.mark.parametrize(
    ("value", "download"),
    [
        (b'attachment; filename="a.json"', True),
        (b"attachment", True),
        (b" ATTACHMENT ;filename=a", True),
        (b"inline; filename=attachment", False),
        (b"attachments", False),
        (b"", False),
    ],
)
def test_an_answer_to_be_saved_is_a_file(value: bytes, download: bool) -> None:
    assert is_download([(b"content-disposition", value)]) is download
    assert (
        is_download(
            [(b"Content-Disposition", b"inline"), (b"X", b""), (b"CONTENT-disposition", value)]
        )
        is download
    )
    assert not is_download([])
