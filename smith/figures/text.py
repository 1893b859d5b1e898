"""What fidelity and calibration write: how near our curves come to the published ones, in tables and a sheet."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from smith import disk, networks
from smith.analysis import calibration, verdicts
from smith.analysis.calibration import Score
from smith.analysis.fidelity import CurveFit, PanelFit, compare, until
from smith.figure import Assumption, Figure, Table
from smith.figures import plot, points, tables
from smith.figures.panels import X_LABELS
from smith.figures.tables import NONE
from smith.figures.views import NOTHING, Axis, Series, View
from smith.metrics import quantity
from smith.store import Store

PANELS = ("Panel", "Quantity", "Seeds", "Curves compared", "Kendall's tau", "Of each seed", "RMSE")
PLACES = ("Best at", "Published", "Diverges at", "Published")
CURVES = ("Curve", "Remarks", "Seeds", *PLACES, "Points", "At the end", "RMSE")
HOW = (
    "At the end: ours minus published, the mean over the last tenth of the range that both cover. RMSE: the root mean "
    "square of the difference at the published points that both cover, for a loss of its natural logarithm (0.1 is a "
    "tenth). On an axis of learning rates or momenta the curves of a panel are put in order at the last place that all "
    "of them reach. Best is the least loss or the highest accuracy. A seed that diverged counts as guessing from there."
)
ALWAYS = (
    "Means of four: each published curve is the mean of 4 runs of two initialisations and four batch sizes, and goes "
    "up with the first of them that diverges.",
    "Order of the images: the author's came in the same order in every epoch; ours are shuffled for each, but with the "
    "author's recipe only ImageNet's are.",
    "Digitisation: the published curves are read from plots: 0.1 to 0.3 % in a loss, 0.0003 to 0.001 in an accuracy, "
    "more where curves cross.",
    "Divergence: a published curve that leaves its panel at the top counts as diverging there, wherever the edge is; "
    "others, where they pass the middle between their best and guessing for good.",
)
OF_BATCH_NORM = (
    "Test window: the author's tests of the deep networks saw 6,400 (densenet: 7,400) mirrored images, a window that "
    "moves; ours see all 10,000 as they are, so that the test-to-test noise differs and the level does a little.",
    "Batch norm: the author's was over the images of one of 4 GPUs (8 in figure 5); ours is over ghost batches of that "
    "size on one device, of 206 where a batch of 1030 does not divide by 4.",
)


# --- fidelity ---


def show(figures: Sequence[Figure], store: Store, target: Path, name: str = "fidelity") -> None:
    """Prints the panels in short and writes the whole as Markdown, under this name.

    target: the folder of figures; the paper scale's table is right in it, others in a folder named for their scale

    Raises:
      OSError: nothing can be written there.
    """
    fits = measured(figures, store)
    if not fits:
        return print(f"no results at scale {store.scale.name}; {store.command(*(figure.name for figure in figures))}")
    rows = [PANELS, *(panel_row(figure, fit) for figure, fit in fits)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    path = store.figures_folder(target) / f"{name}.md"
    disk.make_folder(path.parent)
    with disk.whole(path) as part:
        part.write_text(fidelity(figures, store), encoding="utf-8")
    print(f"{path} ({_counts(fits)}, scale {store.scale.name}{store.by})")


def measured(shown: Sequence[Figure | Table], store: Store) -> list[tuple[str, PanelFit]]:
    """Returns the comparisons that have a result, each with its figure's name."""
    found = [(one.name, fit) for one in shown if isinstance(one, Figure) for fit in compare(one, store)]
    return [(name, fit) for name, fit in found if any(curve.seeds for curve in fit.curves)]


def fidelity(figures: Sequence[Figure], store: Store) -> str:
    """Returns the whole text: a table of panels, one of the curves of each, what can not match."""
    fits, scale = measured(figures, store), store.scale
    there = [figure for figure in figures if figure.name in dict(fits)]
    parts = [
        "# Ours beside the published curves",
        f"Scale {scale.name}{store.by}: {scale.what}. {_counts(fits)}.",
        "## Panels",
        tables.markdown(
            "The order of the curves at the end, ours against the published: tau is 1 for the same, -1 for the "
            "opposite order; of each seed: the mean with its 95 % interval, or with how many seeds have which. RMSE: "
            "of the nearest and of the farthest curve.",
            PANELS,
            [panel_row(name, fit) for name, fit in fits],
        ),
        "## Curves",
        HOW,
        *(tables.markdown(f"**{name}** {caption(fit)}", CURVES, curve_rows(fit)) for name, fit in fits),
        "## What can not be expected to match, and why",
        "\n".join(dict.fromkeys(f"- {line}" for figure in there for line in expectations(figure, store))),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def expectations(figure: Figure, store: Store) -> list[str]:
    """Returns what can not be expected to match in a figure, and why: the scale, the differences, its own notes."""
    scale = store.scale
    shortened = f"Scale {scale.name}: {scale.describe(figure.runs())}. Values of another experiment can not match."
    deep = any(networks.info(run.network).batch_norm for run in figure.runs())
    return [*([shortened] * (scale.name != "paper")), *ALWAYS, *(OF_BATCH_NORM if deep else ()), *figure.notes]


def caption(fit: PanelFit) -> str:
    """Returns what a panel's table is of."""
    order = f"; order of {fit.compared} curves at the end: Kendall's tau {fit.order:+.2f}" if fit.compared > 1 else ""
    return f"{fit.panel}: {quantity(fit.quantity).label}{order}"


def panel_row(name: str, fit: PanelFit) -> tuple[str, ...]:
    """Returns the row of a panel: cells for `PANELS`."""
    errors = sorted(curve.rmse for curve in fit.curves if np.isfinite(curve.rmse))
    seeds = sorted(curve.seeds for curve in fit.curves)
    span = " to ".join(dict.fromkeys(f"{error:.3g}" for error in (errors[0], errors[-1]))) if errors else NONE
    counts = " to ".join(dict.fromkeys(f"{count}" for count in (seeds[0], seeds[-1])))
    compared = f"{fit.compared} of {len(fit.curves)}"
    order = _number(fit.order, "+.2f"), _interval(fit.orders)
    return name + fit.panel, quantity(fit.quantity).short, counts, compared, *order, span


def curve_rows(fit: PanelFit) -> list[tuple[str, ...]]:
    """Returns the rows of a panel's curves: cells for `CURVES`."""
    return [
        (
            curve.name or NONE,
            curve.note or NONE,
            f"{curve.seeds}",
            *(_number(x, ".0f" if x >= 100 else ".3g") for x in (*curve.minimum, *curve.divergence)),
            f"{curve.points}",
            _number(curve.final, "+.3f"),
            _number(curve.rmse, ".3g"),
        )
        for curve in fit.curves
    ]


def _counts(fits: Sequence[tuple[str, PanelFit]]) -> str:
    curves: list[CurveFit] = [curve for _, fit in fits for curve in fit.curves]
    lost = sum(curve.diverged > 0 for curve in curves)
    compared = sum(fit.compared for _, fit in fits)
    return f"{compared} of {len(curves)} curves compared; in {lost} a seed diverged"


def _interval(taus: Sequence[float]) -> str:
    """Returns the mean of taus with Student's interval; where they take few values, with how many seeds have each."""
    values = np.array(taus)
    if len(values) < 2 or not np.isfinite(values).all():
        return NONE
    if verdicts.few_values(values):
        counts = Counter(f"{tau:+.2f}" for tau in sorted(taus))
        return f"{values.mean():+.2f}: {', '.join(f'{count} at {tau}' for tau, count in counts.items())}"
    low, high = np.clip(verdicts.interval(values), -1, 1)
    return f"{values.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else NONE


# --- calibration ---

SCORES = ("Value", "Seeds", "Missing", "Diverged", "Published points", "Mean score", "Range over seeds")


def write_calibration(figure: Figure, store: Store, target: Path, seeds: int, names: Sequence[str] = ()) -> str:
    """Writes calibration/<figure>.md and .png. Returns a line for each assumption, and one that says what was written.

    A sheet of some curves has their names in its own. Nothing is written while a result is missing.

    Args:
      target: the folder of figures; the sheet is beside those of the store's scale and recipe.
      seeds: how many were asked for.
      names: curves to score; all if none are given.

    Raises:
      OSError: nothing can be written there.
    """
    folder, scale = store.figures_folder(target) / "calibration", store.scale
    path = folder / "-".join([figure.name, *(re.sub(r"[^\w.=-]", "_", name) for name in names)])
    sections = [_section(figure, assumption, store, seeds, names) for assumption in figure.assumptions]
    said = [line for _, line, _ in sections]
    if missing := sum(missing for _, _, missing in sections):
        return "\n".join([*said, f"{figure.name}: {path}.md not written, {missing} results missing"])
    disk.make_folder(folder)
    head = (
        f"# {figure.name}: assumed settings beside the published curves\n\nScale {scale.name}{store.by}: {scale.what}; "
        f"{seeds} seed{'s' * (seeds > 1)} asked for. A score is the mean over curves of the root mean square "
        "difference of natural logarithms, of a loss or of one minus the accuracy, at the published points: 0.1 is "
        "about a tenth. Smaller is nearer. A value is chosen where its range over seeds lies below all others."
    )
    only = [f"Only these curves: {', '.join(names)}."] if names else []
    with disk.whole(path.with_name(f"{path.name}.md")) as part:
        part.write_text("\n\n".join([head, *only, *(body for body, _, _ in sections)]) + "\n", encoding="utf-8")
    title = f"{figure.name}: assumed settings beside the published curves"
    shown = list(_alternatives(figure, store, names))
    if each := sorted({len(series.seeds) for view in shown for series in view.series if series.seeds}):
        counts = points.counted(each, store)
        what = f"{scale.name} scale{store.by}, {counts}: {scale.what}. Compared where the published curve is drawn"
        plot.save(shown, title, what, [path.with_name(f"{path.name}.png")], columns=4, cell=(3.4, 3.1))
    return "\n".join([*said, f"{figure.name}: {path}.md (scale {scale.name}{store.by})"])


def _section(
    figure: Figure, assumption: Assumption, store: Store, seeds: int, names: Sequence[str]
) -> tuple[str, str, int]:
    """Returns what the sheet says of an assumption, its choice in a line, and how many results are missing for it."""
    title = f"## {assumption.words}, panel{'s' * (len(assumption.panels) > 1)} {', '.join(assumption.panels)}"
    scores = [calibration.score(figure, assumption, value, store, seeds, names) for value in assumption.values]
    value, why = calibration.choice(scores)
    line = f"not decided: {why}" if value is None else f"{value:g} ({why})"
    how = "Compared at the published iterations, rates and momenta."
    table = tables.markdown(how, SCORES, [_score(found) for found in scores])
    body = f"{title}\n\n{table}\nThe experiment has {assumption.own:g}. Choice: {line}."
    return body, f"{figure.name} {assumption.words}: {line}", sum(found.missing for found in scores)


def _score(found: Score) -> tuple[str, ...]:
    numbers = (found.missing, found.diverged, found.points)
    there = np.isfinite(found.mean)
    mean = (f"{found.mean:.3f}", "{:.3f} to {:.3f}".format(*found.range)) if there else (NONE, NONE)
    return f"{found.value:g}", f"{len(found.by_seed)}", *map(str, numbers), *mean


def _alternatives(figure: Figure, store: Store, names: Sequence[str]) -> Iterator[View]:
    """Yields a view for each curve and assumption: the alternatives over the published curve, where they are scored."""
    for assumption in figure.assumptions:
        each = [calibration.curves(figure, assumption, value, names) for value in assumption.values]
        yield from (_alternative(assumption, curves, store) for curves in zip(*each, strict=True))


def _alternative(assumption: Assumption, curves: Sequence[calibration.Curve], store: Store) -> View:
    first = curves[0]
    error, (x, y) = first.quantity == "test_accuracy", first.theirs
    series = [Series("", 6, published=(x, 1 - y if error else y))]
    for number, (value, curve) in enumerate(zip(assumption.values, curves, strict=True)):
        found = {result.seed: calibration.ours(curve, result) for result in store.results(curve.run)}
        lines = {seed: until(x.max(initial=0), line) for seed, line in found.items()}
        mean = lines[min(lines)] if len(lines) == 1 else NOTHING
        series.append(Series(f"{value:g}", number, mean=mean, seeds=lines, missing=not lines))
    vertical = Axis("Test error (fraction)" if error else quantity(first.quantity).label, log=True)
    title = f"{first.name}: {assumption.words}"
    return View("", title, Axis(X_LABELS.get(first.x, first.x)), vertical, series, "published", one=store.one)
