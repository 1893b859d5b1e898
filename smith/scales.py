"""Scales: how much of the paper's training is done. Each turns a run of the protocol into the run that is trained.

Everything with a time is cut in proportion: step sizes, the times of drops, snapshots, the distance of tests, and the
memory of BatchNorm's running averages. Values stay, but for one factor on the learning rates of a miniature.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from smith import networks
from smith.data import DATASETS
from smith.errors import UserError, unknown
from smith.lengths import Length, iterations
from smith.run import Run, Snapshot
from smith.schedules import Scaled


@dataclass(frozen=True)
class Scale:
    """One scale.

    name, what: what it is called, and what it is, in a few words
    seeds: how many seeds a verdict is given at
    trained: how many seeds are trained unless told otherwise
    apply: run of the protocol -> run that is trained; UserError if the scale has no place for it
    """

    name: str
    what: str
    seeds: int
    trained: int
    apply: Callable[[Run], Run]

    def describe(self, runs: Iterable[Run]) -> str:
        """Returns what the scale is for these runs of the protocol, for the face of a figure."""
        if self.name != "mini":
            return self.what
        return "; ".join([*dict.fromkeys(miniature_of(run).what for run in runs), "settings are named as in the paper"])


# --- in miniature ---


@dataclass(frozen=True)
class Miniature:
    """How a network on a dataset is shrunk.

    network: the network that is trained in its place
    width, batch, epochs, rate: times the width, the batch size, the number of epochs, the learning rate
    train_images: how many training images
    side: their height and width in pixels; None as they are
    classes: how many classes; None for all
    data: the dataset in its place; None for its own
    init: how weights are drawn where the run does not say; None for each layer's own (see `smith.networks.Options`)
    """

    network: str
    width: float
    train_images: int
    epochs: float
    side: int | None = 16
    batch: float = 1 / 8
    rate: float = 1.0
    classes: int | None = None
    data: str | None = None
    init: Literal["scaled"] | None = None

    @property
    def what(self) -> str:
        """What is shrunk, in a few words."""
        parts = [
            f"{self.network} at {Fraction(self.width)} width",
            self.data or "",
            f"{self.side} x {self.side} pixels" if self.side else "",
            f"{self.classes} classes" if self.classes else "",
            f"{self.train_images:,} images",
            f"{Fraction(self.batch)} of the batch",
            f"{Fraction(self.epochs).limit_denominator(100)} of the epochs",
            f"{self.rate:g} times the learning rate" if self.rate != 1 else "",
            "initial weights scaled to fewer inputs" if self.init else "",
        ]
        return ", ".join(filter(None, parts))

    def apply(self, run: Run) -> Run:
        """Returns a run of the protocol, shrunk. Raises UserError where nothing is left of it."""
        ghosts = run.batch_size // run.ghost_batch_size if run.ghost_batch_size else 1
        batch_size = max(1, round(run.batch_size * self.batch / ghosts)) * ghosts  # as many ghost batches
        epochs = self.epochs * run.iterations / run.iterations_per_epoch
        length = min(run.iterations, max(1, round(epochs * self.train_images / batch_size)))
        cut = _Cut(run, length, self.apply)
        lr = cut(run.lr)
        kept = self.epochs * self.train_images / self.batch / DATASETS[run.data].train_images  # of the iterations
        return cut.run_with(
            data=self.data or run.data,
            crop=_crop(run, self.side),
            network=self.network,
            width=run.width * self.width,
            init=run.init or self.init,
            train_images=self.train_images,
            test_images=TEST_IMAGES,
            image_side=self.side or run.image_side,
            classes=self.classes or run.classes,
            batch_size=batch_size,
            ghost_batch_size=run.ghost_batch_size and batch_size // ghosts,
            lr=lr if self.rate == 1 else Scaled(lr, self.rate),
            test_every=iterations(max(cut(run.test_every).value, math.ceil(length / MOST_TESTS))),
            memory=run.memory * kept if run.ghost_batch_size else run.memory,
        )


def _crop(run: Run, side: int | None) -> int | None:
    """Returns the crop of a run at another image side, in proportion."""
    whole = run.image_side or DATASETS[run.data].image_shape[0]
    return run.crop and max(1, run.crop * (side or whole) // whole)


MOST_TESTS = 40  # of a run in miniature
TEST_IMAGES = 2_000  # that each of them sees
STAND_IN, SIDE = "tinyimagenet40", 32  # for ImageNet at small scales: another dataset, its images' side in pixels

# By the network and the dataset of the protocol. scripts/choose_miniature.py has the criteria, docs/miniature.md what
# was tried.
MINIATURES: dict[tuple[str, str], Miniature] = {
    ("shallow3", "cifar10"): Miniature("shallow3", 1 / 4, 2_500, epochs=1 / 3, init="scaled"),
    ("resnet-56", "cifar10"): Miniature("resnet-8", 1 / 2, 2_500, epochs=1 / 3, rate=1 / 2),
    ("resnet-56", "cifar100"): Miniature("resnet-8", 1 / 2, 5_000, epochs=1 / 3, classes=20),
    ("resnet-56-relu", "cifar10"): Miniature("resnet-8-relu", 1 / 2, 2_500, epochs=1 / 4),
    ("wide-32", "cifar10"): Miniature("wide-8", 1 / 4, 2_500, epochs=1 / 4, rate=1 / 2),
    ("densenet-40", "cifar10"): Miniature("densenet-10", 1 / 2, 2_500, epochs=1 / 4, rate=1 / 2),
    ("imagenet-resnet-50", "imagenet"): Miniature(
        "imagenet-resnet-26", 1 / 4, 20_000, epochs=1 / 8, side=SIDE, batch=1 / 2, data=STAND_IN
    ),
    ("inception-resnet-v2", "imagenet"): Miniature(
        "inception-resnet-v2-32", 1 / 4, 20_000, epochs=1 / 8, side=SIDE, batch=1 / 2, data=STAND_IN
    ),
    ("lenet", "mnist"): Miniature("lenet", 1 / 2, 6_000, epochs=1 / 2, rate=1 / 2, side=None),
}


def miniature_of(run: Run) -> Miniature:
    """Returns how a run of the protocol is shrunk. Raises UserError if there is no miniature of its network."""
    if found := MINIATURES.get((run.network, run.data)):
        return found
    known = ", ".join(f"{network} on {data}" for network, data in MINIATURES)
    raise UserError(
        f"there is no miniature of {run.network} on {run.data}, only of {known}: try --scale smoke or paper"
    )


# --- smoke ---


def _for_smoke(run: Run) -> Run:
    """Returns a run of 6 iterations of 16 images, of a deep network at its least depth from 8 on."""
    batch_size, length = min(16, run.batch_size), min(run.iterations, 6)
    ghosts = run.batch_size // run.ghost_batch_size if run.ghost_batch_size else 1
    cut = _Cut(run, length, _for_smoke)
    data, side = (STAND_IN, SIDE) if run.data == "imagenet" else (run.data, run.image_side)
    return cut.run_with(
        data=data,
        image_side=side,
        crop=_crop(run, side),
        network=networks.shallow(run.network, least=8),
        batch_size=batch_size,
        ghost_batch_size=run.ghost_batch_size
        and batch_size // max(k for k in range(1, ghosts + 1) if batch_size % k == 0),
        test_every=iterations(max(cut(run.test_every).value, math.ceil(length / 2))),
        test_images=min(run.test_images or 100, 100),
    )


@dataclass(frozen=True)
class _Cut:
    """Cuts all lengths in a description, at any depth, to iterations of a shorter run.

    run: of the protocol
    target: iterations of the shorter run
    apply: what shortens the run that it starts from
    """

    run: Run
    target: int
    apply: Callable[[Run], Run]

    def run_with(self, **changes: Any) -> Run:
        """Returns the run, cut and changed."""
        fields: dict[str, Any] = {f.name: self(getattr(self.run, f.name)) for f in dataclasses.fields(self.run)}
        fields |= {"length": iterations(self.target), **changes}
        return Run(**fields)

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Length):
            return iterations(max(1, self.run.count(value) * self.target // self.run.iterations))
        if isinstance(value, Snapshot):
            return Snapshot(self.apply(value.run), self(value.at))
        if isinstance(value, tuple):
            return tuple(map(self, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(
                value, **{f.name: self(getattr(value, f.name)) for f in dataclasses.fields(value)}
            )
        return value


_SMOKE = "6 iterations of 16 images, deep networks at their least depth from 8 on: a test of the code, not of the paper"
_MINI = "the paper in miniature: fewer pixels, images, channels, layers and epochs, smaller batches"
SCALES: dict[str, Scale] = {
    "smoke": Scale("smoke", _SMOKE, 1, 1, _for_smoke),
    "mini": Scale("mini", _MINI, 12, 1, lambda run: miniature_of(run).apply(run)),
    "paper": Scale("paper", "the paper's protocol", 4, 4, lambda run: run),
}


def named(name: str) -> Scale:
    """Returns a scale by name. Raises UserError with the nearest known one."""
    if name not in SCALES:
        raise unknown("scale", name, SCALES)
    return SCALES[name]
