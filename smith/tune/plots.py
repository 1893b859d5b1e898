"""Plots of a search, drawn like the paper's figures: range tests and comparisons, with every seed in sight."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smith.analysis.curves import running_mean
from smith.analysis.seeds import curve
from smith.errors import UserError
from smith.figures import plot
from smith.figures.views import Axis, Series, View
from smith.store import Result

if TYPE_CHECKING:
    from smith.tune.comparisons import Comparison
    from smith.tune.ranges import RangeTestResult

LABELS = {"lr": "Learning rate", "momentum": "Momentum", "weight_decay": "Weight decay"}
HEADROOM = 1.15  # times the loss of guessing: what the axis shows; above it training has failed


def draw_range_test(found: "RangeTestResult", path: Path) -> None:
    """Draws a range test: every seed, their mean, the smoothed mean, where seeds diverged, and the suggestion."""
    drawn, loss = curve(found.results, found.column, found.of), found.of.replace("_", " ").capitalize()
    smooth = [running_mean(values, found.in_a_row) if len(values) else values for values in (drawn.x, drawn.mean)]
    lines = found.lines()
    top, least = HEADROOM * max(found.chance, 1e-9), min(float(losses.min()) for _, losses in lines)
    suggestion = found.suggestion
    said = [f"1cycle from {suggestion.base:.2g} to {suggestion.peak:.2g}: {suggestion.how}"] if suggestion else []
    view = View(
        "",
        f"Range test of the {LABELS[found.name].lower()}",
        Axis(LABELS[found.name], found.logarithmic),
        Axis(loss, range=(least - 0.05 * (top - least), top)),
        [
            Series(
                f"{loss}, mean of {len(lines)}" if len(lines) > 1 else loss,
                0,
                "",
                (drawn.x, drawn.mean),
                drawn.lines,
                drawn.diverged,
            ),
            Series(f"mean of {found.in_a_row} tests in a row", 1, "", (smooth[0], smooth[1])),
        ],
        notes=[*said, found.note],
        mark=(suggestion.peak, f"suggested peak: {suggestion.peak:.2g}") if suggestion else None,
    )
    what = f"{_counted(len(lines))}, {found.run.iterations} iterations of {found.run.batch_size}"
    _save(view, "Range test", what, path)


def draw_comparison(found: "Comparison", path: Path) -> None:
    """Draws what each value comes to: the mean, and every seed as a dot."""
    losses = found.losses
    means = np.array([values.mean() for values in losses.values()])
    each = np.stack(list(losses.values()), axis=1)
    x = np.arange(len(losses), dtype=float)
    which = "Median test loss of a range test" if found.range_test else "Final test loss"
    spread = each.std(axis=0, ddof=1) if len(each) > 1 else None
    series = Series(which, 0, "", (x, means), {seed: (x, line) for seed, line in enumerate(each)}, spread=spread)
    view = View(
        "",
        found.what.capitalize(),
        Axis(found.what.capitalize(), ticks={float(place): value for place, value in enumerate(losses)}),
        Axis(which),
        [series],
        notes=[found.note],
        points=True,
    )
    _save(view, f"Comparison of the {found.what}", _counted(len(each)), path)


def draw_training(found: Sequence[Result], path: Path) -> None:
    """Draws the test loss over the epochs: the mean of the seeds, and each of them."""
    drawn = curve(found, "epoch", "test_loss")
    series = Series("test loss", 0, "", (drawn.x, drawn.mean), drawn.lines, drawn.diverged)
    _save(View("", "Test loss", Axis("Epoch"), Axis("Test loss"), [series]), "Training", _counted(len(found)), path)


def _counted(seeds: int) -> str:
    """Returns "1 seed" or "3 seeds"."""
    return f"{seeds} seed{'s' * (seeds != 1)}"


def check(path: Path) -> None:
    """Raises UserError for what is no name of a plot."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"{path}: a plot is a .png or a .svg file")


def _save(view: View, title: str, what: str, path: Path) -> None:
    check(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plot.save([view], title, what, [path])
