"""The `smith` command: list, run, draw, report, fidelity, calibrate, status, verify, data."""

import contextlib
import functools
import importlib
import io
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from smith import replicates, scales
from smith.data import DATASETS, default_data_dir
from smith.errors import UserError, unknown
from smith.figure import Figure, Table
from smith.lengths import duration, seconds
from smith.store import results
from smith.train import jobs as engine
from smith.train import stopping
from smith.train.stopping import Deadline

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "experiments"

Names = Annotated[tuple[str, ...], tyro.conf.Positional]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]


def modules() -> dict[str, str]:
    """Returns the experiments there are: "fig07" -> "experiments.fig07_cyclical_momentum_shallow"."""
    files = sorted(EXPERIMENTS.glob("*_*.py"))
    return {file.stem.split("_")[0]: f"experiments.{file.stem}" for file in files if not file.stem.startswith("_")}


def experiments(names: Sequence[str]) -> list[Figure | Table]:
    """Returns the experiments of these names, "all" for every one. Raises UserError for an unknown name or none."""
    known = modules()
    if not names:
        raise UserError(f"name a figure or table, or several, or all: {' '.join(known)}")
    for name in names:
        if name not in known and name != "all":
            raise unknown("experiment", name, [*known, "all"])
    chosen = known if "all" in names else dict.fromkeys(names)
    found = [vars(importlib.import_module(known[name])) for name in chosen]
    return [module.get("FIGURE") or module["TABLE"] for module in found]


def run_experiment(experiment: Figure | Table) -> None:
    """Runs and draws one experiment, with the options of `smith run`: the last line of an experiment's file."""
    main(["run", experiment.name, *sys.argv[1:]])


def _results_dir(folder: Path | None) -> Path:
    return folder or ROOT / "results"


def _figures_dir(folder: Path | None) -> Path:
    return folder or ROOT / "figures"


def list_(scale: str = "quick", seeds: int | None = None, recipe: str = "seeds", results_dir: Folder = None) -> None:
    """List every experiment: its panels, its runs, how many are done, and how long the rest will take.

    Args:
      scale: smoke, quick, short or paper
      seeds: seeds per run; the scale's own number if not given
      recipe: how the runs of a curve differ: seeds alone, or as the author's four (seeds, author)
      results_dir: where the results are (default: results/ in the project)
    """
    from rich.console import Console
    from rich.table import Table

    chosen = scales.named(scale)
    seeds = scales.check_seeds(chosen.seeds if seeds is None else seeds)
    folder = _results_dir(results_dir) / scale
    rates = engine.measured_rates(folder)
    table = Table(title=f"{scale}: {chosen.what}; {seeds} seed{'s' * (seeds > 1)}", title_justify="left", box=None)
    for column in ("name", "panels", "what it shows", "done", "time left"):
        table.add_column(
            column, justify="right" if column in ("done", "time left") else "left", no_wrap=column != "what it shows"
        )
    every: dict[engine.Job, None] = {}
    for figure in experiments(["all"]):
        jobs = engine.plan(figure.runs(), chosen, seeds, replicates.named(recipe))
        every |= dict.fromkeys(jobs)
        table.add_row(figure.name, figure.letters, figure.title, *_left(jobs, folder, rates))
    table.add_row("all", "", "each run counted once", *_left(list(every), folder, rates), style="bold")
    Console().print(table)


def _left(jobs: Sequence[engine.Job], folder: Path, rates: engine.Rates) -> tuple[str, str]:
    todo = engine.missing(jobs, folder)
    return f"{len(jobs) - len(todo)}/{len(jobs)}", duration(engine.estimate(todo, rates))


def run(
    names: Names = (),
    /,
    scale: str = "quick",
    seeds: int | None = None,
    recipe: str = "seeds",
    data_dir: Folder = None,
    results_dir: Folder = None,
    figures_dir: Folder = None,
    workers: int = 1,
    budget: str = "",
    checkpoint_every: str = "2m",
    on_divergence: str = "record",
    force: bool = False,
) -> None:
    """Train the runs of figures that have no result yet, then draw these figures.

    A run that was interrupted goes on from its last checkpoint. Several of these may work on the same results at once.

    Args:
      names: figures and tables such as fig07 table1, or all
      scale: smoke, quick, short or paper
      seeds: seeds per run; the scale's own number if not given
      recipe: how the runs of a curve differ: seeds alone, or as the author's four (seeds, author)
      data_dir: where the datasets are (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)
      results_dir: where the results go (default: results/ in the project)
      figures_dir: where the figures go (default: figures/ in the project)
      workers: how many runs to train at the same time, each on its share of the cores
      budget: stop after this time, such as 8m, 90s or 1h, and keep a checkpoint; the next call goes on
      checkpoint_every: time between two checkpoints of a run, such as 30s or 10m
      on_divergence: record it as the result and go on with the next run, or record it and stop (record, stop)
      force: train again what has a result
    """
    from smith.train import workers as team
    from smith.train.progress import Display

    figures, chosen = experiments(names), scales.named(scale)
    seeds = scales.check_seeds(chosen.seeds if seeds is None else seeds)
    deadline = Deadline(limit := seconds(budget, "--budget") if budget else None)
    every = seconds(checkpoint_every, "--checkpoint-every")
    if on_divergence not in ("record", "stop"):
        raise unknown("choice for --on-divergence", on_divergence, ("record", "stop"))
    team.check(workers, alone=["--force"] * force + ["--on-divergence stop"] * (on_divergence == "stop"))
    folder = _results_dir(results_dir) / scale
    results.make_folder(_figures_dir(figures_dir), option="--figures-dir")
    described = [run for figure in figures for run in figure.runs()]
    jobs = engine.plan(described, chosen, seeds, replicates.named(recipe))
    with Display() as display:
        done = team.execute(
            workers,
            jobs,
            folder,
            data_dir or default_data_dir(),
            display,
            budget=limit,
            force=force,
            checkpoint_every=every,
            stop_on_divergence=on_divergence == "stop",
        )
    _say_what_was_done(done)
    if done.halted:
        raise Halted(f"{done.halted} diverged, and --on-divergence is stop; its result is kept")
    if done.left:
        print("the budget is used up; the same command goes on from here")
    _draw(figures, chosen, recipe, _results_dir(results_dir), _figures_dir(figures_dir), True, deadline)


class Halted(Exception):
    """The command stops as it was told to. Exits with status 1."""


def _say_what_was_done(done: engine.Summary) -> None:
    trained = f"{done.trained} run{'s' * (done.trained != 1)} trained, {done.diverged} diverged"
    begun = f" ({done.begun} begun)" if done.begun else ""
    print(f"{trained}; {done.found} were there; {done.left} left{begun}")
    for name, (reason, count) in done.missing.items():
        print(f"{name}: {count} run{'s' * (count != 1)} not trained: {reason}")


def draw(
    names: Names = ("all",),
    /,
    scale: str = "quick",
    recipe: str = "seeds",
    results_dir: Folder = None,
    figures_dir: Folder = None,
    published: bool = True,
) -> None:
    """Draw figures from the results there are. Needs no data and trains nothing.

    Args:
      names: figures and tables such as fig07 table1, or all
      scale: smoke, quick, short or paper
      recipe: how the runs of a curve differ: seeds alone, or as the author's four (seeds, author)
      results_dir: where the results are (default: results/ in the project)
      figures_dir: where the figures go (default: figures/ in the project)
      published: draw the paper's curves too, dashed
    """
    figures, chosen = experiments(names), scales.named(scale)
    replicates.named(recipe)
    _draw(figures, chosen, recipe, _results_dir(results_dir), _figures_dir(figures_dir), published, Deadline())


def _draw(
    figures: Sequence[Figure | Table],
    scale: scales.Scale,
    recipe: str,
    source: Path,
    target: Path,
    published: bool,
    deadline: Deadline,
) -> None:
    """Draws as many figures as there is time for."""
    from smith.figures import plot, tables

    folder = source / scale.name
    for line in results.check(folder)[1]:
        print(f"damaged, not drawn: {line}", file=sys.stderr)
    for number, figure in enumerate(figures):
        if deadline.passed():
            print(f"{len(figures) - number} not drawn; smith draw draws what there is")
            return
        if isinstance(figure, Table):
            print(tables.tabulate(figure, scale, folder, target, recipe=recipe))
        else:
            print(plot.draw(figure, scale, folder, target, published=published, recipe=recipe))


def report(
    scale: str = "all",
    recipe: str = "seeds",
    results_dir: Folder = None,
    figures_dir: Folder = None,
    report_dir: Folder = None,
    readme: bool = False,
) -> None:
    """Write the report: a folder of web pages with the verdict on each claim and every curve beside the published one.

    Needs no data and trains nothing. The pages work from the disk, without a network.

    Args:
      scale: paper, short or quick; all of them, each by itself, if not given
      recipe: how the runs of a curve differ: seeds alone, or as the author's four (seeds, author)
      results_dir: where the results are (default: results/ in the project)
      figures_dir: where smith draw put the figures (default: figures/ in the project)
      report_dir: where the report goes (default: report/ in the project)
      readme: put the verdicts into the README too, between its marks for claims; from the scales paper and short
    """
    from smith.analysis.claims import CLAIMS
    from smith.figures import report as site

    docs = {name: importlib.import_module(module).__doc__ for name, module in modules().items()}
    folders = _results_dir(results_dir), _figures_dir(figures_dir)
    sources = site.gather(experiments(["all"]), CLAIMS, docs, scale, recipe, *folders)
    if readme:
        changed = site.update_readme(ROOT / "README.md", site.decide(sources, site.OF_README))
        print(f"{ROOT / 'README.md'}: {'written' if changed else 'the same as before'}")
    print(site.write(sources, site.decide(sources), report_dir or ROOT / "report"))


def fidelity(
    names: Names = ("all",),
    /,
    scale: str = "quick",
    recipe: str = "seeds",
    results_dir: Folder = None,
    figures_dir: Folder = None,
) -> None:
    """Compare curves with the published ones: their order and final values, how far apart they are, where they diverge.

    Needs no data and trains nothing. Writes fidelity.md beside the figures.

    Args:
      names: figures such as fig07, or all
      scale: smoke, quick, short or paper
      recipe: how the runs of a curve differ: seeds alone, or as the author's four (seeds, author)
      results_dir: where the results are (default: results/ in the project)
      figures_dir: where the table goes (default: figures/ in the project)
    """
    from smith.analysis.evidence import Evidence
    from smith.figures.fidelity_table import show

    chosen, figures = scales.named(scale), [found for found in experiments(names) if isinstance(found, Figure)]
    replicates.named(recipe)
    if not figures:
        raise UserError("a table has no published curves: name a figure")
    evidence = Evidence(figures, chosen, _results_dir(results_dir) / scale, recipe)
    show(figures, evidence, _figures_dir(figures_dir))


def calibrate(
    names: Names = (),
    /,
    scale: str = "short",
    seeds: int | None = None,
    curves: tuple[str, ...] = (),
    data_dir: Folder = None,
    results_dir: Folder = None,
    figures_dir: Folder = None,
    budget: str = "",
    checkpoint_every: str = "2m",
) -> None:
    """Try the values that an assumed setting may have, and say which comes nearest to the published curves.

    Trains what has no result yet, and goes on after an interruption, as run does. Writes calibration/ in the figures.

    Args:
      names: figures with assumed settings, such as fig09
      scale: smoke, quick, short or paper
      seeds: seeds per value; the scale's own number if not given
      curves: train and score only these curves, such as WD=1e-3
      data_dir: where the datasets are (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)
      results_dir: where the results go (default: results/ in the project)
      figures_dir: where the tables go (default: figures/ in the project)
      budget: stop after this time, such as 8m, 90s or 1h, and keep a checkpoint; the next call goes on
      checkpoint_every: time between two checkpoints of a run, such as 30s or 10m
    """
    from smith.analysis import calibration
    from smith.analysis.evidence import Evidence
    from smith.figures import calibration_sheet
    from smith.train.progress import Display

    figures, chosen = experiments(names), scales.named(scale)
    found = calibration.check(figures, experiments(["all"]), chosen, curves)
    seeds = scales.check_seeds(chosen.seeds if seeds is None else seeds)
    limit, every = seconds(budget, "--budget") if budget else None, seconds(checkpoint_every, "--checkpoint-every")
    folder, target = _results_dir(results_dir) / scale, _figures_dir(figures_dir)
    results.make_folder(target, option="--figures-dir")
    jobs = engine.plan([run for figure in found for run in calibration.runs(figure, chosen, curves)], chosen, seeds)
    with Display() as display:
        data_dir = data_dir or default_data_dir()
        done = engine.execute(jobs, folder, data_dir, display, budget=limit, checkpoint_every=every)
    _say_what_was_done(done)
    if done.left:
        print("the budget is used up; the same command goes on from here")
    for figure in found:
        print(calibration_sheet.write(figure, Evidence([figure], chosen, folder), target, seeds, curves))


def status(results_dir: Folder = None) -> None:
    """Say what results there are at each scale, and which files are damaged.

    Args:
      results_dir: where the results are (default: results/ in the project)
    """
    from smith.train.status import report

    report(_results_dir(results_dir), experiments(["all"]))


def verify(results_dir: Folder = None) -> None:
    """Read every result and checkpoint, and say which are not as they were written. Exits with 1 if there are any.

    Args:
      results_dir: where the results are (default: results/ in the project)
    """
    from smith.train.status import verify

    good, wrong = verify(_results_dir(results_dir))
    print(f"{good} as they were written, {len(wrong)} not")
    for line in wrong:
        print(f"damaged: {line}")
    if wrong:
        raise Halted("damaged results are not drawn; smith run sets them aside and trains them again")


def data(names: Names = tuple(DATASETS), /, data_dir: Folder = None) -> None:
    """Make datasets ready: TFDS downloads and prepares what is not there, and the arrays are cached.

    Args:
      names: mnist, cifar10, cifar100
      data_dir: where the datasets are (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)
    """
    from smith.data import prepare

    for name in names:
        if name not in DATASETS:
            raise unknown("dataset", name, DATASETS)
    prepare(names, data_dir or default_data_dir())


COMMANDS = {
    "list": list_,
    "run": run,
    "draw": draw,
    "report": report,
    "fidelity": fidelity,
    "calibrate": calibrate,
    "status": status,
    "verify": verify,
    "data": data,
}


def _parse(args: Sequence[str]) -> Callable[[], None]:
    """Returns the command that `args` name, ready to be called.

    Raises:
      UserError: the arguments are off. Tyro prints a box then; here its first lines become one.
    """

    def deferred(command: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(command)
        def bind(*positional: Any, **named: Any) -> Callable[[], None]:
            return functools.partial(command, *positional, **named)

        return bind

    commands = {name: deferred(command) for name, command in COMMANDS.items()}
    if args and not args[0].startswith("-") and args[0] not in COMMANDS:
        raise unknown("command", args[0], COMMANDS)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.extras.subcommand_cli_from_dict(commands, prog="smith", args=args)
    except SystemExit as stop:
        if stop.code != 2:
            raise
        lines = [line.strip("│╭╮╰╯─ ") for line in box.getvalue().splitlines()[1:]]
        text = " ".join(line for line in itertools.takewhile(lambda line: line, lines))
        raise UserError(f"{text.rstrip('.')}; see smith --help") from None


def main(args: Sequence[str] | None = None) -> None:
    """The `smith` command.

    Exits with 2 and one line on bad input, 1 where the disk is full or so, 130 on Ctrl-C and 143 on SIGTERM.
    """
    try:
        with stopping.signals():
            _parse(sys.argv[1:] if args is None else args)()
    except UserError as error:
        sys.exit(_say(f"{error}", 2))
    except Halted as error:
        sys.exit(_say(f"{error}", 1))
    except BrokenPipeError:  # the reader of our output has gone; whatever is still to be flushed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_say(f"{where}{error.strerror or error}; finished results are kept", 1))
    except stopping.Stopped as stopped:
        sys.exit(_say(stopping.HOW_TO_GO_ON, stopped.status))


def _say(message: str, code: int) -> int:
    print(f"smith: {message}", file=sys.stderr)
    return code
