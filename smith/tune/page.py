"""The page of a plan: what was tried, what was chosen and why, the plots, and code for a loop of one's own."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from smith.figures.report import pages, site
from smith.tune.plots import draw_training

if TYPE_CHECKING:
    from smith.tune.recipe import Plan, Trained


def write(plan: "Plan", folder: Path, trained: "Trained | None") -> Path:
    """Writes the page, its plots and its style into a folder. Returns the page's path.

    Raises:
      UserError: the folder has files of these names that are not of such a page.
      OSError: nothing can be written there.
    """
    names = [f"{number}-{step.name.replace(' ', '-')}.png" for number, step in enumerate(plan.steps, 1)]
    plots: dict[str, Callable[[Path], None]] = {
        name: step.found.plot for name, step in zip(names, plan.steps, strict=True)
    }
    if trained:
        plots["training.png"] = partial(draw_training, trained.results)
    page = pages.environment().get_template("plan.html").render(plan=plan, pictures=names, trained=trained)
    content = {"index.html": page.encode(), "style.css": (pages.HERE / "style.css").read_bytes()}
    site.publish(folder, {**content, **{name: _drawn(plot) for name, plot in plots.items()}})
    return folder / "index.html"


def _drawn(plot: Callable[[Path], None]) -> bytes:
    """Returns the bytes of a plot."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        plot(path)
        return path.read_bytes()
