"""Caffe's solvers against NumPy and Optax, and the multipliers by parameter path."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smith import networks
from smith.train.optim import CaffeState, caffe, multipliers

PARAMS = {"conv": {"kernel": [1.0, -2.0, 0.5], "bias": [0.25]}, "dense": {"kernel": [3.0, -1.0], "bias": [-0.5]}}
LR_FACTORS = {"conv/bias": 2.0, "dense/bias": 2.0}
DECAY_FACTORS = {"dense/kernel": 250.0, "dense/bias": 0.0}
STEPS = 6
LR = [0.1, 0.2, 0.4, 0.3, 0.05, 0.1]
MOMENTUM = [0.9, 0.8, 0.7, 0.75, 0.95, 1.0]
WEIGHT_DECAY = [1e-3, 2e-3, 0.0, 5e-3, 1e-3, 1e-4]


def arrays(tree):
    return jax.tree.map(jnp.asarray, tree, is_leaf=lambda x: isinstance(x, list))


def gradients(step: int):
    """Returns a gradient like the parameters, another for every step."""
    random = np.random.default_rng(step)
    return jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape), jnp.float32), arrays(PARAMS))


def solver(nesterov: bool, lr_factors=LR_FACTORS, decay_factors=DECAY_FACTORS):
    params = arrays(PARAMS)
    return caffe(multipliers(params, lr_factors), multipliers(params, decay_factors), nesterov=nesterov)


def trajectory(transformation, lr, momentum, weight_decay):
    """Returns the parameters after every step of our solver, jitted."""
    params = arrays(PARAMS)
    state = transformation.init(params)
    update = jax.jit(transformation.update)
    found = []
    for step in range(STEPS):
        hyper = {"lr": lr[step], "momentum": momentum[step], "weight_decay": weight_decay[step]}
        updates, state = update(gradients(step), state, params, **hyper)
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found


def by_hand(nesterov: bool, layer: str, name: str) -> list[np.ndarray]:
    """Returns one parameter after every step, by the formulas of Caffe's solvers in float64."""
    path = f"{layer}/{name}"
    theta = np.array(PARAMS[layer][name])
    velocity = np.zeros_like(theta)
    found = []
    for step, (lr, momentum, wd) in enumerate(zip(LR, MOMENTUM, WEIGHT_DECAY, strict=True)):
        gradient = np.asarray(gradients(step)[layer][name], np.float64) + wd * DECAY_FACTORS.get(path, 1) * theta
        old = velocity
        velocity = momentum * old + lr * LR_FACTORS.get(path, 1) * gradient
        theta = theta - ((1 + momentum) * velocity - momentum * old if nesterov else velocity)
        found.append(theta)
    return found


@pytest.mark.parametrize("path", ["conv/kernel", "conv/bias", "dense/kernel", "dense/bias"])
@pytest.mark.parametrize("nesterov", [False, True], ids=["sgd", "nesterov"])
def test_six_steps_by_hand_with_everything_changing(nesterov, path):
    layer, name = path.split("/")
    ours = trajectory(solver(nesterov), LR, MOMENTUM, WEIGHT_DECAY)
    for step, expected in enumerate(by_hand(nesterov, layer, name)):
        np.testing.assert_allclose(ours[step][layer][name], expected, rtol=1e-5, atol=1e-6, err_msg=f"step {step}")


def optaxs(nesterov: bool, lr, momentum: float, weight_decay: float):
    """Returns the parameters after every step of optax.sgd, given the gradient with the decayed weights added."""
    transformation = optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.sgd(lambda step: jnp.asarray(lr)[step], momentum, nesterov=nesterov),
    )
    params = arrays(PARAMS)
    state = transformation.init(params)
    found = []
    for step in range(STEPS):
        updates, state = transformation.update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found


def distances(nesterov: bool, lr) -> list[float]:
    """Returns the largest difference to optax.sgd after every step."""
    ours = trajectory(solver(nesterov, {}, {}), lr, [0.9] * STEPS, [1e-2] * STEPS)
    theirs = optaxs(nesterov, lr, 0.9, 1e-2)
    return [
        max(float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
        for one, other in zip(ours, theirs, strict=True)
    ]


@pytest.mark.parametrize("nesterov", [False, True], ids=["sgd", "nesterov"])
def test_while_the_learning_rate_is_constant_optax_does_the_same(nesterov):
    assert max(distances(nesterov, [0.1] * STEPS)) < 1e-5


@pytest.mark.parametrize("nesterov", [False, True], ids=["sgd", "nesterov"])
def test_from_the_step_at_which_the_learning_rate_changes_optax_does_something_else(nesterov):
    before, after = np.split(np.array(distances(nesterov, [0.1, 0.1, 0.1, 0.01, 0.01, 0.01])), [3])
    assert before.max() < 1e-5
    assert after.min() > 0.05


def test_what_is_carried_over_keeps_the_learning_rate_it_came_with():
    params, no_gradient = {"w": jnp.array([1.0])}, {"w": jnp.array([0.0])}
    update = caffe({"w": 1.0}, {"w": 1.0}, nesterov=False).update
    state = CaffeState({"w": jnp.array([0.5])})
    updates, state = update(no_gradient, state, params, lr=1e-6, momentum=0.8, weight_decay=0.0)
    assert updates["w"] == pytest.approx(-0.4)
    assert state.velocity["w"] == pytest.approx(0.4)


def test_with_neither_gradient_nor_decay_nor_velocity_nothing_moves():
    params = arrays(PARAMS)
    transformation = solver(True)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, state = transformation.update(
        zeros, transformation.init(params), params, lr=0.1, momentum=0.9, weight_decay=0.0
    )
    assert all(not leaf.any() for leaf in jax.tree.leaves((updates, state.velocity)))


# Multipliers.


def test_a_path_that_is_not_named_has_the_factor_1():
    found = multipliers(arrays(PARAMS), {"conv/bias": 2.0, "dense/kernel": 250.0})
    assert found == {"conv": {"kernel": 1.0, "bias": 2.0}, "dense": {"kernel": 250.0, "bias": 1.0}}


def test_multipliers_do_not_change_the_mapping_they_are_given():
    named = {"conv/bias": 2.0}
    multipliers(arrays(PARAMS), named)
    assert named == {"conv/bias": 2.0}


@pytest.mark.parametrize("path", ["conv", "conv9/bias", "bias", "conv/bias/x", "conv.bias"])
def test_a_path_that_is_not_there_is_an_error(path):
    with pytest.raises(KeyError, match=path):
        multipliers(arrays(PARAMS), {path: 2.0, "dense/bias": 2.0})


def test_the_decay_of_shallow3s_classifier_is_250_times_that_of_its_other_kernels():
    info = networks.info("shallow3")
    _, params, _ = networks.create("shallow3", 0)
    params = jax.tree.map(jnp.ones_like, params)
    update = caffe(
        multipliers(params, info.lr_multipliers), multipliers(params, info.decay_multipliers), nesterov=False
    ).update
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = update(zeros, CaffeState(zeros), params, lr=0.01, momentum=0.9, weight_decay=1e-3)
    moved = jax.tree.map(lambda leaf: float(leaf.min()), updates)
    assert all(leaf.min() == leaf.max() for leaf in jax.tree.leaves(updates))
    assert moved["dense"]["kernel"] == pytest.approx(-250 * 1e-5)
    assert moved["dense"]["bias"] == 0
    for layer, bias in (("conv1", 2), ("conv2", 2), ("conv3", 1)):
        assert moved[layer]["kernel"] == pytest.approx(-1e-5)
        assert moved[layer]["bias"] == pytest.approx(-bias * 1e-5)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_multipliers_of_every_network_name_parameters_that_it_has(name):
    info = networks.info(name)
    shapes = jax.eval_shape(lambda: networks.create(name, 0)[1])
    for named in (info.lr_multipliers, info.decay_multipliers):
        multipliers(shapes, named)
