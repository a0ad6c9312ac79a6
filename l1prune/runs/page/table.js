
// ---- table

const COLUMNS = [
  { name: "run", of: (run) => run.name, style: "name" },
  { name: "recipe", of: (run) => run.recipe },
  { name: "accuracy", of: (run) => run.accuracy, show: (run) => percent(run.accuracy) },
  { name: "weights", of: (run) => run.nonzero, show: (run) => count(run.nonzero) },
  { name: "fewer", of: (run) => (run.times ? parseFloat(run.times.replace(/,/g, "")) : null), show: (run) => run.times },
  { name: "best", of: (run) => (run.best.includes("nonzero") ? 1 : 0), show: (run) => (run.best.includes("nonzero") ? "★" : "") },
  ...Object.keys(axes).slice(1).map((key) => ({
    name: key.replace("deploy/", "").replace("_", " "), title: axes[key], of: (run) => run.costs[key],
    show: (run) => (key in run.costs ? count(run.costs[key]) : ""),
  })),
  ...Object.entries(settings).map(([key, name]) => ({ name, title: key, of: (run) => run.settings[key] })),
];

function element(tag, { text, parent, ...properties } = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text; // never as HTML
  parent?.append(made);
  return made;
}

const numeric = (column) => runs.every((run) => typeof (column.of(run) ?? 0) === "number");

function makeTable() {
  const head = $("table").tHead.rows[0];
  COLUMNS.forEach((column) => {
    column.style ??= numeric(column) ? "number" : "";
    const cell = element("th", { parent: head, className: column.style, scope: "col" });
    const button = element("button", { parent: cell, type: "button", text: column.name, title: column.title ?? "" });
    button.onclick = () => sort(column, cell);
  });
  for (const run of runs) {
    run.row = element("tr", { parent: $("table").tBodies[0] });
    COLUMNS.forEach((column) => fill(element("td", { parent: run.row, className: column.style }), run, column));
    run.words = [run.name, label(run), ...told(run)].join(" ").toLowerCase();
    run.row.onclick = () => toggle(run);
  }
  head.cells[COLUMNS.findIndex(({ name }) => name === "weights")].ariaSort = "descending";
}

function fill(cell, run, column) {
  const text = column.show ? column.show(run) : (column.of(run) ?? "");
  if (column.name === "run") {
    run.box = element("input", { parent: cell, type: "checkbox", ariaLabel: `choose ${run.name}` });
    run.number = element("b", { parent: cell });
    cell.title = run.name;
  }
  if (column.name === "recipe") run.dot = element("i", { parent: cell });
  cell.append(text);
}

// Numbers go down at the first click, best first; words up. What is missing comes last.
function sort(column, cell) {
  const first = column.style === "number" || column.name === "best" ? "descending" : "ascending";
  const order = cell.ariaSort ? { ascending: "descending", descending: "ascending" }[cell.ariaSort] : first;
  for (const other of cell.parentNode.cells) other.ariaSort = null;
  cell.ariaSort = order;
  const sign = order === "ascending" ? 1 : -1;
  const words = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b));
  const keyed = runs.map((run) => [column.of(run) ?? null, run.row]);
  keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
  $("table").tBodies[0].append(...keyed.map(([, row]) => row));
}

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/);
  const fits = (run) => words.every((word) => run.words.includes(word));
  let shown = 0;
  for (const run of runs) shown += !(run.row.hidden = !fits(run));
  $("shown").textContent = shown < runs.length ? `${count(shown)} of ${count(runs.length)}` : "";
}

// ---- choosing

const toggle = (run) => choose(chosen.includes(run) ? chosen.filter((other) => other !== run) : [...chosen, run]);

function choose(some) {
  chosen = some;
  for (const run of runs) {
    const at = chosen.indexOf(run);
    run.box.checked = at >= 0;
    run.number.textContent = at < 0 ? "" : at + 1;
    run.row.className = at < 0 ? "" : "chosen";
  }
  return draw();
}

function makeChips() {
  $("chips").replaceChildren();
  chosen.forEach((run, i) => {
    const chip = element("button", { parent: element("li", { parent: $("chips") }), type: "button", title: run.name });
    const { color, dash } = style(run);
    chip.innerHTML = '<svg viewBox="0 0 26 8" aria-hidden="true"><line x1="0" x2="26" y1="4" y2="4"></line></svg>';
    chip.firstChild.firstChild.setAttribute("stroke", color);
    chip.firstChild.firstChild.setAttribute("stroke-dasharray", STROKES[dash]);
    element("b", { parent: chip, text: i + 1 });
    chip.append(label(run));
    chip.ariaLabel = `${i + 1}, ${label(run)}: choose no longer`;
    chip.onclick = () => toggle(run);
  });
}

function draw() {
  const colours = Object.fromEntries(Object.keys(recipes).map((recipe) => [recipe, colour(recipe)]));
  for (const run of runs) run.dot.style.background = colours[run.recipe];
  makeChips();
  return Promise.all([drawScatter(), drawCurves(), drawLayers()]);
}

// At most eight at first, spread over the best trade-offs: more curves are no picture.
const spread = (some, most) => (some.length <= most ? some
  : Array.from({ length: most }, (_, i) => some[Math.round((i * (some.length - 1)) / (most - 1))]));

function makeMetrics() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.history)))].filter((name) => name !== "epoch").sort();
  for (const name of names) element("option", { parent: $("metric"), text: name, value: name });
  if (names.includes("val/accuracy")) $("metric").value = "val/accuracy";
  $("metric").disabled = !names.length;
}

function makeAxes() {
  for (const [key, title] of Object.entries(axes)) element("option", { parent: $("axis"), text: title, value: key });
  $("against").hidden = Object.keys(axes).length === 1;
  $("axis").onchange = () => {
    axis = $("axis").value;
    const missing = runs.length - priced(runs).length;
    $("without").textContent = missing ? `${count(missing)} of ${count(runs.length)} runs are not deployed` : "";
    return drawScatter();
  };
}

// Plotly hears a tap twice: from the finger, and from the mouse that a browser makes of it. Once is
// enough, or what was chosen would be let go at once.
for (const id of ["scatter", "curves", "layers"]) {
  $(id).addEventListener("touchstart", (event) => event.stopPropagation(), { capture: true, passive: true });
}
makeTable();
makeMetrics();
makeAxes();
$("metric").onchange = drawCurves;
$("filter").oninput = filter;
$("best").onclick = () => choose(spread(front(), 8));
$("none").onclick = () => choose([]);
choose(spread(front(), 8)).then(() => {
  $("table").hidden = false; // not before: each picture asks how large it is, which lays out all rows
  $("scatter").on("plotly_click", ({ points }) => toggle(runs[points[0].customdata]));
  for (const media of [narrow, touch, dark]) media.onchange = draw;
  requestAnimationFrame(() => setTimeout(() => performance.mark("drawn"))); // it is on the screen
});
