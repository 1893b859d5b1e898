"""Calibration: which value of an assumed setting brings our curves nearest to the published ones.

A setting that neither the paper nor the author's files give is an `Assumption` of its figure, with the values to try.
Each value is trained in every curve of its panels, scored, and the scores are compared over seeds.

A score is the mean over curves of the log-RMSE: the root mean square of the difference of natural logarithms, of a loss
or of the error (one minus the accuracy), at the published x. A seed that diverges counts as guessing from there on.

Only runs as the paper has them are calibrated: of what a scale trains in their place the published curves say nothing.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smith.analysis import fidelity, published
from smith.analysis.seeds import Line, padded
from smith.errors import UserError, unknown
from smith.figure import Assumption, Figure, Panel, Table
from smith.run import Run, Snapshot
from smith.store import Result, Store

TINY = 1e-4  # one test image of 10,000: an error of none has no logarithm


@dataclass(frozen=True)
class Curve:
    """One quantity of one curve, with a value of the assumption in it.

    run: of the protocol, with the value
    theirs: the published curve
    """

    name: str
    x: str
    quantity: str
    run: Run
    theirs: Line


@dataclass(frozen=True)
class Score:
    """How near one value comes.

    by_seed: the mean log-RMSE over the curves, for every seed that has all of them; smaller is nearer; not a number
      where one of them covers no published point
    points: at how many published points of all curves together
    missing: results that are not there, of the seeds asked for
    diverged: results that diverged
    """

    value: float
    by_seed: dict[int, float]
    points: int
    missing: int
    diverged: int

    @property
    def mean(self) -> float:
        """Over the seeds; not a number where there is none."""
        return float(np.mean(list(self.by_seed.values()))) if self.by_seed else np.nan

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest score of a seed."""
        return (min(self.by_seed.values()), max(self.by_seed.values())) if self.by_seed else (np.nan, np.nan)


def with_value(run: Run, field: str, value: float) -> Run:
    """Returns a run with a value in a field, such as "batch_size" or "lr.factor"; also in the run it starts from.

    With another batch size it has as many ghost batches as before: they stand for the author's GPUs.

    Raises:
      UserError: the run is not valid with it.
    """
    outer, _, inner = field.partition(".")
    changes: dict[str, Any] = {outer: dataclasses.replace(getattr(run, outer), **{inner: value}) if inner else value}
    if run.start:
        changes["start"] = Snapshot(with_value(run.start.run, field, value), run.start.at)
    if field == "batch_size" and run.ghost_batch_size:
        changes["ghost_batch_size"] = int(value) * run.ghost_batch_size // run.batch_size
    return run.replace(**changes)


def panels_of(figure: Figure, assumption: Assumption) -> list[Panel]:
    """Returns the panels that an assumption concerns and that have published curves."""
    panels = [panel for panel in figure.panels if isinstance(panel, Panel) and panel.published]
    return [panel for panel in panels if panel.label in assumption.panels]


def concerned(figure: Figure, assumption: Assumption) -> list[tuple[str, Run]]:
    """Returns the names and the runs of the curves that have an assumed setting."""
    named = [pair for panel in panels_of(figure, assumption) for pair in panel.curves.items()]
    return [(name, run) for name, run in named if assumption.of(run) is not None]


def names_of(figure: Figure) -> list[str]:
    """Returns the names of the curves that have an assumed setting."""
    return list(dict.fromkeys(name for one in figure.assumptions for name, _ in concerned(figure, one)))


def check(
    chosen: Sequence[Figure | Table], known: Sequence[Figure | Table], store: Store, names: Sequence[str]
) -> list[Figure]:
    """Returns the figures to calibrate.

    Args:
      known: all experiments there are, to name those that have assumed settings.
      names: of curves; none for all.

    Raises:
      UserError: an experiment has nothing to calibrate, or nothing of these curves; a name is of no curve; the scale
        trains other runs than the paper's.
    """
    figures = [figure for figure in chosen if isinstance(figure, Figure) and figure.assumptions]
    every = list(dict.fromkeys(name for figure in figures for name in names_of(figure)))
    for figure in chosen:
        if figure not in figures:
            those = [other.name for other in known if isinstance(other, Figure) and other.assumptions]
            raise UserError(f"{figure.name} has no assumed settings to calibrate; these have: {' '.join(those)}")
    for name in names:
        if name not in every:
            raise unknown("curve", name, every)
    for figure in figures:
        if not store.as_published(*figure.runs()):
            raise UserError(f"scale {store.scale.name} trains other runs than the paper's: calibrate at scale paper")
        if not names_of(figure):
            raise UserError(f"{figure.name}: no curve with an assumed setting has a published one to compare with")
        if not runs(figure, names):
            raise UserError(f"{figure.name} has none of these curves; it has: {', '.join(names_of(figure))}")
    return figures


def runs(figure: Figure, names: Sequence[str] = ()) -> list[Run]:
    """Returns the runs that calibration needs, of the protocol, each once; those of curves of these names, or all."""
    found = {
        with_value(run, assumption.field, value): None
        for assumption in figure.assumptions
        for value in assumption.values
        for name, run in concerned(figure, assumption)
        if not names or name in names
    }
    return list(found)


def curves(figure: Figure, assumption: Assumption, value: float, names: Sequence[str] = ()) -> Iterator[Curve]:
    """Yields the curves that a value is scored on. A loss gap, which may be negative, is not."""
    for panel in panels_of(figure, assumption):
        theirs = published.curves(panel)
        plain = [name for name in panel.curves for _ in panel.ys]  # without the quantity
        for name, (legend, column, run) in zip(plain, panel.series(), strict=True):
            scored = legend in theirs and column != "loss_gap" and assumption.of(run) is not None
            if scored and (not names or name in names):
                label, line = f"{panel.label}  {legend}".strip(), published.inside(theirs, legend, panel)[0]
                yield Curve(label, panel.x, column, with_value(run, assumption.field, value), line)


def score(
    figure: Figure, assumption: Assumption, value: float, store: Store, seeds: int, names: Sequence[str] = ()
) -> Score:
    """Returns how near a value comes to the published curves, seed by seed.

    seeds: how many are asked for; there may be more, which count too.
    """
    parts = list(curves(figure, assumption, value, names))
    found = [{result.seed: result for result in store.results(part.run)} for part in parts]
    common = sorted(set.intersection(*map(set, found))) if found else []
    apart = {seed: [_distance(part, of[seed]) for part, of in zip(parts, found, strict=True)] for seed in common}
    each = {part.run: of for part, of in zip(parts, found, strict=True)}.values()  # a run may give two curves
    return Score(
        value,
        {
            seed: float(np.mean([distance if points else np.nan for distance, points in pairs]))
            for seed, pairs in apart.items()
        },
        max((sum(points for _, points in pairs) for pairs in apart.values()), default=0),
        sum(seed not in of for of in each for seed in range(seeds)),
        sum(result.status == "diverged" for of in each for result in of.values()),
    )


def _distance(part: Curve, result: Result) -> tuple[float, int]:
    """Returns the log-RMSE of one seed, and at how many points."""
    theirs = part.theirs[0], _positive(part.theirs[1], part.quantity)
    return fidelity.differences(ours(part, result), theirs, log=True)[1:]


def ours(part: Curve, result: Result) -> Line:
    """Returns (x, loss or error) of one seed; from where it diverged on, that of guessing."""
    x, y = padded(result, part.quantity, part.x)
    return x, _positive(y, part.quantity)


def _positive(values: np.ndarray, name: str) -> np.ndarray:
    """Returns what the logarithm is compared of: the loss itself, of an accuracy the error."""
    return np.maximum(fidelity.failure(values, name), TINY)


def choice(scores: Sequence[Score]) -> tuple[float | None, str]:
    """Returns the value of the lowest mean score, and why; or None where it is not decided, and why not."""
    missing = sum(found.missing for found in scores)
    if missing:
        return None, f"{missing} result{'s' * (missing > 1)} missing"
    if any(not math.isfinite(found.mean) for found in scores):
        return None, "no published point where they are compared"
    if len(scores) < 2:
        return None, "one value"
    least = min(len(found.by_seed) for found in scores)
    if least < 2:
        return None, "one seed"
    best, second, *_ = sorted(scores, key=lambda found: found.mean)
    overlapping = [found.value for found in scores if found is not best and found.range[0] <= best.range[1]]
    if overlapping:
        others = ", ".join(f"{value:g}" for value in overlapping)
        return None, f"over {least} seeds the range of {best.value:g} overlaps that of {others}"
    apart = f"lowest mean score over {least} seeds, next {second.value:g}; its range overlaps no other"
    return best.value, f"{apart}, which chance alone does in {by_chance(len(scores), least):.0%} of cases"


def by_chance(values: int, seeds: int) -> float:
    """Returns how probable it is that one range lies below all others if the values make no difference.

    That is the probability that the lowest scores are all of one value; all seeds are taken for independent.
    """
    return values / math.comb(values * seeds, seeds)
