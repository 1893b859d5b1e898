"""What the pages say, gathered from results: for each experiment and scale its charts, settings, cost, provenance.

Nothing here is HTML; nothing here is made up: a number comes from a result or a published curve, or it is not there.
"""

import dataclasses
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smith import replicates
from smith.analysis import fidelity
from smith.analysis.evidence import Evidence
from smith.analysis.fidelity import PanelFit
from smith.analysis.verdicts import Claim
from smith.errors import UserError
from smith.figure import SHORT, Figure, Finals, Panel, Sketch, Table
from smith.figures import fidelity_table, tables
from smith.figures.report import axes, charts, words
from smith.figures.report.charts import Chart
from smith.figures.tables import Measured
from smith.run import Run
from smith.store import results
from smith.store.results import Result

Experiment = Figure | Table
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Sources:
    """What a report is made from.

    experiments, claims: all of them
    docs: the docstring of each experiment's module
    evidence: the results, scale by scale, the largest first
    results: the folder that has a folder of results for each scale
    figures: the folder that `smith draw` draws to
    """

    experiments: Sequence[Experiment]
    claims: Mapping[str, Claim]
    docs: Mapping[str, str | None]
    evidence: Sequence[Evidence]
    results: Path
    figures: Path

    @property
    def recipe(self) -> str:
        """How the runs of a curve differ."""
        return self.evidence[0].recipe

    def command(self, name: str, evidence: Evidence) -> str:
        """Returns the command that trains an experiment at a scale."""
        elsewhere = "" if self.results == ROOT / "results" else f" --results-dir {shlex.quote(str(self.results))}"
        return replicates.command(self.recipe, name, evidence.scale) + elsewhere

    def place(self, path: Path) -> str:
        """Returns a path as a reader of the project calls it."""
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


@dataclass(frozen=True)
class Entry:
    """A line of a chart's legend.

    index: the number of the curve in the chart
    says: what there is of it, in words
    ours, published: whether there is such a curve in the chart
    """

    index: int
    name: str
    says: str
    ours: bool
    published: bool = False


@dataclass(frozen=True)
class Missing:
    """A curve that has no result, and the files where its results would stand."""

    name: str
    files: Sequence[str]


@dataclass(frozen=True)
class PanelView:
    """A panel at one scale.

    entries: the legend
    missing: the curves without a result
    bare: whether there is none with one
    curves: whether they are curves of results, with marks at the top edge
    note: what has to be said of the chart
    fits: how near our curves come to the published ones, a comparison for each quantity
    """

    label: str
    title: str
    chart: Chart
    entries: Sequence[Entry]
    missing: Sequence[Missing] = ()
    bare: bool = False
    curves: bool = False
    note: str = ""
    fits: Sequence[PanelFit] = ()


@dataclass(frozen=True)
class Count:
    """How many runs (with one seed each) an experiment asks for at a scale, and which of them there are."""

    asked: int
    there: int
    seeds: int
    missing: Sequence[Path]

    @property
    def says(self) -> str:
        """The count in words."""
        return f"{self.there} of {self.asked} runs, {words.counted(self.seeds, 'seed')}"


@dataclass(frozen=True)
class Section:
    """An experiment at one scale.

    common, columns, rows: settings that all runs share; names and values of those that they do not
    cost: what the results took; provenance: what they were made with
    expectations: what can not be expected to match the paper, and why
    trouble: why there is nothing else
    """

    scale: str
    what: str
    command: str
    count: Count
    panels: Sequence[PanelView] = ()
    measured: Sequence[Measured] = ()
    chart: Chart | None = None
    common: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] = ()
    rows: Sequence[tuple[str, Sequence[str]]] = ()
    cost: str = ""
    provenance: Mapping[str, Sequence[str]] = field(default_factory=dict)
    expectations: Sequence[str] = ()
    trouble: str = ""


def section(experiment: Experiment, evidence: Evidence, sources: Sources) -> Section:
    """Returns an experiment at one scale. A scale that it has no place in says so."""
    command = sources.command(experiment.name, evidence)
    try:
        count = counted(experiment, evidence)
        runs = named_runs(experiment)
        found = [result for run in dict.fromkeys(runs.values()) for result in evidence.results(run)]
        found = list({(r.run, r.seed): r for r in found}.values())
        common, columns, rows = _settings({name: evidence.scale.apply(run) for name, run in runs.items()})
        shown = _measured(experiment, evidence) if isinstance(experiment, Table) else []
        return Section(
            evidence.scale.name,
            evidence.scale.what,
            command,
            count,
            _panels(experiment, evidence, sources) if isinstance(experiment, Figure) else (),
            shown,
            charts.table_chart([(", ".join(m.row.labels), m) for m in shown]) if shown else None,
            common,
            columns,
            rows,
            cost(found),
            provenance(found),
            _expectations(experiment, evidence),
        )
    except UserError as error:
        return Section(evidence.scale.name, evidence.scale.what, command, Count(0, 0, 0, ()), trouble=str(error))


def counted(experiment: Experiment, evidence: Evidence) -> Count:
    """Counts an experiment's runs at a scale, with the scale's own number of seeds."""
    recipe, scale = replicates.named(evidence.recipe), evidence.scale
    runs = experiment.runs()
    asked = list(dict.fromkeys((scale.apply(recipe(run, k)), k) for run in runs for k in range(scale.seeds)))
    found = {(result.run, result.seed) for run in runs for result in evidence.results(run)}
    missing = [results.path_of(evidence.folder, run, seed) for run, seed in asked if (run, seed) not in found]
    return Count(len(asked), len(asked) - len(missing), len({seed for _, seed in found}), missing)


def named_runs(experiment: Experiment) -> dict[str, Run]:
    """Returns an experiment's runs under the names that a reader finds in its panels or rows; each run once."""
    names: dict[Run, list[str]] = {}
    if isinstance(experiment, Table):
        for row in experiment.rows:
            names.setdefault(row.run, []).append(", ".join(row.labels))
    else:
        for panel in experiment.panels:
            for name, run in _panel_runs(panel):
                names.setdefault(run, []).append(f"{panel.label}: {name}" if name else panel.label)
    return {"; ".join(dict.fromkeys(said)): run for run, said in names.items()}


def _panel_runs(panel: Panel | Finals | Sketch) -> list[tuple[str, Run]]:
    if isinstance(panel, Panel):
        return list(panel.curves.items())
    return [(f"{x:g}", run) for x, run in panel.points.items()] if isinstance(panel, Finals) else []


def _expectations(experiment: Experiment, evidence: Evidence) -> list[str]:
    """Returns what can not be expected to match, and why; the experiment's own notes stand elsewhere."""
    if isinstance(experiment, Table):
        return []
    return [line for line in fidelity_table.expectations(experiment, evidence) if line not in experiment.notes]


def _panels(figure: Figure, evidence: Evidence, sources: Sources) -> list[PanelView]:
    fits = [fit for fit in fidelity.compare(figure, evidence) if any(curve.seeds for curve in fit.curves)]
    curves = sum(len(list(panel.series())) for panel in figure.panels if isinstance(panel, Panel))
    most = charts.MOST_POINTS // max(curves, 1)
    return [
        dataclasses.replace(
            _panel(panel, evidence, sources, most), fits=[fit for fit in fits if fit.panel == panel.label]
        )
        for panel in figure.panels
    ]


def _panel(panel: Panel | Finals | Sketch, evidence: Evidence, sources: Sources, most: int) -> PanelView:
    if isinstance(panel, Sketch):
        entries = [Entry(i, name, "a formula", True) for i, name in enumerate(panel.curves)]
        note = "Drawn from formulas, as in the paper: no results and no numbers."
        return PanelView(panel.label, panel.title, charts.sketch_chart(panel), entries, note=note)
    missing = [
        Missing(name or "the run", _files(run, evidence, sources))
        for name, run in _panel_runs(panel)
        if not evidence.results(run)
    ]
    bare = len(missing) == len(_panel_runs(panel))
    if isinstance(panel, Finals):
        there = len(panel.points) - len(missing)
        says = f"{there} of {len(panel.points)} points, mean and range over seeds"
        entries = [Entry(i, SHORT[y], says, there > 0) for i, y in enumerate(panel.y)]
        note = "Seeds that diverged have no final value."
        return PanelView(
            panel.label, panel.title, charts.finals_chart(panel, evidence), entries, missing, bare, note=note
        )
    lines = axes.lines(panel, evidence)
    entries = [_entry(i, line, most) for i, line in enumerate(lines)]
    chart = charts.panel_chart(panel, evidence, lines, most)
    return PanelView(panel.label, panel.title, chart, entries, missing, bare, True, _cut(panel, evidence))


def _cut(panel: Panel, evidence: Evidence) -> str:
    """Returns what is to be said of the published curves at a scale that is not the paper's."""
    if not panel.published:
        return "The paper has no such panel."
    factors = {words.number(axes.factor(panel, run, evidence)) for run in panel.runs()}
    if evidence.scale.name == "paper":
        return ""
    if panel.x != "iteration":
        return "The published curves are of the paper's full length."
    return f"The iterations of the published curves are multiplied by {' to '.join(sorted(factors))}."


def _entry(index: int, line: axes.Line, most: int) -> Entry:
    parts = [words.counted(len(line.found), "seed") if line.found else "no result"]
    ended = [f"seed {r.seed} by iteration {r['iteration'][-1]:,.0f}" for r in line.found if r.status == "diverged"]
    if not charts.singly(line, most):
        parts.append("mean and range only")
    if ended:
        parts.append(f"{len(ended)} diverged: {words.joined(ended)}")
    if line.published is None:
        parts.append("no published curve")
    return Entry(index, line.name, "; ".join(parts), line.ours is not None, line.published is not None)


def _files(run: Run, evidence: Evidence, sources: Sources) -> list[str]:
    """Returns where the results of a run of the protocol would stand."""
    recipe, scale = replicates.named(evidence.recipe), evidence.scale
    numbered = ((scale.apply(recipe(run, k)), k) for k in range(scale.seeds))
    return [sources.place(results.path_of(evidence.folder, run, seed)) for run, seed in numbered]


def _measured(table: Table, evidence: Evidence) -> list[Measured]:
    return [tables.measure(row, evidence.results(row.run)) for row in table.rows]


def _settings(runs: Mapping[str, Run]) -> tuple[dict[str, str], list[str], list[tuple[str, list[str]]]]:
    """Splits the settings of runs into those that all share, and a table of the others."""
    every = {name: words.settings(run) | {"key": run.key} for name, run in runs.items()}
    if not every:
        return {}, [], []
    labels = list(next(iter(every.values())))
    same = [label for label in labels if len({settings[label] for settings in every.values()}) == 1]
    first = next(iter(every.values()))
    other = [label for label in labels if label not in same]
    return {k: first[k] for k in same}, other, [(name, [s[k] for k in other]) for name, s in every.items()]


def cost(found: Sequence[Result]) -> str:
    """Returns the device time that results took: on each device the sum over them."""
    spent: dict[str, float] = {}
    silent = 0
    for result in found:
        try:
            device, minutes = result.facts.get("device", "a device not recorded"), float(result.facts["seconds"]) / 60
            spent[device] = spent.get(device, 0) + minutes
        except (KeyError, ValueError):
            silent += 1
    told = [f"{words.number(minutes)} device minutes on {device}" for device, minutes in sorted(spent.items())]
    if silent:
        told.append(f"not recorded for {words.counted(silent, 'result')}")
    return "; ".join(told)


FACTS = {
    "device": "Device",
    "jax": "JAX",
    "flax": "Flax",
    "optax": "Optax",
    "python": "Python",
    "git_commit": "Commit",
}


def provenance(found: Sequence[Result]) -> dict[str, list[str]]:
    """Returns what results were made with: of each fact the values, with a count where there are several."""
    said: dict[str, list[str]] = {}
    for fact, name in FACTS.items():
        values = Counter(result.facts.get(fact, "not recorded") for result in found)
        counts = sorted(values.items(), key=lambda item: (-item[1], item[0]))
        said[name] = [v if len(counts) == 1 else f"{v} ({words.counted(n, 'result')})" for v, n in counts]
    days = sorted({result.facts.get("date", "")[:10] for result in found} - {""})
    said["Date"] = [" to ".join(dict.fromkeys((days[0], days[-1])))] if days else ["not recorded"]
    return said if found else {}
