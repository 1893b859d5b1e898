"""Data from arrays and from iterables of many kinds."""

import itertools
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from tiny import made_up

from smith.errors import UserError
from smith.tune.sources import arrays

X, Y = made_up(12)


class Indexed:
    """Like a tfds.data_source or a Grain MapDataset: a length, and an example for each index."""

    def __init__(self, examples, length=None):
        self.examples, self.length = examples, length

    def __len__(self):
        return self.length or len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


class HuggingFace(Indexed):
    """Gives lists, and arrays after `with_format`."""

    def with_format(self, kind):
        assert kind == "numpy"
        return Indexed([{name: np.asarray(value) for name, value in one.items()} for one in self.examples])


EXAMPLES = [{"image": x, "label": y, "id": n} for n, (x, y) in enumerate(zip(X, Y, strict=True))]
BATCHES = [(X[:5], Y[:5]), (X[5:10], Y[5:10]), (X[10:], Y[10:])]
SOURCES = {
    "arrays": (X, Y),
    "lists": (X.tolist(), Y.tolist()),
    "mapping": {"inputs": X, "labels": Y},
    "pairs": list(zip(X, Y, strict=True)),
    "data source": Indexed(EXAMPLES),
    "Hugging Face": HuggingFace([{"pixels": list(x), "label": int(y)} for x, y in zip(X, Y, strict=True)]),
    "batches": BATCHES,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_kind_of_source_gives_the_same_arrays(source):
    found = arrays(source, "training data")
    np.testing.assert_array_equal(found.images, X)
    np.testing.assert_array_equal(found.labels, Y)
    assert found.images.dtype == np.float32 and found.labels.dtype == np.int32


def test_types_of_32_bits_stay_and_longer_ones_are_cut():
    assert arrays((X.astype(float), Y.astype(float)), "").images.dtype == np.float32
    assert arrays((np.zeros((2, 4, 4, 3), np.uint8), np.array([True, False])), "").images.dtype == np.uint8
    assert arrays((jnp.asarray(X, jnp.bfloat16), Y), "").images.dtype == np.float32


def test_sequences_with_a_label_for_each_place_need_to_say_that_they_are_examples():
    tokens = [(np.arange(4), np.arange(4)), (np.arange(4), np.arange(4))]
    assert arrays(tokens, "", batched=False).images.shape == (2, 4)
    assert arrays(tokens, "").images.shape == (8,)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (iter(BATCHES), "only once"),
        ((x for x in BATCHES), "only once"),
        ([], "there are none"),
        ((X[:0], Y[:0]), "there are none"),
        ((X, Y[:3]), "12 and 3 inputs and labels"),
        ([(X[0], 1), (X[0][:3], 1)], "differ in shape"),
        (([[1, 2], [3]], [0, 1]), "one shape"),
        ([X[0]], "no pair"),
        ([{"a": X[0], "b": X[0]}], "which of a, b is the label"),
        (Indexed(EXAMPLES, sys.maxsize), "no end"),
        (3, "a int is not known"),
        ((np.array(["cat"]), Y[:1]), "give numbers"),
        ((np.where(X > 1, np.nan, X), Y), "not finite"),
        ((X.astype(float) * 1e300, Y), "not finite in float32"),
        ((X, Y + 2**32), "numbers of 32 bits"),
    ],
)
def test_what_can_not_be_read_is_told(source, says):
    with pytest.raises(UserError, match=says):
        arrays(source, "training data")


def test_what_has_no_end_is_told(monkeypatch):
    monkeypatch.setattr("smith.tune.sources.MOST", 1000)

    class Endless:
        def __iter__(self):
            return itertools.cycle(EXAMPLES)

    with pytest.raises(UserError, match="no end"):
        arrays(Endless(), "training data")
