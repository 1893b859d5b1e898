"""The report: a folder of static pages that says what of the paper holds, with every curve beside the published one.

Needs results only: no data, no JAX, no network. The same results give the same bytes.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from smith import replicates, scales
from smith.analysis import verdicts
from smith.analysis.evidence import Evidence
from smith.analysis.verdicts import Claim, Decision
from smith.errors import UserError, unknown
from smith.figure import Figure, Table
from smith.figures.report import health, pages, site
from smith.figures.report.model import Sources
from smith.figures.report.verdict_words import summary, update_readme

__all__ = ["OF_README", "Sources", "decide", "gather", "summary", "update_readme", "write"]

SHOWN = ("paper", "short", "quick")  # scales, the largest first
OF_README = ("paper", "short")  # quick results say nothing about the paper, and are not the project's but the reader's
HERE = Path(__file__).parent
KINDS = ("svg", "png", "md", "tex")  # what `smith draw` and `smith calibrate` write


def gather(
    experiments: Sequence[Figure | Table],
    claims: Mapping[str, Claim],
    docs: Mapping[str, str | None],
    scale: str,
    recipe: str,
    results: Path,
    figures: Path,
) -> Sources:
    """Returns what a report is made from: one scale, or "all" that are reported.

    docs: the docstring of each experiment's module, by the experiment's name

    Raises:
      UserError: an unknown scale or recipe, or the scale that only tests the code.
    """
    if scale not in (*SHOWN, "all"):
        if scale in scales.SCALES:
            raise UserError(
                f"scale {scale} is a test of the code and is not reported: choose {', '.join(SHOWN)} or all"
            )
        raise unknown("scale", scale, [*SHOWN, "all"])
    replicates.named(recipe)
    chosen = [scales.named(name) for name in SHOWN if scale in (name, "all")]
    evidence = [Evidence(experiments, one, results / one.name, recipe) for one in chosen]
    return Sources(experiments, claims, docs, evidence, results, figures)


def decide(sources: Sources, among: Sequence[str] = SHOWN) -> list[Decision]:
    """Returns the decision on each claim, from the largest of some scales that has anything to say of it.

    Raises:
      UserError: the sources have none of these scales.
    """
    evidence = [one for one in sources.evidence if one.scale.name in among]
    if not evidence:
        raise UserError(
            f"--readme shows the scales {' and '.join(OF_README)}: choose one of them, or leave --scale out"
        )
    return [verdicts.best(claim, evidence) for claim in sources.claims.values()]


def write(sources: Sources, decisions: Sequence[Decision], folder: Path) -> str:
    """Writes a report. Returns a line that says what was written.

    Raises:
      UserError: the folder has files under the names of the report's that no report wrote.
      OSError: nothing can be written there.
    """
    shown = [pages.show(experiment, sources) for experiment in sources.experiments]
    drawn = _drawn(sources)
    whole = pages.Site(sources, shown, decisions, health.examine(sources), drawn)
    content = {**pages.render(whole), **drawn, **_shared()}
    changed = site.publish(folder, content)
    return f"{folder / 'index.html'}: {summary(decisions)}; {len(content)} files, {changed} new or changed"


def _drawn(sources: Sources) -> dict[str, bytes]:
    """Returns what `smith draw` and `smith calibrate` drew from these results, to be had from the report."""
    folders = {
        one.scale.name: replicates.figures_folder(sources.recipe, sources.figures, one.scale)
        for one in sources.evidence
    }
    found = {}
    for name, folder in {**folders, "calibration": sources.figures / "calibration"}.items():
        for experiment in sources.experiments:
            for path in (folder / f"{experiment.name}.{kind}" for kind in KINDS):
                if path.is_file():
                    found[f"figures/{name}/{path.name}"] = path.read_bytes()
    return found


def _shared() -> dict[str, bytes]:
    """Returns the files that all pages use: the style, our script, and Plotly's, from its package."""
    package = importlib.util.find_spec("plotly")
    assert package and package.submodule_search_locations
    plotly = Path(package.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    return {
        "style.css": (HERE / "style.css").read_bytes(),
        "report.js": (HERE / "report.js").read_bytes(),
        "plotly.min.js": plotly.read_bytes(),
    }
