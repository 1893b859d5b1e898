"""What is wrong with a folder of results: damaged files, files of another format, files that nothing asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from smith import replicates, scales
from smith.analysis.evidence import Evidence
from smith.errors import UserError
from smith.figures.report.model import Sources
from smith.run import Run
from smith.store import results
from smith.store.results import Result


@dataclass(frozen=True)
class Health:
    """What a scale's folder has beside the results that are shown. Lines for readers.

    damaged: files that can not be read; older: files of a format that this program does not read
    strangers: readable results that no experiment asks for at this scale, and what they are
    results: how many are readable
    """

    scale: str
    folder: str
    results: int
    damaged: Sequence[str] = ()
    older: Sequence[str] = ()
    strangers: Sequence[str] = ()


@dataclass
class Known:
    """The runs that the experiments ask for, by scale and recipe."""

    sources: Sources
    _by: dict[tuple[str, str], set[Run]] = field(default_factory=dict)

    def runs(self, scale: scales.Scale, recipe: str) -> set[Run]:
        """Returns what is asked for at a scale with a recipe; what a scale can not hold is left out."""
        if (scale.name, recipe) not in self._by:
            every = {run for experiment in self.sources.experiments for run in experiment.runs()}
            self._by[scale.name, recipe] = {
                applied for run in every for k in range(_numbers(recipe)) if (applied := _apply(scale, recipe, run, k))
            }
        return self._by[scale.name, recipe]


def _numbers(recipe: str) -> int:
    return 1 if recipe == "seeds" else replicates.AUTHORS_RUNS


def _apply(scale: scales.Scale, recipe: str, run: Run, number: int) -> Run | None:
    try:
        return scale.apply(replicates.named(recipe)(run, number))
    except UserError:
        return None


def examine(sources: Sources) -> list[Health]:
    """Reads every file of every scale that the report is of."""
    known = Known(sources)
    return [_examine(evidence, known) for evidence in sources.evidence]


def _examine(evidence: Evidence, known: Known) -> Health:
    found, lines = results.check(evidence.folder)
    sources = known.sources
    told = [line.replace(f"{evidence.folder}/", "") for line in lines]
    older = [line for line in told if "schema version" in line]
    asked = known.runs(evidence.scale, evidence.recipe)
    strangers = [
        f"{results.path_of(evidence.folder, r.run, r.seed).name}: {_what(r, evidence, known)}"
        for r in found
        if r.run not in asked
    ]
    damaged = [line for line in told if line not in older]
    return Health(evidence.scale.name, sources.place(evidence.folder), len(found), damaged, older, sorted(strangers))


def _what(result: Result, evidence: Evidence, known: Known) -> str:
    """Returns where a result that is not asked for would belong."""
    recipe = evidence.recipe
    for scale in scales.SCALES.values():
        if scale.name != evidence.scale.name and result.run in known.runs(scale, recipe):
            return f"a run of scale {scale.name}; left out here"
    for other in replicates.RECIPES:
        if other != recipe and result.run in known.runs(evidence.scale, other):
            return f"a run of the recipe {other}; left out here"
    return "no experiment asks for this run; left out"


def other_folders(sources: Sources) -> list[str]:
    """Returns the folders and results beside those of the scales: nothing in them is read."""
    if not sources.results.is_dir():
        return []
    known = {*scales.SCALES}
    inside = sorted(path for path in sources.results.iterdir() if path.name not in known)
    return [sources.place(path) for path in inside if path.is_dir() or path.suffix == ".parquet"]
