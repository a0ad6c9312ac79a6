
// ---- table

const star = (one) => one.best.includes("nonzero");
const metricOf = (one) => metrics[one.metric];
// The one beside the other: where most of a network may not go, a twentieth of the weights is most of it.
const WEIGHTS = [
  { name: PRUNABLE, of: (one) => one.nonzero, show: (one) => counted(one.nonzero, one.times), order: "descending" },
  { name: ALL, of: ({ parameters }) => parameters.left, show: ({ parameters: { left, times } }) => counted(left, times), always: true },
];
const COSTS = Object.keys(axes).slice(1).map((key) => ({
  name: key.replace("deploy/", "").replace("_", " "), title: axes[key], of: (one) => one.costs[key],
  show: (one) => (key in one.costs ? number(one.costs[key]) : ""),
}));
// What a phone has room for comes first: what was done, how much is left, how good it is.
const GROUPS = [
  { name: "recipe", of: (group) => group.name, mark: true },
  ...WEIGHTS,
  { head: "title", of: (group) => group.figure.mean, show: (group) => group.figure.text, title: "mean ± standard error over seeds" },
  { name: "− dense", of: (group) => group.less?.mean, show: (group) => group.less?.text ?? "", title: "seed by seed over the seeds that both have, of means where they share none; † the two differ in more than pruning" },
  { head: "beside", of: (group) => group.beside?.mean, show: (group) => group.beside?.text ?? UNKNOWN },
  { name: "seeds", of: (group) => group.count, show: (group) => group.seeds || count(group.count), title: "or how many runs, where they say no seed" },
  { name: "best", of: (group) => (star(group) ? 1 : 0), show: (group) => (star(group) ? "★" : "") },
  ...COSTS,
];
const RUNS = [
  { name: "recipe", of: (run) => run.recipe, mark: true, box: true },
  ...WEIGHTS,
  { name: "seed", of: (run) => run.seed },
  { head: "title", of: (run) => run.figure, show: (run) => figure(run.figure, metricOf(run)) },
  { head: "beside", of: (run) => run.beside, show: (run) => (run.beside === null ? UNKNOWN : figure(run.beside, metricOf(run))) },
  { name: "best", of: (run) => (star(groups[run.group]) ? 1 : 0), show: (run) => (star(groups[run.group]) ? "★" : "") },
  ...COSTS,
  ...Object.entries(settings).filter(([key]) => key !== "seed").map(([key, name]) => ({ name, title: key, of: (run) => run.settings[key] })),
  { name: "run", of: (run) => run.name, show: (run) => short(run.name, narrow.matches ? 24 : 40), style: "name" },
];

function element(tag, { text, parent, ...properties } = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text; // never as HTML
  parent?.append(made);
  return made;
}

const numeric = (column, items) => items.every((one) => typeof (column.of(one) ?? 0) === "number");

function makeTable(table, columns, items, click) {
  const head = table.tHead.rows[0];
  const some = columns.filter((column) => column.mark || column.always || items.some((one) => (column.of(one) ?? null) !== null));
  for (const column of some) {
    const style = column.style ?? (numeric(column, items) ? "number" : "");
    const cell = element("th", { parent: head, className: style, scope: "col", ariaSort: column.order ?? null });
    const button = element("button", { parent: cell, type: "button", text: column.name ?? metric[column.head], title: column.title ?? "" });
    if (column.head) button.dataset.head = column.head;
    button.onclick = () => sort(column, cell, items, style === "number");
  }
  for (const one of items) {
    one.row = element("tr", { parent: table.tBodies[0] });
    for (const [at, column] of some.entries()) fill(element("td", { parent: one.row, className: head.cells[at].className }), one, column);
    one.words = [one.name, one.recipe, ...(one.runs ? [] : [label(one), ...told(one)])].join(" ").toLowerCase();
    one.row.onclick = () => click(one);
  }
}

// Plotly's markers, on 12 by 12.
const SHAPES = {
  circle: "M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10z",
  square: "M1.5 1.5h9v9h-9z",
  "triangle-up": "M6 1l5.5 9.5h-11z",
  "triangle-down": "M.5 1.5h11l-5.5 9.5z",
  diamond: "M6 .5l5.5 5.5l-5.5 5.5l-5.5-5.5z",
  cross: "M4 1h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
  x: "M3 1l3 3l3-3l2 2l-3 3l3 3l-2 2l-3-3l-3 3l-2-2l3-3l-3-3z",
  star: "M6 .3l1.5 4h4.2l-3.3 2.7l1.2 4.4l-3.6-2.6l-3.6 2.6l1.2-4.4l-3.3-2.7h4.2z",
};
// The marker of a recipe: colour alone tells them apart to few.
function dot(recipe, parent) {
  const [made, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  made.setAttribute("viewBox", "0 0 12 12");
  made.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[recipes[recipe].symbol]);
  made.append(path);
  parent.append(made);
  return made;
}

const LONGEST = 120; // characters of a name, which goes on in the next line

function fill(cell, one, column) {
  const value = column.of(one);
  if (column.box) {
    one.box = element("input", { parent: cell, type: "checkbox", ariaLabel: `choose ${one.name}` });
    one.number = element("b", { parent: cell });
  }
  if (column.mark) one.dot = dot(one.recipe, cell);
  if (column.style === "name" || typeof value === "string") cell.title = value;
  if (typeof value === "number") cell.title = String(value);
  const text = column.show ? column.show(one) : value === undefined || value === null ? "" : short(number(value), column.mark ? LONGEST : 40);
  if (column.mark || typeof value === "string") element("span", { parent: cell, text });
  else cell.append(text);
}

// Numbers go down at the first click, best first; words up. What is missing comes last.
function sort(column, cell, items, falls) {
  const first = falls || column.name === "best" ? "descending" : "ascending";
  const order = cell.ariaSort ? { ascending: "descending", descending: "ascending" }[cell.ariaSort] : first;
  for (const other of cell.parentNode.cells) other.ariaSort = null;
  cell.ariaSort = order;
  const sign = order === "ascending" ? 1 : -1;
  const words = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b));
  const keyed = items.map((one) => [column.of(one) ?? null, one.row]);
  keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
  cell.closest("table").tBodies[0].append(...keyed.map(([, row]) => row));
}

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/);
  const fits = (one) => metricOf(one) === metric && words.every((word) => one.words.includes(word));
  let shown = 0;
  for (const run of runs) shown += !(run.row.hidden = !fits(run));
  for (const group of groups) group.row.hidden = metricOf(group) !== metric;
  for (const head of document.querySelectorAll("[data-head]")) head.textContent = metric[head.dataset.head];
  $("shown").textContent = shown < runs.length ? `${count(shown)} of ${count(runs.length)}` : "";
}

// ---- choosing

// All of some are let go where all are chosen; else those that are not yet are chosen too.
const toggle = (some) => choose(some.every((run) => chosen.includes(run))
  ? chosen.filter((other) => !some.includes(other)) : [...chosen, ...some.filter((run) => !chosen.includes(run))]);

function choose(some) {
  chosen = some;
  for (const run of runs) {
    const at = chosen.indexOf(run);
    run.box.checked = at >= 0;
    run.number.textContent = at < 0 ? "" : at + 1;
    run.row.className = at < 0 ? "" : "chosen";
  }
  for (const group of groups) group.row.className = group.runs.every((run) => chosen.includes(run)) ? "chosen" : "";
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
    chip.onclick = () => toggle([run]);
  });
}

function draw() {
  const colours = Object.fromEntries(Object.keys(recipes).map((recipe) => [recipe, colour(recipe)]));
  for (const one of [...runs, ...groups]) one.dot.style.fill = colours[one.recipe];
  makeChips();
  return Promise.all([drawScatter(), drawCurves(), drawLayers()]);
}

// At most eight at first, spread over the best trade-offs: more curves are no picture.
const spread = (some, most) => (some.length <= most ? some
  : Array.from({ length: most }, (_, i) => some[Math.round((i * (some.length - 1)) / (most - 1))]));

// Of each group the run of the first seed stands for all.
const bestRuns = () => spread(front(), 8).map((group) => group.runs[0]);

function makeCurves() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.history)))].filter((name) => name !== "epoch").sort();
  for (const name of names) element("option", { parent: $("curve"), text: name, value: name });
  if (names.includes(metric.name)) $("curve").value = metric.name;
  $("curve").disabled = !names.length;
}

function makeMetrics() {
  for (const [at, one] of metrics.entries()) element("option", { parent: $("metric"), text: one.judged, value: at });
  $("judged").hidden = metrics.length === 1;
  $("metric").onchange = () => {
    metric = metrics[$("metric").value];
    if ([...$("curve").options].some(({ value }) => value === metric.name)) $("curve").value = metric.name;
    filter();
    return choose(bestRuns());
  };
  $("whole").onchange = () => {
    whole = $("whole").checked;
    return drawScatter();
  };
}

function makeAxes() {
  for (const [key, title] of Object.entries(axes)) element("option", { parent: $("axis"), text: title, value: key });
  $("priced").hidden = Object.keys(axes).length === 1;
  $("choices").hidden = metrics.length === 1 && $("priced").hidden && metric.worst === null;
  $("axis").onchange = () => {
    axis = $("axis").value;
    const missing = ours(runs).length - priced(runs).length;
    $("without").textContent = missing ? `${count(missing)} of ${count(ours(runs).length)} runs are not deployed` : "";
    return drawScatter();
  };
}

// Plotly hears a tap twice: from the finger, and from the mouse that a browser makes of it. Once is
// enough, or what was chosen would be let go at once.
for (const id of ["scatter", "curves", "layers"]) {
  $(id).addEventListener("touchstart", (event) => event.stopPropagation(), { capture: true, passive: true });
}
makeTable($("groups"), GROUPS, groups, (group) => toggle(group.runs));
makeTable($("table"), RUNS, runs, (run) => toggle([run]));
makeCurves();
makeMetrics();
makeAxes();
filter();
$("curve").onchange = drawCurves;
$("filter").oninput = filter;
$("best").onclick = () => choose(bestRuns());
$("none").onclick = () => choose([]);
choose(bestRuns()).then(() => {
  $("table").hidden = false; // not before: each picture asks how large it is, which lays out all rows
  $("scatter").on("plotly_click", ({ points: [{ customdata: at }] }) => toggle(at < 0 ? groups[-1 - at].runs : [runs[at]]));
  for (const media of [narrow, touch, dark]) media.onchange = draw;
  requestAnimationFrame(() => setTimeout(() => performance.mark("drawn"))); // it is on the screen
});
