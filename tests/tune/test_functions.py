"""Networks of every kind as functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import CLASSES, FEATURES, LinenPerceptron, Perceptron

from smith.errors import UserError
from smith.tune.functions import functions

INPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(6, FEATURES)), jnp.float32)
PAIR = (
    lambda key, inputs: {"kernel": jax.random.normal(key, (inputs.shape[-1], CLASSES))},
    lambda params, inputs: inputs @ params["kernel"],
)
KINDS = {"nnx": Perceptron, "linen": LinenPerceptron(), "linen class": LinenPerceptron, "pair": PAIR}


@pytest.mark.parametrize("network", KINDS.values(), ids=KINDS)
def test_every_kind_draws_its_parameters_from_the_key_and_gives_outputs(network):
    of = functions(network, INPUTS)
    drawn = [of.init(jax.random.key(seed)) for seed in (0, 0, 1)]
    outputs = [np.asarray(of.apply(*state, INPUTS, False, None)[0]) for state in drawn]
    assert outputs[0].shape == (6, CLASSES)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])


@pytest.mark.parametrize("network", [Perceptron, LinenPerceptron()], ids=["nnx", "linen"])
def test_training_drops_units_by_the_key_and_moves_the_batch_statistics_and_a_test_does_neither(network):
    of = functions(network, INPUTS)
    params, rest = of.init(jax.random.key(0))

    @jax.jit
    def trained(key):
        return of.apply(params, rest, INPUTS, True, key)

    one, other = trained(jax.random.key(1)), trained(jax.random.key(2))
    assert not np.allclose(one[0], other[0])
    np.testing.assert_array_equal(one[0], trained(jax.random.key(1))[0])
    moved = jax.tree.map(lambda a, b: not np.allclose(a, b), rest, one[1])
    assert all(jax.tree.leaves(moved)) and jax.tree.structure(rest) == jax.tree.structure(one[1])
    outputs, same = of.apply(params, rest, INPUTS, False, None)
    np.testing.assert_array_equal(outputs, of.apply(params, rest, INPUTS, False, jax.random.key(3))[0])
    assert jax.tree.all(jax.tree.map(np.array_equal, rest, same))


def test_a_pair_gets_the_keywords_that_it_names():
    seen = {}

    def apply(params, inputs, *, key, deterministic):
        seen.update(key=key, deterministic=deterministic)
        return inputs @ params

    of = functions((lambda key, inputs: jnp.ones((FEATURES, 1)), apply), INPUTS)
    of.apply(jnp.ones((FEATURES, 1)), {}, INPUTS, True, "a key")
    assert seen == {"key": "a key", "deterministic": False}


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Perceptron(nnx.Rngs(0)), "give the class"),
        (3, "network 3"),
        (lambda rngs: 3, "gives a int"),
    ],
)
def test_what_is_no_network_is_told(network, says):
    with pytest.raises(UserError, match=says):
        functions(network, INPUTS)
