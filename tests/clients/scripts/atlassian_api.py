# mypy: ignore-errors
"""A session with atlassian-python-api."""

from atlassian import Jira
from requests import HTTPError
from session import (
    DESCRIPTION,
    FILE,
    JQL,
    LONG_JQL,
    LONG_MATCHES,
    LONGEST_JQL,
    MATCHES,
    PASSWORD,
    SHA256,
    SUMMARY,
    TOKEN,
    URL,
    USER,
    equal,
    sha256,
)  # fmt: skip

equal(Jira(URL, token=TOKEN).myself()["name"], "alana")
jira = Jira(URL, username=USER, password=PASSWORD)
equal(jira.myself()["name"], "alana")
equal(jira.get_server_info()["deploymentType"], "Server")

equal(jira.jql(JQL, fields="summary,status", limit=1000)["total"], MATCHES)
every = jira.jql_get_list_of_tickets(LONG_JQL, fields=["summary", "assignee"])
equal(len({issue["key"] for issue in every}), LONG_MATCHES)

every = jira.jql_get_list_of_tickets(LONGEST_JQL, fields=["summary", "assignee"])
equal(len({issue["key"] for issue in every}), LONG_MATCHES)
page = jira.jql(LONGEST_JQL, fields="*all", start=240, limit=20, expand="changelog")
equal((page["total"], len(page["issues"])), (LONG_MATCHES, 10))

issue = jira.issue_create(
    {
        "project": {"key": "JJ"},
        "issuetype": {"name": "Bug"},
        "summary": "first",
        "description": DESCRIPTION,
    }
)
key = issue["key"]
fields = jira.issue(key)["fields"]
equal(fields["description"], DESCRIPTION)
jira.update_issue_field(key, {"summary": SUMMARY, "description": fields["description"]})
fields = jira.issue(key, fields="summary,description")["fields"]
equal((fields["summary"], fields["description"]), (SUMMARY, DESCRIPTION))
link = jira.issue(key)["self"]
jira.put(link, data={"fields": {"labels": ["through-self"]}}, absolute=True)
equal(jira.issue(key)["fields"]["labels"], ["through-self"])

jira.issue_add_comment(key, DESCRIPTION)
equal([each["body"] for each in jira.issue_get_comments(key)["comments"]], [DESCRIPTION])

jira.set_issue_status(key, "In Progress")
equal(jira.get_issue_status(key), "In Progress")

jira.add_attachment(key, FILE)
((_, about),) = [(a["id"], a) for a in jira.issue(key)["fields"]["attachment"]]
equal(sha256(jira.get_attachment_content(about["id"])), SHA256)
jira.remove_attachment(about["id"])

equal(jira.get_all_agile_boards()["values"][0]["name"], "JJ board")
jira.delete_issue(key)
try:
    jira.issue(key)
except HTTPError as error:
    equal(error.response.status_code, 404)
else:
    raise SystemExit("the issue is still there")
