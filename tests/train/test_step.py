"""The step against the same by hand; its parts, keys, preprocessing; the sums of a test."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import problem_of, slow

from smith import networks
from smith.errors import UserError
from smith.metrics import METRICS, metric, total
from smith.networks import Options, convolutions
from smith.run import Run, iterations
from smith.schedules import CyclicalMomentum, Multistep, RangeTest
from smith.train import step
from smith.train.loop import hyperparameters, train
from smith.train.step import Problem, Program, keys_of

NARROW = Options(width=1 / 8)


@pytest.fixture
def program(small_run) -> Program:
    return step.program_of(small_run.replace(width=1 / 8))


def close(one, other, tolerance: float) -> None:
    """Checks that two trees differ by less than `tolerance` of each leaf's largest value."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), jax.tree_util.keystr(path)


# The step by hand.


def by_hand(run: Run, seed: int, problem: Problem, count: int):
    """Returns (parameters, velocity, losses) after `count` iterations of Caffe's solver written out in NumPy."""
    keys = keys_of(seed)
    graphdef, params, rest = networks.create(run.network, keys.init, 10, run.options)
    info = networks.info(run.network)
    n, size = len(problem.train_images), run.batch_size
    order = np.concatenate([jax.random.permutation(jax.random.fold_in(keys.order, epoch), n) for epoch in range(3)])
    images, labels = np.asarray(problem.train_images, np.float32), np.asarray(problem.train_labels)
    images = images - images.mean(axis=0) if run.data == "cifar10" else images / 256

    @jax.jit
    @jax.value_and_grad
    def gradient(params, images, labels):
        logits = networks.apply(graphdef, params, rest, images, train=True, key=jax.random.key(0))[0]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()

    theta = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    velocity = jax.tree.map(np.zeros_like, theta)
    losses = []
    for t, (lr, momentum, wd) in enumerate(hyperparameters(run)[:count].astype(np.float64)):
        chosen = order[t * size : (t + 1) * size]
        now = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), theta)
        loss, grads = gradient(now, images[chosen], labels[chosen])
        losses.append(float(loss))
        for layer, leaves in theta.items():
            for name, p in leaves.items():
                path, old = f"{layer}/{name}", velocity[layer][name]
                g = np.asarray(grads[layer][name], np.float64) + wd * info.decay_multipliers.get(path, 1) * p
                new = velocity[layer][name] = momentum * old + lr * info.lr_multipliers.get(path, 1) * g
                leaves[name] = p - ((1 + momentum) * new - momentum * old if run.solver == "nesterov" else new)
    return theta, velocity, losses


def compare_with_hand(run: Run, problem: Problem) -> None:
    *_, last = train(run, 5, problem, until=3)
    params, velocity, losses = by_hand(run, 5, problem, 3)
    close(last.state.params, params, 1e-4)
    close(last.state.opt_state.velocity, velocity, 1e-4)
    assert float(last.state.loss_sum) == pytest.approx(sum(losses), rel=1e-5)


def test_lenets_steps_by_hand(small_run, mnist):
    run = small_run.replace(width=1 / 8, lr=RangeTest(0.01, 0.05), momentum=CyclicalMomentum(0.9, 0.5))
    compare_with_hand(run, mnist)


def test_shallow3s_steps_by_hand_over_the_end_of_an_epoch():
    run = Run("cifar10", "shallow3", 8, iterations(10), Multistep(0.01, 0.5, (0.2,)), momentum=RangeTest(0.5, 0.9),
              weight_decay=4e-3, width=1 / 8)  # fmt: skip
    compare_with_hand(run, problem_of("cifar10", 20, 8))


# Parts of a batch, and keys.


def test_a_batch_in_parts_has_the_gradient_of_the_whole(program, mnist):
    state = step.init(program, jax.random.key(0))
    batch = mnist.preprocess(mnist.train_images[:16]), mnist.train_labels[:16], jax.random.key(1)
    gradient = jax.jit(step.gradient, static_argnums=2)
    whole, parts = (
        gradient(state.params, state.rest, dataclasses.replace(program, parts=count), *batch) for count in (1, 3)
    )
    assert float(parts[0]) == pytest.approx(float(whole[0]), rel=1e-6)
    close(parts[2], whole[2], 1e-5)


def test_only_a_cpu_cuts_a_batch_and_not_one_of_a_network_with_batch_statistics(small_run, monkeypatch):
    images = 2 * networks.info("lenet").cached_batch + 1
    assert step.program_of(small_run.replace(batch_size=images)).parts == 3
    monkeypatch.setattr(step, "platform", lambda: "gpu")
    assert step.program_of(small_run.replace(batch_size=images)).parts == 1
    calls = []
    monkeypatch.setattr(
        step, "loss_fn", lambda params, *rest: (calls.append(rest) or params["w"], {"mean": jnp.ones(())})
    )
    program = Program("resnet-8", 10, "sgd", 300, NARROW, False, (), parts=3)
    step.gradient({"w": jnp.ones(())}, {"mean": jnp.ones(())}, program, jnp.ones(300), jnp.ones(300), jax.random.key(0))
    assert len(calls) == 1


@pytest.mark.parametrize("network", ["lenet", "resnet-8", *slow("shallow3", "densenet-7")])
def test_bfloat16_is_for_products_and_activations_alone(network, monkeypatch):
    """Batch statistics, gradients, what the solver remembers and the loss stay float32, and are about the same."""
    monkeypatch.setattr(convolutions, "multiplies_bfloat16", lambda: True)
    run = Run("mnist" if network == "lenet" else "cifar10", network, 8, iterations(2), 0.1, width=1 / 8)
    images, labels = np.random.default_rng(0).normal(size=(8, *run.image_shape)).astype(np.float32), jnp.arange(8)
    found = []
    for precision in ("float32", "bfloat16"):
        program = step.program_of(run.replace(precision=precision))
        state = step.init(program, keys_of(0).init)

        def gradient(params, program=program, state=state):
            return step.gradient(params, state.rest, program, images, labels, keys_of(0).noise)

        loss, rest, grads = found_now = jax.jit(gradient)(state.params)
        assert {leaf.dtype for leaf in jax.tree.leaves((loss, rest, grads))} == {jnp.dtype("float32")}
        lines = [line for line in str(jax.make_jaxpr(gradient)(state.params)).splitlines() if "dot_general[" in line]
        assert lines and all(("bf16[" in line) == (precision == "bfloat16") for line in lines)
        found.append(jax.tree.map(np.asarray, found_now))
    norms = [np.array([np.linalg.norm(leaf) for leaf in jax.tree.leaves(grads)]) for _, _, grads in found]
    assert abs(found[0][0] / found[1][0] - 1) < 0.01
    assert 1e-5 < np.linalg.norm(norms[1] - norms[0]) / np.linalg.norm(norms[0]) < 0.1


def test_every_part_of_a_batch_draws_its_own_noise(program, mnist, monkeypatch):
    keys = []

    def loss_fn(params, rest, program, images, labels, key):
        keys.append(tuple(jax.random.key_data(key).tolist()))
        return jnp.zeros(()), rest

    monkeypatch.setattr(step, "loss_fn", loss_fn)
    program = dataclasses.replace(program, parts=4)
    for key in jax.random.split(jax.random.key(0)):
        step.gradient({}, {}, program, mnist.train_images[:16], mnist.train_labels[:16], key)
    assert len(set(keys)) == 8


def test_no_two_streams_of_any_seeds_share_a_key():
    """Nor do what is folded into them: epochs, iterations, and what Flax's initialisers count."""
    streams = [key for seed in range(3) for key in keys_of(seed)]
    folded = [jax.random.fold_in(key, k) for key in streams for k in range(5)]
    found = {tuple(jax.random.key_data(key).tolist()) for key in [*streams, *folded]}
    assert len(found) == len(streams) + len(folded) == 3 * 3 * 6


# Preprocessing and testing.


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("mean_image", [-10, 28, 245, -36]),
        ("divide_256", [0, 0.5, 255 / 256, 0.25]),
        ("none", [0, 128, 255, 64]),
    ],
)
def test_the_dataset_says_how_its_images_are_preprocessed(mnist, preprocessing, expected):
    images, mean = jnp.array([[[[0], [128]]], [[[255], [64]]]], jnp.uint8), jnp.array([[[10.0], [100.0]]])
    found = dataclasses.replace(mnist, mean=mean, preprocessing=preprocessing).preprocess(images)
    assert found.dtype == jnp.float32
    assert found.ravel().tolist() == expected


def test_a_problem_knows_the_mean_of_its_training_images(mnist):
    assert mnist.mean.shape == (28, 28, 1) and mnist.mean.dtype == jnp.float32
    exact = np.asarray(mnist.train_images, np.int64).sum(axis=0) / 200
    np.testing.assert_array_equal(mnist.mean, exact.astype(np.float32))
    assert mnist.train_images.dtype == jnp.uint8 and mnist.train_images.shape == (200, 28, 28, 1)
    assert mnist.train_labels.dtype == mnist.test_labels.dtype == jnp.int32


@pytest.fixture(scope="module")
def logits(mnist) -> np.ndarray:
    """A narrow LeNet's logits of the test images: (150, 10) float64."""
    graphdef, params, rest = networks.create("lenet", jax.random.key(3), 10, NARROW)
    images = mnist.test_images / 256.0
    return np.asarray(networks.apply(graphdef, params, rest, images, train=False)[0], np.float64)


@pytest.mark.parametrize(("first", "size"), [(0, 150), (64, 22)])
def test_a_test_adds_up_what_the_images_have(mnist, logits, program, first, size):
    @metric("margin", unit="", label="", short="", guess=lambda classes: 0)
    def margin(logits, labels):
        return jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]

    program = dataclasses.replace(program, metrics=("test_loss", "test_accuracy", "margin"))
    found = step.eval_step(program, step.init(program, jax.random.key(3)), mnist, first, size)
    del METRICS["margin"]
    places = (first + np.arange(size)) % 150
    chosen, labels = logits[places], np.asarray(mnist.test_labels)[places]
    margins = np.take_along_axis(chosen, labels[:, None], axis=1)[:, 0]
    loss = np.log(np.exp(chosen).sum(axis=1)) - margins
    np.testing.assert_allclose(found, [loss.sum(), (chosen.argmax(1) == labels).sum(), margins.sum()], rtol=1e-5)


def test_a_crop_is_anywhere_in_training_and_in_the_middle_in_a_test():
    places = jnp.broadcast_to(jnp.arange(10)[:, None, None] * 10.0 + jnp.arange(10)[:, None], (200, 10, 10, 1))
    middle = step.cropped(places, 6, None)
    np.testing.assert_array_equal(middle[0, ..., 0], places[0, 2:8, 2:8, 0])
    drawn = step.cropped(places, 6, jax.random.key(0))
    assert drawn.shape == (200, 6, 6, 1)
    corners = {divmod(int(image[0, 0, 0]), 10) for image in drawn}
    assert corners == {(y, x) for y in range(5) for x in range(5)}
    np.testing.assert_array_equal(drawn - drawn[:, :1, :1], middle - middle[:, :1, :1])


@pytest.mark.parametrize("given", [5, None, "text", np.zeros(3), np.zeros((2, 4))], ids=str)
def test_what_is_no_number_for_each_example_is_told(given):
    def mine(outputs, labels):
        return given

    with pytest.raises(UserError, match=r"mine gives .*: give a number for each example"):
        total(mine, np.zeros((4, 10)), np.zeros(4, np.int32))
