"""What is to be drawn of a figure's panels and of a table: a `View` of each, from results.

The only place that tells the kinds of panels apart and chooses ranges and labels. Needs results only: no data, no JAX.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smith.analysis import published as paper
from smith.analysis.seeds import curve, padded
from smith.figure import Figure, Finals, Panel, Row, Sketch, Table
from smith.figures.views import Axis, Line, Range, Series, View
from smith.metrics import quantity
from smith.run import Run
from smith.store import Result, Store

X_LABELS = {"iteration": "Iteration", "epoch": "Epoch", "learning_rate": "Learning rate", "momentum": "Momentum"}
HEADROOM = 3.0  # a logarithmic axis reaches so far beyond the paper's, a linear one by the paper's span
FURTHEST = 3  # times that, where most of our points lie there
PUBLISHED_ROWS = "published, mean and standard deviation of 4 runs"
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
        return _table(experiment, store, published)
    found = []
    for panel in experiment.panels:
        found.append(view(panel, store, published))
        if (
            published
            and isinstance(panel, Panel)
            and panel.published
            and not all(map(store.as_published, panel.runs()))
        ):
            found.append(_companion(panel))
    return found


def view(panel: Panel | Finals | Sketch, store: Store, published: bool = True) -> View:
    """Returns what is to be drawn of a panel. Raises UserError as `views` does."""
    if isinstance(panel, Sketch):
        return _sketch(panel)
    return _finals(panel, store) if isinstance(panel, Finals) else _curves(panel, store, published)


def heading(name: str) -> str:
    """Returns "Figure 9" for "fig09", "Table 1" for "table1", else the name."""
    match = re.fullmatch(r"(fig|table)0*(\d+)", name)
    return f"{'Figure' if match[1] == 'fig' else 'Table'} {match[2]}" if match else name


# --- curves over a run ---


def _curves(panel: Panel, store: Store, published: bool) -> View:
    as_published = all(map(store.as_published, panel.runs()))
    theirs = paper.curves(panel.published) if as_published and published and panel.published else {}
    cuts = {run: paper.stretch(panel.x, run, store.trained(run)) for run in panel.runs()}
    series = [
        _curve(number, name, y, panel.x, store.results(run), theirs.get(name))
        for number, (name, y, run) in enumerate(panel.series())
    ]
    horizontal = _x_range(panel, cuts, series)
    ranged = functools.partial(_y_range, panel, theirs=theirs) if as_published else functools.partial(_own_range, panel)
    shown = [_inside(line, horizontal) for one in series for line in one.seeds.values()]
    return View(
        panel.label,
        panel.title,
        Axis(X_LABELS.get(panel.x, panel.x), range=horizontal, papers=_papers(panel.x, list(cuts.values()))),
        Axis(_label(panel.ys), bool(panel.log), ranged(np.concatenate([*shown, []]))),
        series,
        "published" if theirs else "",
        runs=panel.curves,
    )


def _companion(panel: Panel) -> View:
    """Returns the paper's curves of a panel alone, on the paper's axes."""
    assert panel.published
    theirs = paper.curves(panel.published)
    series = [
        Series(name, number, _unit(y), published=theirs[name])
        for number, (name, y, _) in enumerate(panel.series())
        if name in theirs
    ]
    return View(
        panel.label,
        "The paper's, at its own scale",
        Axis(X_LABELS.get(panel.x, panel.x), range=panel.xlim),
        Axis(_label(panel.ys), bool(panel.log), _y_range(panel, np.empty(0), theirs)),
        series,
        "published",
        companion=True,
    )


def _curve(number: int, name: str, y: str, x: str, found: Sequence[Result], published: Line | None) -> Series:
    unit = _unit(y)
    if not found:
        return Series(name, number, unit, published=published, missing=True)
    joined = curve(found, x, y)
    mean = (joined.x, joined.mean)
    return Series(name, number, unit, mean, joined.lines, joined.diverged, published=published)


def _papers(x: str, cuts: Sequence[float]) -> tuple[str, float] | None:
    """Returns the paper's own horizontal axis, if it is another one and the same for all runs."""
    if not cuts or set(cuts) == {1} or max(cuts) > min(cuts) * SAME:
        return None
    return f"{X_LABELS.get(x, x)} in the paper", 1 / cuts[0]


# --- labels and ranges ---


def _unit(name: str) -> str:
    return quantity(name).unit.partition(";")[0]


def _label(names: Sequence[str]) -> str:
    """Returns a label for quantities: "Loss, training loss (nats) / accuracy (fraction)"."""
    if len(names) == 1:
        return quantity(names[0]).label
    by_unit: dict[str, list[str]] = {}
    for name in names:
        unit = quantity(name).label.partition(" (")[2]
        by_unit.setdefault(f" ({unit}" if unit else "", []).append(quantity(name).short)
    text = " / ".join(", ".join(short) + unit for unit, short in by_unit.items()).lower()
    return text[:1].upper() + text[1:]


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


# --- points: what runs have come to ---


def _finals(panel: Finals, store: Store) -> View:
    found = {place: store.results(run) for place, run in panel.points.items()}
    series = []
    for number, name in enumerate(panel.y):
        ends = {x: {r.seed: _end(r, name) for r in of} for x, of in found.items()}
        series.append(_points(number, quantity(name).short, _unit(name), ends))
    lost = sum(result.status == "diverged" for of in found.values() for result in of)
    absent = sum(not of for of in found.values())
    return View(
        panel.label,
        panel.title,
        Axis(panel.xlabel, True, ticks={place: f"{place:g}" for place in panel.points}),
        Axis(_label(panel.y), bool(panel.log)),
        series,
        notes=[f"{lost} diverged, drawn as guessing"] * bool(lost) + [f"{absent} without a result"] * bool(absent),
        points=True,
        runs={f"{place:g}": run for place, run in panel.points.items()},
    )


def _end(result: Result, name: str) -> float:
    """Returns the last test's value; a run that diverged has come to guessing."""
    return float(padded(result, name)[1][-1])


def _points(number: int, name: str, unit: str, ends: Mapping[float, Mapping[int, float]], **more: Any) -> Series:
    """Returns a row of points. ends: place -> seed -> value"""
    there = {place: list(of.values()) for place, of in ends.items() if of}
    seeds = sorted({seed for of in ends.values() for seed in of})
    each = {seed: {place: of[seed] for place, of in ends.items() if seed in of} for seed in seeds}
    mean = np.array([np.mean(values) for values in there.values()])
    return Series(
        name,
        number,
        unit,
        (np.array([*there], float), mean),
        {seed: (np.array([*of], float), np.array([*of.values()])) for seed, of in each.items()},
        **more,
    )


@dataclass(frozen=True)
class Measured:
    """The final test accuracies of a table's row, in %.

    values: by seed; a seed that diverged counts as guessing
    diverged: how many did
    as_published: whether the run is the paper's, so that the values can be compared
    """

    row: Row
    values: Mapping[int, float]
    diverged: int
    as_published: bool = True

    @property
    def mean(self) -> float:
        """Over the seeds; not a number where there is none."""
        return float(np.mean([*self.values.values()])) if self.values else np.nan

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds (n - 1); not a number for fewer than two."""
        return float(np.std([*self.values.values()], ddof=1)) if len(self.values) > 1 else np.nan


def measured(table: Table, store: Store) -> list[Measured]:
    """Returns what each row of a table has come to."""
    rows = []
    for row in table.rows:
        found = store.results(row.run)
        values = {result.seed: 100 * _end(result, "test_accuracy") for result in found}
        lost = sum(result.status == "diverged" for result in found)
        rows.append(Measured(row, values, lost, store.as_published(row.run)))
    return rows


def _table(table: Table, store: Store, published: bool) -> list[View]:
    groups: dict[str, list[Measured]] = {}
    for one in measured(table, store):
        groups.setdefault(f"{one.row.run.network}, {one.row.run.data}", []).append(one)
    found = []
    for title, members in groups.items():
        over = all(store.as_published(one.row.run) for one in members)
        found.append(_rows(table, title, members, published and over))
        if published and not over:
            found.append(_published_rows(table, members))
    return found


def _rows(table: Table, title: str, members: Sequence[Measured], published: bool) -> View:
    places = np.arange(len(members), dtype=float)
    more: dict[str, Any] = _published_points(members) if published else {}
    more["spread"] = np.nan_to_num([one.deviation for one in members if one.values])
    ours = _points(0, "ours", "%", dict(zip(places.tolist(), [one.values for one in members], strict=True)), **more)
    lost = sum(one.diverged for one in members)
    return View(
        "",
        title + f" ({lost} diverged, drawn as guessing)" * bool(lost),
        _names_of(table, members),
        Axis("Final test accuracy (%)", range=_percents([ours.published, *ours.seeds.values()])),
        [ours],
        PUBLISHED_ROWS if published else "",
        points=True,
        across=True,
        runs={", ".join(one.row.labels): one.row.run for one in members},
    )


def _published_rows(table: Table, members: Sequence[Measured]) -> View:
    """Returns the paper's values alone."""
    theirs = _published_points(members)
    return View(
        "",
        "The paper's, at its own scale",
        dataclasses.replace(_names_of(table, members), ticks=dict.fromkeys(range(len(members)), "")),
        Axis("Final test accuracy (%)", range=_percents([theirs["published"]])),
        [Series("published", 0, "%", **theirs)],
        PUBLISHED_ROWS,
        points=True,
        across=True,
        companion=True,
    )


def _published_points(members: Sequence[Measured]) -> dict[str, Any]:
    line = np.arange(len(members), dtype=float), np.array([one.row.mean for one in members])
    return {"published": line, "published_spread": np.array([one.row.deviation for one in members])}


def _names_of(table: Table, members: Sequence[Measured]) -> Axis:
    names = dict(enumerate(_row_name(one.row, table) for one in members))
    return Axis("", range=(len(members) - 0.5, -0.5), ticks=names)


def _percents(lines: Sequence[Line | None]) -> Range:
    """Returns a range that holds all points, and not more than 100 %."""
    values = np.concatenate([[100.0], *(line[1] for line in lines if line)])
    low, high = float(values.min()), float(min(100.0, np.max(values[1:], initial=0) + 1))
    return low - max(1.0, 0.03 * (high - low)), high


def _row_name(row: Row, table: Table) -> str:
    """Returns what tells a row from the others of its view."""
    labels = [(c, label) for c, label in zip(table.columns, row.labels, strict=True) if c not in ("Data", "Network")]
    return ", ".join(f"{label} epochs" if c == "Epochs" else label for c, label in labels)


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
