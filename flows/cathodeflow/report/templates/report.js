"use strict";
(function () {
  const MINUS = "\u2212";
  const rowsPerPage = 25;
  const data = JSON.parse(document.getElementById("compositions").textContent);
  const byId = (id) => document.getElementById(id);

  function shown(value, digits) {
    if (value === null || value === undefined) return "\u2013";
    return digits === null ? String(value) : value.toFixed(digits).replace("-", MINUS);
  }

  /* Figures: drawn in the colours of the page, and again when these change. */
  function ink() {
    return getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  }
  const plots = Array.from(document.querySelectorAll("[data-figure]"));
  const settings = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  function draw(element) {
    const figure = JSON.parse(byId(element.dataset.figure).textContent);
    figure.layout.font.color = ink();
    element.style.minHeight = figure.layout.height + "px";
    const small = /^figure-(profile|gaps$|bonding$)/.test(element.dataset.figure);
    const drawn = Plotly.newPlot(element, figure.data, figure.layout, { ...settings, displayModeBar: !small });
    drawn.then(() => {
      if (!element.dataset.figure.startsWith("figure-map") && element.dataset.figure !== "figure-screening-map") return;
      element.on("plotly_hover", (event) => { const name = pointed(event); if (name) describe(name); });
      element.on("plotly_click", (event) => { const name = pointed(event); if (name) search(name); });
    });
    return drawn;
  }
  /* Galleries: figures of a chosen composition beside the host's; only what is shown is read and drawn. */
  const slots = Array.from(document.querySelectorAll("[data-gallery]"));
  const galleries = new Map();
  function gallery(name) {
    if (!galleries.has(name)) galleries.set(name, JSON.parse(byId("figures-" + name).textContent));
    return galleries.get(name);
  }
  function show(element, composition) {
    const figure = (gallery(element.dataset.gallery)[composition] || {})[element.dataset.level];
    if (!figure || figure.absent) {
      if (element.data) Plotly.purge(element);
      element.textContent = figure ? figure.absent : "Not computed.";
      element.classList.add("absent");
      return Promise.resolve();
    }
    if (!element.data) element.textContent = "";
    element.classList.remove("absent");
    figure.layout.font.color = ink();
    element.style.minHeight = figure.layout.height + "px";
    return Plotly.react(element, figure.data, figure.layout, { ...settings, displayModeBar: false });
  }
  function chooseComposition() {
    const chooser = byId("electronic-composition");
    const chosen = chooser ? chooser.value : "";
    if (chooser) {
      const name = chooser.options[chooser.selectedIndex].text;
      document.querySelectorAll(".chosen").forEach((label) => { label.textContent = name; });
    }
    return Promise.all(slots.map((element) => show(element, element.dataset.composition || chosen)));
  }
  function pointed(event) {
    const point = event.points[0];
    return point.text || point.customdata || "";
  }
  function recolour() {
    [...plots, ...slots].forEach((element) => { if (element.data) Plotly.relayout(element, { "font.color": ink() }); });
  }

  /* The line under the maps: everything known of the composition pointed at. */
  const rowOf = new Map(data.rows.map((row) => [row[0], row]));
  function describe(name) {
    const target = byId("readout");
    const row = rowOf.get(name);
    if (!target || !row) return;
    target.textContent = "";
    const title = document.createElement("b");
    title.textContent = name;
    target.append(title);
    data.columns.forEach((column, index) => {
      if (index === 0 || row[index] === null) return;
      target.append("  \u00b7  " + column.title + ": " + shown(row[index], column.digits));
    });
  }

  /* The table of all compositions. */
  const state = { text: "", outcome: "", list: "", sort: null, descending: false, page: 0 };
  const rejectedBy = data.columns.length;
  const elementsOf = (text) => text.match(/[A-Z][a-z]?/g) || [];
  const known = new Set(data.rows.flatMap((row) => elementsOf(row[0])));
  function matching() {
    const words = state.text.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const elementWords = state.text.split(/[\s,]+/).filter((word) => known.has(word));
    const found = data.rows.filter((row) => {
      if (state.outcome === "passed" && row[rejectedBy] !== "") return false;
      if (state.outcome === "rejected" && row[rejectedBy] === "") return false;
      if (state.outcome.startsWith("rule:") && row[rejectedBy] !== state.outcome.slice(5)) return false;
      if (state.list && row[1] !== state.list) return false;
      const elements = elementsOf(row[0]);
      const line = (row[0] + " " + row[rejectedBy - 1]).toLowerCase();
      return elementWords.every((word) => elements.includes(word)) && words.every((word) => line.includes(word));
    });
    if (state.sort === null) return found;
    const sign = state.descending ? -1 : 1;
    return found.slice().sort((a, b) => {
      const x = a[state.sort], y = b[state.sort];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
  }
  function subscripted(cell, text) {
    text.split(/(\d+)/).filter(Boolean).forEach((part) => {
      if (!/^\d+$/.test(part)) { cell.append(part); return; }
      const below = document.createElement("sub");
      below.textContent = part;
      cell.append(below);
    });
  }
  function fill() {
    const found = matching();
    const pages = Math.max(1, Math.ceil(found.length / rowsPerPage));
    state.page = Math.min(state.page, pages - 1);
    const body = byId("composition-rows");
    body.textContent = "";
    found.slice(state.page * rowsPerPage, (state.page + 1) * rowsPerPage).forEach((row) => {
      const line = document.createElement("tr");
      data.columns.forEach((column, index) => {
        const cell = document.createElement("td");
        if (index === 0) subscripted(cell, row[0]); else cell.textContent = shown(row[index], column.digits);
        if (column.digits === null) cell.className = "text";
        if (index === 0) cell.className = "strong text";
        if (index === rejectedBy - 1) cell.className = row[rejectedBy] === "" ? "text wide good" : "text wide";
        if (index === 1) cell.className = "text nowrap";
        line.append(cell);
      });
      body.append(line);
    });
    byId("composition-count").textContent = found.length === 0 ? "No composition matches."
      : found.length + (found.length === 1 ? " composition" : " compositions") + ", page " + (state.page + 1) + " of " + pages;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
  }
  function search(text) {
    byId("search").value = text;
    Object.assign(state, { text: text, outcome: "", list: "", page: 0 });
    byId("outcome").value = "";
    byId("list").value = "";
    fill();
    byId("all-compositions").scrollIntoView();
  }
  function head() {
    const line = byId("composition-head");
    data.columns.forEach((column, index) => {
      const cell = document.createElement("th");
      const button = document.createElement("button");
      cell.scope = "col";
      if (column.digits === null) cell.className = "text";
      button.type = "button";
      button.textContent = column.title;
      button.addEventListener("click", () => {
        state.descending = state.sort === index && !state.descending;
        state.sort = index;
        state.page = 0;
        line.querySelectorAll("button").forEach((other) => other.removeAttribute("aria-sort"));
        button.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
        fill();
      });
      cell.append(button);
      line.append(cell);
    });
  }
  function connect() {
    const choose = (key) => (event) => { state[key] = event.target.value; state.page = 0; fill(); };
    byId("search").addEventListener("input", choose("text"));
    byId("outcome").addEventListener("change", choose("outcome"));
    byId("list").addEventListener("change", choose("list"));
    byId("previous").addEventListener("click", () => { state.page -= 1; fill(); });
    byId("next").addEventListener("click", () => { state.page += 1; fill(); });
  }

  function measure() {
    const height = document.querySelector("nav").offsetHeight;
    document.documentElement.style.setProperty("--nav-height", height + "px");
  }
  measure();
  addEventListener("resize", measure);
  if (byId("composition-rows")) { head(); connect(); fill(); }
  if (byId("electronic-composition")) byId("electronic-composition").addEventListener("change", chooseComposition);
  Promise.all([...plots.map(draw), chooseComposition()]).then(() => document.documentElement.setAttribute("data-drawn", String(plots.length)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  addEventListener("beforeprint", recolour);
  addEventListener("afterprint", recolour);
})();
