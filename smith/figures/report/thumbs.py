"""Small pictures of panels as SVG inside the page: no script, and the page's own colours."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from smith.analysis.evidence import Evidence
from smith.figure import Figure, Finals, Panel, Sketch, Table
from smith.figures.report import axes
from smith.figures.tables import measure

WIDTH, HEIGHT, EDGE = 240.0, 130.0, 4.0
MOST = 120  # points of a line; more do not show at this size

Stroke = tuple[np.ndarray, np.ndarray, int, bool]  # x, y, number of the colour, whether it is published


def picture(experiment: Figure | Table, evidence: Evidence, alt: str) -> Markup:
    """Returns the first panel that has a result at a scale, else the first one; of a table its rows as dots."""
    if isinstance(experiment, Table):
        return _table(experiment, evidence, alt)
    panels = sorted(experiment.panels, key=lambda p: not any(map(evidence.results, p.runs())))
    return _svg(_strokes(panels[0], evidence), alt) if panels else Markup("")


def _strokes(panel: Panel | Finals | Sketch, evidence: Evidence) -> list[Stroke]:
    if isinstance(panel, Sketch):
        x = np.linspace(0, 1, 60)
        return _fit([(x, np.array([f(v) for v in x]), i, False) for i, f in enumerate(panel.curves.values())])
    if isinstance(panel, Finals):
        return _fit(_finals(panel, evidence), log=panel.log, log_x=True)
    lines = axes.lines(panel, evidence)
    x_range, y_range = axes.ranges(panel, lines, evidence)
    strokes: list[Stroke] = [(*line.published, i, True) for i, line in enumerate(lines) if line.published]
    strokes += [(line.ours.x, line.ours.mean, i, False) for i, line in enumerate(lines) if line.ours]
    return _fit(strokes, x_range, y_range, panel.log)


def _finals(panel: Finals, evidence: Evidence) -> list[Stroke]:
    strokes: list[Stroke] = []
    for i, y in enumerate(panel.y):
        ends = {x: [r[y][-1] for r in evidence.results(run) if r.status == "done"] for x, run in panel.points.items()}
        means = {x: float(np.mean(values)) for x, values in ends.items() if values}
        strokes.append((np.array([*means]), np.array([*means.values()]), i, False))
    return strokes


def _fit(
    strokes: Sequence[Stroke],
    x_range: axes.Range | None = None,
    y_range: axes.Range | None = None,
    log: bool = False,
    log_x: bool = False,
) -> list[Stroke]:
    """Returns the strokes in the picture's coordinates."""
    fitted: list[Stroke] = []
    strokes = [s for s in strokes if len(s[0])]
    if not strokes:
        return fitted
    horizontal = _scaled([s[0] for s in strokes], x_range, EDGE, WIDTH - EDGE, log_x)
    vertical = _scaled([s[1] for s in strokes], y_range, HEIGHT - EDGE, EDGE, log)
    for x, y, stroke in zip(horizontal, vertical, strokes, strict=True):
        fitted.append((x, y, stroke[2], stroke[3]))
    return fitted


def _scaled(values: list[np.ndarray], limits: axes.Range | None, start: float, stop: float, log: bool):
    """Returns values between `start` and `stop`; those outside `limits` lie outside."""
    if log:
        values = [np.log(np.where(v > 0, v, np.nan)) for v in values]
        limits = (float(np.log(limits[0])), float(np.log(limits[1]))) if limits else None
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    low, high = limits or ((every.min(), every.max()) if len(every) else (0.0, 1.0))
    span = (high - low) or 1.0
    return [start + (v - low) / span * (stop - start) for v in values]


def _svg(strokes: Sequence[Stroke], alt: str) -> Markup:
    paths = "".join(_path(*stroke) for stroke in strokes)
    return Markup(
        f'<svg class="thumb" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(alt)}">{paths}</svg>'
    )


def _path(x: np.ndarray, y: np.ndarray, colour: int, dashed: bool) -> str:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST)).astype(int))
    there = [(x[k], y[k]) for k in keep if np.isfinite(x[k]) and np.isfinite(y[k])]
    points = " ".join(f"{a:.1f},{np.clip(b, -HEIGHT, 2 * HEIGHT):.1f}" for a, b in there)
    return f'<polyline class="c{colour % 6}{" published" if dashed else ""}" points="{points}"/>'


def _table(table: Table, evidence: Evidence, alt: str) -> Markup:
    rows = [measure(row, evidence.results(row.run)) for row in table.rows]
    places = np.linspace(EDGE + 4, HEIGHT - EDGE - 4, len(rows))
    published = [m.row.mean for m in rows]
    low, high = min([*published, *(m.mean for m in rows if len(m.values))]), 100.0
    marks = ""
    for y, m in zip(places, rows, strict=True):
        for value, kind in ((m.row.mean, "published c0"), (m.mean, "c1")):
            if np.isfinite(value):
                x = EDGE + 4 + (value - low) / (high - low) * (WIDTH - 2 * EDGE - 8)
                marks += f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>'
    return Markup(
        f'<svg class="thumb" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(alt)}">{marks}</svg>'
    )
