"""The pages of a report, from what `smith.figures.report.model` gathered, through the templates beside this file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from smith.analysis import calibration, fidelity, verdicts
from smith.analysis.evidence import Evidence
from smith.analysis.fidelity import CurveFit, PanelFit
from smith.analysis.verdicts import Decision
from smith.figure import Assumption, Figure, Table
from smith.figures.plot import LABELS
from smith.figures.report import charts, health, model, thumbs, verdict_words, words
from smith.figures.report.model import Experiment, Section, Sources

QUANTITIES = {y: label.partition(" (")[0] for y, label in LABELS.items()}
OURS = {"index", "claims", "not_reproduced", "missing"}  # names of pages that no experiment's page may have


@dataclass(frozen=True)
class Assumed:
    """A setting that the paper does not give: what it is here, what else it may be, and in which panels."""

    name: str
    here: str
    others: Sequence[str]
    panels: Sequence[str]


@dataclass(frozen=True)
class Shown:
    """An experiment with all that is shown of it."""

    experiment: Experiment
    page: str
    heading: str
    sections: Sequence[Section]
    picture: Markup
    notes: words.Notes

    @property
    def title(self) -> str:
        """What the experiment shows."""
        return self.experiment.title

    @property
    def table(self) -> bool:
        """Whether it is a table."""
        return isinstance(self.experiment, Table)

    @property
    def assumed(self) -> list[Assumed]:
        """The settings that the paper does not give, and of which others can be tried."""
        if isinstance(self.experiment, Table):
            return []
        return [_assumed(self.experiment, assumption) for assumption in self.experiment.assumptions]

    @property
    def with_results(self) -> list[Section]:
        """The sections of the scales that have results."""
        return [section for section in self.sections if section.count.seeds]


def _assumed(figure: Figure, assumption: Assumption) -> Assumed:
    here = calibration.present(figure, assumption)
    others = [f"{value:g}" for value in assumption.values if value != here]
    return Assumed(words.label(assumption.field), f"{here:g}", others, list(assumption.panels))


def page_of(name: str) -> str:
    """Returns the file of an experiment's page."""
    slug = re.sub(r"[^\w-]", "-", name)
    return f"experiment-{slug}.html" if slug in OURS else f"{slug}.html"


def heading(name: str) -> str:
    """Returns "Figure 9" for "fig09", "Table 1" for "table1", else the name."""
    match = re.fullmatch(r"(fig|table)0*(\d+)", name)
    return f"{ {'fig': 'Figure', 'table': 'Table'}[match[1]] } {match[2]}" if match else name


def show(experiment: Experiment, sources: Sources) -> Shown:
    """Returns an experiment with all that is shown of it."""
    sections = [model.section(experiment, evidence, sources) for evidence in sources.evidence]
    best = next((e for e, s in zip(sources.evidence, sections, strict=True) if s.count.seeds), sources.evidence[0])
    return Shown(
        experiment,
        page_of(experiment.name),
        heading(experiment.name),
        sections,
        _picture(experiment, best),
        words.notes(sources.docs.get(experiment.name)),
    )


def _picture(experiment: Experiment, evidence: Evidence) -> Markup:
    try:
        return thumbs.picture(experiment, evidence, f"{heading(experiment.name)}, scale {evidence.scale.name}")
    except model.UserError:  # the scale can not hold it; the page says why
        return Markup("")


@dataclass(frozen=True)
class Site:
    """Everything that the pages are made from."""

    sources: Sources
    shown: Sequence[Shown]
    decisions: Sequence[Decision]
    health: Sequence[health.Health]
    downloads: Mapping[str, bytes]

    @property
    def empty(self) -> bool:
        """Whether there is no result at any scale."""
        return not any(shown.with_results for shown in self.shown)

    @property
    def at_paper_scale(self) -> bool:
        """Whether any experiment has a result at the paper's scale."""
        return any(section.scale == "paper" for shown in self.shown for section in shown.with_results)

    def link(self, panel: str) -> tuple[str, str]:
        """Returns the words for a panel that a claim names, such as "fig09a", and its address; empty if not here."""
        for shown in sorted(self.shown, key=lambda s: -len(s.experiment.name)):
            name = shown.experiment.name
            if panel.startswith(name):
                letters = panel.removeprefix(name)
                anchor = f"#panel-{slug(letters)}" if letters and letters in shown.experiment.letters else ""
                joint = ", panel " if letters and shown.heading == name else ""
                return f"{shown.heading}{joint}{letters}", f"{shown.page}{anchor}"
        return panel, ""

    def citing(self, shown: Shown) -> list[Decision]:
        """Returns the decisions on claims that name a panel of an experiment."""
        return [d for d in self.decisions if any(self.link(p)[1].split("#")[0] == shown.page for p in d.claim.panels)]

    def files(self, shown: Shown, folder: str) -> list[str]:
        """Returns the downloads there are of an experiment in a folder: a scale's, or "calibration"."""
        start = f"figures/{folder}/{shown.experiment.name}."
        return [name for name in self.downloads if name.startswith(start)]

    def apart(self) -> list[tuple[Shown, PanelFit, list[str]]]:
        """Returns the panels that differ from the published ones at the paper's scale, and how, in words."""
        every = [
            (shown, fit, _apart(fit))
            for shown in self.shown
            for section in shown.sections
            if section.scale == "paper"
            for panel in section.panels
            for fit in panel.fits
        ]
        return [found for found in every if found[2]]


def _apart(fit: PanelFit) -> list[str]:
    """Returns what of a panel disagrees with the paper in kind: the order of its curves, and which of them diverge."""
    said = []
    if fit.compared > 1 and fit.order < 1:
        said.append(f"{fit.compared} curves end in another order: Kendall's tau {words.number(fit.order)}")
    for curve in fit.curves:
        if curve.seeds and curve.points:
            said += _divergence(curve)
    return said


def _divergence(curve: CurveFit) -> list[str]:
    ours, theirs = (words.number(x) if np.isfinite(x) else "" for x in curve.divergence)
    seeds = words.counted(curve.seeds, "seed")
    if ours and not theirs:
        return [f"{curve.name}: ours diverges at {ours} ({seeds}), the published curve does not"]
    if theirs and not ours:
        return [f"{curve.name}: the published curve diverges at {theirs}, ours does not ({seeds})"]
    return []


def slug(text: str) -> str:
    """Returns a text as an id."""
    return re.sub(r"[^\w-]", "-", text)


def render(site: Site) -> dict[str, bytes]:
    """Returns the report's pages by file name."""
    env = _environment(site)
    names = [shown.page for shown in site.shown]
    pages = {f"{name}.html": env.get_template(f"{name}.html").render(here=name) for name in sorted(OURS)}
    for i, shown in enumerate(site.shown):
        around = {
            "previous": site.shown[i - 1] if i else None,
            "next": site.shown[i + 1] if i + 1 < len(names) else None,
        }
        pages[shown.page] = env.get_template("experiment.html").render(here=shown.page, shown=shown, **around)
    return {name: text.encode() for name, text in pages.items()}


def _environment(site: Site) -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    env.globals |= _globals(site)
    return env


def _globals(site: Site) -> dict[str, Any]:
    return {
        "site": site,
        "words": words,
        "verdicts": verdict_words,
        "rule": verdicts,
        "slug": slug,
        "symbols": charts.SYMBOLS,
        "units": fidelity.UNITS,
        "quantities": QUANTITIES,
        "other_folders": health.other_folders(site.sources),
    }
