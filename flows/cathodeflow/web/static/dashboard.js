"use strict";
/* Keeps the living parts of a page up to date without loading it again, so that the place on it is kept. */
(function () {
  const live = document.getElementById("live");
  const seconds = Number(document.body.dataset.refresh || 0);
  const known = new Map();
  let wait = seconds, timer = 0;

  function localTimes(root) {
    root.querySelectorAll("time[datetime]").forEach((element) => {
      element.title = new Date(element.dateTime).toLocaleString();
    });
  }
  function isBusy(element) {
    const active = document.activeElement;
    if (active && element.contains(active) && active.matches("input, select, textarea")) return true;
    const selection = document.getSelection();
    return Boolean(selection && !selection.isCollapsed && element.contains(selection.anchorNode));
  }
  function put(parts) {
    Object.entries(parts).forEach(([name, html]) => {
      const element = document.querySelector('[data-part="' + name + '"]');
      if (!element || known.get(name) === html || isBusy(element)) return;
      const tails = Array.from(element.querySelectorAll(".scroll, pre")).map((box) => [box.scrollLeft, box.scrollTop]);
      element.innerHTML = html;
      element.querySelectorAll(".scroll, pre").forEach((box, index) => {
        if (tails[index]) [box.scrollLeft, box.scrollTop] = tails[index];
      });
      known.set(name, html);
      localTimes(element);
    });
  }
  function say(text) { if (live) live.textContent = text; }
  async function look() {
    if (document.hidden) { plan(); return; }
    const address = new URL(location.href);
    address.searchParams.set("parts", "1");
    try {
      const answer = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin", cache: "no-cache" });
      if (answer.status === 401) { say("signed out: load the page again"); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      put((await answer.json()).parts);
      wait = seconds;
      say("live");
      document.documentElement.dataset.updates = String(Number(document.documentElement.dataset.updates || 0) + 1);
    } catch {
      wait = Math.min(wait * 2, 60);
      say("no answer, trying again");
    }
    plan();
  }
  function plan() { clearTimeout(timer); timer = setTimeout(look, wait * 1000); }

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
  });
  document.querySelectorAll("form.controls").forEach((form) => {
    form.addEventListener("submit", () => {
      /* Addresses stay short: what is not asked for is not in them. */
      form.querySelectorAll("input, select").forEach((field) => { if (!field.value) field.disabled = true; });
    });
  });
  localTimes(document);
  if (seconds && document.querySelector("[data-part]")) {
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { wait = seconds; look(); } });
    plan();
  }
})();
