// A session with jira-client (node).
const fs = require("node:fs");
const { equal, describe, told, sha256, parts } = require("./session.cjs");
const JiraApi = require("jira-client");

(async () => {
  const { hostname, port, pathname } = parts;
  const jira = new JiraApi({
    protocol: "http", host: hostname, port, base: pathname,
    username: told.USER, password: told.PASSWORD, apiVersion: "2", strictSSL: true,
  });
  equal((await jira.getCurrentUser()).name, "alana");
  equal((await jira.searchJira(told.JQL, { maxResults: 1000, fields: ["summary"] })).total, +told.MATCHES);
  const keys = new Set();
  for (let startAt = 0; startAt < told.LONG_MATCHES; startAt += 100) {
    const page = await jira.searchJira(told.LONG_JQL, { startAt, maxResults: 100, fields: ["summary"] });
    for (const issue of page.issues) keys.add(issue.key);
  }
  equal(keys.size, +told.LONG_MATCHES);

  const { key, self } = await jira.addNewIssue(describe("first"));
  let issue = await jira.findIssue(key);
  equal(issue.fields.description, told.DESCRIPTION);
  await jira.updateIssue(key, { fields: { summary: told.SUMMARY, description: issue.fields.description } });
  issue = await jira.genericGet(`issue/${issue.id}`);
  equal([issue.fields.summary, issue.fields.description], [told.SUMMARY, told.DESCRIPTION]);
  equal(new URL(self).host, parts.host);

  await jira.addComment(key, told.DESCRIPTION);
  equal((await jira.getComments(key)).comments[0].body, told.DESCRIPTION);
  const { transitions } = await jira.listTransitions(key);
  const step = transitions.find((each) => each.name === "Start Progress");
  await jira.transitionIssue(key, { transition: { id: step.id } });
  equal((await jira.findIssue(key)).fields.status.name, "In Progress");

  await jira.addAttachmentOnIssue(key, fs.createReadStream(told.FILE));
  const [attachment] = (await jira.findIssue(key)).fields.attachment;
  const answer = await fetch(attachment.content);
  equal(sha256(Buffer.from(await answer.arrayBuffer())), told.SHA256);
  const downloaded = await jira.downloadAttachment(attachment);
  equal(sha256(downloaded), told.SHA256);

  await jira.addWatcher(key, "william");
  equal((await jira.getAllBoards()).values[0].name, "JJ board");
  await jira.deleteIssue(key);
  await jira.findIssue(key).then(() => equal("still there", "gone"), () => {});
})();
