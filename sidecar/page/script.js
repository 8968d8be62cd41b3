// Keeps the page up to date, and copies lines.  All is there without it.
// Whatever comes is text: it is put into what the page already has, by textContent alone.
"use strict";

const MOST_REQUESTS = 100;
const AGAIN_MILLISECONDS = 5000;

const live = document.getElementById("live");
const byId = id => document.getElementById(id);

function put(node, text) {
  if (node.textContent === text) return;
  if (!node.matches("code, .code")) return void (node.textContent = text);
  const pieces = text.split(/(?<=[^/]\/)(?=[^/])/);  // a long line breaks behind a slash
  node.replaceChildren(...pieces.flatMap(piece => [piece, document.createElement("wbr")]).slice(0, -1));
}

function fill(root, values) {
  for (const node of root.querySelectorAll("[data-field]")) {
    const value = values[node.dataset.field];
    if (value === undefined) continue;
    put(node, value);
    node.hidden = value === "";
  }
}

function made(template, values) {
  const node = byId(template).content.firstElementChild.cloneNode(true);
  fill(node, values);
  return node;
}

// Copying

function addCopyButton(line) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = line.querySelector("code, pre");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    } catch {  // by plain http browsers allow it to loopback alone
      getSelection().selectAllChildren(code);
    }
  });
  line.append(button);
}

function addCopyButtons(root) {
  for (const line of root.querySelectorAll(".copy")) {
    if (!line.querySelector("button")) addCopyButton(line);
  }
}

// What comes

function showNotices(notices) {
  const list = byId("notices");
  while (list.children.length > notices.length) list.lastElementChild.remove();
  notices.forEach((notice, place) => {
    const node = list.children[place] ||
      list.appendChild(byId("notice-template").content.firstElementChild.cloneNode(true));
    node.className = `state ${notice.level}`;
    fill(node, notice);
    node.querySelector(".copy").hidden = notice.command === "";
    addCopyButtons(node);
  });
  const title = `${notices[0].title} – jira-oauth-sidecar`;
  if (document.title !== title) document.title = title;
}

function showChart(chart) {
  const figure = live.querySelector(`[data-chart="${chart.name}"]`);
  fill(figure, {top: chart.top, words: chart.words});
  for (const line of chart.lines) {
    figure.querySelector(`[data-line="${line.name}"]`).setAttribute("d", line.path);
    const label = figure.querySelector(`[data-label="${line.name}"]`);
    if (label) label.textContent = line.label;
  }
}

function requestRow(values) {
  const row = byId("request-template").content.firstElementChild.cloneNode(true);
  const {words, jira, connecting, signing, id, command, ...seen} = values;
  fill(row.querySelector("summary"), seen);
  row.querySelector("time").dateTime = values.moment;
  for (const node of row.querySelectorAll(".status, .remark")) node.classList.add(values.level);
  row.querySelector("details").addEventListener("toggle", () => {  // many are never opened
    fill(row.querySelector(".inside"), {...values, repeat: undefined});
    row.querySelector("[data-field=repeat]").hidden = command === "";
    row.querySelector("[data-field=wait]").hidden = values.held === "";
    addCopyButtons(row);
  }, {once: true});
  return row;
}

function showRequests(requests) {
  const list = byId("requests");
  list.prepend(...requests.map(requestRow));
  while (list.children.length > MOST_REQUESTS) list.lastElementChild.remove();
  byId("requests-none").hidden = list.children.length > 0;
}

function showTroubles(troubles) {
  byId("troubles").replaceChildren(...troubles.map(one => made("trouble-template", one)));
  byId("troubles-none").hidden = troubles.length > 0;
}

let last = live.dataset.after;
let shownTroubles = "";

function show(event) {
  const news = JSON.parse(event.data);
  if (news.sign_in !== live.dataset.signIn) return location.reload();  // the guide comes or goes
  last = event.lastEventId;
  showNotices(news.notices);
  byId("purpose").textContent = news.purpose;
  for (const [name, value] of Object.entries(news.facts)) {
    put(live.querySelector(`[data-fact="${name}"]`), value);
  }
  news.charts.forEach(showChart);
  showRequests(news.requests);
  const troubles = JSON.stringify(news.troubles);
  if (troubles !== shownTroubles) showTroubles(news.troubles);
  shownTroubles = troubles;
}

// The stream

let source = null;
const pause = document.createElement("button");
const state = byId("live-state");
const say = text => { if (state.textContent !== text) state.textContent = text; };
const address = () =>
  `/_sidecar/page/events?page=${live.dataset.page}&after=${encodeURIComponent(last)}`;

function listen() {
  source = new EventSource(address());
  source.onopen = () => say("Live");
  source.onmessage = show;
  source.onerror = () => {
    say("Not live: looking for the sidecar");
    if (source.readyState === EventSource.CLOSED) setTimeout(findOut, AGAIN_MILLISECONDS);
  };
}

// An EventSource does not say why it was refused.
async function findOut() {
  if (source === null) return;
  try {
    const {status} = await fetch(address(), {method: "HEAD"});
    if (status === 200) return listen();
    if (status === 403 || status === 401) return location.reload();
    if (status === 503) say("Not live: several other pages are open");
  } catch {
    say("Not live: the sidecar does not answer");
  }
  setTimeout(findOut, AGAIN_MILLISECONDS);
}

function toggle() {
  if (source === null) {
    pause.textContent = "Pause";
    listen();
  } else {
    source.close();
    source = null;
    pause.textContent = "Go on";
    say("Paused");
  }
}

pause.type = "button";
pause.className = "quiet";
pause.textContent = "Pause";
pause.addEventListener("click", toggle);
state.after(pause);
addCopyButtons(document);
listen();
