// Draws the charts of a page with Plotly, in the page's colours, and lets their curves be turned on and off.
"use strict";

const LAYERS = { ours: "ours", published: "published", seeds: "seeds", band: "seeds" };
let printing = false;

function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function translucent(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

// What the reader has chosen: curves and layers that are switched off.
function hidden(chart, name) {
  const boxes = chart.querySelectorAll(`input[data-${name}]`);
  return new Set([...boxes].filter((box) => !box.checked).map((box) => box.dataset[name]));
}

function painted(trace, colour, curves, layers) {
  const { curve, layer, colour: number } = trace.meta;
  const own = colour(`c${number}`);
  const visible = !curves.has(String(curve)) && !layers.has(LAYERS[layer]);
  const copy = { ...trace, visible, hoverlabel: { bgcolor: colour("ground"), bordercolor: own, font: { color: colour("text") } } };
  if (trace.line) copy.line = { ...trace.line, color: own };
  if (trace.marker) {
    const edge = { width: 1, ...trace.marker.line, color: own };
    copy.marker = { ...trace.marker, color: own, line: edge };
  }
  for (const error of ["error_x", "error_y"]) {
    if (trace[error]) copy[error] = { ...trace[error], color: own, thickness: 1.5, width: 4 };
  }
  if (trace.fill) copy.fillcolor = translucent(own, 0.16);
  return copy;
}

function framed(layout, colour, narrow) {
  const axis = (one) => ({
    ...one,
    gridcolor: colour("rule"),
    linecolor: colour("quiet"),
    showline: true,
    tickcolor: colour("quiet"),
    tickfont: { size: 12 },
    title: { ...one.title, standoff: 8, font: { size: narrow ? 12 : 13 } },
    nticks: narrow ? 5 : 9,
    dtick: one.type === "log" && one.range && one.range[1] - one.range[0] > 1 ? "D2" : null,
    fixedrange: matchMedia("(pointer: coarse)").matches,
  });
  return {
    ...layout,
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
    shapes: (layout.shapes || []).map((shape) => ({ ...shape, line: { ...shape.line, color: colour("quiet") } })),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: colour("text") },
    margin: { l: 8, r: narrow ? 18 : 28, t: 14, b: 8 },
    dragmode: "zoom",
    ...(printing ? { width: 660, autosize: false } : {}),
  };
}

// The axes as the reader has zoomed them; the stated ones at first.
function seen(plot, layout) {
  const now = plot._fullLayout;
  if (!now) return layout;
  const kept = (axis) => ({ ...layout[axis], autorange: now[axis].autorange, range: [...now[axis].range] });
  return { ...layout, xaxis: kept("xaxis"), yaxis: kept("yaxis") };
}

function draw(chart) {
  const plot = chart.querySelector(".plot");
  chart.spec ??= JSON.parse(chart.querySelector("script").textContent);
  const { data, layout, config } = chart.spec;
  const colour = colours();
  const [curves, layers] = [hidden(chart, "curve"), hidden(chart, "layer")];
  const traces = data.map((trace) => painted(trace, colour, curves, layers));
  Plotly.react(plot, traces, framed(seen(plot, layout), colour, plot.clientWidth < 500), config);
  if (!chart.heard) plot.on("plotly_relayout", () => draw(chart)); // ticks for the new range
  chart.heard = true;
}

function zoom(chart, how) {
  const plot = chart.querySelector(".plot");
  const change = {};
  for (const axis of ["xaxis", "yaxis"]) {
    const stated = chart.spec.layout[axis].range;
    const [low, high] = plot._fullLayout[axis].range;
    const reach = ((high - low) / 2) * Number(how);
    if (how === "all" || (how === "reset" && !stated)) change[`${axis}.autorange`] = true;
    else if (how === "reset") change[`${axis}.range`] = [...stated];
    else change[`${axis}.range`] = [(low + high) / 2 - reach, (low + high) / 2 + reach];
  }
  Plotly.relayout(plot, change);
}

const charts = [...document.querySelectorAll("[data-chart]")];
const drawAll = () => charts.forEach(draw);

for (const chart of charts) {
  chart.addEventListener("change", () => draw(chart));
  for (const button of chart.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(chart, button.dataset.zoom));
  }
}
drawAll();
document.documentElement.dataset.drawn = charts.length;

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
const print = (on) => {
  printing = on;
  drawAll();
};
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
matchMedia("print").addEventListener("change", (event) => print(event.matches));
