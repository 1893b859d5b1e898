"""What is to be drawn of a figure's panels and of a table: a `View` of each, from results.

The only place that tells the kinds of panels apart and chooses ranges and labels.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from smith.analysis import published as paper
from smith.analysis.seeds import curve
from smith.figure import Figure, Finals, Panel, Sketch, Table
from smith.figures import points
from smith.figures.views import Axis, Line, Range, Series, View, label_of, unit_of
from smith.metrics import quantity
from smith.run import Run
from smith.store import Result, Store

X_LABELS = {"iteration": "Iteration", "epoch": "Epoch", "learning_rate": "Learning rate", "momentum": "Momentum"}
HEADROOM = 3.0  # a logarithmic axis reaches so far beyond the paper's, a linear one by the paper's span
FURTHEST = 3  # times that, where most of our points lie there
SAME = 1.02  # cuts whose ratio is less differ by rounding
MOST = 80  # % of our points that an axis has room for
MARGIN = 0.02  # of an axis, on either side


def views(experiment: Figure | Table, store: Store, published: bool = True) -> list[View]:
    """Returns a view for every panel of a figure, or for every network of a table.

    published: whether the paper's curves are shown too

    Raises:
      UserError: the store's scale can not hold a run.
    """
    if isinstance(experiment, Table):
        return [replace(shown, one=store.one) for shown in points.rows(experiment, store, published)]
    found = []
    for panel in experiment.panels:
        found.append(view(panel, store, published))
        if published and isinstance(panel, Panel) and panel.published and not store.as_published(*panel.runs()):
            found.append(_companion(panel))
    return [replace(shown, one=store.one) for shown in found]


def view(panel: Panel | Finals | Sketch, store: Store, published: bool = True) -> View:
    """Returns what is to be drawn of a panel. Raises UserError as `views` does."""
    if isinstance(panel, Sketch):
        return _sketch(panel)
    return points.finals(panel, store) if isinstance(panel, Finals) else _curves(panel, store, published)


def heading(name: str) -> str:
    """Returns "Figure 9" for "fig09", "Table 1" for "table1", else the name."""
    match = re.fullmatch(r"(fig|table)0*(\d+)", name)
    return f"{'Figure' if match[1] == 'fig' else 'Table'} {match[2]}" if match else name


# --- curves over a run ---


def _curves(panel: Panel, store: Store, published: bool) -> View:
    as_published = store.as_published(*panel.runs())
    theirs = paper.curves(panel) if as_published and published else {}
    cuts = {run: paper.stretch(panel.x, run, store.trained(run)) for run in panel.runs()}
    series = [
        _curve(number, name, y, panel.x, store.results(run), theirs.get(name))
        for number, (name, y, run) in enumerate(panel.series())
    ]
    horizontal = _x_range(panel, cuts, series)
    shown = np.concatenate([[], *(_inside(line, horizontal) for one in series for line in one.seeds.values())])
    vertical = _y_range(panel, shown, theirs) if as_published else _own_range(panel, shown)
    vertical = vertical or ((0.1, 10.0) if panel.log else (0.0, 1.0))  # nothing but crosses has no range
    return View(
        panel.label,
        panel.title,
        Axis(X_LABELS.get(panel.x, panel.x), panel.by_factors, horizontal, papers=_papers(panel, [*cuts.values()])),
        Axis(label_of(panel.ys), bool(panel.log), vertical),
        series,
        "published" if theirs else "",
        runs=panel.curves,
    )


def _companion(panel: Panel) -> View:
    """Returns the paper's curves of a panel alone, on the paper's axes."""
    theirs = paper.curves(panel)
    series = [
        Series(name, number, unit_of(y), published=theirs[name])
        for number, (name, y, _) in enumerate(panel.series())
        if name in theirs
    ]
    return View(
        panel.label,
        "The paper's, at its own scale",
        Axis(X_LABELS.get(panel.x, panel.x), range=panel.xlim),
        Axis(label_of(panel.ys), bool(panel.log), _y_range(panel, np.empty(0), theirs)),
        series,
        "published",
        companion=True,
    )


def _curve(number: int, name: str, y: str, x: str, found: Sequence[Result], published: Line | None) -> Series:
    unit = unit_of(y)
    if not found:
        return Series(name, number, unit, published=published, missing=True)
    joined = curve(found, x, y)
    mean = (joined.x, joined.mean)
    return Series(name, number, unit, mean, joined.lines, joined.diverged, published=published)


def _papers(panel: Panel, cuts: Sequence[float]) -> tuple[str, float] | None:
    """Returns the horizontal axis at the paper's scale, if it is another one and the same for all runs."""
    if not cuts or set(cuts) == {1} or max(cuts) > min(cuts) * SAME:
        return None
    where = "in the paper" if panel.published else "at the paper's scale"
    return f"{X_LABELS.get(panel.x, panel.x)} {where}", 1 / cuts[0]


# --- ranges ---


def _x_range(panel: Panel, cuts: Mapping[Run, float], series: Sequence[Series]) -> Range | None:
    """Returns the paper's range, cut as the published curves are, with room for crosses of diverged seeds."""
    if not panel.xlim or not cuts:
        return None
    least, most = min(cuts.values()), max(cuts.values())
    if panel.x == "iteration":  # as the longest run
        least = most = max(run.iterations * cut for run, cut in cuts.items()) / max(run.iterations for run in cuts)
    left, right = float(panel.xlim[0] * least), float(panel.xlim[1] * most)
    return left, max([right, *(x for one in series for x in one.diverged.values())])


def _inside(line: Line, limits: Range | None) -> np.ndarray:
    """Returns the y of the points that the horizontal axis shows."""
    return line[1] if limits is None else line[1][(line[0] >= limits[0]) & (line[0] <= limits[1])]


def _y_range(panel: Panel, ours: np.ndarray, theirs: Mapping[str, Line]) -> Range | None:
    """Returns the paper's range, widened to hold our points, but not by one that goes to infinity.

    ours: all y that are shown; theirs: the paper's curves, the range of which counts if the panel gives none
    """
    ours = np.log(ours[ours > 0]) if panel.log else ours
    limits = panel.ylim or _extent([y for _, y in theirs.values()])
    if limits:
        low, high = np.log(limits) if panel.log else limits
    elif len(ours):
        low, high = np.percentile(ours, (100 - MOST, MOST))
    else:
        return None
    reach = np.log(HEADROOM) if panel.log else high - low
    bottom, top = np.percentile(ours, (100 - MOST, MOST)) if len(ours) else (low, high)
    least = max(min(low - reach, bottom), low - FURTHEST * reach)
    most = min(max(high + reach, top), high + FURTHEST * reach)
    if all(quantity(name).unit.startswith("fraction") for name in panel.ys) and not panel.log:
        least, most = 0.0, 1.0
    near = ours[(ours >= least) & (ours <= most)]
    low, high = min([low, *near]), max([high, *near])
    margin = MARGIN * ((high - low) or 1.0)
    low, high = low - margin, high + margin
    return (float(np.exp(low)), float(np.exp(high))) if panel.log else (float(low), float(high))


def _own_range(panel: Panel, ours: np.ndarray) -> Range | None:
    """Returns the range of our points, without those of a loss that goes to infinity."""
    ours = ours[ours > 0] if panel.log else ours
    if not len(ours):
        return panel.ylim
    low, high = ours.min(), ours.max()
    if panel.log:
        high = max(min(high, FURTHEST * np.percentile(ours, MOST)), low)
        margin = (high / low) ** MARGIN * (1 + MARGIN)
        return float(low / margin), float(high * margin)
    margin = MARGIN * ((high - low) or 1.0)
    return float(low - margin), float(high + margin)


def _extent(values: Sequence[np.ndarray]) -> Range | None:
    return (float(min(y.min() for y in values)), float(max(y.max() for y in values))) if values else None


# --- a drawing from formulas ---


def _sketch(panel: Sketch) -> View:
    x = np.linspace(0, 1, 201)
    lines = {name: np.array([formula(place) for place in x]) for name, formula in panel.curves.items()}
    best = float(x[next(iter(lines.values())).argmin()])
    top = float(max(y.max() for y in lines.values()))
    return View(
        panel.label,
        panel.title,
        Axis(panel.xlabel, range=(0, 1), ticks={}),
        Axis(panel.ylabel, range=(0, 1.1 * top), ticks={}),
        [Series(name, number, mean=(x, y)) for number, (name, y) in enumerate(lines.items())],
        texts=panel.texts,
        mark=(best, "optimum"),
    )
