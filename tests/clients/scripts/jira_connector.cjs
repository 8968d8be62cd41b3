// A session with jira-connector (node).
const JiraClient = require("jira-connector");
const { equal, describe, told, sha256, parts } = require("./session.cjs");

(async () => {
  const jira = new JiraClient({
    protocol: "http", host: parts.hostname, port: parts.port, path_prefix: `${parts.pathname}/`,
    basic_auth: { username: told.USER, password: told.PASSWORD },
  });
  equal((await jira.auth.login({ username: told.USER, password: told.PASSWORD })).session.name, "JSESSIONID");
  equal((await jira.auth.currentUser()).name, "alana");
  equal((await jira.myself.getMyself()).name, "alana");

  const get = { method: "GET", fields: ["summary"] };
  equal((await jira.search.search({ ...get, jql: told.JQL, maxResults: 1000 })).total, +told.MATCHES);
  const keys = new Set();
  for (let startAt = 0; startAt < told.LONG_MATCHES; startAt += 100) {
    const page = await jira.search.search({ jql: told.LONG_JQL, startAt, maxResults: 100 });
    for (const issue of page.issues) keys.add(issue.key);
  }
  equal(keys.size, +told.LONG_MATCHES);

  const { key: issueKey } = await jira.issue.createIssue(describe("first"));
  let issue = await jira.issue.getIssue({ issueKey });
  equal(issue.fields.description, told.DESCRIPTION);
  const fields = { summary: told.SUMMARY, description: issue.fields.description };
  await jira.issue.editIssue({ issueKey, issue: { fields } });
  issue = await (await fetch(issue.self)).json();
  equal([issue.fields.summary, issue.fields.description], [told.SUMMARY, told.DESCRIPTION]);

  await jira.issue.addComment({ issueKey, body: told.DESCRIPTION });
  equal((await jira.issue.getComments({ issueKey })).comments[0].body, told.DESCRIPTION);
  const { transitions } = await jira.issue.getTransitions({ issueKey });
  const { id } = transitions.find((each) => each.name === "Start Progress");
  await jira.issue.transitionIssue({ issueKey, transition: { id } });
  equal((await jira.issue.getIssue({ issueKey })).fields.status.name, "In Progress");

  const [added] = await jira.issue.addAttachment({ issueKey, filename: told.FILE });
  const answer = await fetch(added.content);
  equal(sha256(Buffer.from(await answer.arrayBuffer())), told.SHA256);

  await jira.issue.addWatcher({ issueKey, watcher: "william" });
  await jira.issue.removeWatcher({ issueKey, watcher: "william" });
  await jira.issue.deleteIssue({ issueKey });
  await jira.issue.getIssue({ issueKey }).then(() => equal(1, 0), () => {});
  await jira.auth.logout();
})();
