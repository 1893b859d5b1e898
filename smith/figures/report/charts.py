"""Charts for Plotly, as plain data: {data, layout, places, hover}. The page's script gives them style and draws them.

Every trace says in `meta` its layer ("mean", "seed" or "published"), the index of its colour, and what to say of it.
Its `x` is an index in `places`, as many traces have the same ones.
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
    layout["annotations"] = [_note(x, words, "top") for x, words in view.texts.items()]
    if view.across:
        layout["height"] = 140 + 30 * len(view.x.ticks or ())
    if view.mark:
        x, words = view.mark
        layout["annotations"].append(_note(x, words, "bottom"))
        layout["shapes"] = [{"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1}]
    data, places = [trace for series in view.series for trace in _traces(view, series)], []
    for trace in data:
        places += [trace["x"]] if trace["x"] not in places else []
        trace["x"] = places.index(trace["x"])
    along = {"value": "y", "place": f"<br>{shown(view.x.label)} %{{x:.5~g}}"}
    hover = {"value": "x", "place": ""} if view.across else along
    return {"data": data, "layout": layout, "places": places, "hover": hover}


def _note(x: float, words: str, side: str) -> dict[str, Any]:
    y = 1 if side == "top" else 0
    return {"x": x, "y": y, "yref": "paper", "yanchor": side, "showarrow": False, "text": shown(words)}


def _axis(axis: Axis) -> dict[str, Any]:
    papers = f"<br>(the paper's: {axis.papers[1]:.3g} times that)" if axis.papers else ""
    found: dict[str, Any] = {
        "title": {"text": shown(axis.label) + papers, "standoff": 6},
        "automargin": True,
        "zeroline": False,
    }
    if axis.log:
        found |= {"type": "log", "tickformat": "~g"}
        if axis.range and 8 < axis.range[1] / axis.range[0] < 1000:
            found["dtick"] = "D2"  # 1, 2 and 5: all digits do not fit
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
    traces, seeds = [], [f"{view.one} {seed}" for seed in series.seeds]
    if series.published:
        traces.append(_trace(view, series, series.published, "published", "published"))
    if len(seeds) > 1:
        lines = zip(seeds, series.seeds.values(), strict=True)
        traces += [_trace(view, series, line, "seed", who) for who, line in lines]
    who = f"mean of {len(seeds)} {view.one}s" if len(seeds) > 1 else "".join(seeds)
    style = {"name": shown(series.legend), "showlegend": bool(series.legend)}
    traces.append(_trace(view, series, series.mean, "mean", who, **style))
    above = view.above(series)
    ends = [f"{who} diverged" for who in (f"{view.one} {seed}" for seed in series.diverged)]
    traces += _marks(view, series, np.array([*series.diverged.values()]), "x-thin-open", ends)
    return traces + _marks(view, series, above, "triangle-up-open", ["above the axis"] * len(above))


def _trace(view: View, series: Series, points: Line, layer: str, who: str, **style: Any) -> Trace:
    """Returns the trace of a line or of points, which are lines where they are a mean that runs along an axis."""
    x, y = points
    if view.across:
        x, y = y, x + (ASIDE if layer == "published" else -ASIDE)
    spread = {"published": series.published_spread, "mean": series.spread}.get(layer)
    error = (
        {} if spread is None else {"error_x" if view.across else "error_y": {"type": "data", "array": rounded(spread)}}
    )
    colour = 6 if view.points and layer == "published" else series.colour
    said = " ".join(filter(None, (f"<b>{shown(series.name)}</b>", who)))
    joined = not view.points or (layer == "mean" and not view.across)  # a line, but of one point
    return {
        "x": rounded(x) or [None],  # a trace without points is not in the legend
        "y": rounded(y) or [None],
        "mode": "+".join(["lines"] * joined + ["markers"] * (view.points or len(x) == 1)),
        "meta": {"layer": layer, "colour": colour, "said": said, "unit": shown(series.unit)},
        "legendgroup": f"{series.colour}",
        **error,
        **style,
    }


def _marks(view: View, series: Series, x: np.ndarray, symbol: str, texts: list[str]) -> list[Trace]:
    """Returns marks at the top edge, if there are any."""
    if view.points or not len(x):
        return []
    marker = {"symbol": symbol, "size": 8, "line": {"width": 2}}
    style = {"mode": "markers", "cliponaxis": False, "marker": marker, "text": texts}
    style["hovertemplate"] = f"<b>{shown(series.name)}</b> %{{text}}<extra></extra>"
    return [_trace(view, series, (x, np.full(len(x), view.top)), "mean", "", **style)]
