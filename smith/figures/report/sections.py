"""What the pages say, gathered from results: for each experiment and scale its charts, settings, cost and origin.

Nothing here is HTML. A number comes from a result or a published curve, or it is not there.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smith.analysis import fidelity
from smith.analysis.fidelity import PanelFit
from smith.errors import UserError
from smith.figure import Figure, Table
from smith.figures import text
from smith.figures.panels import heading, measured, views
from smith.figures.report import words
from smith.figures.tables import entries
from smith.figures.views import View
from smith.run import Run
from smith.store import Result, Store

Experiment = Figure | Table
OURS = {"index", "claims", "results"}  # names of pages that no experiment's page may have
FACTS = {"device": "Device", "jax": "JAX", "flax": "Flax", "optax": "Optax", "python": "Python", "git_commit": "Commit"}


@dataclass(frozen=True)
class Section:
    """An experiment at one scale."""

    experiment: Experiment
    store: Store

    @property
    def scale(self) -> str:
        """The scale's name."""
        return self.store.scale.name

    @functools.cached_property
    def trouble(self) -> str:
        """Why the scale can not hold the experiment; empty if it can."""
        try:
            for run in self.experiment.runs():
                self.store.trained(run)
        except UserError as error:
            return str(error)
        return ""

    @functools.cached_property
    def found(self) -> list[Result]:
        """The results, each once."""
        every = [] if self.trouble else [r for run in self.experiment.runs() for r in self.store.results(run)]
        return list({(r.description, r.seed): r for r in every}.values())

    @property
    def seeds(self) -> int:
        """How many seeds the run with the most has."""
        return len({result.seed for result in self.found})

    @functools.cached_property
    def missing(self) -> int:
        """How many runs, one for each seed that the scale asks for, have no result."""
        return len(self._asked - {(r.description, r.seed) for r in self.found})

    @functools.cached_property
    def _asked(self) -> set[tuple[str, int]]:
        return set() if self.trouble else set(asked(self.experiment.runs(), self.store))

    @property
    def count(self) -> str:
        """How much there is, in words."""
        there = len(self._asked) - self.missing
        return f"{there} of {words.counted(len(self._asked), 'run')}, {words.counted(self.seeds, 'seed')}"

    @functools.cached_property
    def views(self) -> list[View]:
        """What is drawn."""
        return [] if self.trouble else views(self.experiment, self.store)

    @functools.cached_property
    def rows(self) -> list[tuple[str, ...]]:
        """A table's rows with ours, the paper's and the difference; none of a figure."""
        if not isinstance(self.experiment, Table):
            return []
        return [(*one.row.labels, *entries(one)) for one in measured(self.experiment, self.store)]

    @functools.cached_property
    def fits(self) -> list[PanelFit]:
        """How near our curves come to the published ones, of those panels that have a result."""
        if not self.found or isinstance(self.experiment, Table):
            return []
        return [fit for fit in fidelity.compare(self.experiment, self.store) if any(c.seeds for c in fit.curves)]

    @property
    def expectations(self) -> list[str]:
        """What can not be expected to match, and why; the experiment's own notes stand elsewhere."""
        if not self.fits or isinstance(self.experiment, Table):
            return []
        lines = text.expectations(self.experiment, self.store)
        return [line for line in lines if line not in self.experiment.notes]

    @functools.cached_property
    def settings(self) -> tuple[dict[str, str], list[str], list[tuple[str, list[str]]]]:
        """The settings that all runs share; the names of the others, and for each run its values of them."""
        runs = {name: words.settings(self.store.trained(run)) for name, run in named_runs(self.views).items()}
        if not runs:
            return {}, [], []
        first = next(iter(runs.values()))
        other = [name for name in first if len({settings[name] for settings in runs.values()}) > 1]
        shared = {name: value for name, value in first.items() if name not in other}
        return shared, other, [(name, [settings[k] for k in other]) for name, settings in runs.items()]

    @property
    def cost(self) -> str:
        """The device time that the results took: on each device the sum over them."""
        spent: Counter[str] = Counter()
        silent = 0
        for result in self.found:
            try:
                spent[result.facts.get("device", "a device not recorded")] += float(result.facts["seconds"]) / 60
            except (KeyError, ValueError):
                silent += 1
        told = [f"{words.number(minutes)} device minutes on {device}" for device, minutes in sorted(spent.items())]
        return "; ".join([*told, *([f"not recorded for {words.counted(silent, 'result')}"] * bool(silent))])

    @property
    def origin(self) -> Mapping[str, list[str]]:
        """What the results were made with: of each fact the values, with a count where there are several."""
        said: dict[str, list[str]] = {}
        for fact, name in FACTS.items():
            values = Counter(result.facts.get(fact, "not recorded") for result in self.found).most_common()
            said[name] = [f"{v} ({words.counted(n, 'result')})" if len(values) > 1 else v for v, n in values]
        days = sorted({result.facts.get("date", "")[:10] for result in self.found} - {""})
        return said | {"Date": [" to ".join(dict.fromkeys((days[0], days[-1])))] if days else ["not recorded"]}


@dataclass(frozen=True)
class Shown:
    """An experiment with all that is shown of it: a section for each scale, those with results first."""

    experiment: Experiment
    sections: Sequence[Section]
    notes: words.Notes

    @property
    def page(self) -> str:
        """The file of its page."""
        name = self.experiment.name
        return f"experiment-{name}.html" if name in OURS else f"{name}.html"

    @property
    def heading(self) -> str:
        """ "Figure 9"."""
        return heading(self.experiment.name)

    @property
    def there(self) -> list[Section]:
        """The sections that have results."""
        return [section for section in self.sections if section.found]


def asked(runs: Iterable[Run], store: Store) -> list[tuple[str, int]]:
    """Returns (description, seed) of everything that a scale trains for runs of the protocol."""
    return [(store.trained(run, seed).to_json(), seed) for run in runs for seed in range(store.scale.seeds)]


def named_runs(shown: Sequence[View]) -> dict[str, Run]:
    """Returns the runs of views under the names that a reader finds in them; each run once."""
    names: dict[Run, list[str]] = {}
    for view in shown:
        for name, run in view.runs.items():
            names.setdefault(run, []).append(": ".join(filter(None, (view.label, name))))
    return {"; ".join(said): run for run, said in names.items()}
