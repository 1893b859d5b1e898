"""What runs have come to, as points: the panels of a figure that show their ends, and the rows of tables."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smith.analysis import tuning
from smith.analysis.seeds import padded
from smith.figure import Finals, Row, Table
from smith.figures.views import Axis, Range, Series, View, label_of, unit_of
from smith.metrics import quantity
from smith.run import Run
from smith.store import Result, Store

PUBLISHED_ROWS = "published, mean and standard deviation of 4 runs"


def finals(panel: Finals, store: Store) -> View:
    """Returns what runs come to, or the chosen run of each grid."""
    series = []
    for number, (way, name) in enumerate(itertools.product(panel.grids, panel.y)):
        ends = {place: _chosen([*grid.values()], name, store) for place, grid in panel.grids[way].items()}
        said = quantity(name).short if len(panel.y) > 1 or not way else ""
        series.append(_points(number, "; ".join(filter(None, (said, way))), unit_of(name), ends))
    places = sorted({place for grids in panel.grids.values() for place in grids})
    return View(
        panel.label,
        panel.title,
        Axis(panel.xlabel, True, ticks={place: f"{place:g}" for place in places}),
        Axis(label_of(panel.y), bool(panel.log)),
        series,
        notes=[*_remarks(panel, store)],
        points=True,
        runs=panel.curves,
    )


def _chosen(grid: Sequence[Run], name: str, store: Store) -> dict[int, float]:
    """Returns what the chosen run of a grid comes to, by seed: of the seeds that all of its runs have."""
    ends = [{result.seed: _end(result, name) for result in store.results(run)} for run in grid]
    seeds = sorted(set(ends[0]).intersection(*ends))
    sign = 1 if quantity(name).better == "higher" else -1
    values = sign * np.array([[of[seed] for seed in seeds] for of in ends])
    found = sign * (tuning.tuned(values) if len(grid) > 1 and seeds else values[0])
    return dict(zip(seeds[len(seeds) - len(found) :], found.tolist(), strict=True))


def span(numbers: Sequence[int]) -> str:
    """Returns ascending numbers as "4" or "1 to 4"."""
    return " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))


def counted(numbers: Sequence[int], store: Store) -> str:
    """Returns ascending numbers of runs as "1 to 12 seeds"."""
    return f"{span(numbers)} {store.one}{'s' * (numbers[-1] != 1)}"


def _remarks(panel: Finals, store: Store) -> Iterator[str]:
    """Yields what the legend has to add."""
    found = [store.results(run) for run in panel.runs()]
    sizes = sorted({len(grid) for grids in panel.grids.values() for grid in grids.values()})
    if sizes[-1] > 1:
        choosers = sorted({tuning.choosers(len(of)) for of in found if of})
        by = f", chosen by {span(choosers)} other seeds" if any(choosers) else ""
        yield f"each the best of {span(sizes)} settings{by}"
    if lost := sum(result.status == "diverged" for of in found for result in of):
        all_shown = sizes[-1] == 1
        yield f"{lost} diverged, drawn as guessing" if all_shown else f"{lost} diverged of all settings and seeds"
    if absent := sum(not of for of in found):
        yield f"{absent} without a result"


def _end(result: Result, name: str) -> float:
    """Returns the last test's value; a run that diverged has come to guessing."""
    return float(np.r_[np.nan, padded(result, name)[1]][-1])  # no value at all: a metric that is never a number


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
    return [_measured(row, store.results(row.run), store.as_published(row.run)) for row in table.rows]


def _measured(row: Row, found: Sequence[Result], as_published: bool) -> Measured:
    values = {result.seed: 100 * _end(result, "test_accuracy") for result in found}
    return Measured(row, values, sum(result.status == "diverged" for result in found), as_published)


def rows(table: Table, store: Store, published: bool) -> list[View]:
    """Returns a view of the rows of each network, and beside it one of the paper's if ours are of another scale."""
    groups: dict[str, list[Measured]] = {}
    for one in measured(table, store):
        groups.setdefault(f"{one.row.run.network}, {one.row.run.data}", []).append(one)
    found = []
    for title, members in groups.items():
        over = store.as_published(*(one.row.run for one in members))
        lost = sum(one.diverged for one in members)
        said = title + f" ({lost} diverged, drawn as guessing)" * bool(lost)
        runs = {one.row.name: one.row.run for one in members}
        found.append(_rows(table, said, members, _ours(members, published and over), runs=runs))
        if published and not over:
            theirs = Series("published", 0, "%", **_published_points(members))
            found.append(_rows(table, "The paper's, at its own scale", members, theirs, companion=True))
    return found


def _ours(members: Sequence[Measured], published: bool) -> Series:
    """Returns what the rows have come to, with the paper's values if they are to be beside ours."""
    ends = {float(place): one.values for place, one in enumerate(members)}
    spread = np.nan_to_num([one.deviation for one in members if one.values])
    return _points(0, "ours", "%", ends, spread=spread, **(_published_points(members) if published else {}))


def _rows(table: Table, title: str, members: Sequence[Measured], series: Series, **more: Any) -> View:
    names = {float(place): _row_name(one.row, table) for place, one in enumerate(members)}
    return View(
        "",
        title,
        Axis("" if more.get("companion") else ", ".join(_told(table)), range=(len(members) - 0.5, -0.5), ticks=names),
        Axis("Final test accuracy (%)", range=_percents(series)),
        [series],
        PUBLISHED_ROWS if series.published else "",
        points=True,
        across=True,
        **more,
    )


def _published_points(members: Sequence[Measured]) -> dict[str, Any]:
    line = np.arange(len(members), dtype=float), np.array([one.row.mean for one in members])
    return {"published": line, "published_spread": np.array([one.row.deviation for one in members])}


def _percents(series: Series) -> Range:
    """Returns a range that holds all points with their bars, and a margin."""
    means = [(series.mean, series.spread), (series.published, series.published_spread)]
    bars = [line[1] + side * (0 if spread is None else spread) for line, spread in means if line for side in (-1, 1)]
    values = np.concatenate([*bars, *(line[1] for line in series.seeds.values())])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 100.0)
    margin = max(1.0, 0.03 * (high - low))
    return low - margin, max(high, min(high + margin, 100.0))


def _told(table: Table) -> list[str]:
    """Returns the columns that are not said above a view."""
    return [column for column in table.columns if column not in ("Data", "Network")]


def _row_name(row: Row, table: Table) -> str:
    """Returns what tells a row from the others of its view."""
    labels = [(c, label) for c, label in zip(table.columns, row.labels, strict=True) if c in _told(table)]
    return ", ".join(f"{label} epochs" if c == "Epochs" else label for c, label in labels)
