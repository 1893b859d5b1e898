"""The commands that look after results and data: `smith status`, `verify`, `pack`, `data` and `prepare`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from smith import experiments, scales
from smith.commands.options import AnyScale, Folder, Halted, Names, Results, Seeds, Stored, jobs_of, number
from smith.data import default_data_dir
from smith.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Status(Stored):
    """Say what results there are, which of these experiments are complete, what is under way, and what is damaged.

    With --watch: how far the runs of these experiments are at one scale, every ten seconds until all are done.
    """

    names: Names = ("all",)
    scale: AnyScale = "all"  # which results; all: those of every scale, with --watch those in miniature
    seeds: Annotated[Seeds, tyro.conf.arg(help="seeds per run; 0 for one, with --watch the scale's own number")] = 0
    watch: bool = False  # go on saying how far the runs are, whoever trains them

    def __call__(self) -> None:
        from smith.train import status

        found = experiments.find(self.names)
        if self.watch:
            (store,) = self.stores("mini")
            return status.watch(store, jobs_of(found, store, self.seeds))
        self.there()
        status.report(self.stores(*scales.SCALES), [one.shows for one in found], self.seeds or 1)


@dataclass(frozen=True, kw_only=True)
class Verify(Results):
    """Read every result and checkpoint, and say which are not as they were written. Exits with 1 if there are any."""

    def __call__(self) -> None:
        from smith.train.status import verify

        good, wrong = verify(self.there())
        print(f"{good} as they were written, {len(wrong)} not")
        for line in wrong:
            print(line)
        if wrong:
            raise Halted(
                "they are not drawn; smith run trains again what is damaged, and leaves alone what is not readable"
            )


@dataclass(frozen=True, kw_only=True)
class Pack(Stored):
    """Move a scale's results into one file per experiment, for keeping. They read back the same."""

    def __call__(self) -> None:
        store = self.store()
        if not store.folder.is_dir():
            raise UserError(f"{store.folder} is not there: say with --results-dir where results are")
        print(store.pack({one.shows.name: one.shows.runs() for one in experiments.find(["all"])}))


@dataclass(frozen=True, kw_only=True)
class Data:
    """Make datasets ready: TFDS downloads and prepares what is not there, and the arrays are cached."""

    names: Annotated[Names, tyro.conf.arg(help="datasets, such as cifar10")] = ("mnist", "cifar10", "cifar100")
    data_dir: Folder = field(default_factory=default_data_dir)  # where the datasets are

    def __call__(self) -> None:
        from smith.data import prepare

        prepare(self.names, self.data_dir)


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Decode a dataset that does not fit into memory, such as ImageNet, for training on it.

    The folder has train/CLASS/*.JPEG and val/CLASS/*.JPEG. The images of val may also lie there without folders, if
    LOC_val_solution.csv or the development kit (ILSVRC2012_devkit_t12) is beside it. Or it is imagenet2012 as TFDS
    prepared it, as array_record. What an interrupted preparation has done is kept. ImageNet needs 252 GB in the data
    folder, or some 35 GB with --jpeg 95, and then more of the processor in training.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help="such as imagenet")] = ""
    source: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER", help="of its images")] = None
    jpeg: Annotated[int, number("--jpeg", 95, least=1)] = 0  # keep JPEG files of this quality, 1 to 95; 0: keep pixels
    data_dir: Folder = field(default_factory=default_data_dir)  # where the datasets are

    def __call__(self) -> None:
        if not self.source:
            raise UserError("name a dataset and the folder that has its images: smith prepare imagenet FOLDER")
        from rich.progress import Progress

        from smith.data import DATASETS, shards
        from smith.train.progress import console

        info = DATASETS[self.name]
        if not info.streamed:
            known = ", ".join(name for name in DATASETS if DATASETS[name].streamed)
            raise UserError(f"{self.name} is kept in memory: smith data {self.name} is all it needs, not as {known} do")
        with Progress(console=console(sys.stderr), transient=True) as bars:
            tasks = {split: bars.add_task(f"shards of {split}", total=None) for split in ("train", "test")}

            def said(split: str, done: int, count: int) -> None:
                bars.update(tasks[split], completed=done, total=count)

            print(shards.prepare(self.source, self.data_dir / self.name, info.image_shape[0], said, self.jpeg or None))
