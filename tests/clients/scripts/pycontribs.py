# mypy: ignore-errors
"""A session with pycontribs jira, from 3.4 on."""

from jira import JIRA, JIRAError
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

jira = JIRA(URL, basic_auth=(USER, PASSWORD))
equal(jira.myself()["name"], "alana")
equal(JIRA(URL, token_auth=TOKEN).current_user(), "alana")
equal(JIRA(URL, auth=(USER, PASSWORD)).current_user(), "alana")

equal(len(jira.search_issues(JQL, maxResults=1000, fields=["summary", "status"])), MATCHES)
every = jira.search_issues(LONG_JQL, maxResults=False, fields="summary,assignee")
equal(len({issue.key for issue in every}), LONG_MATCHES)
every = jira.search_issues(LONGEST_JQL, maxResults=False, fields=["summary", "status"])
equal(len({issue.key for issue in every}), LONG_MATCHES)
equal(len(jira.search_issues(LONGEST_JQL, startAt=240, maxResults=20)), 10)

fields = {"project": "JJ", "issuetype": {"name": "Bug"}, "description": DESCRIPTION}
issue = jira.create_issue(summary="first", **fields)
equal(issue.fields.description, DESCRIPTION)
issue.update(summary=SUMMARY, description=issue.fields.description)
issue = jira.issue(issue.key)
equal((issue.fields.summary, issue.fields.description), (SUMMARY, DESCRIPTION))

comment = jira.add_comment(issue, DESCRIPTION)
comment.update(body=jira.comment(issue, comment.id).body + "!")
equal([each.body for each in jira.comments(issue)], [DESCRIPTION + "!"])
comment.delete()

step = jira.find_transitionid_by_name(issue, "Start Progress")
jira.transition_issue(issue, step)
equal(jira.issue(issue.key).fields.status.name, "In Progress")

jira.add_watcher(issue, "william")
equal(jira.watchers(issue).watchCount, 2)
jira.add_vote(issue)
equal(jira.votes(issue).votes, 1)
jira.add_worklog(issue, "2h", comment="counted")
equal(jira.worklogs(issue)[0].timeSpentSeconds, 7200)

attachment = jira.add_attachment(issue, FILE)
equal(sha256(attachment.get()), SHA256)
(attachment,) = jira.issue(issue.key).fields.attachment
equal(sha256(b"".join(attachment.iter_content())), SHA256)
attachment.delete()

equal([board.name for board in jira.boards()], ["JJ board"])
equal([sprint.name for sprint in jira.sprints(1)], ["Sprint 2"])

issue.delete()
try:
    jira.issue(issue.key)
except JIRAError as error:
    equal(error.status_code, 404)
else:
    raise SystemExit("the issue is still there")
