// Draws the charts of a page with Plotly in the page's style. Without it the page shows the same figure as a picture.
"use strict";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const STYLES = {
  published: { line: { dash: "dash", width: 1.3 }, marker: { symbol: "square-open" } },
  seed: { line: { width: 0.8 }, marker: { size: 4 }, opacity: 0.6 },
  mean: { line: { width: 2 } },
};

function painted(trace, hidden, { places, hover }) {
  const { layer, colour, said, unit } = trace.meta;
  const own = css(`c${colour % 8}`);
  const hovertemplate = `${said}<br>%{${hover.value}:.4g} ${unit}${hover.place}<extra></extra>`;
  const copy = { hovertemplate, showlegend: false, ...STYLES[layer], ...trace, x: places[trace.x], visible: !hidden.has(layer) };
  copy.line = { ...copy.line, color: own };
  copy.marker = { ...copy.marker, color: own, line: { ...copy.marker?.line, color: own } };
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
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
  };
  Plotly.react(plot, data.map((trace) => painted(trace, hidden, chart.spec)), frame, { displayModeBar: false, responsive: true });
}

// Plotly is a third of its size as a packed text, which is all that a page opened from a folder can load.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

unpack(packed).then(() => {
  const charts = [...document.querySelectorAll(".chart")];
  document.documentElement.classList.add("drawn");
  charts.forEach((chart) => {
    draw(chart);
    chart.addEventListener("change", () => draw(chart));
  });
  document.documentElement.dataset.drawn = charts.length;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));
});
