"""The commands that train, draw and compare experiments: `list`, `run`, `draw`, `report`, `fidelity`, `calibrate`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from smith import disk, experiments
from smith.commands.options import (
    AnyScale,
    Drawing,
    Folder,
    Names,
    ScaleName,
    Seeds,
    Stored,
    Training,
    choice,
    jobs_of,
    number,
)
from smith.errors import UserError
from smith.experiments import Experiment
from smith.figure import Figure
from smith.lengths import duration
from smith.store import Store
from smith.train import stopping
from smith.train.stopping import Deadline

if TYPE_CHECKING:
    from smith.analysis.verdicts import Claim
    from smith.train.jobs import Job
    from smith.train.timing import Past

OnDivergence = Annotated[str, choice("--on-divergence", "record", "stop")]
Curves = Annotated[tuple[str, ...], tyro.conf.arg(metavar="CURVE [CURVE ...]", help_behavior_hint="(default: all)")]
Workers = Annotated[int, number("--workers", 4 * (os.cpu_count() or 1))]
GALLERY = Path("figures")  # what the repository shows; written only where --figures-dir says so


@dataclass(frozen=True, kw_only=True)
class List(Stored):
    """List experiments: what they show, how many of their runs are done, and how long the rest will take."""

    names: Names = ("all",)
    seeds: Seeds = 0

    def __call__(self) -> None:
        from rich.table import Table

        from smith.train import timing
        from smith.train.progress import console

        store, every = self.store(), {}
        seeds = self.seeds or store.scale.trained
        title = f"{store.scale.name}: {store.scale.what}; {seeds} seed{'s' * (seeds > 1)}"
        grid = Table(title=title, title_justify="left", box=None)
        for column in ("name", "panels", "what it shows", "done", "time left"):
            right = column in ("done", "time left")
            grid.add_column(column, justify="right" if right else "left", no_wrap=column != "what it shows")
        known = timing.past(store)
        for one in experiments.find(self.names):
            planned = jobs_of([one], store, seeds)
            every |= dict.fromkeys(planned)
            grid.add_row(one.name, one.shows.letters, one.shows.title, *_left(planned, store, known))
        grid.add_row("all", "", "each run counted once", *_left(list(every), store, known), style="bold")
        if "~" in "".join(map(str, grid.columns[-1].cells)):
            grid.caption, grid.caption_justify = GUESSED, "left"
        console(sys.stdout).print(grid)
        _say_what_is_left_out(store)


GPU = 1e13  # FLOP/s
GUESSED = "~ for a GPU that reaches 10 TFLOP/s, which is a guess: there is no result of some network that says more"


def _left(planned: "Sequence[Job]", store: Store, known: "Past") -> tuple[str, str]:
    """Returns how many jobs are done, and how long the others will take by what results of the scale took.

    At the paper's scale a network without a result is taken for one on a GPU.
    """
    from smith.train import jobs, timing

    todo, guess = jobs.missing(planned, store), ""
    time = timing.estimate(todo, known)
    if time is None and store.scale.name == "paper":
        os.environ["JAX_PLATFORMS"] = "cpu"  # FLOP are counted, and nothing is computed
        time, guess = timing.estimate(todo, known, count=timing.flops, assumed=GPU), "~"
    return f"{len(planned) - len(todo)}/{len(planned)}", "not known" if time is None else guess + duration(time)


@dataclass(frozen=True, kw_only=True)
class Run(Training):
    """Train the runs of figures that have no result yet, then draw these figures.

    A run that was interrupted goes on from its last checkpoint. Several of these may work on the same results at once.
    """

    names: Names = ()
    workers: Workers = 0  # how many runs to train at a time, each on its share of the cores; 0: one a core in miniature
    on_divergence: OnDivergence = "record"  # record it as the result and go on, or record it and stop
    force: bool = False  # train again what has a result
    draw: bool = True  # draw the figures at the end

    def __call__(self) -> None:
        from smith.train import jobs, workers

        found, store, deadline = experiments.find(self.names), self.store(), Deadline(self.limit())
        stop = self.on_divergence == "stop"
        alone = ["--force"] * self.force + ["--on-divergence stop"] * stop + ["--devices"] * (self.devices != 1)
        alone += ["--cluster"] * bool(self.cluster)
        workers.check(self.workers, alone)
        self.times()  # a mistake is told once, not by every worker
        if self.draw:
            disk.make_folder(self.figures_dir, "--figures-dir")
        planned = jobs_of(found, store, self.seeds)
        count = self.workers or (1 if alone else workers.by_itself(store.scale, len(jobs.missing(planned, store))))
        if self.force:
            stopping.begins_anew()
        if count == 1:
            self.train(planned, store, force=self.force, stop_on_divergence=stop)
        elif status := workers.execute(count, self.arguments(self.names)):
            sys.exit(status)
        if self.draw:
            _draw(found, store if count == 1 else self.store(), self.figures_dir, deadline=deadline)


@dataclass(frozen=True, kw_only=True)
class Draw(Drawing):
    """Draw figures from the results there are. Needs no data and trains nothing."""

    names: Names = ("all",)
    published: bool = True  # draw the paper's curves too, dashed

    def __call__(self) -> None:
        found = experiments.find(self.names)
        self.there()
        _draw(found, self.store(), self.figures_dir, published=self.published)


def _draw(
    found: Sequence[Experiment], store: Store, target: Path, published: bool = True, deadline: Deadline | None = None
) -> None:
    """Draws as many figures as there is time for."""
    from smith.figures import draw

    there = [one for one in found if any(map(store.results, one.shows.runs()))]
    there = there if len(found) > 1 else found
    for drawn, one in enumerate(there):
        if deadline and deadline.passed():
            print(f"{len(there) - drawn} not drawn; smith draw draws what there is")
            break
        print(draw(one.shows, store, target, published))
    if absent := [one.shows.name for one in found if one not in there]:
        print(f"no results at scale {store.scale.name}: {' '.join(absent)}; {store.command('NAME')}")
    _say_what_is_left_out(store)


def _say_what_is_left_out(*stores: Store) -> None:
    for store in stores:
        for what, lines in (("damaged", store.damaged), ("not readable here", store.unreadable)):
            for line in lines.values():
                print(f"{what}, left out: {line}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class Report(Drawing):
    """Write the report: a folder of web pages with the verdict on each claim and every curve beside the published one.

    Needs no data and trains nothing. The pages work from the disk, without a network.
    """

    names: Annotated[Names, tyro.conf.arg(help="files of your own experiments, to report beside the paper's")] = ()
    scale: AnyScale = "all"  # which results; all: those that decide claims, paper and mini, each by itself
    report_dir: Folder = Path("report")  # where the report goes
    readme: bool = False  # put the verdicts into README.md and docs/results.md too, between their marks for claims

    def __call__(self) -> None:
        from smith.analysis.claims import CLAIMS
        from smith.figures import report

        found = experiments.find(["all", *self.names])
        shown, docs = [one.shows for one in found], {one.name: one.doc for one in found}
        own: dict[str, Claim] = {}
        for path, claim in [(one.path, claim) for one in found for claim in one.claims]:
            if own.setdefault(claim.name, claim) is not claim or claim.name in CLAIMS:
                raise UserError(f"{path}: a claim named {claim.name!r} is there already: give it another name")
        own = dict(sorted(own.items()))
        self.there()
        stores = self.stores("paper", "mini")
        if self.readme and self.recipe != "seeds":
            raise UserError(f"--readme shows what plain seeds decide: leave out --recipe {self.recipe}")
        if self.readme:
            for path, claims in ((Path("README.md"), CLAIMS), (Path("docs/results.md"), own)):
                changed = claims and report.update_readme(path, shown, claims, stores)
                print(f"{path}: {'written' if changed else 'the same as before'}")
        print(report.write(shown, {**CLAIMS, **own}, docs, stores, [self.figures_dir, GALLERY], self.report_dir))
        _say_what_is_left_out(*stores)


@dataclass(frozen=True, kw_only=True)
class Fidelity(Drawing):
    """Compare curves with the published ones: their order and final values, how far apart they are, where they diverge.

    Needs no data and trains nothing. Writes fidelity.md beside the figures; fidelity-fig07.md if that is named.
    """

    names: Annotated[Names, tyro.conf.arg(help="figures such as fig07, files such as mine.py, or all")] = ("all",)

    def __call__(self) -> None:
        from smith.figures.text import show

        shown = [one.shows for one in experiments.find(self.names) if isinstance(one.shows, Figure)]
        figures = [one for one in shown if any(getattr(panel, "published", "") for panel in one.panels)]
        if not figures:
            raise UserError(f"{' '.join(self.names)}: no published curves; name a figure that has some, such as fig07")
        self.there()
        store, every = self.store(), self.names == ("all",)
        show(figures, store, self.figures_dir, "-".join(["fidelity", *(Path(n).stem for n in self.names if not every)]))
        _say_what_is_left_out(store)


@dataclass(frozen=True, kw_only=True)
class Calibrate(Training):
    """Try the values that an assumed setting may have, and say which comes nearest to the published curves.

    Trains what has no result yet, and goes on after an interruption, as run does. When nothing is missing it writes
    calibration/ beside the figures.
    """

    names: Annotated[Names, tyro.conf.arg(help="figures with assumed settings, such as fig09")] = ()
    scale: ScaleName = "paper"  # how much of the paper's training is done
    curves: Curves = ()  # train and score only these curves, such as WD=1e-3

    def __call__(self) -> None:
        from smith.analysis import calibration
        from smith.figures.text import write_calibration
        from smith.train import jobs

        store = self.store()
        seeds = self.seeds or store.scale.trained
        chosen, every = ([one.shows for one in experiments.find(n)] for n in (self.names, ["all", *self.names]))
        figures = calibration.check(chosen, every, store, self.curves)
        disk.make_folder(self.figures_dir, "--figures-dir")
        runs = [run for figure in figures for run in calibration.runs(figure, self.curves)]
        self.train(jobs.plan(runs, store, seeds), store)
        for figure in figures:
            print(write_calibration(figure, store, self.figures_dir, seeds, self.curves))
