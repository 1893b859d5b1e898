"""Metrics: what a test measures, and how a figure names it.

A metric is one decorated function of a batch's logits and labels. It becomes a column of the results:

    @metric("top3_error", unit="fraction of the test images", label="Top-3 error (fraction)", short="Top-3 error",
            guess=lambda classes: 1 - 3 / classes)
    def top3_error(logits, labels): ...

`test_loss` and `test_accuracy` are measured in every test, others in the runs that name them in `Run.metrics`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from smith.errors import unknown
from smith.registry import Registry

if TYPE_CHECKING:
    from jax import Array

    Function = Callable[[Array, Array], Array]


METRICS: Registry["Quantity"] = Registry("metric")


@dataclass(frozen=True)
class Quantity:
    """What the vertical axis of a panel may show; `metric` decorates the function of a batch that measures it.

    name: the column of the results, or "loss_gap", which is made from two
    unit: the column's unit, in words
    label, short: as an axis and as a legend call it
    guess: number of classes -> what guessing gives
    better: whether smaller or larger values are better
    logarithm: whether ratios of it mean something, so that its axis may be logarithmic
    function: (logits (batch, classes) float32, labels (batch,) int32) -> (batch,) float32, averaged over the test
      images; None for what is not a metric

    Raises:
      UserError: the name belongs to another metric.
    """

    name: str
    unit: str
    label: str
    short: str
    guess: Callable[[int], float]
    better: Literal["lower", "higher"] = "lower"
    logarithm: bool = False
    function: "Function | None" = None

    def __call__(self, function: "Function") -> "Function":
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


def total(function: "Function", outputs: "Array", labels: "Array") -> "Array":
    """Returns the sum over a batch of what a loss or a metric gives: () float32.

    function: (outputs, labels) -> one number for each example, several for each (as of tokens), which are averaged, or
      the mean over the batch.
    """
    values = function(outputs, labels).astype("float32")
    return values.reshape(len(labels), -1).mean(axis=1).sum() if values.ndim else values * len(labels)


ALWAYS = ("test_loss", "test_accuracy")
_SINCE = "nats; mean over the iterations since the last test"
_GAP = "nats; test loss minus training loss"
_TRAINING, _DIFFERENCE = "Training loss", "Test loss - training loss"
_DERIVED = {
    "train_loss": Quantity("train_loss", _SINCE, f"{_TRAINING} (nats)", _TRAINING, math.log, logarithm=True),
    "loss_gap": Quantity("loss_gap", _GAP, f"{_DIFFERENCE} (nats)", _DIFFERENCE, lambda classes: 0.0),
}


def quantity(name: str) -> Quantity:
    """Returns what there is to know about a metric, "train_loss" or "loss_gap". Raises UserError for other names."""
    known = {**METRICS, **_DERIVED}
    if name not in known:
        raise unknown("quantity", name, known)
    return known[name]
