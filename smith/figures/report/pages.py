"""The pages of a report, from the sections of its experiments, through the templates beside this file."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from smith.analysis import verdicts
from smith.analysis.verdicts import Decision
from smith.figure import Figure, Table
from smith.figures import points, tables, text
from smith.figures.report import charts, claims, words
from smith.figures.report.sections import CLUES, OURS, Section, Shown
from smith.lengths import duration
from smith.run import digest
from smith.store import Store

HERE = Path(__file__).parent
FACTS = ("device", "seconds", "git_commit", "date")


@dataclass(frozen=True)
class Site:
    """Everything that the pages are made from.

    shown: the experiments
    decisions: on each claim, scale by scale
    stores: the scales, the largest first
    files: the pictures and downloads, by their places in the report
    """

    shown: Sequence[Shown]
    decisions: Sequence[claims.Decisions]
    stores: Sequence[Store]
    files: Sequence[str]

    def link(self, panel: str) -> tuple[str, str]:
        """Returns the words for a panel that a claim names, such as "fig09a", and its address; empty if not here."""
        for shown in sorted(self.shown, key=lambda s: -len(s.experiment.name)):
            letters = panel.removeprefix(shown.experiment.name)
            if letters != panel:
                anchor = f"#panel-{slug(letters)}" if letters and letters in shown.experiment.letters else ""
                return f"{shown.heading}{letters}", f"{shown.page}{anchor}"
        return panel, ""

    def citing(self, shown: Shown) -> list[claims.Decisions]:
        """Returns the decisions on claims that name a panel of an experiment."""
        return [of for of in self.decisions if shown in self.showing(of[0])]

    def showing(self, decision: Decision) -> list[Shown]:
        """Returns the experiments that have the panels which a claim names."""
        pages = {self.link(panel)[1].split("#")[0] for panel in decision.claim.panels}
        return [shown for shown in self.shown if shown.page in pages]

    def pictures(self, decision: Decision) -> list[tuple[Shown, str]]:
        """Returns the pictures, at the scale of a decision, of the experiments that its claim names."""
        sections = [(shown, one) for shown in self.showing(decision) for one in shown.there]
        found = [(shown, self.picture(one)) for shown, one in sections if one.store.scale.name == decision.scale]
        return [(shown, picture) for shown, picture in found if picture]

    def downloads(self, experiment: Figure | Table, folder: str) -> list[str]:
        """Returns the files there are of an experiment in a scale's folder."""
        return [name for name in self.files if name.startswith(f"figures/{folder}/{experiment.name}.")]

    def sheets(self, section: Section) -> list[str]:
        """Returns the files that `smith calibrate` wrote of an experiment at a scale, of some of its curves too."""
        start = f"figures/{section.store.scale.name}-calibration/{section.experiment.name}"
        return [name for name in self.files if name.startswith((f"{start}.", f"{start}-"))]

    def picture(self, section: Section) -> str:
        """Returns the picture of an experiment at a scale, or nothing."""
        names = self.downloads(section.experiment, section.store.scale.name)
        return next((name for name in names if name.endswith(".png")), "")

    def trouble(self, store: Store) -> list[tuple[str, list[str], str]]:
        """Returns what a scale's folder has that is not shown: what it is, a line for each, and what to do."""
        sections = [section for shown in self.shown for section in shown.sections if section.store is store]
        known = {description for section in sections for description, _ in section.known}
        foreign = store.foreign()
        strange = [f"{digest(r.description)}, seed {r.seed}" for r in store.all() if r.description not in known]
        return [
            ("Damaged", [*store.damaged.values()], "smith run sets a damaged file aside and trains that run again."),
            ("Set aside as damaged", [*map(str, store.aside())], "They can be removed."),
            ("Not to be opened", [*store.unreadable.values()], "They may be whole: look at permissions and disks."),
            ("Of something that is not registered here", foreign, "Name the file that defines it on the command line."),
            ("Not asked for by any experiment", strange, "They are kept, and shown nowhere."),
        ]


def listing(stores: Sequence[Store]) -> bytes:
    """Returns a list of all results in CSV: what was trained, how it ended, what it cost and where."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["scale", "run", "seed", "status", "tests", "test_loss", "test_accuracy", *FACTS, "description"])
    for store in stores:
        for r in store.all():
            ends = [f"{r[name][-1]:.6g}" if len(r[name]) else "" for name in ("test_loss", "test_accuracy")]
            start = [store.scale.name, digest(r.description), r.seed, r.status, len(r["iteration"])]
            table.writerow([*start, *ends, *(r.facts.get(fact, "") for fact in FACTS), r.description])
    return text.getvalue().encode()


def slug(text: str) -> str:
    """Returns a text as an id."""
    return re.sub(r"[^\w-]", "-", text)


def environment() -> jinja2.Environment:
    """Returns what makes pages of templates. They escape all text, and may name nothing that they are not given."""
    loader = jinja2.FileSystemLoader(HERE / "templates")
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, loader=loader)
    env.trim_blocks = env.lstrip_blocks = env.keep_trailing_newline = True
    env.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    env.globals |= {"words": words, "duration": duration, "zip": zip}
    return env


def render(site: Site) -> dict[str, bytes]:
    """Returns the report's pages by file name."""
    env = environment()
    env.globals |= {"site": site, "claims": claims, "rule": verdicts, "slug": slug}
    env.globals |= {"chart": charts.chart, "text": text, "tables": tables, "points": points, "CLUES": CLUES}
    pages = {f"{name}.html": env.get_template(f"{name}.html").render(here=name) for name in sorted(OURS)}
    for before, shown, after in zip([None, *site.shown], site.shown, [*site.shown[1:], None], strict=False):
        around = {"previous": before, "next": after}
        pages[shown.page] = env.get_template("experiment.html").render(here=shown.page, shown=shown, **around)
    return {name: page.encode() for name, page in pages.items()}
