"""Charts for Plotly, as plain data: {data, layout}. The page's script gives them its colours and draws them.

Every trace says in `meta` its layer ("mean", "seed" or "published") and the index of its colour.
"""

import html
from typing import Any

import numpy as np

from smith.figures.views import Axis, Line, Series, View

Trace = dict[str, Any]
ASIDE = 0.16  # of a row of a table: ours is that much above its middle, the paper's as much below


def chart(view: View) -> dict[str, Any]:
    """Returns the chart of a view."""
    horizontal, vertical = (view.y, view.x) if view.across else (view.x, view.y)
    layout: dict[str, Any] = {"xaxis": _axis(horizontal), "yaxis": _axis(vertical), "hovermode": "closest"}
    if view.across:
        layout["height"] = 140 + 30 * len(view.x.ticks or ())
    if view.mark:
        x, words = view.mark
        layout["shapes"] = [
            {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot"}}
        ]
        layout["annotations"] = [_note(x, words, 0)]
    layout.setdefault("annotations", []).extend(_note(x, words, 1) for x, words in view.texts.items())
    return {"data": [trace for series in view.series for trace in _traces(view, series)], "layout": layout}


def _note(x: float, words: str, y: float) -> dict[str, Any]:
    place = {"x": x, "y": y, "yref": "paper", "yanchor": "bottom" if y == 0 else "top", "showarrow": False}
    return {**place, "text": shown(words)}


def _axis(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": shown(axis.label)}, "automargin": True, "zeroline": False}
    if axis.log:
        found |= {"type": "log", "tickformat": "~g"}
    if axis.range:
        found["range"] = rounded(np.log10(axis.range) if axis.log else np.array(axis.range))
    if axis.ticks is not None:
        found |= {"tickvals": list(axis.ticks), "ticktext": [shown(text) for text in axis.ticks.values()]}
    return found


def shown(text: str) -> str:
    """Returns a text as Plotly shows it, whatever is in it: Plotly takes some markup and %{...} for its own."""
    return html.escape(text, quote=False).replace("%{", "% {")


def rounded(values: np.ndarray) -> list[float | int | None]:
    """Returns numbers for JSON, to five significant digits; None for what is not finite."""
    return [None if not np.isfinite(v) else int(v) if v == int(v) else float(f"{v:.5g}") for v in values]


def _traces(view: View, series: Series) -> list[Trace]:
    traces = []
    if series.published:
        hollow = {"marker": {"symbol": "square-open"}} if view.points else {}
        line = {"line": {"dash": "dash", "width": 1.3}} | hollow
        traces.append(_trace(view, series, series.published, "published", "published", series.published_spread, **line))
    if len(series.seeds) > 1:
        for seed, line in series.seeds.items():
            style = {"marker": {"size": 4}} if view.points else {"line": {"width": 0.8}}
            traces.append(_trace(view, series, line, "seed", f"seed {seed}", opacity=0.6, **style))
    who = (
        f"mean of {len(series.seeds)} seeds" if len(series.seeds) > 1 else ", ".join(f"seed {s}" for s in series.seeds)
    )
    named = {"name": shown(series.legend), "showlegend": True, "line": {"width": 2}}
    traces.append(_trace(view, series, series.mean, "mean", who, series.spread, **named))
    return traces + ([] if view.points else _marks(view, series))


def _trace(
    view: View, series: Series, line: Line, layer: str, who: str, spread: np.ndarray | None = None, **style: Any
) -> Trace:
    x, y = line
    if view.across:
        x, y = y, x + (ASIDE if layer == "published" else -ASIDE)
    rows = "" if view.across else f"<br>{shown(view.x.label)} %{{x:.5~g}}"
    value = "x" if view.across else "y"
    title = f"<b>{shown(series.name)}</b> {who}" if series.name else f"<b>{who}</b>"
    lines = view.points and (layer != "mean" or view.across)
    trace: Trace = {
        "x": rounded(x),
        "y": rounded(y),
        "mode": "markers" if lines else "lines+markers" if view.points else "lines",
        "meta": {"layer": layer, "colour": series.colour},
        "legendgroup": f"{series.colour}",
        "showlegend": False,
        "hovertemplate": f"{title}<br>%{{{value}:.4g}} {shown(series.unit)}{rows}<extra></extra>",
    }
    if spread is not None:
        trace[f"error_{value}"] = {"type": "data", "array": rounded(spread)}
    return trace | style


def _marks(view: View, series: Series) -> list[Trace]:
    """Returns marks at the top edge where a seed diverged (a cross), and where the mean leaves the axis."""
    above = view.above(series)
    ends = np.array([*series.diverged.values()])
    found = []
    for x, symbol, words in (
        (ends, "x-thin-open", [f"seed {s} diverged" for s in series.diverged]),
        (above, "triangle-up-open", ["above the axis"] * len(above)),
    ):
        if len(x):
            mark = _trace(view, series, (x, np.full(len(x), view.top)), "mean", "")
            marker = {"symbol": symbol, "size": 8, "line": {"width": 2}}
            hover = f"<b>{shown(series.name)}</b> %{{text}}<extra></extra>"
            found.append(
                mark | {"mode": "markers", "cliponaxis": False, "marker": marker, "text": words, "hovertemplate": hover}
            )
    return found
