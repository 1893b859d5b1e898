// Draws the charts of a page with Plotly in the page's colours. Without it the page shows the same figure as a picture.
"use strict";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function painted(trace, hidden) {
  const own = css(`c${trace.meta.colour % 8}`);
  const copy = { ...trace, visible: !hidden.has(trace.meta.layer) };
  copy.line = { ...trace.line, color: own };
  copy.marker = { ...trace.marker, color: own, line: { ...trace.marker?.line, color: own } };
  for (const error of ["error_x", "error_y"]) if (trace[error]) copy[error] = { ...trace[error], color: own, thickness: 1.5 };
  return copy;
}

function draw(chart) {
  const plot = chart.querySelector(".plot");
  chart.spec ??= JSON.parse(chart.querySelector("script").textContent);
  const boxes = [...chart.querySelectorAll("input[data-layer]")];
  const hidden = new Set(boxes.filter((box) => !box.checked).map((box) => box.dataset.layer));
  const { data, layout } = chart.spec;
  const axis = (one) => ({ ...one, gridcolor: css("rule"), linecolor: css("quiet"), showline: true, fixedrange: matchMedia("(pointer: coarse)").matches });
  const frame = {
    ...layout,
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
    shapes: (layout.shapes ?? []).map((shape) => ({ ...shape, line: { dash: "dot", width: 1, color: css("quiet") } })),
    uirevision: "kept",
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: css("text") },
    margin: { l: 10, r: 16, t: 12, b: 10 },
    legend: { orientation: "h", y: -0.2, yanchor: "top" },
  };
  Plotly.react(plot, data.map((trace) => painted(trace, hidden)), frame, { displayModeBar: false, responsive: true });
}

const charts = [...document.querySelectorAll(".chart")];
document.documentElement.classList.add("drawn");
charts.forEach((chart) => {
  draw(chart);
  chart.addEventListener("change", () => draw(chart));
});
document.documentElement.dataset.drawn = charts.length;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));
