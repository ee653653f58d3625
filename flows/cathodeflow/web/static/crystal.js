"use strict";
/* A crystal on a canvas: spheres sorted by depth, bonds, the cell. Needs no WebGL and no library. */
(function () {
  const frame = document.getElementById("crystal");
  if (!frame) return;
  const canvas = frame.querySelector("canvas"), words = frame.querySelector(".viewer-words");
  const pen = canvas.getContext("2d");
  /* Jmol's colours of the elements that occur most; others get one from their name. */
  const colours = { H: "#dddddd", Li: "#cc80ff", O: "#ff0d0d", F: "#90e050", Na: "#ab5cf2", Mg: "#8aff00", Al: "#bfa6a6",
    Si: "#f0c8a0", P: "#ff8000", S: "#d9c400", Cl: "#1ff01f", K: "#8f40d4", Ca: "#3dff00", Sc: "#b0b0b0", Ti: "#8f9499",
    V: "#7a7aa0", Cr: "#8a99c7", Mn: "#9c7ac7", Fe: "#e06633", Co: "#f090a0", Ni: "#50d050", Cu: "#c88033", Zn: "#7d80b0",
    Ga: "#c28f8f", Ge: "#668f8f", Y: "#67c7c7", Zr: "#70c0c0", Nb: "#73c2c9", Mo: "#54b5b5", Tc: "#3b9e9e", Ru: "#248f8f",
    Rh: "#0a7d8c", Pd: "#006985", Ag: "#a0a0a0", Cd: "#d9b060", Hf: "#4dc2ff", Ta: "#4da6ff", W: "#2194d6", Re: "#267dab",
    Os: "#266696", Ir: "#175487", Pt: "#9a9aae", Au: "#e0b020" };
  const ions = new Set(["Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Zn"]);
  const anions = new Set(["O", "F", "S", "Cl", "N", "Se"]);
  let crystal = null, scene = null, turn = identity(), zoom = 1, drag = null, bonds = true, queued = false;

  function identity() { return [[1, 0, 0], [0, 1, 0], [0, 0, 1]]; }
  function times(a, b) { return a.map((row) => [0, 1, 2].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j])); }
  function apply(m, v) { return m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]); }
  function cartesian(f) { const l = crystal.lattice; return [0, 1, 2].map((j) => f[0] * l[0][j] + f[1] * l[1][j] + f[2] * l[2][j]); }
  function about(axis, angle) {
    const c = Math.cos(angle), s = Math.sin(angle);
    if (axis === "x") return [[1, 0, 0], [0, c, -s], [0, s, c]];
    if (axis === "y") return [[c, 0, s], [0, 1, 0], [-s, 0, c]];
    return [[c, -s, 0], [s, c, 0], [0, 0, 1]];
  }
  function colour(symbol) {
    if (colours[symbol]) return colours[symbol];
    let hue = 0;
    for (const letter of symbol) hue = (hue * 31 + letter.charCodeAt(0)) % 360;
    return "hsl(" + hue + ",45%,55%)";
  }
  function radius(symbol) { return (anions.has(symbol) ? 0.32 : ions.has(symbol) ? 0.52 : 0.42); }

  /* Atoms on a face or an edge are shown on all of them; anions bound across the border complete their polyhedra. */
  function build() {
    const atoms = [], seen = new Set(), near = 0.02;
    const add = (symbol, f, inside) => {
      const id = symbol + f.map((x) => Math.round(x * 1000)).join(",");
      if (seen.has(id)) return;
      seen.add(id);
      atoms.push({ symbol, f, at: cartesian(f), inside });
    };
    crystal.atoms.forEach(([symbol, ...f]) => {
      const shifts = f.map((x) => (x < near ? [0, 1] : x > 1 - near ? [0, -1] : [0]));
      shifts[0].forEach((a) => shifts[1].forEach((b) => shifts[2].forEach((c) => add(symbol, [f[0] + a, f[1] + b, f[2] + c], true))));
    });
    const centres = atoms.filter((atom) => !anions.has(atom.symbol) && !ions.has(atom.symbol));
    const found = crystal.atoms.filter(([symbol]) => anions.has(symbol));
    const reach = (a, b) => (crystal.radii[a] + crystal.radii[b]) * 1.0 + 0.35;
    const lines = [];
    centres.forEach((centre) => {
      found.forEach(([symbol, ...f]) => {
        for (let a = -1; a <= 1; a++) for (let b = -1; b <= 1; b++) for (let c = -1; c <= 1; c++) {
          const place = [f[0] + a, f[1] + b, f[2] + c], at = cartesian(place);
          const d = Math.hypot(at[0] - centre.at[0], at[1] - centre.at[1], at[2] - centre.at[2]);
          if (d > 0.5 && d < reach(centre.symbol, symbol)) { add(symbol, place, false); lines.push([centre.at, at, centre.symbol, symbol]); }
        }
      });
    });
    const middle = cartesian([0.5, 0.5, 0.5]);
    const corner = [0, 1].flatMap((a) => [0, 1].flatMap((b) => [0, 1].map((c) => [a, b, c])));
    const edges = corner.flatMap((p) => [0, 1, 2].filter((k) => p[k] === 0).map((k) => [p, p.map((x, i) => (i === k ? 1 : x))]));
    const size = Math.max(...corner.map((p) => { const q = cartesian(p); return Math.hypot(q[0] - middle[0], q[1] - middle[1], q[2] - middle[2]); }));
    scene = { atoms, lines, middle, size, edges: edges.map(([p, q]) => [cartesian(p), cartesian(q)]) };
  }
  function place(at) {
    const m = scene.middle, v = apply(turn, [at[0] - m[0], at[1] - m[1], at[2] - m[2]]);
    const unit = (Math.min(canvas.clientWidth, canvas.clientHeight) / 2 / (scene.size + 0.6)) * zoom;
    const far = 1 / (1 - v[2] / (scene.size * 6));
    return { x: canvas.clientWidth / 2 + v[0] * unit * far, y: canvas.clientHeight / 2 - v[1] * unit * far, z: v[2], unit: unit * far };
  }
  function draw() {
    queued = false;
    const sharp = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * sharp), height = Math.round(canvas.clientHeight * sharp);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    if (!scene) return;
    const style = getComputedStyle(document.documentElement), edge = style.getPropertyValue("--quiet").trim();
    const things = [];
    scene.atoms.forEach((atom) => { const p = place(atom.at); things.push({ z: p.z, p, atom }); });
    if (bonds) scene.lines.forEach(([a, b, first, second]) => {
      const p = place(a), q = place(b), half = place([0, 1, 2].map((i) => (a[i] + b[i]) / 2));
      things.push({ z: (p.z + half.z) / 2 - 0.05, line: [p, half], symbol: first }, { z: (q.z + half.z) / 2 - 0.05, line: [half, q], symbol: second });
    });
    scene.edges.forEach(([a, b]) => {
      for (let i = 0; i < 8; i++) {
        const at = (t) => place([0, 1, 2].map((k) => a[k] + (b[k] - a[k]) * t));
        const p = at(i / 8), q = at((i + 1) / 8);
        things.push({ z: (p.z + q.z) / 2, line: [p, q], symbol: null });
      }
    });
    things.sort((a, b) => a.z - b.z).forEach((thing) => {
      const fade = Math.max(0.35, Math.min(1, 0.75 + thing.z / scene.size / 3));
      if (thing.line) {
        pen.globalAlpha = thing.symbol ? fade : 0.8;
        pen.strokeStyle = thing.symbol ? colour(thing.symbol) : edge;
        pen.lineWidth = thing.symbol ? Math.max(thing.line[0].unit * 0.11, 1) : 1;
        pen.lineCap = "round";
        pen.beginPath(); pen.moveTo(thing.line[0].x, thing.line[0].y); pen.lineTo(thing.line[1].x, thing.line[1].y); pen.stroke();
      } else {
        const r = radius(thing.atom.symbol) * thing.p.unit, shine = pen.createRadialGradient(thing.p.x - r / 3, thing.p.y - r / 3, r / 8, thing.p.x, thing.p.y, r);
        shine.addColorStop(0, "#ffffff"); shine.addColorStop(0.35, colour(thing.atom.symbol)); shine.addColorStop(1, colour(thing.atom.symbol));
        pen.globalAlpha = thing.atom.inside ? fade : fade * 0.55;
        pen.fillStyle = shine; pen.strokeStyle = "rgba(0,0,0,.45)"; pen.lineWidth = 0.7;
        pen.beginPath(); pen.arc(thing.p.x, thing.p.y, r, 0, 2 * Math.PI); pen.fill(); pen.stroke();
      }
    });
    pen.globalAlpha = 1;
  }
  function again() { if (!queued) { queued = true; requestAnimationFrame(draw); } }
  function legend() {
    const box = frame.querySelector(".viewer-legend"), counts = new Map();
    crystal.atoms.forEach(([symbol]) => counts.set(symbol, (counts.get(symbol) || 0) + 1));
    box.textContent = "";
    counts.forEach((count, symbol) => {
      const entry = document.createElement("span"), ns = "http://www.w3.org/2000/svg";
      const icon = document.createElementNS(ns, "svg"), dot = document.createElementNS(ns, "circle");
      icon.setAttribute("viewBox", "0 0 10 10");
      Object.entries({ cx: 5, cy: 5, r: 4.5, fill: colour(symbol), stroke: "#555" }).forEach(([k, v]) => dot.setAttribute(k, v));
      icon.append(dot); entry.append(icon, symbol + " " + count); box.append(entry);
    });
  }
  function length(v) { return Math.hypot(...v); }
  function angle(u, v) { return (Math.acos((u[0] * v[0] + u[1] * v[1] + u[2] * v[2]) / length(u) / length(v)) * 180) / Math.PI; }
  function describe(which) {
    const [a, b, c] = crystal.lattice;
    const edges = [a, b, c].map((v) => length(v).toFixed(3)).join(", ");
    const angles = [angle(b, c), angle(a, c), angle(a, b)].map((v) => v.toFixed(2)).join(", ");
    words.textContent = which + ": " + crystal.atoms.length + " atoms, a, b, c = " + edges + " \u00c5, angles " + angles + "\u00b0";
  }
  /* Looks along a lattice vector: it points at the eye. */
  function along(name) {
    const v = crystal.lattice["abc".indexOf(name)], n = length(v), z = v.map((x) => x / n);
    const other = crystal.lattice["bca".indexOf(name)], dot = other[0] * z[0] + other[1] * z[1] + other[2] * z[2];
    let x = other.map((value, i) => value - dot * z[i]);
    x = x.map((value) => value / length(x));
    const y = [z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0]];
    turn = [x, y, z];
    again();
  }
  async function load(which) {
    const address = frame.dataset[which];
    if (!address) return;
    words.textContent = "Loading\u2026";
    try {
      const answer = await fetch(address, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      const first = crystal === null;
      crystal = await answer.json();
      build(); legend(); describe(which);
      if (first) { along("c"); turn = times(about("x", -1.25), times(about("z", 0.35), turn)); }
      frame.querySelectorAll("[data-which]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.which === which)));
      again();
      frame.dataset.shown = which;
    } catch (error) {
      words.textContent = "The crystal could not be loaded (" + error.message + ").";
    }
  }
  function rotate(dx, dy) { turn = times(times(about("x", dy), about("y", dx)), turn); again(); }

  canvas.addEventListener("pointerdown", (event) => { drag = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    rotate((event.clientX - drag[0]) / 150, (event.clientY - drag[1]) / 150);
    drag = [event.clientX, event.clientY];
  });
  canvas.addEventListener("pointerup", () => { drag = null; });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom = Math.min(8, Math.max(0.4, zoom * Math.exp(-event.deltaY / 600))); again(); }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    if (steps) { event.preventDefault(); rotate(...steps); }
    if (event.key === "+" || event.key === "-") { zoom = Math.min(8, Math.max(0.4, zoom * (event.key === "+" ? 1.15 : 0.87))); again(); }
  });
  frame.querySelectorAll("[data-which]").forEach((button) => button.addEventListener("click", () => load(button.dataset.which)));
  frame.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => { if (crystal) along(button.dataset.view); }));
  frame.querySelector("[data-bonds]").addEventListener("change", (event) => { bonds = event.target.checked; again(); });
  addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  load(frame.dataset.relaxed ? "relaxed" : "unrelaxed");
})();
