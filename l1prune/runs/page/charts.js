"use strict";

const { recipes, axes, settings, networks, runs } = JSON.parse(document.getElementById("data").textContent);
// What runs call their settings and figures may be the name of what every object has.
for (const names of [settings, ...runs.flatMap((run) => [run.settings, run.history])]) Object.setPrototypeOf(names, null);
const $ = (id) => document.getElementById(id);
let axis = "nonzero"; // what accuracy is drawn against
const front = () => runs.filter((run) => run.best.includes(axis)).sort((a, b) => a.costs[axis] - b.costs[axis]);
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
const brief = (n) => (n >= 1e6 ? `${n / 1e6}M` : n >= 1e3 ? `${n / 1e3}k` : `${n}`);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const mixed = (one, other, share) => `#${[1, 3, 5].map((at) => Math.round(
  (1 - share) * parseInt(one.slice(at, at + 2), 16) + share * parseInt(other.slice(at, at + 2), 16),
).toString(16).padStart(2, "0")).join("")}`;
// The colours are made for paper; on a dark screen they need some light.
const colour = (recipe) => mixed(recipes[recipe].colour ?? css("--ink"), css("--ink"), dark.matches ? 0.25 : 0);
// Plotly reads a little HTML in its texts, and %{…} in its templates; what a run is called must stay what it is called.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "&#37;{");
const short = (text, length = 48) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
const told = (run) => Object.entries(settings).filter(([key]) => key in run.settings)
  .map(([key, name]) => `${name} ${run.settings[key]}`);

function label(run) {
  const words = told(run);
  return [run.recipe, ...(words.length ? words.slice(0, 4) : [run.name])].join(" · ");
}

function story(run) {
  const lines = told(run);
  if (lines.length > 10) lines.splice(9, lines.length, `… ${lines.length - 9} more settings`);
  const weights = `${count(run.nonzero)} weights${run.times && ` (${run.times} fewer)`}`;
  const paid = axis in run.costs && axis !== "nonzero" ? [`${count(run.costs[axis])} ${axes[axis]}`] : [];
  const [title, ...rest] = [run.name, run.recipe, `${percent(run.accuracy)} accurate`, weights, ...paid, ...lines]
    .map((line) => plain(short(line)));
  return `<b>${title}</b><br>${rest.join("<br>")}`;
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

const CONFIG = {
  responsive: true, displaylogo: false, displayModeBar: touch.matches ? false : "hover",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], // none that sends data anywhere
};

// A log axis has no 0: a network with nothing left is shown at 1.
const cost = (run) => run.costs[axis] || 1;
const priced = (some) => some.filter((run) => axis in run.costs);
const place = (some) => ({ x: some.map(cost), y: some.map((run) => 100 * run.accuracy) });

// 1, 2 and 5 of each power of ten: what Plotly takes by itself crowds where it has room.
function ticks(costs) {
  const least = Math.floor(Math.log10(Math.min(...costs)));
  const most = Math.ceil(Math.log10(Math.max(...costs) * 1.001));
  const powers = Array.from({ length: most + 1 - least }, (_, i) => 10 ** (least + i));
  const steps = powers.length > 4 || narrow.matches ? [1] : [1, 2, 5];
  const tickvals = powers.flatMap((power) => steps.map((step) => Number((step * power).toPrecision(6))));
  return { tickvals, ticktext: tickvals.map(brief) };
}

function drawScatter() {
  const dots = Object.entries(recipes).map(([recipe, { symbol }]) => {
    const ours = priced(runs).filter((run) => run.recipe === recipe);
    const size = (recipe === "dense" ? 13 : 9) - (runs.length > 200 ? 2 : 0);
    return ours.length && {
      ...place(ours), name: plain(recipe), text: ours.map(story), customdata: ours.map((run) => runs.indexOf(run)),
      mode: "markers", hovertemplate: "%{text}<extra></extra>",
      marker: { symbol, size, color: colour(recipe), opacity: 0.8, line: { width: 1, color: css("--card") } },
    };
  }).filter(Boolean);
  const best = front();
  const costs = priced(runs).map(cost);
  const stairs = place([...best, { ...best.at(-1), costs: { [axis]: Math.max(...costs) } }]);
  const line = {
    ...stairs, mode: "lines", hoverinfo: "skip", showlegend: false,
    line: { shape: "hv", color: css("--soft"), width: 1.5 },
  };
  const few = axis === "nonzero" && best.length <= 12 ? best.filter((run) => run.recipe !== "dense") : [];
  const times = {
    ...place(few), mode: "text", text: few.map((run) => `${run.times}\u2002`), textposition: "top left",
    textfont: { size: 12, color: css("--soft") }, hoverinfo: "skip", showlegend: false, cliponaxis: false,
  };
  const rings = {
    ...place(priced(chosen)), mode: "markers+text", hoverinfo: "skip", showlegend: false, cliponaxis: false,
    text: priced(chosen).map((run) => `<b>${chosen.indexOf(run) + 1}</b>`), textposition: "bottom right", textfont: { size: 12, color: css("--ink") },
    marker: { symbol: "circle-open", size: 18, color: css("--ink"), line: { width: 1.75 } },
  };
  return Plotly.react("scatter", [line, ...dots, times, rings], layout({
    showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemwidth: 30 },
    xaxis: { type: "log", title: `${axes[axis]} (log scale)`, ...ticks(costs) },
    yaxis: { title: "test accuracy", ticksuffix: " %" }, uirevision: axis,
  }), CONFIG);
}

function style(run) {
  const alike = chosen.filter((other) => other.recipe === run.recipe);
  return { color: colour(run.recipe), dash: DASHES[alike.indexOf(run) % DASHES.length] };
}

function drawCurves() {
  const metric = $("metric").value;
  const lines = chosen.map((run, i) => ({ run, i, y: run.history[metric] })).filter(({ y }) => y?.length);
  show("no-curves", "curves", lines.length, chosen.length
    ? "None of the chosen runs has left a history.csv with such figures." : "Choose a run to see how it got there.");
  const share = /accuracy|sparsity/.test(metric);
  const shown = (y) => (share ? y.map((one) => one === null ? null : 100 * one) : y);
  return Plotly.react("curves", lines.map(({ run, i, y }) => ({
    x: run.history.epoch, y: shown(y), mode: "lines+text", line: { width: 2, ...style(run) }, cliponaxis: false,
    text: y.map((_, at) => (at === y.length - 1 ? ` ${i + 1}` : "")), textposition: "middle right",
    hovertemplate: `<b>${i + 1}</b> ${plain(short(label(run)))}<br>epoch %{x}: %{y}<extra></extra>`,
  })), layout({
    margin: { l: 8, r: 28, t: 28, b: 8 }, xaxis: { title: "epoch" },
    yaxis: share ? { ticksuffix: " %", hoverformat: ".2f" } : { hoverformat: ",.6~g" },
  }), CONFIG);
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
  }), CONFIG);
}

function show(empty, full, something, why) {
  $(empty).hidden = something;
  $(full).hidden = !something;
  $(empty).textContent = why;
}
