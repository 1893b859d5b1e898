"""Tasks: networks, losses and optimizers of one's own go through the same engine."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import CLASSES, FEATURES, LinenPerceptron, Perceptron, made_up, task

from smith import Run, Task, epochs, iterations
from smith.errors import UserError
from smith.tune import one_cycle

X, Y = made_up(640)


def linear(classes=CLASSES):
    return (
        lambda key, x: {"kernel": jnp.zeros((x.shape[-1], classes))},
        lambda params, x: x @ params["kernel"],
    )


@pytest.mark.parametrize("network", [Perceptron, LinenPerceptron(), linear()], ids=["nnx", "linen", "pair"])
def test_a_network_that_the_project_has_never_seen_learns(network, tmp_path):
    one = task(tmp_path, network)
    (result,) = one.train({"": one.run(epochs(4), **one_cycle(0.1))})[""]
    assert result.status == "done" and result["test_accuracy"][-1] > 0.55
    assert len(list((tmp_path / "tune").glob("*.parquet"))) == 1


def test_the_engine_trains_as_optax_by_hand(tmp_path):
    """Full batches, so that the order does not matter: three steps of a linear network, loss by loss."""
    one = task(tmp_path, linear(), batch_size=640)
    (result,) = one.train({"": one.run(iterations(3), lr=0.1, test_every=iterations(1))})[""]
    params, optimizer = jnp.zeros((FEATURES, CLASSES)), optax.sgd(0.1, 0.9, nesterov=True)
    state, losses = optimizer.init(params), []

    def loss_of(params):
        return optax.softmax_cross_entropy_with_integer_labels(X @ params, Y).mean()

    for _ in range(3):
        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(gradient, state)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    np.testing.assert_allclose(result["train_loss"], losses, rtol=1e-5)


@pytest.mark.parametrize("loss", [optax.squared_error, lambda o, y: optax.squared_error(o, y).mean()])
def test_regression_has_a_loss_and_no_accuracy(loss, tmp_path):
    values = X @ np.arange(FEATURES, dtype=np.float32)[:, None]
    data = {"train": (X, values), "test": (X[:100], values[:100])}
    one = task(tmp_path, linear(1), loss=loss, metrics=[absolute_error], **data)
    (result,) = one.train({"": one.run(epochs(3), lr=0.01)})[""]
    assert result["test_loss"][-1] < 0.05 * np.mean(values**2) and np.isnan(result["test_accuracy"]).all()
    assert result["absolute_error"][-1] < np.abs(values).mean()


def absolute_error(outputs, labels):
    return jnp.abs(outputs - labels)


def test_tokens_and_a_label_for_each_place_work_as_they_are(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 5, (320, 6))
    pair = (
        lambda key, x: jnp.zeros((5, 5)),
        lambda table, x: table[x],
    )
    one = task(tmp_path, pair, train=(tokens, (tokens + 1) % 5), test=(tokens[:64], (tokens[:64] + 1) % 5))
    (result,) = one.train({"": one.run(epochs(8), lr=1.0)})[""]
    assert result["test_accuracy"][-1] == 1


@pytest.mark.parametrize("optimizer", [optax.lion, functools.partial(optax.adamw, b2=0.99)])
def test_any_optimizer_of_optax_trains(optimizer, tmp_path):
    one = task(tmp_path, linear(), optimizer=optimizer)
    (result,) = one.train({"": one.run(epochs(2), lr=0.01, weight_decay=1e-4)})[""]
    assert result["test_loss"][-1] < np.log(3)


def weighted(weights):
    of_class = jnp.array(weights)  # a constant, of which what is traced has the shape only
    return jax.jit(lambda o, y: optax.softmax_cross_entropy_with_integer_labels(o, y) * of_class[y])


def times(factor):
    def multiple(outputs, labels):
        return factor * outputs.mean()

    return multiple


def test_a_task_is_named_for_what_it_computes(tmp_path):
    names = [
        task(tmp_path).base.network,
        task(tmp_path, train=made_up(640, 5)).base.network,
        task(tmp_path, LinenPerceptron()).base.network,
        task(tmp_path, optimizer="adamw").base.network,
        task(tmp_path, loss=lambda o, y: optax.softmax_cross_entropy_with_integer_labels(o, y) ** 2).base.network,
        *(task(tmp_path, loss=weighted(weights)).base.network for weights in ([1, 1, 1], [1, 1, 9])),
        *(task(tmp_path, metrics=[times(factor)]).base.network for factor in (2, 3)),
    ]
    assert len(set(names)) == len(names)
    assert task(tmp_path).base == task(tmp_path).base


def test_a_run_of_the_paper_is_a_task_too(tmp_path, data_dir):
    run = Run("mnist", "lenet", 16, iterations(4), 0.01, test_images=100, test_every=iterations(2))
    one = Task.of(run, results_dir=tmp_path, data_dir=data_dir)
    (result,) = one.train({"": one.run(iterations(4), lr=0.01)})[""]
    assert result.run.network == "lenet" and len(result["iteration"]) == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test": (X[:, :3], Y)}, "training examples of shape"),
        ({"train": (X, Y + 1)}, "labels 0 to 3, and 3 outputs"),
        ({"train": (X, Y.astype(float))}, "give a loss"),
        ({"network": linear(1), "train": (X, Y)}, "labels 0 to 2, and 1 outputs"),
        ({"network": (lambda key, x: {}, lambda params, x: x)}, "no parameters"),
        ({"network": (lambda key, x: jnp.zeros((5, 5)), lambda p, x: x @ p)}, "does not take these data"),
        ({"network": jax.nn.relu}, "does not take these data"),
        ({"loss": lambda o, y: jnp.zeros(7)}, "give the mean"),
        ({"loss": lambda o, y: "much"}, "does not take|give the mean"),
        ({"optimizer": "adamm"}, "adamw"),
        ({"optimizer": optax.clip}, "no learning_rate"),
        ({"batch_size": 1000}, "batch size 1000"),
        ({"batch_size": 0}, "batch size 0"),
        ({"optimizer": 3}, "no learning_rate"),
        ({"mirror": True}, "leave mirror and crop out"),
        ({"network": (lambda key, x: jnp.zeros(1), lambda p, x: (x * p, x))}, "one array"),
        ({"metrics": ["top9"]}, "top9"),
        ({"metrics": [times(2), times(3)]}, "multiple, multiple: give each function a name of its own"),
        ({"metrics": [functools.partial(absolute_error)]}, "a function that has a name"),
        ({"loss": lambda o, y: jnp.log(-jnp.abs(o).sum(-1) - 1)}, "the loss of the untrained network is nan"),
        ({"optimizer": optax.inject_hyperparams(optax.adam)}, "leave optax.inject_hyperparams out"),
    ],
)
def test_what_can_not_be_trained_is_told_when_the_task_is_made(changes, says, tmp_path):
    with pytest.raises(UserError, match=says) as told:
        task(tmp_path, **{"network": Perceptron, **changes})
    assert "\n" not in str(told.value)
    assert not list(tmp_path.glob("**/*.parquet"))
