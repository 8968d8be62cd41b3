"""What the sandbox's Jira has before the first issue: people, projects, types, states, fields."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

Thing = dict[str, Any]

VERSION = (9, 12, 0)
BUILD = 912000

USERS = {
    "alana": "Alana Example",
    "admin": "Administrator",
    "william": "William Example",
    "builds": "Build Robot",
    "ci-deploy": "Deployment",
    "retired": "Retired Robot",
}
ADMINISTRATORS = ("admin",)
"""System administrators: an application link must not execute as one of them."""
INACTIVE = ("retired",)
"""Users who may not log in."""
_GRAVATARS = {
    "alana": "b259e2a7fd37a83b02015192ee247e96",
    "admin": "4beac5df66a475580809e0",
}
TYPES = {
    "1": ("Bug", "A problem which impairs or prevents the functions of the product."),
    "3": ("Task", "A task that needs to be done."),
    "10001": ("Story", "A user story."),
}
PRIORITIES = {"1": "Blocker", "2": "Critical", "3": "Major", "4": "Minor", "5": "Trivial"}
RESOLUTIONS = {"1": "Fixed", "2": "Won't Fix", "3": "Duplicate"}
STATUSES = {
    "1": ("Open", "The issue is open and ready for the assignee to start work on it.", 2),
    "3": ("In Progress", "This issue is being actively worked on.", 4),
    "4": ("Reopened", "This issue was once resolved.", 2),
    "5": ("Resolved", "A resolution has been taken.", 3),
    "6": ("Closed", "The issue is considered finished.", 3),
}
_CATEGORIES = {
    2: ("blue-gray", "To Do", "new"),
    3: ("green", "Done", "done"),
    4: ("yellow", "In Progress", "indeterminate"),
}
TRANSITIONS = {
    "2": ("Close Issue", "6", ("1", "3", "4", "5")),
    "3": ("Reopen Issue", "4", ("5", "6")),
    "4": ("Start Progress", "3", ("1", "4")),
    "5": ("Resolve Issue", "5", ("1", "3", "4")),
    "301": ("Stop Progress", "1", ("3",)),
}
"""Id: name, the state it leads to, the states it starts from."""
PROJECTS = {"JJ": ("10200", "Jira Junior"), "SB": ("10300", "Sandbox")}

_FIELD_NAMES = {
    "issuetype": ("Issue Type", "issuetype"),
    "fixVersions": ("Fix Version/s", "array"),
    "versions": ("Affects Version/s", "array"),
    "components": ("Component/s", "array"),
    "labels": ("Labels", "array"),
    "issuelinks": ("Linked Issues", "array"),
    "attachment": ("Attachment", "array"),
    "duedate": ("Due Date", "date"),
    "customfield_10006": ("Story Points", "number"),
    "customfield_10007": ("Sprint", "array"),
    "customfield_10008": ("Epic Link", "any"),
    "customfield_10021": ("Progress note", "string"),
}
_PLAIN = ("project", "priority", "status", "resolution", "votes", "watches", "progress")
_USERS = ("assignee", "reporter", "creator")


def user(base: str, name: str) -> Thing:
    """A user as issues show one; any name is somebody."""
    gravatar = _GRAVATARS.get(name) or hashlib.sha256(name.encode()).hexdigest()[:32]
    sizes = (48, 24, 16, 32)
    avatar = "https://secure.gravatar.com/avatar/{}?d=mm&s={}"
    return {
        "emailAddress": f"{name}@example.com",
        "avatarUrls": {f"{size}x{size}": avatar.format(gravatar, size) for size in sizes},
        "displayName": USERS.get(name, name),
        "name": name,
        "self": f"{base}/rest/api/2/user?username={quote(name)}",
        "active": name not in INACTIVE,
        "timeZone": "Australia/Sydney",
        "key": name,
    }


def issue_type(base: str, key: str) -> Thing:
    """A type of issue."""
    name, description = TYPES[key]
    icon = f"{base}/secure/viewavatar?size=xsmall&avatarId=10803&avatarType=issuetype"
    return {
        "avatarId": 10803,
        "name": name,
        "self": f"{base}/rest/api/2/issuetype/{key}",
        "description": description,
        "id": key,
        "iconUrl": icon,
        "subtask": False,
    }


def priority(base: str, key: str) -> Thing:
    """A priority."""
    name = PRIORITIES[key]
    return {
        "name": name,
        "self": f"{base}/rest/api/2/priority/{key}",
        "iconUrl": f"{base}/images/icons/priorities/{name.lower()}.svg",
        "id": key,
    }


def resolution(base: str, key: str) -> Thing:
    """A resolution."""
    return {"self": f"{base}/rest/api/2/resolution/{key}", "id": key, "name": RESOLUTIONS[key]}


def status(base: str, key: str) -> Thing:
    """A state of the workflow."""
    name, description, category = STATUSES[key]
    colour, title, short = _CATEGORIES[category]
    return {
        "name": name,
        "self": f"{base}/rest/api/2/status/{key}",
        "description": description,
        "iconUrl": f"{base}/images/icons/statuses/{name.lower().replace(' ', '')}.png",
        "id": key,
        "statusCategory": {
            "colorName": colour,
            "name": title,
            "self": f"{base}/rest/api/2/statuscategory/{category}",
            "id": category,
            "key": short,
        },
    }


def transition(base: str, key: str) -> Thing:
    """A step of the workflow; ids are numeric."""
    name, leads_to, _ = TRANSITIONS[key]
    return {"id": key, "name": name, "to": status(base, leads_to), "fields": {}}


def steps(state: str) -> list[str]:
    """The ids of the steps that the workflow allows in a state."""
    return [key for key, (_, _, before) in TRANSITIONS.items() if state in before]


def project(base: str, key: str) -> Thing:
    """A project as issues show it."""
    number, name = PROJECTS[key]
    avatar = f"{base}/secure/projectavatar?{{}}pid={number}&avatarId=10700"
    sizes = {"48x48": "", "24x24": "size=small&", "16x16": "size=xsmall&", "32x32": "size=medium&"}
    return {
        "avatarUrls": {side: avatar.format(size) for side, size in sizes.items()},
        "name": name,
        "self": f"{base}/rest/api/2/project/{number}",
        "id": number,
        "key": key,
    }


def whole_project(base: str, key: str) -> Thing:
    """A project as its own resource shows it."""
    roles = {"Developers": f"{base}/rest/api/2/project/{PROJECTS[key][0]}/role/10001"}
    return {
        "expand": "description,lead,url,projectKeys",
        **project(base, key),
        "description": "",
        "lead": user(base, "admin"),
        "components": [],
        "issueTypes": [issue_type(base, each) for each in TYPES],
        "assigneeType": "UNASSIGNED",
        "versions": [],
        "roles": roles,
        "projectTypeKey": "software",
        "archived": False,
    }


def field(key: str) -> Thing:
    """A field as `/rest/api/2/field` lists it."""
    name, kind = _FIELD_NAMES.get(key, (key.capitalize(), "string"))
    if key in _PLAIN:
        kind = key
    elif key in _USERS:
        kind = "user"
    schema: Thing = {"type": kind}
    custom = key.startswith("customfield_")
    if kind == "array":
        schema["items"] = "string"
    if custom:
        schema["customId"] = int(key.removeprefix("customfield_"))
        name = name if key in _FIELD_NAMES else f"Custom field {schema['customId']}"
    else:
        schema["system"] = key
    clauses = [f"cf[{schema['customId']}]", name] if custom else [key]
    return {
        "id": key,
        "name": name,
        "custom": custom,
        "orderable": True,
        "navigable": True,
        "searchable": True,
        "clauseNames": clauses,
        "schema": schema,
    }


def field_meta(base: str, key: str) -> Thing:
    """A field as createmeta and editmeta describe it."""
    about = field(key)
    allowed: dict[str, list[Thing]] = {
        "project": [project(base, each) for each in PROJECTS],
        "issuetype": [issue_type(base, each) for each in TYPES],
        "priority": [priority(base, each) for each in PRIORITIES],
    }
    meta = {
        "required": key in ("project", "issuetype", "summary"),
        "schema": about["schema"],
        "name": about["name"],
        "fieldId": key,
        "hasDefaultValue": key == "priority",
        "operations": ["add", "set", "remove"] if about["schema"]["type"] == "array" else ["set"],
    }
    return meta | ({"allowedValues": allowed[key]} if key in allowed else {})
