"""What the pages say, gathered from results: for each experiment and scale its charts, settings, cost and origin.

Nothing here is HTML. A number comes from a result or a published curve, or it is not there.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smith.analysis import calibration
from smith.analysis.clues import clues, readable
from smith.analysis.fidelity import PanelFit
from smith.errors import UserError
from smith.figure import Assumption, Figure, Table
from smith.figures import text
from smith.figures.panels import heading, views
from smith.figures.report import words
from smith.figures.views import View, runs_of
from smith.replicates import RECIPES
from smith.run import Run
from smith.store import Result, Store

OURS = {"index", "claims", "results"}  # names of pages that no experiment's page may have
FACTS = {"device": "Device", "jax": "JAX", "flax": "Flax", "optax": "Optax", "python": "Python", "git_commit": "Commit",
         "matmul_precision": "Precision of products", "train_sha256": "Training data, SHA-256"}  # fmt: skip
CLUES = ("Curve", "Seeds", "Flat to the end", "Overfits", "Underfits")
Job = tuple[str, int]  # a trained run's description, and a seed


def asked(runs: Iterable[Run], store: Store) -> set[Job]:
    """Returns everything that a scale trains for runs of the protocol."""
    return {(store.trained(run, seed).to_json(), seed) for run in runs for seed in range(store.seeds)}


@dataclass(frozen=True)
class Section:
    """An experiment at one scale.

    asked: what the scale trains for it
    known: what it trains for it by any recipe, its calibration included
    found: its results
    views: what is drawn
    trouble: why the scale can not hold it; empty if it can
    """

    experiment: Figure | Table
    store: Store
    asked: set[Job]
    known: set[Job]
    found: Sequence[Result]
    views: Sequence[View]
    trouble: str = ""

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({result.seed for result in self.found})

    @property
    def missing(self) -> int:
        """How many results the scale asks for that are not there."""
        return len(self.asked - {(result.description, result.seed) for result in self.found})

    @property
    def count(self) -> str:
        """How much there is, in words."""
        there = f"{len(self.asked) - self.missing} of {words.counted(len(self.asked), 'run')}"
        return f"{there}, {words.counted(self.seeds, 'seed')}"

    @functools.cached_property
    def fits(self) -> list[PanelFit]:
        """How near our curves come to the published ones, of those panels that have a result."""
        return [fit for _, fit in text.measured([self.experiment], self.store)]

    @property
    def clues(self) -> list[tuple[str, ...]]:
        """What the early clues say of each curve of training, in how many of its seeds: cells for `CLUES`."""
        rows = []
        for name, run in runs_of([view for view in self.views if not view.points]).items():
            if said := [clues(one.columns) for one in readable(self.store.results(run))]:
                flat, over = [one.plateau for one in said], [one.overfitting for one in said]
                under = sum(one.underfitting for one in said)
                rows.append((name, f"{len(said)}", words.places(flat), words.places(over), f"{under}"))
        return rows

    @property
    def settings(self) -> tuple[dict[str, str], list[str], list[tuple[str, ...]]]:
        """The settings that all runs share; the names of the others, and a row of their values for each run."""
        runs = {name: self._settings(run) for name, run in runs_of(self.views).items()}
        first = next(iter(runs.values()), {})
        other = [name for name in first if len({settings[name] for settings in runs.values()}) > 1]
        shared = {name: value for name, value in first.items() if name not in other}
        return shared, other, [(name, *(settings[k] for k in other)) for name, settings in runs.items()]

    def _settings(self, run: Run) -> dict[str, str]:
        """Returns the settings of a run; by the author's recipe its seeds may differ in them."""
        seeds = sorted({result.seed for result in self.store.results(run)}) or [0]
        each = [words.settings(self.store.trained(run, seed)) for seed in seeds]
        return {name: "; ".join(dict.fromkeys(one[name] for one in each)) for name in each[0]}

    @property
    def cost(self) -> str:
        """The device time that the results took, by device."""
        spent: dict[str, float] = {}
        for result in self.found:
            device = result.facts.get("device", "a device not recorded")
            spent[device] = spent.get(device, 0) + float(result.facts.get("seconds", 0)) / 60
        return "; ".join(f"{words.number(minutes)} device minutes on {device}" for device, minutes in spent.items())

    @property
    def origin(self) -> Mapping[str, list[str]]:
        """What the results were made with: of each fact the values, with a count where there are several."""
        said: dict[str, list[str]] = {}
        for fact, name in FACTS.items():
            values = Counter(result.facts.get(fact, "not recorded") for result in self.found).most_common()
            said[name] = [f"{v} ({words.counted(n, 'result')})" if len(values) > 1 else v for v, n in values]
        days = sorted({result.facts.get("date", "not recorded")[:10] for result in self.found})
        return said | {"Date": [" to ".join(dict.fromkeys((days[0], days[-1])))]}


def section(experiment: Figure | Table, store: Store) -> Section:
    """Returns an experiment at one scale."""
    try:
        runs = experiment.runs()
        tried = [*runs, *(calibration.runs(experiment) if isinstance(experiment, Figure) else [])]
        found = {(r.description, r.seed): r for run in runs for r in store.results(run)}.values()
        known = {job for recipe in RECIPES for job in asked(tried, Store(store.root, store.scale, recipe))}
        return Section(experiment, store, asked(runs, store), known, list(found), views(experiment, store))
    except UserError as error:
        return Section(experiment, store, set(), set(), (), (), str(error))


class Shown:
    """An experiment with all that is shown of it: a section for each scale, and what its docstring says."""

    def __init__(self, experiment: Figure | Table, stores: Sequence[Store], doc: str | None) -> None:
        self.experiment, name = experiment, experiment.name
        self.sections = [section(experiment, store) for store in stores]
        self.there = [one for one in self.sections if one.found]
        self.best = next((one for one in self.there if not one.missing), (self.there or self.sections)[0])
        self.paragraphs, self.entries = words.notes(doc)
        self.page = f"experiment-{name}.html" if name in OURS else f"{name}.html"
        self.heading, self.table = heading(name), isinstance(experiment, Table)
        self.assumptions: Sequence[Assumption] = experiment.assumptions if isinstance(experiment, Figure) else ()
