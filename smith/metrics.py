"""Metrics: what a test measures, and how a figure names it.

A metric is one decorated function of a batch's logits and labels. It becomes a column of the results:

    @metric("top3_error", unit="fraction of the test images", label="Top-3 error (fraction)", short="Top-3 error",
            guess=lambda classes: 1 - 3 / classes)
    def top3_error(logits, labels): ...

`test_loss` and `test_accuracy` are measured in every test, others in the runs that name them in `Run.metrics`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from smith.errors import UserError, unknown
from smith.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from jax import Array

    Function = Callable[..., Any]


METRICS: Registry["Quantity"] = Registry("metric")
AXES = ("iteration", "epoch", "learning_rate", "momentum", "weight_decay")  # columns of results that are not measured
TAKEN = (*AXES, "train_loss", "loss_gap", "test_error", "stability", "run", "seed", "status", "facts")  # in packs too


@dataclass(frozen=True)
class Quantity:
    """What the vertical axis of a panel may show; `metric` decorates the function of a batch that measures it.

    name: the column of the results, or one of `FORMULAS`, which are made from several
    unit: the column's unit, in words
    label, short: as an axis and as a legend call it
    guess: number of classes -> what guessing gives
    better: whether smaller or larger values are better
    logarithm: whether ratios of it mean something, so that its axis may be logarithmic
    function: of outputs: (logits (batch, classes) float32, labels (batch,) int32) -> (batch,) float32, averaged over
      the test images. Of the curvature: (product, params) -> a number, where product(vector) is the Hessian of the
      training loss on some fixed images times a tree like the parameters. None for what is not a metric
    of: what the function is of

    Raises:
      UserError: the name belongs to another metric, or to another column of results.
    """

    name: str
    unit: str
    label: str
    short: str
    guess: Callable[[int], float]
    better: Literal["lower", "higher"] = "lower"
    logarithm: bool = False
    function: "Function | None" = None
    of: Literal["outputs", "curvature"] = "outputs"

    def __call__(self, function: "Function") -> "Function":
        if self.name in TAKEN:
            raise UserError(f"metric {self.name!r}: results have a column of that name: give it another name")
        return METRICS.add(self.name, replace(self, function=function), function)


metric = Quantity  # as a decorator

NATS = "nats; mean over the test images"
SHARE = "fraction of the test images"


@metric("test_loss", unit=NATS, label="Test loss (nats)", short="Loss", guess=math.log, logarithm=True)
def cross_entropy(logits: "Array", labels: "Array") -> "Array":
    """Returns the softmax cross-entropy of every label, in nats."""
    import optax

    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


@metric("test_accuracy", unit=SHARE, label="Test accuracy (fraction)", short="Accuracy", guess=lambda n: 1 / n,
        better="higher")  # fmt: skip
def correct(logits: "Array", labels: "Array") -> "Array":
    """Returns for every image whether the largest logit is that of its class."""
    return logits.argmax(-1) == labels


POWER_ITERATIONS = 16


@metric("sharpness", unit="nats; largest eigenvalue of the Hessian of the training loss", label="Sharpness",
        short="Sharpness", guess=lambda classes: math.nan, logarithm=True, of="curvature")  # fmt: skip
def sharpness(product: "Callable[[Any], Any]", params: Any) -> float:
    """Returns the eigenvalue of the Hessian that is largest in size, by power iteration from a fixed vector.

    Batch statistics are those of the images. Cohen et al. (arXiv:2103.00065) call it sharpness; the estimate is low
    where a second eigenvalue is nearly as large.
    """
    import jax
    import optax

    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    vector = structure.unflatten(jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True))
    value: Any = math.nan
    for _ in range(POWER_ITERATIONS):
        vector = optax.tree.scale(1 / optax.tree.norm(vector), vector)
        image = product(vector)
        value, vector = optax.tree.vdot(vector, image), image
    return float(value)


def total(function: "Function", outputs: "Array", labels: "Array") -> "Array":
    """Returns the sum over a batch of what a loss or a metric gives: () float32.

    function: (outputs, labels) -> one number for each example, several for each (as of tokens), which are averaged, or
      the mean over the batch.

    Raises UserError for anything else.
    """
    values: Any = function(outputs, labels)
    if not hasattr(values, "astype") or values.ndim and len(values) != len(labels):
        told = getattr(values, "shape", None) or repr(values)
        raise UserError(f"{getattr(function, '__name__', function)} gives {told}: give a number for each example")
    values = values.astype("float32")
    return values.reshape(len(labels), -1).mean(axis=1).sum() if values.ndim else values * len(labels)


ALWAYS = ("test_loss", "test_accuracy")
_SINCE = "nats; mean over the iterations since the last test"
_GAP = "nats; test loss minus training loss"
_SHARE = "fraction of the test images; one minus the accuracy"
_EDGE = "times 2 (1 + momentum), where gradient descent with momentum becomes unstable"
_TRAINING, _DIFFERENCE, _STABILITY = "Training loss", "Test loss - training loss", "LR x sharpness"
_DERIVED = {
    "train_loss": Quantity("train_loss", _SINCE, f"{_TRAINING} (nats)", _TRAINING, math.log, logarithm=True),
    "loss_gap": Quantity("loss_gap", _GAP, f"{_DIFFERENCE} (nats)", _DIFFERENCE, lambda classes: 0.0),
    "test_error": Quantity("test_error", _SHARE, "Test error (fraction)", "Error", lambda n: 1 - 1 / n, logarithm=True),
    "stability": Quantity(
        "stability", _EDGE, f"{_STABILITY} / (2 (1 + momentum))", _STABILITY, lambda classes: math.nan, logarithm=True
    ),
}
FORMULAS: "dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]]" = {  # of the columns of a result
    "loss_gap": lambda columns: columns["test_loss"] - columns["train_loss"],
    "test_error": lambda columns: 1 - columns["test_accuracy"],
    "stability": lambda columns: _stability(columns["learning_rate"], columns["sharpness"], columns["momentum"]),
}


def _stability(rate: "np.ndarray", sharpness: "np.ndarray", momentum: "np.ndarray") -> "np.ndarray":
    """Returns LR x sharpness / (2 (1 + momentum)); not a number where no direction is steep, as after an explosion."""
    import numpy as np

    return rate * np.where(sharpness > 0, sharpness, np.nan) / (2 + 2 * momentum)


def quantity(name: str) -> Quantity:
    """Returns what there is to know about a metric, "train_loss" or one of `FORMULAS`. Raises UserError for others."""
    known = {**METRICS, **_DERIVED}
    if name not in known:
        raise unknown("quantity", name, known)
    return known[name]
