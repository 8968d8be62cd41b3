"use strict";
// Keeps what lets this browser sign in for its owner, and puts it into the forms that do so.
// It is kept for this tab and this origin alone: a cookie would go to every port of the host.
(() => {
  const KEY = "sidecar-grant";
  const forms = [...document.querySelectorAll("form.owner")];

  function fill() {
    const grant = sessionStorage.getItem(KEY) ?? "";
    for (const form of forms) {
      form.elements.grant.value = grant;
      const code = form.querySelector(".one-time");
      if (code) code.hidden = grant !== "";
    }
  }

  function tell(text) {
    for (const notice of document.querySelectorAll("form.owner .notice")) notice.textContent = text;
  }

  async function claim(code) {
    const process = forms[0]?.elements.process.value ?? "";
    const answer = await fetch("/_sidecar/page/owner", {
      method: "POST", body: new URLSearchParams({process, code}),
    });
    const said = await answer.json();
    if (!answer.ok) return tell(said.errorMessages[0].replace(/^sidecar: /, ""));
    sessionStorage.setItem(KEY, said.grant);
    tell("This browser may sign in.");
    fill();
  }

  // A page that a proved form was answered with knows the grant; "" says that it is no good.
  const given = document.querySelector("[data-grant]")?.dataset.grant;
  if (given) sessionStorage.setItem(KEY, given);
  if (given === "") sessionStorage.removeItem(KEY);
  fill();

  // Neither a code nor Jira's answer stays in the address bar or in the history.
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code || location.pathname.startsWith("/_sidecar/callback/"))
    history.replaceState(null, "", "/_sidecar/");
  if (code) claim(code).catch(() => tell("The sidecar does not answer."));
})();
