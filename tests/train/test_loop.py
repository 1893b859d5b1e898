"""Training: the step against the same by hand, the order of the images, the tests, divergence, snapshots."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import problem_of

from smith import networks
from smith.data import Arrays
from smith.networks import Options
from smith.run import Run, Snapshot, epochs, iterations
from smith.schedules import Constant, CyclicalMomentum, Multistep, OneCycle, RangeTest
from smith.train import checkpoints, loop
from smith.train import step as programs
from smith.train.loop import Batches, Problem, hyperparameters, train

COLUMNS = "iteration epoch learning_rate momentum weight_decay train_loss test_loss test_accuracy".split()


@pytest.fixture(scope="module")
def mnist() -> Problem:
    return problem_of("mnist", 200, 150)


@pytest.fixture(scope="module")
def program() -> programs.Program:
    """The program of `small_run`."""
    return programs.compiled("lenet", 10, "sgd", 16, Options(), False)


def table(rows: list[loop.Row], columns: list[str] = COLUMNS) -> np.ndarray:
    return np.array([[row[column] for column in columns] for row in rows])


def same(one: list[loop.Row], other: list[loop.Row], columns: list[str] = COLUMNS) -> bool:
    """Says whether rows are the same to the last bit."""
    return np.array_equal(table(one, columns), table(other, columns), equal_nan=True)


@pytest.fixture
def state_after(monkeypatch):
    """Returns a function that trains for some iterations and returns the state, copied to NumPy."""
    saved = []
    monkeypatch.setattr(loop.checkpoints, "save", lambda _, found: saved.append(jax.tree.map(np.array, found.state)))

    def run(run: Run, seed: int, problem: Problem, count: int):
        train(run, seed, problem, snapshots={count: "memory"}, until=count)
        return saved.pop()

    return run


def close(one, other, tolerance: float) -> None:
    """Checks that two trees differ by less than `tolerance` of each leaf's largest value."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), jax.tree_util.keystr(path)


# Reproducibility, and what compiles.


def test_the_same_run_and_seed_give_the_same_bits_and_another_seed_others(small_run, mnist):
    first, again, other = (train(small_run, seed, mnist) for seed in (0, 0, 1))
    assert first.status == "done"
    assert same(first.rows, again.rows)
    assert not (table(first.rows, ["train_loss", "test_loss"]) == table(other.rows, ["train_loss", "test_loss"])).any()


def test_other_hyper_parameters_compile_nothing_new(small_run, mnist, program):
    train(small_run, 0, mnist)
    before = program.step._cache_size(), program.evaluate._cache_size()
    assert before[0] >= 1
    for change in (
        {"lr": OneCycle(0.001, 0.01, 0.45), "momentum": CyclicalMomentum(0.95, 0.85)},
        {"lr": 0.02, "momentum": 0.5, "weight_decay": RangeTest(0, 1e-3)},
        {"length": iterations(7), "test_every": iterations(2)},
    ):
        train(small_run.replace(**change), 3, mnist)
    assert (program.step._cache_size(), program.evaluate._cache_size()) == before
    assert programs.program_of(small_run) is program


# The order of the images.


def used(program: programs.Program, seed: int, n: int, batch_size: int, count: int) -> np.ndarray:
    """Returns the indices of the images of `count` iterations, (count, batch_size)."""
    batches = Batches(program, seed, n, batch_size)
    found = []
    for t in range(count):
        orders, first = batches.at(t)
        assert orders.shape == (2, n)
        found.append(np.asarray(orders).reshape(-1)[first : first + batch_size])
    return np.stack(found)


@pytest.mark.parametrize(("n", "batch_size"), [(50, 16), (50, 49), (50, 50), (48, 16), (50, 1), (7, 3)])
def test_every_image_is_used_once_in_every_epoch(program, n, batch_size):
    indices = used(program, 0, n, batch_size, -(-3 * n // batch_size)).reshape(-1)
    first, second, third = (indices[i * n : (i + 1) * n] for i in range(3))
    assert set(first) == set(second) == set(third) == set(range(n))
    if n > 10:
        assert not (first == second).all() and not (second == third).all()


def test_the_order_depends_on_the_seed(program):
    assert not (used(program, 0, 50, 16, 3) == used(program, 1, 50, 16, 3)).all()


def test_the_order_depends_on_the_iteration_alone(program):
    n, batch_size = 50, 16
    expected = used(program, 0, n, batch_size, 12)
    for t in (11, 4, 5, 0, 9):  # from a snapshot, and back and forth
        orders, first = Batches(program, 0, n, batch_size).at(t)
        assert (np.asarray(orders).reshape(-1)[first : first + batch_size] == expected[t]).all()
    batches = Batches(program, 0, n, batch_size)
    for t in (11, 4, 5, 0, 9):
        orders, first = batches.at(t)
        assert (np.asarray(orders).reshape(-1)[first : first + batch_size] == expected[t]).all()


# The step.


def by_hand(run: Run, seed: int, problem: Problem, count: int, order):
    """Returns (parameters, velocity, losses) after `count` iterations of Caffe's solver written out in NumPy."""
    graphdef, params, rest = networks.create(run.network, seed)
    info = networks.info(run.network)
    n, size = len(problem.train_images), run.batch_size
    orders = [np.asarray(order(jax.random.fold_in(jax.random.key(seed), epoch), n)) for epoch in range(9)]
    images, labels = np.asarray(problem.train_images, np.float32), np.asarray(problem.train_labels, np.int32)
    images = images - images.mean(axis=0) if info.preprocessing == "mean_image" else images / 256

    @jax.jit
    @jax.value_and_grad
    def gradient(params, images, labels):
        logits = networks.apply(graphdef, params, rest, images, train=True, key=jax.random.key(0))[0]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()

    theta = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    velocity = jax.tree.map(np.zeros_like, theta)
    losses = []
    for t, (lr, momentum, wd) in enumerate(hyperparameters(run)[:count].astype(np.float64)):
        chosen = np.concatenate(orders)[t * size : (t + 1) * size]
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


def compare_with_hand(run: Run, problem: Problem, state, order, count: int, tolerance: float) -> None:
    params, velocity, losses = by_hand(run, 5, problem, count, order)
    close(state["params"], params, tolerance)
    close(state["velocity"], velocity, tolerance)
    assert float(state["loss_sum"]) == pytest.approx(sum(losses), rel=1e-5)


def test_lenets_steps_by_hand(small_run, mnist, program, state_after):
    run = small_run.replace(lr=RangeTest(0.01, 0.05), momentum=CyclicalMomentum(0.9, 0.5), test_every=iterations(12))
    compare_with_hand(run, mnist, state_after(run, 5, mnist, 3), program.order, count=3, tolerance=1e-4)


def test_shallow3s_steps_by_hand_over_the_end_of_an_epoch(program, state_after):
    problem = problem_of("cifar10", 20, 8)
    run = Run(
        data="cifar10",
        network="shallow3",
        batch_size=8,
        length=iterations(10),
        lr=Multistep(0.01, 0.5, (0.2,)),
        momentum=RangeTest(0.5, 0.9),
        weight_decay=4e-3,
    )
    compare_with_hand(run, problem, state_after(run, 5, problem, 3), program.order, count=3, tolerance=1e-4)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(small_run, mnist, state_after, monkeypatch):
    run = small_run.replace(lr=1.0, momentum=0.0, weight_decay=0.0)  # the velocity is the gradient then
    whole = state_after(run, 0, mnist, 1)
    info = dataclasses.replace(networks.info("lenet"), cached_batch=6)  # parts of 6, 5 and 5
    monkeypatch.setattr(networks, "info", lambda name: info)
    monkeypatch.setattr(programs, "compiled", programs.compiled.__wrapped__)
    parts = state_after(run, 0, mnist, 1)
    close(parts["velocity"], whole["velocity"], 1e-5)
    assert float(parts["loss_sum"]) == pytest.approx(float(whole["loss_sum"]), rel=1e-6)


# Preprocessing and testing.


def test_the_mean_image_is_subtracted_or_the_pixels_are_divided_by_256(mnist):
    images = jnp.array([[[[0], [128]]], [[[255], [64]]]], jnp.uint8)
    mean = jnp.array([[[10.0], [100.0]]])
    subtracted = programs.preprocess("shallow3", images, mean)
    assert subtracted.dtype == jnp.float32
    assert subtracted.ravel().tolist() == [-10, 28, 245, -36]
    assert programs.preprocess("lenet", images, mean).ravel().tolist() == [0, 0.5, 255 / 256, 0.25]


def test_a_problem_knows_the_mean_of_its_training_images(mnist):
    assert mnist.mean.shape == (28, 28, 1) and mnist.mean.dtype == jnp.float32
    np.testing.assert_allclose(mnist.mean, np.asarray(mnist.train_images, np.float64).mean(axis=0), rtol=1e-6)
    assert mnist.train_images.dtype == jnp.uint8 and mnist.train_images.shape == (200, 28, 28, 1)


@pytest.fixture(scope="module")
def logits(mnist) -> np.ndarray:
    """LeNet's logits of the test images with the parameters of seed 0: (150, 10) float64."""
    graphdef, params, rest = networks.create("lenet", 0)
    images = mnist.test_images / 256.0
    found, _ = jax.jit(lambda images: networks.apply(graphdef, params, rest, images, train=False))(images)
    return np.asarray(found, np.float64)


@pytest.mark.parametrize(("asked", "tested"), [(None, 150), (86, 86), (64, 64), (10_000, 150)])
def test_a_test_over_any_number_of_images_is_the_mean_over_them(program, mnist, logits, monkeypatch, asked, tested):
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 64)  # 150 are 64, 64 and 22; 86 are 64 and 22
    loss, accuracy = loop.test(program, program.init(0), mnist, asked)
    chosen, labels = logits[:tested], np.asarray(mnist.test_labels[:tested])
    log_softmax = chosen - np.log(np.exp(chosen).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-log_softmax[np.arange(tested), labels].mean(), rel=1e-5)
    assert accuracy == pytest.approx((chosen.argmax(axis=1) == labels).mean(), abs=1e-12)


def test_tests_that_move_on_go_round_the_test_set_and_see_mirrored_images(mnist, small_run):
    """Of 150 images, 60 at a time: the third test sees the last 30 and the first 30."""
    program = programs.program_of(small_run)
    state = program.init(0)
    flat = mnist.test_images.mean(axis=(1, 2), keepdims=True).astype(np.uint8)  # a mirror changes nothing there
    problem = Problem("mnist", mnist.train_images, mnist.train_labels, jnp.broadcast_to(flat, (150, 28, 28, 1)),
                      mnist.test_labels, mnist.mean)  # fmt: skip
    graphdef, params, rest = networks.create("lenet", 0)
    inputs = programs.preprocess("lenet", problem.test_images, problem.mean)
    logits = networks.apply(graphdef, params, rest, inputs, train=False)[0]
    losses = np.asarray(programs.cross_entropy(logits, problem.test_labels))
    key = jax.random.key(7)
    for number, seen in enumerate([np.arange(60), np.arange(60, 120), np.r_[120:150, :30], np.arange(30, 90)]):
        loss, _ = loop.test(program, state, problem, 60, window=(number, key))
        assert math.isclose(loss, losses[seen].mean(), rel_tol=1e-5)
    loss, _ = loop.test(program, state, mnist, 60, window=(0, key))
    assert loss != loop.test(program, state, mnist, 60)[0]
    assert loss == loop.test(program, state, mnist, 60, window=(0, key))[0]


def test_the_tests_of_a_run_move_on_when_it_says_so(small_run, mnist, monkeypatch):
    windows = []
    monkeypatch.setattr(loop, "test", lambda *words: windows.append(words[-2]) or (1.0, 0.5))
    train(small_run.replace(moving_test=True), 0, mnist)
    assert [number for number, _ in windows] == [1, 2, 3]
    train(small_run, 0, mnist)
    assert windows[3:] == [None] * 3


def test_mirroring_changes_the_training_and_nothing_else_does(small_run, mnist):
    plain, mirrored = train(small_run, 0, mnist), train(small_run.replace(mirror=True), 0, mnist)
    assert not (table(plain.rows, ["train_loss"]) == table(mirrored.rows, ["train_loss"])).any()
    assert same(mirrored.rows, train(small_run.replace(mirror=True), 0, mnist).rows)


def test_a_deep_run_continued_from_a_snapshot_is_the_uninterrupted_run(tmp_path):
    """Batch statistics, mirroring and dropout go on where they were."""
    cifar = problem_of("cifar10", 200, 100)
    run = Run("cifar10", "densenet-7", 8, iterations(4), 0.01, ghost_batch_size=4, mirror=True, width=0.25,
              test_every=iterations(2), moving_test=True, test_images=30)  # fmt: skip
    whole = train(run, 1, cifar, snapshots={2: tmp_path / "at2"})
    part = train(run.replace(start=Snapshot(run, iterations(2))), 1, cifar, start=tmp_path / "at2")
    assert same(part.rows[1:], whole.rows[1:])
    assert same(part.rows[:1], whole.rows[:1], ["test_loss", "test_accuracy"])


def test_cross_entropy_is_in_nats():
    losses = programs.cross_entropy(jnp.array([[0.0, 0.0], [math.log(3), 0.0]]), jnp.array([1, 0], jnp.uint8))
    assert losses == pytest.approx([math.log(2), math.log(4 / 3)])


# A run's hyper-parameters and tests.


def test_hyperparameters_are_learning_rate_momentum_and_weight_decay_of_every_iteration(small_run):
    found = hyperparameters(small_run.replace(lr=RangeTest(0, 0.012), momentum=CyclicalMomentum(0.95, 0.83)))
    assert found.shape == (13, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], 0.001 * np.arange(13), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[:, 1], 0.95 - 0.01 * np.arange(13), rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], 5e-4, rtol=1e-6)


def test_a_run_is_tested_every_so_often_and_at_its_end(small_run):
    assert loop.test_iterations(small_run) == {4, 8, 12}
    assert loop.test_iterations(small_run.replace(length=iterations(13))) == {4, 8, 12, 13}
    assert loop.test_iterations(small_run.replace(test_every=iterations(100))) == {12}
    assert loop.test_iterations(small_run.replace(test_every=epochs(6 * 16 / 60_000))) == {6, 12}


def test_a_run_from_a_snapshot_is_tested_there_too(small_run):
    assert loop.test_iterations(small_run.replace(start=Snapshot(small_run, iterations(4)))) == {4, 8, 12}
    assert loop.test_iterations(small_run.replace(start=Snapshot(small_run, iterations(5)))) == {5, 8, 12}


def test_a_row_says_where_the_run_is(small_run, mnist):
    rows = train(small_run.replace(lr=RangeTest(0, 0.012)), 0, mnist).rows
    assert all(list(row) == COLUMNS for row in rows)
    assert [row["iteration"] for row in rows] == [4, 8, 12]
    assert [row["epoch"] for row in rows] == [t * 16 / 60_000 for t in (4, 8, 12)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.004, 0.008, 0.012])
    assert {row["momentum"] for row in rows} == {float(np.float32(0.9))}


def test_the_training_loss_is_the_mean_since_the_last_test(small_run, mnist):
    every = [row["train_loss"] for row in train(small_run.replace(test_every=iterations(1)), 0, mnist).rows]
    coarse = train(small_run.replace(test_every=iterations(5)), 0, mnist).rows
    means = [np.mean(every[:5]), np.mean(every[5:10]), np.mean(every[10:])]
    assert [row["train_loss"] for row in coarse] == pytest.approx(means, rel=1e-6)


def test_the_loss_goes_down_on_images_that_can_be_learnt(small_run):
    random = np.random.default_rng(0)
    labels = np.arange(350, dtype=np.uint8) % 10
    patterns = random.integers(0, 196, (10, 28, 28, 1), dtype=np.uint8)
    images = patterns[labels] + random.integers(0, 60, (350, 28, 28, 1), dtype=np.uint8)
    problem = Problem.put("mnist", Arrays(images[:200], labels[:200]), Arrays(images[200:], labels[200:]))
    rows = train(small_run.replace(length=iterations(40), test_every=iterations(20)), 0, problem).rows
    assert rows[1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert rows[1]["test_loss"] < 0.5
    assert rows[1]["test_accuracy"] > 0.9


# Divergence.


def test_a_run_that_diverges_ends_early_with_the_row_that_shows_it(small_run, mnist):
    outcome = train(small_run.replace(lr=1e12), 0, mnist)
    assert outcome.status == "diverged"
    assert [row["iteration"] for row in outcome.rows] == [4]
    assert not math.isfinite(outcome.rows[0]["test_loss"])
    assert not math.isfinite(outcome.rows[0]["train_loss"])


def test_a_run_that_diverges_late_keeps_the_rows_before(small_run, mnist):
    outcome = train(small_run.replace(lr=Multistep(0.01, 1e15, (0.5,))), 0, mnist)
    assert outcome.status == "diverged"
    assert [row["iteration"] for row in outcome.rows] == [4, 8]
    assert math.isfinite(outcome.rows[0]["test_loss"])
    assert not math.isfinite(outcome.rows[1]["test_loss"])


@pytest.mark.parametrize(
    ("test_loss", "train_loss", "expected"),
    [
        (1.0, 1.0, False),
        (math.nan, 1.0, True),
        (math.inf, 1.0, True),
        (1.0, math.inf, True),
        (1.0, math.nan, False),  # at the iteration of a snapshot
    ],
)
def test_a_loss_that_is_not_finite_is_divergence(test_loss, train_loss, expected):
    assert loop.diverged({"test_loss": test_loss, "train_loss": train_loss}) == expected


def test_parameters_that_are_not_finite_are_divergence_and_named(small_run, mnist, monkeypatch):
    outcome = train(small_run.replace(lr=1e12), 0, mnist)
    assert outcome.non_finite and set(outcome.non_finite) <= set(
        checkpoints.names(programs.program_of(small_run).init(0))
    )
    assert train(small_run, 0, mnist).non_finite == []
    monkeypatch.setattr(loop, "test", lambda *_: (1.0, 0.5))  # the losses look well
    program = programs.program_of(small_run)

    def broken(state):
        state["params"]["conv2"]["bias"] = state["params"]["conv2"]["bias"].at[3].set(jnp.nan)
        return state

    broken_program = dataclasses.replace(program, init=lambda seed: broken(program.init(seed)))
    monkeypatch.setattr(loop, "program_of", lambda _: broken_program)
    outcome = train(small_run.replace(lr=1e-12), 0, mnist)
    assert (outcome.status, outcome.rows[0]["iteration"]) == ("diverged", 4)
    assert "params/conv2/bias" in outcome.non_finite


# Snapshots.


def test_a_run_continued_from_a_snapshot_is_the_uninterrupted_run(small_run, mnist, tmp_path):
    whole = train(small_run, 0, mnist, snapshots={4: tmp_path / "at4"}).rows
    child = small_run.replace(start=Snapshot(small_run, iterations(4)))
    continued = train(child, 0, mnist, start=tmp_path / "at4").rows
    assert [row["iteration"] for row in continued] == [4, 8, 12]
    assert same(continued[1:], whole[1:])
    assert same(continued[:1], whole[:1], [column for column in COLUMNS if column != "train_loss"])
    assert math.isnan(continued[0]["train_loss"])


def test_a_snapshot_between_two_tests_changes_only_the_training_loss_of_the_next(small_run, mnist, tmp_path, program):
    whole = train(small_run, 0, mnist).rows
    partial = train(small_run, 0, mnist, snapshots={5: tmp_path / "at5"}, until=5)
    assert [row["iteration"] for row in partial.rows] == [4]
    before = program.step._cache_size()
    child = small_run.replace(start=Snapshot(small_run, iterations(5)))
    continued = train(child, 0, mnist, start=tmp_path / "at5").rows
    assert [row["iteration"] for row in continued] == [5, 8, 12]
    assert same(continued[1:], whole[1:], [column for column in COLUMNS if column != "train_loss"])
    assert same(continued[2:], whole[2:])
    assert program.step._cache_size() == before


def test_a_snapshot_continued_with_other_settings_gives_another_run(small_run, mnist, tmp_path):
    whole = train(small_run, 0, mnist, snapshots={4: tmp_path / "at4"}).rows
    child = small_run.replace(start=Snapshot(small_run, iterations(4)), weight_decay=Constant(0.1))
    continued = train(child, 0, mnist, start=tmp_path / "at4").rows
    assert continued[0]["test_loss"] == whole[0]["test_loss"]
    assert continued[1]["test_loss"] != whole[1]["test_loss"]


# What a display is told.


def test_a_watcher_hears_of_every_test_and_does_not_change_the_run(small_run, mnist):
    class Watcher:
        def __init__(self) -> None:
            self.rows, self.losses, self.begun = [], {}, 0

        def iterated(self, iteration: int, loss: float) -> None:
            self.losses[iteration] = loss

        def warn(self, message: str) -> None:
            raise AssertionError(message)

        def testing(self) -> None:
            assert self.begun == len(self.rows)
            self.begun += 1

        def tested(self, row: loop.Row) -> None:
            self.rows.append(row)

    watcher = Watcher()
    run = small_run.replace(length=iterations(41))
    outcome = train(run, 0, mnist, watcher=watcher)
    assert watcher.rows == outcome.rows
    assert set(watcher.losses) == {20, 40} and all(map(math.isfinite, watcher.losses.values()))
    assert same(outcome.rows, train(run, 0, mnist).rows)


def test_the_times_of_an_outcome_add_up(small_run, mnist):
    outcome = train(small_run, 0, mnist)
    assert 0 < outcome.training_seconds < outcome.seconds
    assert outcome.compile_seconds > 0
