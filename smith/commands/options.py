"""The options that several commands of `smith` have, and how their values are read."""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from smith import scales
from smith.data import default_data_dir
from smith.errors import UserError, unknown
from smith.lengths import seconds
from smith.replicates import RECIPES
from smith.store import Store

if TYPE_CHECKING:
    from smith.experiments import Experiment
    from smith.train.jobs import Job, Summary

WHICH = "figures and tables such as fig07 table1, files such as mine.py, or paper, beyond (it), or all"
Names = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="NAME", help=WHICH, help_behavior_hint=lambda names: names and f"(default: {names})"),
]
Folder = Annotated[Path, tyro.conf.arg(metavar="FOLDER")]


Option = tyro.constructors.PrimitiveConstructorSpec[Any]


def _option(read: Callable[[list[str]], Any], metavar: str, *kinds: type) -> Option:
    """Returns how an option of one word is read."""
    typed = {"is_instance": lambda value: isinstance(value, kinds), "str_from_instance": lambda value: [str(value)]}
    return tyro.constructors.PrimitiveConstructorSpec(nargs=1, metavar=metavar, instance_from_str=read, **typed)


def number(option: str, most: int, zero: str = "0", *, least: int = 0, kind: type = int) -> Option:
    """Returns how an option is read that takes a number, whole unless `kind` is float. zero: another word for 0."""

    def read(words: list[str]) -> float:
        with contextlib.suppress(ValueError):
            if least <= (value := kind("0" if words[0] == zero else words[0])) <= most:
                return value
        whole = "a whole number" if kind is int else "a number"
        asked = f"{whole} from {least}" if zero == "0" else f"{zero}, or {whole} from 1"
        raise UserError(f"{option} {words[0]}: give {asked} to {most:,}")

    return _option(read, "N", int, kind)


def choice(option: str, *known: str) -> Option:
    """Returns how an option is read that takes one of these words."""

    def read(words: list[str]) -> str:
        if words[0] in known:
            return words[0]
        raise unknown(option, words[0], known)

    return _option(read, f"{{{','.join(known)}}}", str)


ScaleName = Annotated[str, choice("--scale", *scales.SCALES)]
AnyScale = Annotated[str, choice("--scale", *scales.SCALES, "all")]
RecipeName = Annotated[str, choice("--recipe", *RECIPES)]
Seeds = Annotated[int, tyro.conf.arg(help="seeds per run; 0 for the scale's own number"), number("--seeds", 1_000)]
Devices = Annotated[
    int, tyro.conf.arg(help="how many devices share each batch, or all"), number("--devices", 64, "all")
]
Time = Annotated[str, tyro.conf.arg(metavar="TIME")]


CLUSTER = "share each batch with the devices of other processes of the same command, this one the K-th of N from 0"


def spelled(field: str) -> str:
    """Returns the option of a field: "--data-dir"."""
    return f"--{field.replace('_', '-')}"


class Halted(Exception):
    """The command stops as it was told to. Exits with status 1."""


@dataclass(frozen=True, kw_only=True)
class Results:
    results_dir: Folder = Path("results")  # where the results are

    def there(self) -> Path:
        """Returns the folder of results. Raises UserError if it is not there."""
        if not self.results_dir.is_dir():
            raise UserError(
                f"{self.results_dir} is not there: say with --results-dir where results are; smith run trains"
            )
        return self.results_dir


@dataclass(frozen=True, kw_only=True)
class Stored(Results):
    scale: ScaleName = "mini"  # how much of the paper's training is done
    recipe: RecipeName = "seeds"  # how the runs of a curve differ: the seed alone, or as the author's

    def store(self) -> Store:
        """Returns the results of the scale."""
        return self.stores()[0]

    def stores(self, *every: str) -> list[Store]:
        """Returns the results of the scale, or of each of these scales if it is "all"."""
        chosen = every if self.scale == "all" else (self.scale,)
        return [Store(self.results_dir, scales.named(name), self.recipe) for name in chosen]


@dataclass(frozen=True, kw_only=True)
class Drawing(Stored):
    figures_dir: Folder = Path("drawn")  # where what is drawn and compared goes


@dataclass(frozen=True, kw_only=True)
class Training(Drawing):
    seeds: Seeds = 0
    data_dir: Folder = field(default_factory=default_data_dir)  # where the datasets are
    budget: Time = ""  # stop after this time, such as 8m, 90s or 1h, and keep a checkpoint; the next call goes on
    checkpoint_every: Time = "2m"  # time between two checkpoints of a run, such as 30s or 10m
    devices: Devices = 1
    cluster: Annotated[str, tyro.conf.arg(metavar="auto|K/N@HOST:PORT", help=CLUSTER)] = ""

    def limit(self) -> float | None:
        """Returns the budget in seconds."""
        return seconds(self.budget, "--budget") if self.budget else None

    def times(self) -> dict[str, float | None]:
        """Returns the budget and the time between checkpoints, in seconds."""
        return {"budget": self.limit(), "checkpoint_every": seconds(self.checkpoint_every, "--checkpoint-every")}

    def arguments(self, names: Names) -> list[str]:
        """Returns the command line of a worker."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(Training)}
        options = [[spelled(name), str(value)] for name, value in given.items() if value != ""]
        return ["run", *names, "--no-draw", "--workers", "1", *itertools.chain(*options)]

    def train(self, jobs: "Sequence[Job]", store: Store, **options: Any) -> None:
        """Trains jobs and says what was done."""
        from smith.train import devices, hosts
        from smith.train import jobs as training
        from smith.train.progress import Display

        if self.cluster:
            training.prepare(job.run for job in jobs)
        with hosts.joined(self.cluster) as following, devices.failures(), Display() as display:
            if following:
                training.follow(self.data_dir)
                sys.exit()
            options = self.times() | {"device_count": 0 if self.cluster else self.devices} | options
            done = training.execute(jobs, store, self.data_dir, display, **options)
        _say_what_was_done(done)


def jobs_of(found: "Sequence[Experiment]", store: Store, seeds: int) -> "list[Job]":
    """Returns the jobs of experiments. seeds: 0 for the scale's own number."""
    from smith.train import jobs

    return jobs.plan([run for one in found for run in one.shows.runs()], store, seeds or store.scale.trained)


def _say_what_was_done(done: "Summary") -> None:
    from smith.train import stopping

    trained = f"{done.trained} run{'s' * (done.trained != 1)} trained, {done.diverged} diverged"
    begun = f" ({done.begun} begun)" if done.begun else ""
    print(f"{trained}; {done.found} were there; {done.left} left{begun}")
    for name, (reason, count) in done.missing.items():
        print(f"{name}: {count} run{'s' * (count != 1)} not trained: {reason}")
    if done.halted:
        raise Halted(f"{done.halted} diverged, and --on-divergence is stop; its result is kept")
    if done.left:
        print(f"the budget is used up; {stopping.then()}")
