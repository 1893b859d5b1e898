"""Charts as plain data for Plotly: {data, layout, config}. The page's script gives them colours and draws them.

Every trace says in `meta` which curve it belongs to (the script toggles by it), in which layer it is, "ours",
"published" or "seeds", and the number of its colour.
"""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from smith.analysis.evidence import Evidence
from smith.figure import SHORT, Finals, Panel, Sketch, YAxis
from smith.figures.plot import LABELS
from smith.figures.report import axes
from smith.figures.report.axes import Line
from smith.figures.tables import Measured
from smith.store.results import Result

Chart = dict[str, Any]
Trace = dict[str, Any]
Limits = tuple[axes.Range | None, axes.Range | None]  # of the two axes

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")  # beside the colours, for who does not see them
MARKS = 12  # symbols on a curve
MOST_POINTS = 9_000  # of all single seeds of a figure at one scale: half a megabyte
CONFIG = {"displayModeBar": False, "responsive": True, "doubleClick": "reset"}
HOVER = {"iteration": ",d", "learning_rate": ".5~g", "momentum": ".5~g", "weight_decay": ".5~g"}  # column: format
UNITS: dict[YAxis, str] = {"test_loss": "nats", "train_loss": "nats", "loss_gap": "nats", "test_accuracy": "(fraction)"}


def y_label(ys: Sequence[YAxis]) -> str:
    """Returns what the vertical axis of these quantities is called."""
    if len(ys) == 1:
        return LABELS[ys[0]]
    names = dict.fromkeys("accuracy (fraction)" if y == "test_accuracy" else "loss (nats)" for y in ys)
    return " / ".join(names).capitalize()


def panel_chart(panel: Panel, evidence: Evidence, lines: Sequence[Line], most: int = MOST_POINTS) -> Chart:
    """Returns a panel's chart: mean, band and seeds, the published curve dashed, marks where seeds diverged.

    most: points of a curve's single seeds; of a curve that has more, they are not drawn, only their range
    """
    x_range, y_range = axes.ranges(panel, lines, evidence)
    data = [trace for i, line in enumerate(lines) for trace in _traces(panel, i, line, (x_range, y_range), most)]
    whole: dict[str, Any] = {"tickformat": ","} if panel.x == "iteration" else {}
    layout = {
        "xaxis": _axis(LABELS[panel.x], x_range, **whole),
        "yaxis": _axis(y_label(panel.ys), y_range, log=panel.log),
    }
    return _chart(data, layout)


def _chart(data: list[Trace], layout: dict[str, Any], **more: Any) -> Chart:
    common = {"hovermode": "closest", "showlegend": False, "autosize": True}
    return {"data": data, "layout": {**common, **layout, **more}, "config": CONFIG}


def _axis(title: str, limits: axes.Range | None, log: bool = False, **more: Any) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": title}, "automargin": True, "zeroline": False, **more}
    if log:
        axis |= {"type": "log", "tickformat": "~g"}
    if limits:
        axis["range"] = rounded(np.log10(limits) if log else limits)
    return axis


def rounded(values: Any) -> list[float | int | None]:
    """Returns numbers for JSON, to six significant digits; None for what is not finite."""
    return [None if not np.isfinite(v) else int(v) if v == int(v) else float(f"{v:.6g}") for v in np.asarray(values)]


def _traces(panel: Panel, i: int, line: Line, limits: Limits, most: int) -> list[Trace]:
    traces = [_published(panel, i, line)] if line.published else []
    if line.ours is None:
        return traces
    many = len(line.found) > 1
    if many:
        traces.append(_band(i, line))
        if singly(line, most):
            traces += [_seed(panel, i, line, result) for result in line.found]
    traces.append(_mean(panel, i, line) if many else _seed(panel, i, line, line.found[0], alone=True))
    return traces + _marks(panel, i, line, limits)


def singly(line: Line, most: int) -> bool:
    """Says whether the single seeds of a curve are drawn, and not only their range."""
    return sum(len(result["iteration"]) for result in line.found) <= most


def _style(i: int, curve: int | None = None, layer: str = "ours", **more: Any) -> Trace:
    return {
        "type": "scatter",
        "meta": {"curve": i if curve is None else curve, "layer": layer, "colour": i % 6},
        **more,
    }


def _marked(i: int, size: int = 7, hollow: bool = False) -> dict[str, Any]:
    symbol = SYMBOLS[i % len(SYMBOLS)]
    return {"symbol": f"{symbol}-open" if hollow else symbol, "size": size, "maxdisplayed": MARKS}


def label(text: str) -> str:
    """Returns a name as Plotly shows it, whatever is in it."""
    return html.escape(text, quote=False).replace("%{", "% {")


def _hover(name: str, y: YAxis) -> str:
    quantity = LABELS[y].partition(" (")[0].lower()
    rows = [f"<b>{label(name)}</b>", f"{quantity} %{{y:.4g}} {UNITS[y]}"]
    rows += [f"{c.replace('_', ' ')} %{{customdata[{k}]:{form}}}" for k, (c, form) in enumerate(HOVER.items())]
    return "<br>".join(rows) + "<extra></extra>"


def _published(panel: Panel, i: int, line: Line) -> Trace:
    assert line.published
    x, y = line.published
    hover = (
        f"<b>{label(line.name)}, published</b><br>{LABELS[panel.x].lower()} %{{x:.5~g}}<br>%{{y:.4g}} {UNITS[line.y]}"
    )
    return _style(
        i,
        layer="published",
        x=rounded(x),
        y=rounded(y),
        mode="lines+markers",
        line={"dash": "dash", "width": 1.3},
        marker=_marked(i, 6, hollow=True),
        opacity=0.85,
        hovertemplate=f"{hover}<extra></extra>",
    )


def _seed(panel: Panel, i: int, line: Line, result: Result, alone: bool = False) -> Trace:
    there = np.isfinite(result[line.y])
    style: Trace = {"marker": _marked(i)} if alone else {"opacity": 0.6}
    return _style(
        i,
        layer="ours" if alone else "seeds",
        x=rounded(result[panel.x][there]),
        y=rounded(result[line.y][there]),
        customdata=[rounded(row) for row in np.array([result[name][there] for name in HOVER]).T],
        mode="lines+markers" if alone else "lines",
        line={"width": 2 if alone else 0.8},
        hovertemplate=_hover(f"{line.name}, seed {result.seed}", line.y),
        **style,
    )


def _mean(panel: Panel, i: int, line: Line) -> Trace:
    assert line.ours
    return _style(
        i,
        x=rounded(line.ours.x),
        y=rounded(line.ours.mean),
        customdata=[rounded(row) for row in _along(panel, line)],
        mode="lines+markers",
        line={"width": 2},
        marker=_marked(i),
        hovertemplate=_hover(f"{line.name}, mean of {line.ours.seeds} seeds", line.y),
    )


def _along(panel: Panel, line: Line) -> np.ndarray:
    """Returns the hover's columns (points, columns) where the mean has its points, from the seeds that are there."""
    rows: dict[float, np.ndarray] = {}
    for result in line.found:
        there = np.isfinite(result[line.y])
        columns = np.array([result[name] for name in HOVER]).T
        rows |= {float(row[0]): row for row in columns[there]}
    return np.array([rows[iteration] for iteration in sorted(rows)])


def _band(i: int, line: Line) -> Trace:
    assert line.ours
    return _style(
        i,
        layer="band",
        x=rounded(np.r_[line.ours.x, line.ours.x[::-1]]),
        y=rounded(np.r_[line.ours.high, line.ours.low[::-1]]),
        mode="lines",
        line={"width": 0},
        fill="toself",
        hoverinfo="skip",
    )


def _marks(panel: Panel, i: int, line: Line, limits: Limits) -> list[Trace]:
    """Returns marks at the top edge where a seed diverged (a cross), and where the mean leaves the axis."""
    assert line.ours
    x_range, y_range = limits
    top = y_range[1] if y_range else float(np.max(line.ours.high, initial=0))
    right = x_range[1] if x_range else np.inf
    ended = [r for r in line.found if r.status == "diverged"]
    above = (line.ours.mean > top) & (line.ours.x <= right)
    traces = []
    if ended:
        texts = [f"{label(line.name)}, seed {r.seed}: diverged by iteration {r['iteration'][-1]:,.0f}" for r in ended]
        traces.append(_edge(i, [float(r[panel.x][-1]) for r in ended], top, "x-thin-open", 11, texts))
    if above.any():
        texts = [f"{label(line.name)}: {value:.4g}, above the axis" for value in line.ours.mean[above]]
        traces.append(_edge(i, line.ours.x[above], top, "triangle-up-open", 7, texts))
    return traces


def _edge(i: int, x: Any, top: float, symbol: str, size: int, texts: list[str]) -> Trace:
    return _style(
        i,
        x=rounded(x),
        y=rounded([top] * len(x)),
        mode="markers",
        cliponaxis=False,
        marker={"symbol": symbol, "size": size, "line": {"width": 2}},
        text=texts,
        hovertemplate="%{text}<extra></extra>",
    )


def finals_chart(panel: Finals, evidence: Evidence) -> Chart:
    """Returns the chart of what each run has come to: mean and range over the seeds that ended."""
    data = []
    for i, y in enumerate(panel.y):
        ends = {x: [r[y][-1] for r in evidence.results(run) if r.status == "done"] for x, run in panel.points.items()}
        ends = {x: values for x, values in ends.items() if values}
        means = np.array([np.mean(values) for values in ends.values()])
        reach = [(m - min(v), max(v) - m) for m, v in zip(means, ends.values(), strict=True)]
        below, above = np.array(reach).reshape(-1, 2).T
        data.append(
            _style(
                i,
                x=rounded(list(ends)),
                y=rounded(means),
                error_y={"type": "data", "symmetric": False, "array": rounded(above), "arrayminus": rounded(below)},
                customdata=[[len(values)] for values in ends.values()],
                mode="lines+markers",
                line={"width": 2},
                marker=_marked(i, 9),
                hovertemplate=f"<b>{label(SHORT[y])}</b> %{{y:.4g}} {UNITS[y]}<br>{label(panel.xlabel)} %{{x}}"
                "<br>seeds: %{customdata[0]}<extra></extra>",
            )
        )
    ticks = {"type": "log", "tickvals": rounded(list(panel.points)), "ticktext": [f"{x:g}" for x in panel.points]}
    layout = {"xaxis": _axis(panel.xlabel, None, **ticks), "yaxis": _axis(y_label(panel.y), None, log=panel.log)}
    return _chart(data, layout)


def sketch_chart(panel: Sketch) -> Chart:
    """Returns the chart of formulas: no numbers on its axes."""
    x = np.linspace(0, 1, 101)
    values = {name: np.array([formula(place) for place in x]) for name, formula in panel.curves.items()}
    top, best = max(y.max() for y in values.values()), x[next(iter(values.values())).argmin()]
    data = [
        _style(i, x=rounded(x), y=rounded(y), mode="lines+markers", marker=_marked(i), line={"width": 2}, name=name)
        | {"hovertemplate": f"{label(name)}<extra></extra>"}
        for i, (name, y) in enumerate(values.items())
    ]
    words = [
        {"x": place, "y": float(top), "text": label(text), "showarrow": False, "yanchor": "bottom"}
        for place, text in {**panel.texts, float(best): "optimum"}.items()
    ]
    line = {
        "type": "line",
        "x0": float(best),
        "x1": float(best),
        "y0": 0,
        "y1": float(top),
        "line": {"dash": "dot", "width": 1},
    }
    bare = {"showticklabels": False, "ticks": ""}
    layout = {
        "xaxis": _axis(panel.xlabel, (0, 1), **bare),
        "yaxis": _axis(panel.ylabel, (0, 1.12 * float(top)), **bare),
    }
    return _chart(data, layout, annotations=words, shapes=[line])


def table_chart(rows: Sequence[tuple[str, Measured]]) -> Chart:
    """Returns a chart of a table's rows: ours and the paper's mean, each with its standard deviation."""
    places = list(range(len(rows)))
    ours = [(k, m) for k, (_, m) in enumerate(rows) if len(m.values)]
    published = _dots(
        0, "published", [k - 0.16 for k in places], [m.row.mean for _, m in rows], [m.row.deviation for _, m in rows]
    )
    mine = _dots(
        1, "ours", [k + 0.16 for k, _ in ours], [m.mean for _, m in ours], [np.nan_to_num(m.deviation) for _, m in ours]
    )
    names = [label(name) for name, _ in rows]
    layout = {
        "xaxis": _axis("Final test accuracy (%)", None),
        "yaxis": _axis("", (len(rows) - 0.5, -0.5), tickvals=places, ticktext=names),
    }
    return _chart([published, mine], layout, height=110 + 30 * len(rows))


def _dots(i: int, name: str, places: list[float], means: list[float], deviations: list[float]) -> Trace:
    return _style(
        i,
        x=rounded(means),
        y=places,
        error_x={"type": "data", "array": rounded(deviations)},
        mode="markers",
        marker={"symbol": ("circle-open", "square")[i], "size": 8},
        hovertemplate=f"<b>{name}</b> %{{x:.4g}} %<extra></extra>",
    )
