"""The solvers: Caffe's against NumPy and Optax, factors by path, schedules, Optax's wrappers, Flax, a user's own."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from smith.train.optim import SOLVERS, CaffeState, averaged, averages, caffe_sgd, factors

PARAMS = {"conv": {"kernel": [1.0, -2.0, 0.5], "bias": [0.25]}, "dense": {"kernel": [3.0, -1.0], "bias": [-0.5]}}
LR_FACTORS = {"conv/bias": 2.0, "dense/bias": 2.0}
DECAY_FACTORS = {"dense/kernel": 250.0, "dense/bias": 0.0}
FACTORS = {"lr_multipliers": LR_FACTORS, "decay_multipliers": DECAY_FACTORS}
STEPS = 6
LR = [0.1, 0.2, 0.4, 0.3, 0.05, 0.1]
MOMENTUM = [0.9, 0.8, 0.7, 0.75, 0.95, 1.0]
WEIGHT_DECAY = [1e-3, 2e-3, 0.0, 5e-3, 1e-3, 1e-4]
BOTH = pytest.mark.parametrize("nesterov", [False, True], ids=["sgd", "nesterov"])


def arrays(tree=PARAMS):
    return jax.tree.map(jnp.asarray, tree, is_leaf=lambda x: isinstance(x, list))


def gradients(step: int):
    """Returns a gradient like the parameters, another for every step."""
    random = np.random.default_rng(step)
    return jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape), jnp.float32), arrays())


def scheduled(values):
    """Returns an Optax schedule with one value for each step."""
    return lambda count: jnp.asarray(values, jnp.float32)[count]


def trajectory(transformation):
    """Returns the parameters after every step of a solver, jitted."""
    params = arrays()
    state, update = transformation.init(params), jax.jit(transformation.update)
    found = []
    for step in range(STEPS):
        updates, state = update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found


def distance(one, other) -> float:
    """Returns the largest difference between two lists of trees."""
    return max(float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


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


@BOTH
def test_six_steps_by_hand_with_everything_changing(nesterov):
    schedules = [scheduled(values) for values in (LR, MOMENTUM, WEIGHT_DECAY)]
    ours = trajectory(caffe_sgd(*schedules, nesterov=nesterov, **FACTORS))
    for layer, leaves in PARAMS.items():
        for name in leaves:
            for step, expected in enumerate(by_hand(nesterov, layer, name)):
                message = f"{layer}/{name}, step {step}"
                np.testing.assert_allclose(ours[step][layer][name], expected, rtol=1e-5, atol=1e-6, err_msg=message)


# Against Optax.


def optaxs(nesterov: bool, lr):
    """Returns the parameters after every step of optax.sgd, given the gradient with the decayed weights added."""
    return trajectory(optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(scheduled(lr), 0.9, nesterov=nesterov)))


@BOTH
def test_optax_does_the_same_until_the_learning_rate_changes(nesterov):
    lr = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    ours = trajectory(caffe_sgd(scheduled(lr), 0.9, 1e-2, nesterov=nesterov))
    apart = [distance(one, other) for one, other in zip(ours, optaxs(nesterov, lr), strict=True)]
    assert max(apart[:3]) < 1e-5
    assert min(apart[3:]) > 0.05


def test_what_is_carried_over_keeps_the_learning_rate_it_came_with():
    params, no_gradient = {"w": jnp.array([1.0])}, {"w": jnp.array([0.0])}
    state = CaffeState(jnp.zeros((), jnp.int32), {"w": jnp.array([0.5])})
    updates, state = caffe_sgd(1e-6, 0.8, 0.0, nesterov=False).update(no_gradient, state, params)
    assert updates["w"] == pytest.approx(-0.4)
    assert state.velocity["w"] == pytest.approx(0.4)


def test_adamw_without_multipliers_is_optaxs():
    ours = trajectory(SOLVERS["adamw"](0.1, 0.8, 1e-2, lr_multipliers={}, decay_multipliers={}))
    assert distance(ours, trajectory(optax.adamw(0.1, b1=0.8, weight_decay=1e-2))) < 1e-6


def test_muon_without_multipliers_is_optaxs_and_decays_every_parameter():
    random = np.random.default_rng(0)
    params = {name: jnp.asarray(random.normal(size=size), jnp.float32) for name, size in [("w", (3, 4)), ("b", (4,))]}
    grads = jax.tree.map(lambda p: 0.5 * p + 1, params)
    ours = SOLVERS["muon"](0.1, 0.9, 1e-2, lr_multipliers={}, decay_multipliers={})
    theirs = optax.contrib.muon(0.1, beta=0.9, weight_decay=1e-2, adam_weight_decay=1e-2)
    one, other = (each.update(grads, each.init(params), params)[0] for each in (ours, theirs))
    assert distance(one, other) < 1e-6


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("schedule-free-sgd", optax.contrib.schedule_free_sgd),
        ("schedule-free-adamw", optax.contrib.schedule_free_adamw),
    ],
)
def test_the_schedule_free_solvers_are_optaxs_and_test_its_average(name, theirs):
    """Also where the rate comes anew with every step, and the state was made with a momentum of 0."""
    known = theirs(0.1, b1=0.8, weight_decay=1e-2)
    expected, theirs_state = arrays(), known.init(arrays())
    params, state = arrays(), SOLVERS[name](0.0, 0.0, 0.0, lr_multipliers={}, decay_multipliers={}).init(arrays())
    for step in range(STEPS):
        updates, state = SOLVERS[name](0.1, 0.8, 1e-2, lr_multipliers={}, decay_multipliers={}).update(
            gradients(step), state, params
        )
        params = optax.apply_updates(params, updates)
        updates, theirs_state = known.update(gradients(step), theirs_state, expected)
        expected = optax.apply_updates(expected, updates)
    assert distance(params, expected) < 1e-6
    tested = optax.contrib.schedule_free_eval_params(theirs_state, expected)
    assert averages(state) and distance(averaged(state, params, 0.8), tested) < 1e-5
    assert distance(tested, params) > 1e-3
    assert not averages(SOLVERS["sgd"](0.1, 0.9, 0.0).init(params))


@pytest.mark.parametrize("name", ["adamw", "muon", "schedule-free-sgd", "schedule-free-adamw"])
def test_the_decoupled_solvers_take_the_multipliers(name):
    params = arrays()
    one, other = (
        each.update(gradients(0), each.init(params), params)[0]
        for each in (
            SOLVERS[name](0.1, 0.9, 0.0, lr_multipliers={}, decay_multipliers={}),
            SOLVERS[name](0.1, 0.9, 1e-2, **FACTORS),
        )
    )
    for (layer, leaf), by_lr, by_decay in [(("conv", "bias"), 2, 1), (("dense", "kernel"), 1, 250)]:
        expected = by_lr * (one[layer][leaf] - 0.1 * 1e-2 * by_decay * params[layer][leaf])
        np.testing.assert_allclose(other[layer][leaf], expected, rtol=1e-5)


# Factors by path.


def test_a_pattern_is_for_all_paths_that_it_fits_and_the_first_that_fits_counts():
    named = factors(arrays(), {"conv/bias": 3.0, "*/bias": 2.0})
    assert named == {"conv": {"kernel": 1, "bias": 3}, "dense": {"kernel": 1, "bias": 2}}


@pytest.mark.parametrize("path", ["conv", "conv9/bias", "bias", "conv/bias/x", "conv.bias", "a*/bias"])
@pytest.mark.parametrize("kind", FACTORS)
def test_a_path_that_is_not_there_is_an_error(kind, path):
    with pytest.raises(KeyError, match=re.escape(path)):
        caffe_sgd(0.1, 0.9, 0.0, **{kind: {path: 2.0, "dense/bias": 2.0}}).init(arrays())


# With Optax's wrappers and with Flax.


def test_it_works_in_a_chain_and_with_optaxs_inject_hyperparams():
    plain = trajectory(caffe_sgd(scheduled(LR), 0.9, 1e-3, **FACTORS))
    chained = trajectory(optax.chain(optax.clip(1e9), caffe_sgd(scheduled(LR), 0.9, 1e-3, **FACTORS)))
    wrapped = trajectory(optax.inject_hyperparams(caffe_sgd)(scheduled(LR), momentum=0.9, weight_decay=1e-3, **FACTORS))
    assert distance(chained, plain) == 0
    assert distance(wrapped, plain) < 1e-6


def test_it_works_with_flaxs_optimizer_and_with_an_nnx_state():
    """Flax's own way, and the same steps with an nnx.State and with a dictionary."""
    images, labels = jnp.ones((4, 3)), jnp.arange(4) % 2
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    transformation = caffe_sgd(scheduled(LR), 0.9, 1e-2, lr_multipliers={"bias": 2.0}, decay_multipliers={"bias": 0.0})

    def loss(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()

    graphdef, state = nnx.split(nnx.clone(model))

    def three_steps(params, as_state):
        memory = transformation.init(params)
        for _ in range(3):
            grads = jax.grad(lambda params: loss(nnx.merge(graphdef, as_state(params))))(params)
            updates, memory = transformation.update(grads, memory, params)
            params = optax.apply_updates(params, updates)
        return params

    optimizer = nnx.Optimizer(model, transformation, wrt=nnx.Param)
    for _ in range(3):
        optimizer.update(model, nnx.grad(loss)(model))
    from_state = three_steps(state, lambda params: params)
    from_dict = three_steps({name: state[name][...] for name in ("kernel", "bias")}, nnx.State)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(from_state[name][...], from_dict[name], rtol=1e-6)
        np.testing.assert_allclose(getattr(model, name)[...], from_dict[name], rtol=1e-6)
