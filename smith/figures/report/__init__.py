"""The report: a folder of static pages that says what of the paper holds, with every curve beside the published one.

Needs results only: no data, no JAX, no network. The same results give the same bytes.
"""

import base64
import gzip
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from smith import disk, scales
from smith.analysis import verdicts
from smith.analysis.verdicts import Claim
from smith.errors import UserError
from smith.figure import Figure, Table
from smith.figures import draw, plot
from smith.figures.report import claims as words_of_claims
from smith.figures.report import pages, site, words
from smith.figures.report.sections import Shown
from smith.store import Store

MINI = scales.named("mini")
KINDS = ("png", "md", "tex")  # what is shown of what `smith draw` and `smith calibrate` write


def write(
    experiments: Sequence[Figure | Table],
    claims: Mapping[str, Claim],
    docs: Mapping[str, str | None],
    stores: Sequence[Store],
    figures: Sequence[Path],
    target: Path,
) -> str:
    """Writes a report. Returns a line that says what was written.

    Args:
      docs: the docstring of each experiment's module, by the experiment's name.
      stores: the scales to report, the largest first.
      figures: where `smith draw` drew; what none of them has of these results is drawn in the first.
      target: the report's folder.

    Raises:
      UserError: the folder has files under the names of the report's that no report wrote.
      OSError: nothing can be written there.
    """
    shown = [Shown(experiment, stores, docs.get(experiment.name)) for experiment in experiments]
    deciding = [store for store in stores if store.scale.name in verdicts.WORDS]
    deciding = deciding or [Store(stores[0].root, MINI, stores[0].recipe)]
    decisions = [[verdicts.decide(claim, experiments, store) for store in deciding] for claim in claims.values()]
    files = {name: data for one in shown for name, data in _files(one, figures).items()}
    content = {**pages.render(pages.Site(shown, decisions, stores, list(files))), **files, **_shared()}
    changed = site.publish(target, {**content, "results.csv.gz": gzip.compress(pages.listing(stores), mtime=0)})
    said = words_of_claims.summary(words_of_claims.papers(decisions))
    return f"{target / 'index.html'}: {said}; {words.counted(changed, 'file')} new or changed"


def update_readme(
    path: Path, experiments: Sequence[Figure | Table], claims: Mapping[str, Claim], stores: Sequence[Store]
) -> bool:
    """Replaces the table of claims in a page of Markdown, whole. Returns whether anything changed.

    Raises:
      UserError: there is no page with the table's marks, or none of the scales belongs into it.
    """
    among = [store for store in stores if store.scale.name in verdicts.WORDS]
    if not among:
        raise UserError(f"--readme shows the scales {' and '.join(verdicts.WORDS)}: choose one, or leave it out")
    try:
        old = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no page that can be read") from error
    decisions = [[verdicts.decide(claim, experiments, store) for store in among] for claim in claims.values()]
    new = words_of_claims.with_claims(old, decisions, str(path))
    if new == old:
        return False
    with disk.whole(path) as part:
        part.write_bytes(new.encode("utf-8"))
    return True


def _files(shown: Shown, figures: Sequence[Path]) -> dict[str, bytes]:
    """Returns what there is of an experiment to look at and to download, by its place in the report."""
    name, found = shown.experiment.name, {}
    for section in shown.sections:
        place = f"{section.store.scale.name}-calibration"
        for folder in [section.store.figures_folder(folder) / "calibration" for folder in reversed(figures)]:
            found |= _read(folder, name, place) | _read(folder, f"{name}-*", place)
    for section in shown.there:
        store, digest = section.store, section.store.digest(shown.experiment.runs())
        folders = [store.figures_folder(folder) for folder in figures]
        there = [folder for folder in folders if plot.shows(folder / f"{name}.png") == digest]
        if not there:
            draw(shown.experiment, store, figures[0])
        found |= _read((there or folders)[0], name, store.scale.name)
    return found


def _read(folder: Path, name: str, place: str) -> dict[str, bytes]:
    paths = [path for kind in KINDS for path in disk.matching(folder, f"{name}.{kind}")]
    return {f"figures/{place}/{path.name}": path.read_bytes() for path in paths}


def _shared() -> dict[str, bytes]:
    """Returns the files that all pages use: the style, our script, and Plotly's, packed for ours to unpack."""
    package = importlib.util.find_spec("plotly")
    assert package and package.submodule_search_locations
    plotly = Path(package.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    packed = base64.b64encode(gzip.compress(plotly.read_bytes(), mtime=0)).decode()
    ours = {path.name: path.read_bytes() for path in (pages.HERE / "style.css", pages.HERE / "report.js")}
    return {**ours, "plotly.js": f'const packed = "{packed}";\n'.encode()}
