// Every way in which a page can make a browser send a request: the promise says what the page learns.
"use strict";

const JSON_TYPE = {"Content-Type": "application/json"};

function read(url, options) {
  return fetch(url, options).then(async answer =>
    answer.type === "opaque" ? "sent, unreadable" : `read ${answer.status}: ${await answer.text()}`);
}

function report(results) {
  return fetch("/results", {method: "POST", body: JSON.stringify(results)});
}

function element(name, attributes) {
  return new Promise(resolve => {
    const made = document.createElement(name);
    made.onload = made.onloadeddata = () => resolve("loaded");
    made.onerror = () => resolve("error");
    Object.assign(made, attributes);
    document.body.append(made);
  });
}

// A form's answer goes into a frame, which says "load" whatever came.
function form(url, method, enctype) {
  return new Promise(resolve => {
    const frame = document.createElement("iframe");
    frame.name = `answer-${Math.random()}`;
    document.body.append(frame);
    const made = document.createElement("form");
    Object.assign(made, {action: url, method, enctype, target: frame.name});
    const field = document.createElement("input");
    Object.assign(field, {name: "{\"fields\":{},\"x\":\"", value: "\"}"});
    made.append(field);
    document.body.append(made);
    frame.onload = () => resolve("loaded");
    made.submit();
  });
}

// A sandboxed frame has the origin "null".
function withoutOrigin(url) {
  return new Promise(resolve => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    addEventListener("message", event => {
      if (event.source === frame.contentWindow) resolve(event.data);
    });
    frame.srcdoc = `<script>
      fetch(${JSON.stringify(url)}, {method: "POST", body: "{}"})
        .then(async a => "read " + a.status + ": " + await a.text(), e => "failed: " + e)
        .then(outcome => parent.postMessage(outcome, "*"));
    <\/script>`;
    document.body.append(frame);
  });
}

function webSocket(url) {
  return new Promise(resolve => {
    const socket = new WebSocket(url.replace(/^http/, "ws"));
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("error");
  });
}

function eventSource(url) {
  return new Promise(resolve => {
    const source = new EventSource(url);
    source.onopen = () => { source.close(); resolve("open"); };
    source.onerror = () => { source.close(); resolve("error"); };
  });
}

async function beacon(url, type) {
  return navigator.sendBeacon(url, new Blob(["{}"], {type})) ? "queued" : "refused";
}

const REQUESTS = {
  "get": url => read(url),
  "get-no-cors": url => read(url, {mode: "no-cors"}),
  "get-credentials": url => read(url, {credentials: "include"}),
  "get-keepalive": url => read(url, {keepalive: true}),
  "get-preflighted": url => read(url, {headers: {"X-Sidecar-Key": "guess"}}),
  "post-simple": url => read(url, {method: "POST", body: "{}"}),
  "post-no-cors": url => read(url, {method: "POST", body: "{}", mode: "no-cors"}),
  "post-json": url => read(url, {method: "POST", body: "{}", headers: JSON_TYPE}),
  "put": url => read(url, {method: "PUT", body: "{}", headers: JSON_TYPE}),
  "delete": url => read(url, {method: "DELETE"}),
  "form-get": url => form(url, "GET", ""),
  "form-urlencoded": url => form(url, "POST", "application/x-www-form-urlencoded"),
  "form-multipart": url => form(url, "POST", "multipart/form-data"),
  "form-text": url => form(url, "POST", "text/plain"),
  "image": url => element("img", {src: url}),
  "script": url => element("script", {src: url}),
  "style": url => element("link", {rel: "stylesheet", href: url}),
  "video": url => element("video", {src: url}),
  "object": url => element("object", {data: url}),
  "iframe": url => element("iframe", {src: url}),
  "websocket": webSocket,
  "event-source": eventSource,
  "beacon": url => beacon(url, "text/plain"),
  "beacon-json": url => beacon(url, "application/json"),
  "null-origin": withoutOrigin,
};
