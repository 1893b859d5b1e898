"""The commands for a network of one's own, a dataclass for each: `smith range-test` and `smith tune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from smith import disk, experiments
from smith.commands.options import Time, choice, number
from smith.errors import UserError
from smith.lengths import epochs

File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE", help="a Python file with TASK = Task(...)")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Seeds = Annotated[int, number("--seeds", 1_000, least=1)]
EPOCHS = tyro.conf.arg(metavar="EPOCHS")
Length = Annotated[float, EPOCHS, number("--length", 1_000_000, kind=float)]
Train = Annotated[float, EPOCHS, number("--train", 1_000_000, kind=float)]
Range = Annotated[str, tyro.conf.arg(metavar="A..B")]


def _given(file: Path) -> Path:
    if file == Path():
        raise UserError("name a Python file with TASK = Task(...), such as my_task.py")
    return file


def _numbers(text: str, option: str) -> tuple[float, ...]:
    """Returns the numbers of "1e-4..10", or of "0.1"."""
    try:
        return tuple(float(part) for part in text.split(".."))
    except ValueError:
        raise UserError(f"{option} {text}: give a number such as 0.1, or a range such as 1e-4..10") from None


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """Train a task while its learning rate (or momentum, or weight decay) grows, and suggest what to take.

    The option that has a range, such as --lr 1e-4..10, says what grows; the others are constant.
    """

    file: File = Path()
    lr: Range = "1e-4..10"  # learning rate: a range, or a number where another one has the range
    momentum: Range = "0.9"  # momentum, likewise, as in --lr 0.01 --momentum 0.8..0.99
    weight_decay: Range = "0"  # weight decay, likewise
    length: Length = 0.0  # how long it trains; 0 for two epochs, or 200 iterations if these are more
    seeds: Seeds = 3  # how often
    of: Annotated[str, choice("--of", "test_loss", "train_loss")] = "test_loss"  # the loss that is read
    plot: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("range-test.png")  # where the plot goes, .png or .svg

    def __call__(self) -> None:
        given = {name: _numbers(getattr(self, name), f"--{name}") for name in ("lr", "momentum", "weight_decay")}
        ranges = [name for name, numbers in given.items() if len(numbers) == 2]
        if len(ranges) != 1 or any(len(numbers) > 2 for numbers in given.values()):
            told = ", ".join(ranges) or "none"
            raise UserError(f"ranges: {told}; give one such as 0.8..0.99, and a number for the others, as in --lr 0.01")
        settings: dict[str, Any] = {name: numbers[0] for name, numbers in given.items() if len(numbers) == 1}
        settings |= {"length": epochs(self.length) if self.length else None, "seeds": self.seeds, "of": self.of}
        from smith import tune
        from smith.tune import plots

        plots.check(self.plot)  # before anything is trained
        task, name = experiments.task(_given(self.file)), ranges[0]
        task.quiet = False
        found = tune.range_test(task, name, *given[name], **settings)  # pyright: ignore[reportArgumentType]
        found.plot(self.plot)
        suggestion = found.suggestion
        if suggestion:
            print(f"1cycle from {suggestion.base:.3g} to {suggestion.peak:.3g}: {suggestion.how}")
        print(f"{found.note}; plot: {self.plot}")


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Find the settings of 1cycle for a task by the paper's recipe, and write a page with what was tried and chosen."""

    file: File = Path()
    budget: Time = "10m"  # time for the search, such as 90s, 10m or 1h
    seeds: Seeds = 3  # seeds of each run
    train: Train = 0.0  # then train for so many epochs as found; 0 for no training
    report_dir: Folder = None  # where the page goes; none for a folder named for the task

    def __call__(self) -> None:
        from smith import tune

        task = experiments.task(_given(self.file))
        task.quiet = False
        if self.report_dir:
            disk.make_folder(self.report_dir, "--report-dir")  # before anything is trained
        plan = tune.recipe(task, self.budget, seeds=self.seeds)
        print(plan)
        trained = plan.train(epochs(self.train), self.seeds) if self.train else None
        if trained:
            print(trained)
        print(plan.report(self.report_dir or Path(f"{task.name}-tuned"), trained))
