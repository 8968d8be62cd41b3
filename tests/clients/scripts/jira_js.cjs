// A session with jira.js, which is axios.
const fs = require("node:fs");
const { Version2Client, AgileClient } = require("jira.js");
const { equal, describe, told, sha256 } = require("./session.cjs");

(async () => {
  const basic = { email: told.USER, apiToken: told.PASSWORD };
  const jira = new Version2Client({ host: told.URL, authentication: { basic } });
  equal((await jira.myself.getCurrentUser()).name, "alana");
  equal((await jira.serverInfo.getServerInfo()).deploymentType, "Server");

  const search = (jql, more) => jira.issueSearch.searchForIssuesUsingJql({ jql, ...more });
  equal((await search(told.JQL, { maxResults: 1000, fields: ["summary", "status"] })).total, +told.MATCHES);
  const raw = "project = JJ AND summary ~ \"[paint]\" AND key in (JJ-6, JJ-10) AND text ~ 'by $50:!'";
  equal((await search(raw)).total, 2);
  const keys = new Set();
  for (let startAt = 0; startAt < told.LONG_MATCHES; startAt += 100) {
    const page = await search(told.LONG_JQL, { startAt, maxResults: 100, fields: ["summary"] });
    for (const issue of page.issues) keys.add(issue.key);
  }
  equal(keys.size, +told.LONG_MATCHES);

  keys.clear();
  for (let startAt = 0; startAt < told.LONG_MATCHES; startAt += 100) {
    const page = await search(told.LONGEST_JQL, { startAt, maxResults: 100, fields: ["summary"] });
    for (const issue of page.issues) keys.add(issue.key);
  }
  equal(keys.size, +told.LONG_MATCHES);

  const { key } = await jira.issues.createIssue(describe("first"));
  let issue = await jira.issues.getIssue({ issueIdOrKey: key });
  equal(issue.fields.description, told.DESCRIPTION);
  const fields = { summary: told.SUMMARY, description: issue.fields.description };
  await jira.issues.editIssue({ issueIdOrKey: key, fields });
  issue = await (await fetch(issue.self)).json();
  equal([issue.fields.summary, issue.fields.description], [told.SUMMARY, told.DESCRIPTION]);

  await jira.issueComments.addComment({ issueIdOrKey: key, comment: told.DESCRIPTION });
  const { comments } = await jira.issueComments.getComments({ issueIdOrKey: key });
  equal(comments.map((each) => each.body), [told.DESCRIPTION]);
  const { transitions } = await jira.issues.getTransitions({ issueIdOrKey: key });
  const { id } = transitions.find((each) => each.name === "Start Progress");
  await jira.issues.doTransition({ issueIdOrKey: key, transition: { id } });
  issue = await jira.issues.getIssue({ issueIdOrKey: key, fields: ["status"] });
  equal(issue.fields.status.name, "In Progress");

  const attachment = { filename: "5 MB.bin", file: fs.readFileSync(told.FILE) };
  const [added] = await jira.issueAttachments.addAttachment({ issueIdOrKey: key, attachment });
  const answer = await fetch(added.content);
  equal(sha256(Buffer.from(await answer.arrayBuffer())), told.SHA256);
  await jira.issueAttachments.removeAttachment({ id: added.id });

  const agile = new AgileClient({ host: told.URL, authentication: { basic } });
  equal((await agile.board.getAllBoards()).values[0].name, "JJ board");
  await jira.issues.deleteIssue({ issueIdOrKey: key });
  await jira.issues.getIssue({ issueIdOrKey: key }).then(() => equal(1, 0), (e) => equal(e.status, 404));
})();
