"use strict";

const { recipes, axes, metrics, settings, networks, groups, runs } = JSON.parse(document.getElementById("data").textContent);
// What runs call their settings and figures may be the name of what every object has.
for (const names of [settings, ...runs.flatMap((run) => [run.settings, run.history])]) Object.setPrototypeOf(names, null);
for (const group of groups) group.runs = [];
for (const run of runs) groups[run.group].runs.push(run);
for (const group of groups) group.runs.sort((a, b) => a.seed - b.seed);
const $ = (id) => document.getElementById(id);
let axis = "nonzero"; // what quality is drawn against
let metric = metrics[0]; // by which the runs in view are judged: those of two have no axis in common
let whole = false; // whether what is far off is in view too
const ours = (some) => some.filter((one) => metrics[one.metric] === metric);
const front = () => ours(groups).filter((group) => group.best.includes(axis)).sort((a, b) => a.costs[axis] - b.costs[axis]);
const narrow = matchMedia("(max-width: 640px)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)");
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const STROKES = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "11 4" };
let chosen = [];

// ---- words

const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)} %`;
const commas = new Intl.NumberFormat("en-US");
const count = (n) => commas.format(n);
// Four digits that count: more are no more known.
const number = (x) => (typeof x !== "number" ? String(x) : Number.isInteger(x) ? count(x) : String(Number(x.toPrecision(4))));
const figure = (x, of = metric) => (of.percent ? percent(x) : number(x));
const brief = (n) => (n >= 1e6 ? `${number(n / 1e6)}M` : n >= 1e3 ? `${number(n / 1e3)}k` : number(n));
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const mixed = (one, other, share) => `#${[1, 3, 5].map((at) => Math.round(
  (1 - share) * parseInt(one.slice(at, at + 2), 16) + share * parseInt(other.slice(at, at + 2), 16),
).toString(16).padStart(2, "0")).join("")}`;
// The colours are made for paper; on a dark screen they need some light.
const colour = (recipe) => mixed(recipes[recipe].colour ?? css("--ink"), css("--ink"), dark.matches ? 0.25 : 0);
// Plotly reads a little HTML in its texts, and %{…} in its templates; what a run is called must stay what it is called.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "&#37;{");
// Names begin and differ at their ends: what is too long loses its middle.
function short(text, length = 48) {
  const end = Math.floor(length / 2);
  return text.length > length ? `${text.slice(0, length - 1 - end)}…${text.slice(text.length - end)}` : text;
}
// What has no room on one line goes on in the next, after a word where it can; of many lines the middle is lost.
function inLines(text, most, lines = 4) {
  const found = [];
  for (let rest = short(text, most * lines); rest;) {
    const word = rest.length > most ? rest.slice(0, most).match(/^.*[\s\-_/.,]/)?.[0] : rest;
    found.push(word ?? rest.slice(0, most));
    rest = rest.slice(found.at(-1).length);
  }
  return found;
}
const told = (run) => Object.entries(settings).filter(([key]) => key in run.settings)
  .map(([key, name]) => `${name} ${number(run.settings[key])}`);

// A run is a recipe, a size and a seed.
function label(run) {
  const { name, share } = groups[run.group];
  const size = share === 1 ? [] : [share === null ? `${brief(run.nonzero)} weights` : `${Number((100 * share).toPrecision(2))} %`];
  return [name, ...size, run.seed === null ? short(run.name, 24) : `seed ${run.seed}`].join(" · ");
}

function paid(one) {
  return axis in one.costs && axis !== "nonzero" ? [`${number(one.costs[axis])} ${axes[axis]}`] : [];
}

function told_in_lines(title, lines) {
  const [first, ...rest] = [title, ...lines].map((line) => plain(short(line)));
  return `<b>${first}</b><br>${rest.join("<br>")}`;
}

const UNKNOWN = "—";
// A count, and how many times fewer that is than there were.
const counted = (left, times, word = "") => (left === null ? UNKNOWN : `${count(Math.round(left))}${times && ` (${times}${word})`}`);
const PRUNABLE = axes.nonzero;
const ALL = "all parameters left";
const weights = ({ nonzero, times, parameters: { left, times: fewer } }) => [
  `${PRUNABLE} ${counted(nonzero, times, " fewer")}`, ...(left === null ? [] : [`${ALL} ${counted(left, fewer, " fewer")}`]),
];

function story(run) {
  const lines = told(run);
  if (lines.length > 10) lines.splice(9, lines.length, `… ${lines.length - 9} more settings`);
  return told_in_lines(run.name, [run.recipe, `${metric.title} ${figure(run.figure)}`,
    ...(run.beside === null ? [] : [`${metric.beside} ${figure(run.beside)}`]), ...weights(run), ...paid(run), ...lines]);
}

function storyOf(group) {
  const { seeds, beside, less } = group;
  return told_in_lines(group.name, [`${metric.title} ${group.figure.text}`,
    ...(beside ? [`${metric.beside} ${beside.text}`] : []), ...(less ? [`less dense ${less.text}`] : []),
    ...weights(group), ...paid(group), ...(seeds ? [`seeds ${seeds}`] : [])]);
}

// ---- pictures

function layout(more) {
  const [ink, soft, line, card] = ["--ink", "--soft", "--line", "--card"].map(css);
  const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: soft };
  const axis = {
    gridcolor: line, zeroline: false, ticks: "", automargin: true, fixedrange: touch.matches, title: { font, standoff: 8 },
  };
  const axes = ["xaxis", "yaxis"].map((one) => ({
    ...axis, ...more[one], title: { ...axis.title, text: more[one].title ?? "" },
  }));
  return {
    font, hovermode: "closest", showlegend: false, paper_bgcolor: card, plot_bgcolor: card,
    margin: { l: 8, r: 12, t: 8, b: 8 }, dragmode: touch.matches ? false : "zoom",
    hoverlabel: { bgcolor: card, bordercolor: soft, align: "left", font: { ...font, color: ink } },
    ...more, xaxis: axes[0], yaxis: axes[1],
  };
}

const config = () => ({
  responsive: true, displaylogo: false, displayModeBar: touch.matches || narrow.matches ? false : "hover",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], // none that sends data anywhere
});
const BAR = 30; // pixels above a picture, which its buttons have to themselves
// The legend is below what is drawn, its names as long as a line of it.
const legendLines = (recipe) => inLines(recipe, Math.max(16, Math.floor(($("scatter").clientWidth - 80) / 8)));

// A log axis has no 0: a network with nothing left is shown at 1.
const cost = (one) => one.costs[axis] || 1;
const priced = (some) => ours(some).filter((one) => axis in one.costs);
const scaled = (y) => (metric.percent ? 100 * y : y);
const mean = (group) => group.figure.mean;
const hidden = (y) => !whole && metric.worst !== null && (metric.lower ? y > metric.worst : y < metric.worst);
const place = (some, y) => ({ x: some.map(cost), y: some.map((one) => scaled(y(one))) });

// 1, 2 and 5 of each power of ten: what Plotly takes by itself crowds where it has room.
function ticks(costs) {
  const least = Math.floor(Math.log10(Math.min(...costs)));
  const most = Math.ceil(Math.log10(Math.max(...costs) * 1.001));
  const powers = Array.from({ length: most + 1 - least }, (_, i) => 10 ** (least + i));
  const steps = powers.length > 4 || narrow.matches ? [1] : [1, 2, 5];
  const tickvals = powers.flatMap((power) => steps.map((step) => Number((step * power).toPrecision(6))));
  return { tickvals, ticktext: tickvals.map(brief) };
}

// The better end is up. What is far below all else does not squeeze it, but lies at the edge.
function heights() {
  const seen = priced(runs).map((run) => run.figure);
  if (!seen.some(hidden)) return { autorange: metric.lower ? "reversed" : true };
  const inside = seen.filter((y) => !hidden(y)).map(scaled);
  const [least, most] = [Math.min(...inside), Math.max(...inside)];
  const room = 0.08 * (most - least);
  return { autorange: false, range: metric.lower ? [most + 2 * room, least - room] : [least - 2 * room, most + room] };
}

function markers(recipe) {
  const of = (some, y) => priced(some).filter((one) => one.recipe === recipe && !hidden(y(one)));
  const single = of(runs, (run) => run.figure);
  const means = of(groups, mean);
  const size = recipe === "dense" ? 13 : 9;
  const look = (more) => ({ symbol: recipes[recipe].symbol, color: colour(recipe), line: { width: 1, color: css("--card") }, ...more });
  const shared = { mode: "markers", name: legendLines(recipe).map(plain).join("<br>"), legendgroup: `recipe ${recipe}`, hovertemplate: "%{text}<extra></extra>" };
  return [single.length > means.length && {
    ...shared, ...place(single, (run) => run.figure), text: single.map(story), customdata: single.map((run) => runs.indexOf(run)),
    showlegend: !means.length, marker: look({ size: size - 3, opacity: 0.3 }),
  }, means.length && {
    ...shared, ...place(means, mean), text: means.map((group) => (group.count > 1 ? storyOf(group) : story(group.runs[0]))),
    customdata: means.map((group) => -1 - groups.indexOf(group)), showlegend: true,
    error_y: { array: means.map((group) => scaled(group.figure.error ?? 0)), color: colour(recipe), thickness: 1.2, width: 0 },
    marker: look({ size: size - (means.length > 200 ? 2 : 0), opacity: 0.9 }),
  }].filter(Boolean);
}

function drawScatter() {
  const best = front().filter((group) => !hidden(mean(group)));
  const costs = priced(runs).map(cost);
  const end = best.length ? [{ ...best.at(-1), costs: { [axis]: Math.max(...costs) } }] : [];
  const line = {
    ...place([...best, ...end], mean), mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: css("--soft"), width: 1.5 },
  };
  const few = axis === "nonzero" && best.length <= 12 ? best.filter((group) => group.recipe !== "dense") : [];
  const times = {
    ...place(few, mean), mode: "text", text: few.map((group) => `${group.times}\u2002`), textposition: "top left",
    textfont: { size: 12, color: css("--soft") }, hoverinfo: "skip", showlegend: false, cliponaxis: false,
  };
  const axisRange = heights();
  const far = priced(groups).filter((group) => hidden(mean(group)));
  const edge = {
    x: far.map(cost), y: far.map(() => axisRange.range[0]), mode: "markers+text", cliponaxis: false, showlegend: false,
    text: far.map((group) => figure(mean(group))), textposition: "top center", textfont: { size: 11, color: css("--soft") },
    customdata: far.map((group) => -1 - groups.indexOf(group)), hovertext: far.map(storyOf), hovertemplate: "%{hovertext}<extra></extra>",
    marker: { symbol: "triangle-down-open", size: 11, color: far.map((group) => colour(group.recipe)), line: { width: 2 } },
  };
  const ringed = priced(chosen);
  const rings = {
    x: ringed.map(cost), y: ringed.map((run) => (hidden(run.figure) ? axisRange.range[0] : scaled(run.figure))),
    mode: "markers+text", hoverinfo: "skip", showlegend: false, cliponaxis: false,
    text: ringed.map((run) => `<b>${chosen.indexOf(run) + 1}</b>`), textposition: "bottom right", textfont: { size: 12, color: css("--ink") },
    marker: { symbol: "circle-open", size: 18, color: css("--ink"), line: { width: 1.75 } },
  };
  const gone = priced(runs).filter((run) => hidden(run.figure)).length;
  $("far").hidden = metric.worst === null;
  const lines = Object.keys(recipes).flatMap(legendLines).length;
  $("scatter").style.height = narrow.matches ? `${300 + 20 * Math.min(lines, 20)}px` : "";
  $("far-note").textContent = gone ? `${count(gone)} far off, at the edge as ▽` : "";
  return Plotly.react("scatter", [line, ...Object.keys(recipes).flatMap(markers), edge, times, rings], layout({
    showlegend: true, margin: { l: 8, r: 12, t: narrow.matches ? 12 : BAR, b: 8 },
    legend: { orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom", itemwidth: 30, maxheight: 0.5 },
    xaxis: { type: "log", title: `${axes[axis]} (log scale)`, ...ticks(costs) },
    yaxis: { title: metric.axis, ticksuffix: metric.percent ? " %" : "", ...axisRange }, uirevision: [axis, metric.judged, whole].join(),
  }), config());
}

function style(run) {
  const alike = chosen.filter((other) => other.recipe === run.recipe);
  return { color: colour(run.recipe), dash: DASHES[alike.indexOf(run) % DASHES.length] };
}

function drawCurves() {
  const name = $("curve").value;
  const lines = chosen.map((run, i) => ({ run, i, y: run.history[name] })).filter(({ y }) => y?.length);
  show("no-curves", "curves", lines.length, chosen.length
    ? "None of the chosen runs has left a history.csv with such figures." : "Choose a run to see how it got there.");
  const values = lines.flatMap(({ y }) => y).filter((one) => one !== null);
  const share = /(^|[^a-z])(acc|accuracy|sparsity)([^a-z]|$)/.test(name) && values.every((one) => one >= 0 && one <= 1);
  const shown = (y) => (share ? y.map((one) => one === null ? null : 100 * one) : y);
  return Plotly.react("curves", lines.map(({ run, i, y }) => ({
    x: run.history.epoch, y: shown(y), mode: "lines+text", line: { width: 2, ...style(run) }, cliponaxis: false,
    text: y.map((_, at) => (at === y.length - 1 ? ` ${i + 1}` : "")), textposition: "middle right",
    hovertemplate: `<b>${i + 1}</b> ${plain(short(label(run)))}<br>epoch %{x}: %{y}<extra></extra>`,
  })), layout({
    margin: { l: 8, r: 28, t: BAR, b: 8 }, xaxis: { title: "epoch" },
    yaxis: share ? { ticksuffix: " %", hoverformat: ".2f" } : { hoverformat: ",.6~g" },
  }), config());
}

// Of long names not what all begin with, nor the usual end; and of what is still long the end.
function layerNames(names) {
  const parts = names.map((name) => name.replace(/\.weight$/, "").split("."));
  const shortest = Math.min(...parts.map(({ length }) => length));
  const most = narrow.matches ? 16 : 30;
  const long = names.length > 1 && parts.some((some) => some.join(".").length > most);
  let same = 0;
  while (long && same < shortest - 1 && parts.every((some) => some[same] === parts[0][same])) same++;
  return parts.map((some) => some.slice(same).join(".")).map((name) => plain(name.length > most ? `…${name.slice(1 - most)}` : name));
}

function drawLayers() {
  const ours = chosen.filter((run) => run.left.length);
  show("no-layers", "layers", ours.length, chosen.length
    ? "None of the chosen runs has left a report.csv." : "Choose a run to see what is left of its layers.");
  const names = [...new Set(ours.flatMap((run) => networks[run.network].map(([name]) => name)))];
  const places = new Map(ours.map((run) => [run, new Map(networks[run.network].map(([name], at) => [name, at]))]));
  const cell = (name, run) => {
    const at = places.get(run).get(name);
    if (at === undefined) return { z: null, text: "", hover: "no such layer" };
    const [, shape, total] = networks[run.network][at];
    const left = run.left[at];
    const zeros = percent(total ? 1 - left / total : 0, left && left < total / 200 ? 2 : 1);
    return {
      z: Math.log10(total / Math.max(left, 0.5)), text: zeros.slice(0, -2),
      hover: `<b>${plain(name)}</b> ${shape}<br>${count(left)} of ${count(total)} weights left<br>${zeros} zeros`,
    };
  };
  const cells = names.map((name) => ours.map((run) => cell(name, run)));
  const numbers = ours.map((run) => `${chosen.indexOf(run) + 1}`);
  const heights = { t: 26, b: 8 };
  const row = Math.max(18, Math.min(34, 560 / names.length));
  return Plotly.react("layers", [{
    type: "heatmap", x: numbers, y: layerNames(names),
    z: cells.map((row) => row.map(({ z }) => z)), text: cells.map((row) => row.map(({ text }) => text)),
    customdata: cells.map((row) => row.map(({ hover }, i) => `${hover}<br>${plain(short(label(ours[i])))}`)),
    texttemplate: ours.length <= (narrow.matches ? 6 : 12) ? "%{text}" : "", hovertemplate: "%{customdata}<extra></extra>",
    zmin: 0, zmax: 2, colorscale: [[0, css("--cold")], [1, css("--hot")]], showscale: false, xgap: 2, ygap: 2,
  }], layout({
    height: Math.max(80, heights.t + heights.b + row * names.length), margin: { l: 8, r: 8, ...heights },
    xaxis: { type: "category", side: "top", showgrid: false, fixedrange: true },
    yaxis: { type: "category", autorange: "reversed", showgrid: false, fixedrange: true },
  }), config());
}

function show(empty, full, something, why) {
  $(empty).hidden = something;
  $(full).hidden = !something;
  $(empty).textContent = why;
}
