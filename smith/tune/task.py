"""A task: a network and data of one's own, on which the paper's method runs as it does on the paper's.

Making one registers its dataset, its network and its optimizer, so that its runs are `Run`s like any other: the same
engine trains them, and the same store keeps their results. The names carry digests of the data and of what network,
loss and optimizer compute. A task that has changed is another one, and never gets the results of the former.
"""

import dataclasses
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from smith.data import DATASETS, SPLITS, Arrays, DatasetInfo, Split, default_data_dir
from smith.errors import UserError, unknown
from smith.lengths import Length, iterations
from smith.metrics import METRICS, cross_entropy, metric, total
from smith.networks import NetworkInfo
from smith.run import Run, digest
from smith.scales import Scale
from smith.store import Result, Store
from smith.train import jobs, optim
from smith.train.optim import Multipliers
from smith.train.progress import Display
from smith.train.step import Problem
from smith.tune import sources
from smith.tune.functions import Functions, Module, functions

Loss = Callable[[Array, Array], Array]
SCALE = Scale("tune", "tasks of one's own", 3, 3, lambda run: run)
UNCUT = 2**31  # a CPU computes the gradient of so many examples at once: a batch is never cut
TESTED = 1000  # test examples in the tests of a search
TESTS = 40  # in a run, if not told otherwise
FAULTY = "network, loss or optimizer"
NEEDED = {"momentum": {"momentum", "b1", "beta"}, "weight decay": {"weight_decay"}}  # parameters of an Optax factory


class Task:
    """What is to be learnt, and with what.

    base: the run that every run of the task is a change of
    store: where the results are kept, as Parquet files: results/tune/ in the current folder, if not told otherwise
    quiet: whether training says nothing; False for a line for each run, and a bar on a terminal
    first_seed: the seed that is trained first; a repetition of a whole search begins at another
    without: the steps of the recipe for which the optimizer has no parameter
    """

    base: Run
    store: Store
    quiet: bool = True
    first_seed: int = 0
    without: Sequence[str] = ()

    def __init__(
        self,
        network: Any,
        train: Any,
        test: Any,
        *,
        loss: Loss | None = None,
        metrics: Sequence[str | Loss] = (),
        optimizer: str | Callable[..., optax.GradientTransformation] = "nesterov",
        batch_size: int | None = None,
        preprocessing: Literal["mean_image", "divide_256", "none", "as_it_is"] | None = None,
        mirror: bool = False,
        batched: bool | None = None,
        name: str = "",
        results_dir: str | Path = "results",
    ) -> None:
        """Makes a task.

        Args:
          network: a class of Flax NNX that takes `rngs`, or a function that makes one from them; a Linen module; or
            functions (init(key, inputs) -> params, apply(params, inputs) -> outputs). Its call may take `train`,
            `training`, `deterministic` and `key`. NNX's own modes (Dropout, BatchNorm) are set too.
          train, test: (inputs, labels) as arrays, a `tfds.data_source`, a Hugging Face `Dataset`, a Grain
            `MapDataset` or `DataLoader`, or any iterable that can be begun again. All of it is read into memory.
          loss: (outputs, labels) -> a loss for each example, several, which are averaged, or the mean over the batch;
            None for cross-entropy with labels from 0.
          metrics: further ones: names of registered metrics, or functions like a loss.
          optimizer: a name in `smith.train.optim.SOLVERS`, or an Optax factory; of its parameters it gets the learning
            rate, `momentum`, `b1` or `beta`, and `weight_decay`, as far as it has them.
          batch_size: examples in one iteration; None for 128, or an eighth of a small training set.
          preprocessing: see `smith.data.DatasetInfo`; None divides bytes by 256 and leaves all else as it is.
          mirror: whether training images are mirrored at random.
          batched: whether iterables give batches; None to see that by their labels.
          name: for files and plots; None for the network's.

        Raises:
          UserError: data, a network, a loss or an optimizer that can not be used; the line says why.
        """
        jobs.prepare([])
        splits: dict[Split, Arrays] = {
            split: sources.arrays(source, f"{what} data", batched)
            for split, source, what in zip(SPLITS, (train, test), ("training", "test"), strict=True)
        }
        given, labels = splits["train"]
        if splits["test"].images.shape[1:] != given.shape[1:] or splits["test"].labels.shape[1:] != labels.shape[1:]:
            raise UserError(
                f"training examples of shape {given.shape[1:]} and test examples of {splits['test'].images.shape[1:]}"
            )
        preprocessing = preprocessing or ("divide_256" if given.dtype == np.uint8 else "as_it_is")
        kind = given.dtype if preprocessing == "as_it_is" else np.float32
        examples = jnp.zeros((2, *given.shape[1:]), kind), jnp.zeros((2, *labels.shape[1:]), labels.dtype)
        of = _checked(lambda: functions(network, examples[0]), "network")
        outputs = _checked(lambda: _outputs(of, examples[0]), "network")
        classes = _classes(splits, outputs) if loss is None else 0
        chosen = [one if isinstance(one, str) else _metric(one) for one in metrics]
        if len(set(chosen)) < len(chosen):
            raise UserError(f"metrics {', '.join(chosen)}: give each function a name of its own")
        for one in [
            loss or cross_entropy,
            *(METRICS[each].function for each in chosen if METRICS[each].of == "outputs"),
        ]:
            _checked(lambda one=one: _check_loss(one, outputs, examples[1]), "loss or metric")
        factory = _factory(optimizer)
        if not isinstance(optimizer, str):
            self.without = [step for step, names in NEEDED.items() if not names & _parameters(optimizer)]
        own = [one for one in metrics if callable(one)]
        text = _checked(lambda: _computation(of, [loss or cross_entropy, *own], factory, examples, outputs), FAULTY)
        name = name or re.sub(r"\W+", "", getattr(network, "__name__", type(network).__name__)).lower()
        unique = f"{name}_{digest(text + preprocessing + ''.join(split.sha256 for split in splits.values()))}"
        counts = {f"{split}_images": len(arrays.labels) for split, arrays in splits.items()}
        facts: Any = {"image_shape": given.shape[1:], "classes": classes, "preprocessing": preprocessing, "loss": loss}
        DATASETS.add(unique, DatasetInfo(unique, arrays=splits, **counts, **facts), Task)
        if loss:
            guess = DATASETS[unique].guess = _untrained(of, loss, Problem.put(unique, **splits))
            if not np.isfinite(guess):
                raise UserError(f"the loss of the untrained network is {guess}: mend the loss or the network")
        NetworkInfo(unique, cached_batch=UNCUT)(lambda classes, options, *, rngs: Module(of, rngs.params()))
        solver = optimizer if isinstance(optimizer, str) else unique
        optim.SOLVERS.setdefault(solver, factory)
        self.base = Run(
            data=unique,
            network=unique,
            batch_size=min(128, max(1, len(given) // 8)) if batch_size is None else batch_size,
            length=iterations(1),
            lr=0.0,
            solver=solver,
            mirror=mirror,
            metrics=tuple(chosen),
        )
        self._keep(name, results_dir)

    def __repr__(self) -> str:
        return (
            f"Task({self.base.network}: {self.base.training_set} training examples, batches of {self.base.batch_size})"
        )

    def _keep(self, name: str, results_dir: str | Path, data_dir: Path | None = None) -> None:
        self.name, self.store, self._data_dir = name, Store(Path(results_dir), SCALE), data_dir or default_data_dir()

    @classmethod
    def of(cls, run: Run, *, results_dir: str | Path = "results", data_dir: str | Path | None = None) -> "Task":
        """Returns the task of a run of the paper's kind: its network, data and sizes, whatever its schedules."""
        jobs.prepare([run])
        task = cls.__new__(cls)
        task.base = run.replace(start=None)
        task._keep(run.network, results_dir, Path(data_dir) if data_dir else None)
        return task

    def run(self, length: Length, **changes: Any) -> Run:
        """Returns a run of the task that is tested 40 times. changes: fields of `Run`; at least `lr`."""
        fields = [field.name for field in dataclasses.fields(Run)]
        for name in changes:
            if name not in fields:
                raise unknown("setting of a run", name, fields)
        run = self.base.replace(length=length, **{"lr": 0.0, "momentum": 0.9, "weight_decay": 0.0, **changes})
        if "test_every" in changes:
            return run
        return run.replace(test_every=iterations(max(1, run.iterations // TESTS)))

    def train(self, runs: Mapping[str, Run], seeds: int = 1) -> dict[str, list[Result]]:
        """Trains runs that have no result yet. Returns their results by the names of the runs, and by seed."""
        check_seeds(seeds)
        planned = jobs.plan(runs.values(), self.store, seeds, self.first_seed)
        with Display(quiet=self.quiet) as display:
            jobs.execute(planned, self.store, self._data_dir, display)
        numbers = range(self.first_seed, self.first_seed + seeds)
        return {name: [r for seed in numbers if (r := self.store.find(run, seed))] for name, run in runs.items()}


def check_seeds(seeds: int) -> None:
    """Raises UserError for what is no number of seeds."""
    if not isinstance(seeds, Integral) or not 1 <= seeds <= 1000:
        raise UserError(f"{seeds} seeds: give a whole number from 1 to 1000")


def _checked(make: Callable[[], Any], what: str) -> Any:
    """Returns what `make` does. Raises UserError with one line where it raises anything."""
    try:
        return make()
    except UserError:
        raise
    except Exception as error:  # whatever a user's own code raises
        line = " ".join(str(error).split())[:300]
        raise UserError(f"the {what} does not take these data: {type(error).__name__}: {line}") from error


def _outputs(of: Functions, inputs: Array) -> jax.ShapeDtypeStruct:
    params, rest = jax.eval_shape(of.init, jax.random.key(0))
    if not jax.tree.leaves(params):
        raise UserError("the network has no parameters: there is nothing to train")
    outputs = jax.eval_shape(lambda p, r, x: of.apply(p, r, x, False, None)[0], params, rest, inputs)
    if not isinstance(outputs, jax.ShapeDtypeStruct):
        raise UserError(f"the network gives a {type(outputs).__name__}: give one array, (batch, ...)")
    return outputs


def _classes(splits: Mapping[Split, Arrays], outputs: jax.ShapeDtypeStruct) -> int:
    """Returns the number of classes, which is the size of the outputs' last axis."""
    kinds = {split.labels.dtype.kind for split in splits.values()}
    if not kinds <= set("iu"):
        raise UserError("labels that are not whole numbers: give a loss, such as optax.squared_error")
    if outputs.ndim != splits["train"].labels.ndim + 1:
        shapes = f"outputs of shape {outputs.shape[1:]} for labels of {splits['train'].labels.shape[1:]}"
        raise UserError(f"{shapes}: cross-entropy needs a number for each class; or give a loss")
    low, high = (f([f(split.labels) for split in splits.values()]) for f in (np.min, np.max))
    if low < 0 or high >= outputs.shape[-1]:
        raise UserError(
            f"labels {low} to {high}, and {outputs.shape[-1]} outputs: count classes from 0, an output each"
        )
    return outputs.shape[-1]


def _check_loss(function: Loss, outputs: jax.ShapeDtypeStruct, labels: Array) -> None:
    given = jax.eval_shape(function, outputs, labels)
    if not hasattr(given, "shape") or (given.ndim and given.shape[0] != len(labels)):
        shape = getattr(given, "shape", type(given).__name__)
        raise UserError(f"it gives {shape} for a batch of {len(labels)}: give the mean, or a number for each example")


def _metric(function: Loss) -> str:
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise UserError(f"metric {function!r}: give a function that has a name")
    if name not in METRICS or METRICS[name].function is not function:
        label = name.replace("_", " ").capitalize()
        metric(name, unit="mean over the test examples", label=label, short=label, guess=lambda _: float("nan"))(
            function
        )
    return name


def _factory(optimizer: str | Callable[..., Any]) -> Callable[..., Any]:
    """Returns a solver's factory, made from an Optax factory where that is given."""
    if isinstance(optimizer, str):
        return optim.SOLVERS[optimizer]
    known = _parameters(optimizer)
    if "learning_rate" not in known:
        raise UserError("the optimizer takes no learning_rate: give a factory such as optax.adamw")

    def factory(learning_rate: Array, momentum: Array, weight_decay: Array, **_: Multipliers) -> Any:
        values = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        values |= dict.fromkeys(NEEDED["momentum"], momentum)
        return optimizer(**{field: value for field, value in values.items() if field in known})

    return factory


def _parameters(optimizer: Any) -> set[str]:
    return set(inspect.signature(optimizer).parameters) if callable(optimizer) else set()


def _computation(
    of: Functions,
    losses: Sequence[Loss],
    factory: Callable[..., Any],
    examples: tuple[Array, Array],
    outputs: jax.ShapeDtypeStruct,
) -> str:
    """Returns, as text, all that a training step and the metrics compute, and how the parameters are drawn.

    losses: the loss, then the metrics
    """

    def update(params: Any, rest: Any, hyper: Array, inputs: Array, labels: Array, key: Array) -> Any:
        def loss_of(params: Any) -> tuple[Array, Any]:
            outputs, new = of.apply(params, rest, inputs, True, key)
            return total(losses[0], outputs, labels), new

        optimizer = factory(*hyper, lr_multipliers=None, decay_multipliers=None)
        (_, new), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        state = optimizer.init(params)
        if optim.injects(state):
            raise UserError("leave optax.inject_hyperparams out: every iteration's values are given to the factory")
        return optimizer.update(grads, state, params)[0], new

    key = jax.random.key(0)
    shapes = jax.eval_shape(of.init, key)
    traced = [jax.make_jaxpr(of.init)(key), jax.make_jaxpr(update)(*shapes, jnp.zeros(3), *examples, key)]
    traced += [jax.make_jaxpr(one)(outputs, examples[1]) for one in losses[1:]]
    own = "".join(hashlib.sha256(one).hexdigest() for jaxpr in traced for one in _constants(jaxpr))
    return re.sub(r"0x[0-9a-f]+", "", "\n".join(map(str, traced))) + own


def _constants(jaxpr: Any) -> Iterator[bytes]:
    """Yields the bytes of the arrays that a traced function brings along, of which its text has the shapes only."""
    for one in getattr(jaxpr, "consts", ()):
        yield np.asarray(jax.random.key_data(one) if jnp.issubdtype(one.dtype, jax.dtypes.prng_key) else one).tobytes()
    for part in jax.tree.leaves([equation.params for equation in jaxpr.eqns]):
        if hasattr(part, "eqns"):
            yield from _constants(part)


def _untrained(of: Functions, loss: Loss, problem: Problem) -> float:
    """Returns the loss of a network that has learnt nothing, on some of the test examples."""
    inputs, labels = problem.preprocess(problem.test_images[:TESTED]), problem.test_labels[:TESTED]
    outputs, _ = of.apply(*of.init(jax.random.key(0)), inputs, False, None)
    return float(total(loss, outputs, labels)) / len(labels)
