"""Results as a table for pandas: `smith.results("fig07")`."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smith import experiments, scales
from smith.errors import UserError
from smith.store import Store

if TYPE_CHECKING:
    import pandas


def results(
    name: str = "all", scale: str = "mini", recipe: str = "seeds", results_dir: str | Path = "results"
) -> "pandas.DataFrame":
    """Returns the results of an experiment as one tidy frame.

    Each row is one test of one run: figure, panel, curve, seed, run (its key), status, and the columns of the results.
    A run that several panels show has rows for each of them. The frame is empty where nothing is trained yet.

    Args:
      name: such as "fig07", the path of a file, or "all".

    Raises:
      UserError: pandas is not installed; no folder of results; an unknown name, scale or recipe.
    """
    try:
        import pandas
    except ImportError as error:
        raise UserError("smith.results needs pandas: python -m pip install pandas") from error
    store, parts = Store(Path(results_dir), scales.named(scale), recipe), []
    if not store.root.is_dir():
        raise UserError(f"{store.root.absolute()} is not there: say with results_dir where results are")
    for shows in (one.shows for one in experiments.find([str(name)])):
        for (panel, curve), run in shows.named().items():
            for found in store.results(run):
                told = {"figure": shows.name, "panel": panel, "curve": curve, "seed": found.seed, "run": found.run.key}
                parts.append(pandas.DataFrame({**told, "status": found.status, **found.columns}))
    frame = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
    return frame.astype({"iteration": np.int64}) if parts else frame
