"""Calibration: which value of an assumed setting brings our curves nearest to the published ones.

A setting that neither the paper nor the author's files give is an `Assumption` of its figure, with the values to try.
Each value is trained in every curve of its panels, scored, and the scores are compared over seeds.

A score is the mean over curves of the log-RMSE: the root mean square of the difference of natural logarithms, of a loss
or of the error (one minus the accuracy), at the published x. A seed that diverges counts as guessing from there on.

Which x of a shortened run belong to the published ones:

- Learning rate, momentum: the same. The rate rises faster in a shortened run, so it is another experiment, of which
  only the order of the values may be worth something.
- Iterations, where rate, momentum and weight decay are constant at the start and the values differ there: the same
  iterations, up to the shortened run's first drop. So far it is the paper's run, number for number.
- Iterations else (1cycle, or values that only show after a drop): the published ones scaled to the shortened run. That
  is another experiment too.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smith.analysis import fidelity, published
from smith.analysis.evidence import Evidence
from smith.analysis.measures import guess
from smith.errors import UserError, unknown
from smith.figure import Assumption, Figure, Panel, Table, XAxis, YAxis
from smith.lengths import resolve
from smith.run import Run, Snapshot
from smith.scales import Scale
from smith.schedules import Constant, Multistep, Schedule
from smith.store.results import Result

Comparison = str  # "all" of the paper's run, its "start", the same "rates", or iterations "scaled" to a shorter run
SAYS: dict[Comparison, str] = {
    "all": "the whole run, at the published iterations, rates and momenta",
    "start": "the iterations up to the shortened run's first drop or its end, unscaled: so far it is the paper's run",
    "rates": "the same rates and momenta, which a shortened run goes through faster: another experiment",
    "scaled": "the published iterations, scaled to the shortened run: another experiment",
}


@dataclass(frozen=True)
class Curve:
    """One quantity of one curve, with a value of the assumption in it.

    run: of the protocol, with the value
    theirs: x (in the run's own terms) and y of the published curve, as far as they are compared
    """

    name: str
    x: XAxis
    quantity: YAxis
    run: Run
    theirs: fidelity.Line
    how: Comparison


@dataclass(frozen=True)
class Score:
    """How near one value comes.

    by_seed: the mean log-RMSE over the curves, for every seed that has all of them; smaller is nearer
    curves, points: how many curves are scored, and at how many published points together
    missing: results that are not there, of the seeds asked for
    diverged: results that diverged
    """

    value: float
    by_seed: dict[int, float]
    curves: int
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
    start = run.start and Snapshot(with_value(run.start.run, field, value), run.start.at)
    outer, _, inner = field.partition(".")
    changes: dict[str, Any] = {"start": start}
    changes[outer] = dataclasses.replace(getattr(run, outer), **{inner: value}) if inner else value
    if field == "batch_size" and run.ghost_batch_size:
        changes["ghost_batch_size"] = int(value) * run.ghost_batch_size // run.batch_size
    return run.replace(**changes)


def value_of(run: Run, field: str) -> float:
    """Returns the value that a run has in a field."""
    outer, _, inner = field.partition(".")
    found = getattr(getattr(run, outer), inner) if inner else getattr(run, outer)
    return found.value if isinstance(found, Constant) else found


def present(figure: Figure, assumption: Assumption) -> float:
    """Returns the value that the experiment has."""
    panel = next(p for p in figure.panels if isinstance(p, Panel) and p.label in assumption.panels)
    return value_of(next(iter(panel.curves.values())), assumption.field)


def panels_of(figure: Figure, assumption: Assumption) -> list[Panel]:
    """Returns the panels that an assumption concerns and that have published curves."""
    panels = [panel for panel in figure.panels if isinstance(panel, Panel) and panel.published]
    return [panel for panel in panels if panel.label in assumption.panels]


def names_of(figure: Figure) -> list[str]:
    """Returns the names of the curves that have an assumed setting."""
    panels = [panel for assumption in figure.assumptions for panel in panels_of(figure, assumption)]
    return list(dict.fromkeys(name for panel in panels for name in panel.curves))


def check(
    chosen: Sequence[Figure | Table], known: Sequence[Figure | Table], scale: Scale, names: Sequence[str]
) -> list[Figure]:
    """Returns the figures to calibrate.

    Args:
      known: all experiments there are, to name those that have assumed settings.
      names: of curves; none for all.

    Raises:
      UserError: an experiment has nothing to calibrate, at this scale or of these curves; a name is of no curve.
    """
    figures = []
    for figure in chosen:
        if not isinstance(figure, Figure) or not figure.assumptions:
            those = [other.name for other in known if isinstance(other, Figure) and other.assumptions]
            raise UserError(f"{figure.name} has no assumed settings to calibrate; these have: {' '.join(those)}")
        if not any(told_apart(figure, assumption, scale) for assumption in figure.assumptions):
            raise UserError(
                f"scale {scale.name} trains the same run for every value in {figure.name}: try --scale short"
            )
        figures.append(figure)
    every = list(dict.fromkeys(name for figure in figures for name in names_of(figure)))
    for name in names:
        if name not in every:
            raise unknown("curve", name, every)
    for figure in figures:
        if names and not set(names) & set(names_of(figure)):
            raise UserError(f"{figure.name} has none of these curves; it has: {', '.join(names_of(figure))}")
    return figures


def told_apart(figure: Figure, assumption: Assumption, scale: Scale) -> bool:
    """Says whether the values make different runs at a scale; some scales choose the batch size themselves."""
    run = next(iter(panels_of(figure, assumption)[0].curves.values()))
    found = {scale.apply(with_value(run, assumption.field, value)) for value in assumption.values}
    return len(found) == len(assumption.values)


def runs(figure: Figure, scale: Scale, names: Sequence[str] = ()) -> list[Run]:
    """Returns the runs that calibration needs, of the protocol, each once; those of curves of these names, or all."""
    every = [assumption for assumption in figure.assumptions if told_apart(figure, assumption, scale)]
    found = {
        with_value(run, assumption.field, value): None
        for assumption in every
        for value in assumption.values
        for panel in panels_of(figure, assumption)
        for name, run in panel.curves.items()
        if not names or name in names
    }
    return list(found)


def curves(
    figure: Figure, assumption: Assumption, value: float, scale: Scale, names: Sequence[str] = ()
) -> Iterator[Curve]:
    """Yields the curves that a value is scored on. A loss gap, which may be negative, is not."""
    for panel in panels_of(figure, assumption):
        assert panel.published
        theirs = published.curves(panel.published)
        plain = [name for name in panel.curves for _ in panel.ys]  # without the quantity
        for name, (legend, quantity, run) in zip(plain, panel.series(), strict=True):
            if legend in theirs and quantity != "loss_gap" and (not names or name in names):
                how = comparison(panel, assumption, run, scale)
                line, _ = fidelity.seen(theirs, legend, panel)
                yield Curve(
                    f"{panel.label}  {legend}" if legend else panel.label,
                    panel.x,
                    quantity,
                    with_value(run, assumption.field, value),
                    _window(line, how, run, scale),
                    how,
                )


def comparison(panel: Panel, assumption: Assumption, run: Run, scale: Scale) -> Comparison:
    """Returns how a curve is compared at a scale; the module says why."""
    if scale.apply(run).iterations == run.iterations:
        return "all"
    if panel.x != "iteration":
        return "rates"
    starts = {_constants(with_value(run, assumption.field, value)) for value in assumption.values}
    return "start" if first_change(run) and len(starts) == len(assumption.values) else "scaled"


def _constants(run: Run) -> Run:
    """Returns a run with the rates and so on that it begins with."""
    lr, momentum, weight_decay = (s.value if isinstance(s, Multistep) else s for s in run.schedules())
    return run.replace(lr=lr, momentum=momentum, weight_decay=weight_decay)


def first_change(run: Run) -> int:
    """Returns the iteration up to which rate, momentum and weight decay are constant; 0 if one is not at all."""
    return min(_first_change(schedule, run) for schedule in run.schedules())


def _first_change(schedule: Schedule, run: Run) -> int:
    if isinstance(schedule, Constant):
        return run.iterations
    if isinstance(schedule, Multistep):
        return min(resolve(time, run.iterations, run.iterations_per_epoch) for time in schedule.at)
    return 0


def _window(line: fidelity.Line, how: Comparison, run: Run, scale: Scale) -> fidelity.Line:
    """Returns the published curve on our axis, as far as it is compared."""
    x, y = line
    short = scale.apply(run)
    if how == "scaled":
        return x * short.iterations / run.iterations, y
    there = x <= (first_change(short) if how == "start" else np.inf)
    return x[there], y[there]


def score(
    figure: Figure, assumption: Assumption, value: float, evidence: Evidence, seeds: int, names: Sequence[str] = ()
) -> Score:
    """Returns how near a value comes to the published curves, seed by seed.

    seeds: how many are asked for; there may be more, which count too.
    """
    parts = list(curves(figure, assumption, value, evidence.scale, names))
    found = {part.run: {r.seed: r for r in evidence.results(part.run)} for part in parts}
    every = [result for by_seed in found.values() for result in by_seed.values()]
    common = sorted(set.intersection(*(set(by_seed) for by_seed in found.values()))) if found else []
    apart = {seed: [_distance(part, found[part.run][seed]) for part in parts] for seed in common}
    points = max((sum(n for _, n in distances) for distances in apart.values()), default=0)
    return Score(
        value,
        {
            s: float(np.mean([d for d, _ in distances]))
            for s, distances in apart.items()
            if all(n for _, n in distances)
        },
        len(parts),
        points,
        sum(seed not in by_seed for by_seed in found.values() for seed in range(seeds)),
        sum(result.status == "diverged" for result in every),
    )


def _distance(part: Curve, result: Result) -> tuple[float, int]:
    """Returns the log-RMSE of one seed, and at how many points."""
    _, apart, points = fidelity.differences(ours(part, result), _positive(part.theirs, part.quantity), "test_loss")
    return apart, points


def ours(part: Curve, result: Result) -> fidelity.Line:
    """Returns (x, loss or error) of one seed; from where it diverged on, that of guessing."""
    x, y = _positive((result[part.x], result[part.quantity]), part.quantity)
    there = np.isfinite(y)
    if result.status != "diverged":
        return x[there], y[there]
    level = guess(part.run, part.quantity)
    guessing = 1 - level if part.quantity == "test_accuracy" else level
    return np.r_[x[there], x[-1], np.inf], np.r_[y[there], guessing, guessing]


def _positive(line: fidelity.Line, quantity: YAxis) -> fidelity.Line:
    """Returns a curve whose logarithm is compared: of an accuracy the error, of a loss itself."""
    tiny = 1e-4  # one test image of 10,000: an error of none has no logarithm
    return (line[0], np.maximum(1 - line[1], tiny)) if quantity == "test_accuracy" else line


def choice(scores: Sequence[Score]) -> tuple[float | None, str]:
    """Returns the value of the lowest mean score, and why; or None where it is not decided, and why not."""
    missing = sum(found.missing for found in scores)
    if missing:
        return None, f"{missing} result{'s' * (missing > 1)} missing"
    if any(not math.isfinite(found.mean) for found in scores):
        return None, "no published point where they are compared"
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
