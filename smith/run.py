"""A Run: the complete description of one training run, nothing hidden, that goes to JSON and back.

Its key is a readable slug and a hash of that JSON. JSON leaves out what has its default value, so a field that is
added later does not change the key of the runs that do not use it.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import smith.policies  # noqa: F401  # a run may name its schedules
from smith import networks
from smith.data import DATASETS, DatasetInfo, Selection
from smith.errors import UserError, unknown
from smith.lengths import Length, epochs, iterations, resolve
from smith.metrics import ALWAYS, METRICS
from smith.networks import NetworkInfo, Options
from smith.schedules import SCHEDULES, Constant, Schedule

MOST_ITERATIONS = 2**24
WHOLE = ("batch_size", "test_images", "train_images", "classes", "image_side", "ghost_batch_size", "crop")
__all__ = ["Length", "Run", "Snapshot", "epochs", "iterations"]


@dataclass(frozen=True)
class Snapshot:
    """The state of another run after `at`: figure 12 starts from one instead of from fresh parameters."""

    run: "Run"
    at: Length


@dataclass(frozen=True)
class Run:
    """One training run.

    data: name of the dataset
    network: name of the network
    batch_size: images in one iteration (TBS in the paper)
    length: how long it trains; a run that starts from a snapshot counts the snapshot's iterations too
    lr, momentum, weight_decay: schedules; a number means a constant
    solver: a name in `smith.train.optim.SOLVERS`; "nesterov" and "sgd" are Caffe's, as in the author's solver files
    test_every: distance between two tests, each of which is one row of the result
    test_images: how many of the test images are used, the first ones; None for all of them
    train_images: how many of the training images are used, as many of each class; None for all of them
    classes: how many of the dataset's classes are used, the first ones; None for all of them
    image_side: the images' height and width in pixels, shrunk by the mean over squares; None for the dataset's own
    start: where the parameters and the optimizer's state come from; None for a fresh initialisation
    width, init, ghost_batch_size, memory, precision: see `smith.networks.Options`
    crop: side of the square, in pixels, that is cut out of each image: anywhere in training, from its middle in tests
    mirror: whether each training image is mirrored or not at random
    order: of the training images: "shuffled" anew for every epoch, or "stored", the same in every epoch, as Caffe
      reads them (see `smith.data.stored_order`)
    metrics: what each test measures beside its loss and its accuracy (see `smith.metrics`)
    give_up: a test loss above this ends the run as diverged; None for a loss that is not finite

    Raises:
      UserError: an unknown dataset or network, a batch size below 1, a network that does not fit the dataset's images,
        a depth that is not of the network's family, a ghost batch that does not divide the batch, and the like.
    """

    data: str
    network: str
    batch_size: int
    length: Length
    lr: Schedule | float
    momentum: Schedule | float = 0.9
    weight_decay: Schedule | float = 0.0
    solver: str = "nesterov"
    test_every: Length = iterations(200)
    test_images: int | None = None
    start: Snapshot | None = None
    width: float = 1.0
    init: Literal["xavier", "msra", "scaled"] | None = None
    ghost_batch_size: int | None = None
    mirror: bool = False
    metrics: tuple[str, ...] = ()
    train_images: int | None = None
    classes: int | None = None
    image_side: int | None = None
    memory: float = 1.0
    give_up: float | None = None
    crop: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    order: Literal["shuffled", "stored"] = "shuffled"

    def __post_init__(self) -> None:
        _settle(self)
        for wrong, message in _mistakes(self):
            if wrong:
                raise UserError(" ".join(message.split()))  # a value may have line breaks
        for schedule in self.schedules():  # a time that does not fit the run shows here, before anything is trained
            schedule.build(self.iterations, self.iterations_per_epoch)

    def replace(self, **changes: Any) -> "Run":
        """Returns a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def iterations_per_epoch(self) -> float:
        """Training images over batch size, not rounded: an epoch may end inside a batch."""
        return self.training_set / self.batch_size

    @property
    def training_set(self) -> int:
        """The number of training images."""
        whole = DATASETS[self.data]
        of_the_classes = whole.train_images * self.classes // whole.classes if self.classes else whole.train_images
        return self.train_images or of_the_classes

    @property
    def class_count(self) -> int:
        """The number of classes."""
        return DATASETS[self.data].classes if self.classes is None else self.classes

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of the images that the network sees."""
        shape = DATASETS[self.data].image_shape
        side = self.crop or self.image_side
        return (side, side, *shape[2:]) if side else shape

    def count(self, length: Length) -> int:
        """Returns a length of this run in iterations."""
        return resolve(length, 0, self.iterations_per_epoch)

    @property
    def iterations(self) -> int:
        """The number of iterations at which the run ends."""
        return self.count(self.length)

    @property
    def first_iteration(self) -> int:
        """0, or the iteration of the snapshot that the run starts from."""
        return self.start.run.count(self.start.at) if self.start else 0

    def when_tested(self) -> list[int]:
        """Returns the iterations after which the run is tested: every `test_every`, and at its end.

        A run that starts from a snapshot is tested there too, as the author's are.
        """
        first, last, every = self.first_iteration, self.iterations, self.count(self.test_every)
        regular = [t for t in range(every, last, every) if t > first]
        return [first] * bool(self.start) + regular + [last]

    @property
    def selection(self) -> Selection:
        """The part of the dataset that the run sees."""
        return Selection(self.data, self.classes, self.train_images, self.image_side)

    @property
    def options(self) -> Options:
        """What the run changes in its network."""
        return Options(self.width, self.init, self.ghost_batch_size, self.memory, self.image_shape, self.precision)

    def schedules(self) -> tuple[Schedule, Schedule, Schedule]:
        """Returns the schedules of learning rate, momentum and weight decay."""
        return self.lr, self.momentum, self.weight_decay  # pyright: ignore[reportReturnType]

    @property
    def key(self) -> str:
        """A name for the run's files: a readable slug and the first digits of the SHA-256 of its JSON."""
        slug = f"{self.data}-{self.network}-b{self.batch_size}-lr{self.lr}-m{self.momentum}-wd{self.weight_decay}"
        slug = re.sub(r"[^\w.+-]", "_", slug, flags=re.ASCII)[:180]  # of a file's name, which has at most 255 bytes
        return f"{slug}{f'-from{self.first_iteration}' if self.start else ''}-{digest(self.to_json())}"

    def to_json(self) -> str:
        """Returns the run as one line of JSON, keys sorted, defaults left out."""
        return json.dumps(_encode(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Run":
        """Reads a run back. Raises UserError if `text` describes none, or names something that is not registered."""
        try:
            run = _decode(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"this is not a run's description ({error!r}): {text[:80]!r}") from error
        if not isinstance(run, cls):
            raise UserError(f"this is not a run's description: {text[:80]!r}")
        return run


def digest(description: str) -> str:
    """Returns the digest of a run's JSON that ends its key."""
    return hashlib.sha256(description.encode()).hexdigest()[:10]


def _settle(run: Run) -> None:
    """Gives every field its kind: 500.0 and NumPy's are whole numbers too. Raises UserError for what is none."""
    for name in ("lr", "momentum", "weight_decay"):
        value: Any = getattr(run, name)
        if not isinstance(value, Schedule | Real):
            raise UserError(f"{name} {value!r}: give a number or a schedule")
        object.__setattr__(run, name, value if isinstance(value, Schedule) else Constant(float(value)))
    for name in WHOLE:
        value = getattr(run, name)
        if isinstance(value, Real) and value % 1 == 0:
            object.__setattr__(run, name, int(getattr(run, name)))
        elif value is not None or name == "batch_size":
            raise UserError(f"{name.replace('_', ' ')} {value!r}: give a whole number")
    for name in ("width", "memory", "give_up"):
        value = getattr(run, name)
        if not isinstance(value, Real) and not (name == "give_up" and value is None):
            raise UserError(f"{name} {value!r}: give a number")
    if run.mirror not in (True, False):
        raise UserError(f"mirror {run.mirror!r}: give True or False")
    object.__setattr__(run, "mirror", bool(run.mirror))
    if not isinstance(run.metrics, tuple | list | str):
        raise UserError(f"metrics {run.metrics!r}: give a tuple of names")
    object.__setattr__(run, "metrics", (run.metrics,) if isinstance(run.metrics, str) else tuple(run.metrics))
    for name in ("data", "network", "solver"):
        if not isinstance(getattr(run, name), str):
            raise UserError(f"{name} {getattr(run, name)!r}: give a name")
    if run.start is not None and not (isinstance(run.start, Snapshot) and isinstance(run.start.run, Run)):
        raise UserError(f"start {str(run.start)[:80]}: give a Snapshot of a Run")


def _mistakes(run: Run) -> Iterator[tuple[Any, str]]:
    """Yields (whether something is wrong, what to say then). Each takes it that those before it are right."""
    yield from _mistakes_of_the_data(run, DATASETS[run.data])
    whole = 1 <= run.batch_size <= run.training_set
    most = f"the {run.training_set} training images"
    yield not whole, f"batch size {run.batch_size}: give a whole number from 1 to {most}"
    for name, length in {
        "length": run.length,
        "test_every": run.test_every,
        "start": run.start and run.start.at,
    }.items():
        without = length is not None and not isinstance(length, Length)
        yield without, f"{name} {length}: say of what, as in iterations({length}) or epochs({length})"
    too_long = run.iterations > MOST_ITERATIONS
    yield too_long, f"a length of {run.length}: give at most {MOST_ITERATIONS:,} iterations, which float32 can count"
    yield from _mistakes_of_the_network(run, networks.info(run.network))
    for name in run.metrics:
        yield METRICS[name].name in ALWAYS, f"{name} is measured in every run: leave it out of metrics"
    for one in (run, run.start.run) if run.start else ():
        late = not one.first_iteration <= run.first_iteration < one.iterations
        yield late, f"the snapshot at {run.first_iteration} is not inside a run of {one.iterations} iterations"
        for name in ("network", "solver", "width", "class_count", "image_shape"):
            have, need = getattr(one, name), getattr(run, name)
            what = f"the snapshot's {name.replace('_', ' ')} is {have}, the run's {need}"
            yield have != need, f"start: {what}: they must be the same"
    in_epochs = any(length.unit == "epochs" for schedule in run.schedules() for length in _lengths(schedule))
    yield (
        in_epochs and run.iterations < run.iterations_per_epoch,
        f"{run.iterations} iterations of {run.batch_size} images are less than one epoch, "
        "and a schedule is given in epochs: give it in iterations or as a fraction of the run, or train longer",
    )


def _mistakes_of_the_data(run: Run, dataset: DatasetInfo) -> Iterator[tuple[Any, str]]:
    classes, images, side = run.class_count, run.train_images, run.image_side
    need = f"{run.data} has {dataset.classes}, and at least 2 are needed"
    yield (
        bool(dataset.classes or run.classes is not None) and not 2 <= classes <= dataset.classes,
        f"{classes} classes: {need}",
    )
    yield (
        images is not None and not classes,
        f"{run.data} has no classes to choose training images by: leave train_images out",
    )
    most = dataset.train_images * classes // max(dataset.classes, 1)
    wrong = images is not None and (not classes <= images <= most or images % classes)
    yield wrong, f"{images} training images: give a multiple of the {classes} classes, at most {most}"
    wrong = side is not None and (side < 1 or any(length % side for length in dataset.image_shape[:2]))
    yield wrong, f"image side {side}: give a divisor of {run.data}'s {dataset.image_shape[0]} pixels"
    whole = dataset.image_shape
    flat = (run.mirror or run.crop is not None) and len(whole) != 3
    yield flat, f"{run.data} has no images, (height, width, channels): leave mirror and crop out"
    most = side or min(whole[:2], default=0)
    wrong = run.crop is not None and not 1 <= run.crop <= most
    yield wrong, f"crop {run.crop}: give a whole number of pixels, from 1 to {most}"
    if run.order not in (known := ("shuffled", "stored")):
        raise unknown("order", run.order, known)
    wrong = run.order == "stored" and dataset.streamed
    yield wrong, f'order "stored": the files of {run.data} are in the order of its classes; leave it out'
    too_few = run.test_images is not None and run.test_images < 1
    yield too_few, f"{run.test_images} test images: give at least 1, or None for all"


def _mistakes_of_the_network(run: Run, network: NetworkInfo) -> Iterator[tuple[Any, str]]:
    network.check_images(run.network, run.image_shape)
    if run.init not in (known := ("xavier", "msra", "scaled", None)):
        raise unknown("init", str(run.init), map(str, known))
    if run.precision not in (known := ("float32", "bfloat16")):
        raise unknown("precision", str(run.precision), known)
    for field, most in {"width": 100, "memory": math.inf}.items():
        wrong = not 0 < getattr(run, field) <= most or math.isinf(getattr(run, field))
        yield wrong, f"{field} {getattr(run, field)}: give a number above 0{' and at most 100' * (most == 100)}"
    if (ghost := run.ghost_batch_size) is not None:
        yield not network.batch_norm, f"{run.network} has no BatchNorm: leave ghost_batch_size out"
        divides = ghost > 0 and run.batch_size % ghost == 0
        remedy = "choose one that does, or None for all of it"
        yield not divides, f"ghost batch size {ghost} does not divide the batch of {run.batch_size}: {remedy}"


def _lengths(value: Any) -> Iterator[Length]:
    """Yields the lengths in a description, at any depth."""
    if isinstance(value, Length):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _lengths(part)
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            yield from _lengths(getattr(value, f.name))


_DESCRIPTIONS: dict[str, type] = {"Run": Run, "Snapshot": Snapshot}


def _encode(value: Any) -> Any:
    if isinstance(value, Length):
        return {value.unit: _encode(value.value)}
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    if isinstance(value, Real) and not isinstance(value, bool):  # equal runs have equal JSON: 1, 1.0 and NumPy's
        number: Any = value
        return int(number) if number == number // 1 else float(number)
    if not dataclasses.is_dataclass(value):
        return value
    fields = [(f.name, getattr(value, f.name), f.default) for f in dataclasses.fields(value)]
    if isinstance(value, Run):  # a constant is a number there, as experiments write it
        fields = [(name, v.value if isinstance(v, Constant) else v, default) for name, v, default in fields]
    return {"type": type(value).__name__, **{name: _encode(v) for name, v, default in fields if v != default}}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    if not isinstance(value, dict):
        return value
    if "type" not in value:
        ((unit, number),) = value.items()
        return Length(number, unit)
    fields = {name: _decode(v) for name, v in value.items() if name != "type"}
    name = value["type"]
    return (_DESCRIPTIONS.get(name) or SCHEDULES[name])(**fields)
