"""The loop: the same seed gives the same bytes, whether interrupted or not; order, rows, tests, divergence."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import DEEP, problem_of, slow

from smith import networks
from smith.data import Arrays
from smith.errors import UserError
from smith.metrics import METRICS, metric
from smith.run import Run, Snapshot, epochs, iterations
from smith.schedules import CyclicalMomentum, Multistep, RangeTest
from smith.train import feed, loop, step
from smith.train.feed import places
from smith.train.loop import Point, hyperparameters, train
from smith.train.optim import SOLVERS, solver
from smith.train.step import Problem

COLUMNS = "iteration epoch learning_rate momentum weight_decay train_loss test_loss test_accuracy".split()


def rows_of(points) -> list[loop.Row]:
    return [point.row for point in points if point.row]


def table(rows: list[loop.Row], columns: list[str] = COLUMNS) -> np.ndarray:
    return np.array([[row[column] for column in columns] for row in rows])


def same(one: list[loop.Row], other: list[loop.Row], columns: list[str] = COLUMNS) -> bool:
    """Says whether rows are the same to the last bit."""
    return np.array_equal(table(one, columns), table(other, columns), equal_nan=True)


def kept(point: Point) -> Point:
    """Returns what a checkpoint keeps of a point, in NumPy."""
    return Point(point.iteration, jax.tree.map(np.array, point.state), point.last_test)


# Reproducibility.


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(run, mnist):
    first, again, other = (rows_of(train(run, seed, mnist)) for seed in (0, 0, 1))
    assert same(first, again)
    assert not (table(first, ["train_loss", "test_loss"]) == table(other, ["train_loss", "test_loss"])).any()


def test_mirroring_changes_the_training_and_nothing_else_does(run, mnist):
    plain, mirrored, again = (rows_of(train(run.replace(mirror=m), 0, mnist)) for m in (False, True, True))
    assert not (table(plain, ["train_loss"]) == table(mirrored, ["train_loss"])).any()
    assert same(mirrored, again)


def resumed_everywhere(run: Run, problem: Problem) -> None:
    """Trains a run, then goes on from each of its points, which are between, before, in and after tests."""
    points = [(kept(point), point) for point in train(run, 1, problem)]
    assert any(point.testing for _, point in points)
    for at, (begin, _) in enumerate(points[:-1]):
        rest = list(train(run, 1, problem, begin))
        assert same(rows_of(rest), rows_of(point for _, point in points[at + 1 :]))
        for one, other in zip(jax.tree.leaves(rest[-1].state), jax.tree.leaves(points[-1][0].state), strict=True):
            assert np.array_equal(one, other)


def test_a_run_resumed_anywhere_ends_with_the_same_bits(run, mnist):
    resumed_everywhere(run, mnist)


def test_a_deep_run_resumed_anywhere_ends_with_the_same_bits(data_dir):
    """Batch statistics, mirroring, dropout and the tests go on where they were."""
    run = DEEP.replace(length=iterations(4), test_every=iterations(2))
    resumed_everywhere(run, feed.Datasets(data_dir).of(run))


def test_going_on_leaves_the_point_as_it_was(run, mnist):
    *_, point = train(run, 0, mnist, until=5)
    before = kept(point)
    first, again = (rows_of(train(run, 0, mnist, point)) for _ in range(2))
    assert same(first, again)
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before.state, point.state)), strict=True))


# Snapshots.


@pytest.mark.parametrize("at", [4, 5])  # with a test, and between two
def test_a_run_continued_from_a_snapshot_is_the_uninterrupted_run(run, mnist, at):
    whole = rows_of(train(run, 0, mnist))
    *_, snapshot = train(run, 0, mnist, until=at)
    child = run.replace(start=Snapshot(run, iterations(at)))
    begin = Point(at, snapshot.state)
    *found, last = rows_of(train(child, 0, mnist, begin))
    assert [row["iteration"] for row in (*found, last)] == sorted({at, 8, 12} | {4} & {at})
    assert math.isnan(found[0]["train_loss"])
    assert same([found[1]], [whole[1]], [column for column in COLUMNS if column != "train_loss"])
    assert same([last], [whole[2]])
    other = rows_of(train(child.replace(weight_decay=0.1), 0, mnist, begin))
    assert other[0]["test_loss"] == found[0]["test_loss"] and other[1]["test_loss"] != found[1]["test_loss"]
    with pytest.raises(ValueError, match="begin"):
        next(train(child, 0, mnist))


# The order of the images.


def used(at, n: int, batch_size: int, iterations) -> np.ndarray:
    """Returns the indices of the images of some iterations, (iterations, batch_size)."""
    found = []
    for t in iterations:
        orders, first = at(t)
        assert orders.shape == (2, n)
        found.append(np.asarray(orders).reshape(-1)[first : first + batch_size])
    return np.stack(found)


@pytest.mark.parametrize(("n", "batch_size"), [(50, 16), (50, 50), (48, 16), (7, 3)])
def test_every_image_is_used_once_in_every_epoch(n, batch_size):
    count = -(-3 * n // batch_size)
    indices = used(places(jax.random.key(0), n, batch_size), n, batch_size, range(count)).reshape(-1)
    first, second, third = (indices[i * n : (i + 1) * n] for i in range(3))
    assert set(first) == set(second) == set(third) == set(range(n))
    if n > 10:
        assert not (first == second).all() and not (second == third).all()


def test_the_order_depends_on_the_key_and_the_iteration_alone():
    n, size, key = 50, 16, jax.random.key(0)
    expected = used(places(key, n, size), n, size, range(12))
    jumps = [11, 4, 5, 0, 9]  # from a snapshot, and back and forth
    assert (used(places(key, n, size), n, size, jumps) == expected[jumps]).all()
    assert all((used(places(key, n, size), n, size, [t]) == expected[t]).all() for t in jumps)
    assert not (used(places(jax.random.key(1), n, size), n, size, range(12)) == expected).all()


def test_a_stored_order_is_that_of_every_epoch():
    n, size, stored = 7, 3, np.array([3, 1, 4, 0, 5, 6, 2], np.int32)
    indices = used(places(jax.random.key(0), n, size, stored), n, size, range(7)).reshape(-1)
    assert indices.tolist() == 3 * stored.tolist()


def test_a_run_with_a_stored_order_sees_the_same_batches_again(run, mnist):
    still = run.replace(lr=0.0, train_images=200, length=iterations(50), test_every=iterations(50))
    assert 25 * still.batch_size == 2 * 200  # after two epochs

    def losses(order: str) -> list[float]:
        points = train(still.replace(order=order), 0, mnist)
        return [float(point.loss) for point in points if point.loss is not None and not point.testing and not point.row]

    stored, shuffled = losses("stored"), losses("shuffled")
    assert len(stored) == 50 and stored[:25] == stored[25:] and not set(shuffled[:25]) & set(shuffled[25:])


# Points and rows.


def test_there_is_a_point_after_every_iteration_before_every_batch_of_a_test_and_after_it(run, mnist, monkeypatch):
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 64)  # 100 images are 64 and 36
    points = [(p.iteration, p.testing, p.row is not None, p.last_test) for p in train(run, 0, mnist, until=5)]
    test = [(4, True, False, None), (4, True, False, None), (4, False, True, 4)]
    assert points == [(t, False, False, None) for t in (1, 2, 3, 4)] + test + [(5, False, False, 4)]


def test_a_test_in_batches_is_a_test_of_all(run, mnist, monkeypatch):
    whole = rows_of(train(run.replace(test_images=150), 0, mnist))
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 64)
    for images in (None, 10_000):
        found = rows_of(train(run.replace(test_images=images), 0, mnist))
        np.testing.assert_allclose(table(found), table(whole), rtol=1e-5)


def test_a_row_says_where_the_run_is_and_what_was_measured(run, mnist):
    rows = rows_of(train(run.replace(lr=RangeTest(0, 0.012)), 0, mnist))
    assert all(list(row) == COLUMNS for row in rows)
    assert [row["iteration"] for row in rows] == [4, 8, 12]
    assert [row["epoch"] for row in rows] == [t * 16 / 60_000 for t in (4, 8, 12)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.004, 0.008, 0.012])
    assert {row["momentum"] for row in rows} == {float(np.float32(0.9))}


def test_the_training_loss_is_the_mean_since_the_last_test(run, mnist):
    every = [float(point.loss) for point in train(run, 0, mnist) if not (point.testing or point.row)]
    coarse = rows_of(train(run.replace(test_every=iterations(5)), 0, mnist))
    means = [np.mean(every[:5]), np.mean(every[5:10]), np.mean(every[10:])]
    assert [row["train_loss"] for row in coarse] == pytest.approx(means, rel=1e-6)


def test_hyperparameters_are_learning_rate_momentum_and_weight_decay_of_every_iteration(run):
    found = hyperparameters(run.replace(lr=RangeTest(0, 0.012), momentum=CyclicalMomentum(0.95, 0.83)))
    assert found.shape == (13, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], 0.001 * np.arange(13), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[:, 1], 0.95 - 0.01 * np.arange(13), rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], 5e-4, rtol=1e-6)


def test_a_run_is_tested_every_so_often_at_its_end_and_where_it_starts_from_a_snapshot(run):
    assert set(run.when_tested()) == {4, 8, 12}
    assert set(run.replace(length=iterations(13)).when_tested()) == {4, 8, 12, 13}
    assert set(run.replace(length=iterations(3)).when_tested()) == {3}
    assert set(run.replace(length=epochs(0.01), test_every=epochs(0.001)).when_tested()) == {*range(3, 37, 3), 37}
    assert set(run.replace(start=Snapshot(run, iterations(5))).when_tested()) == {5, 8, 12}


# Divergence.


@pytest.mark.parametrize(("lr", "at"), [(1e12, [4]), (Multistep(0.01, 1e15, (0.5,)), [4, 8])])
def test_a_run_that_diverges_ends_with_the_row_that_shows_it(run, mnist, lr, at):
    points = list(train(run.replace(lr=lr), 0, mnist))
    *before, last = rows_of(points)
    assert [row["iteration"] for row in (*before, last)] == at
    assert all(math.isfinite(row["test_loss"]) for row in before)
    assert not math.isfinite(last["test_loss"]) and not math.isfinite(last["train_loss"])
    assert points[-1].row is last
    assert {"train_loss", "test_loss", "params/conv1/kernel"} <= set(points[-1].diverged)
    assert not any(point.diverged for point in points[:-1])


def test_parameters_that_are_not_finite_are_divergence_though_the_losses_look_well(run, mnist, monkeypatch):
    monkeypatch.setattr(step, "eval_step", lambda *_: jnp.ones(2))
    begin = kept(next(train(run, 0, mnist)))
    begin.state.params["conv2"]["bias"][3] = np.nan
    *_, last = train(run, 0, mnist, begin._replace(iteration=4))
    assert last.iteration == 4 and last.diverged == ("params/conv2/bias",)


# Solvers and metrics.


RATES = [("sgd", 1e-4), ("muon", 3e-3), ("schedule-free-adamw", 3e-3)]
SLOW_RATES = [("nesterov", 1e-4), ("adamw", 3e-3), ("schedule-free-sgd", 1e-3)]


@pytest.mark.parametrize(("name", "lr"), [*RATES, *slow(*SLOW_RATES)])
def test_every_solver_learns_what_can_be_learnt(name, lr):
    """A narrow shallow3 on images of two colours."""
    random = np.random.default_rng(0)
    labels = np.arange(150) % 2
    images = (random.integers(0, 60, (150, 32, 32, 3)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    problem = Problem.put("cifar10", Arrays(images[:100], labels[:100]), Arrays(images[100:], labels[100:]))
    run = Run("cifar10", "shallow3", 10, iterations(30), lr, solver=name, width=1 / 8, init="xavier",
              test_every=iterations(15))  # fmt: skip
    first, second = rows_of(train(run, 0, problem))
    assert second["train_loss"] < 0.5 * first["train_loss"]
    assert second["test_accuracy"] > 0.9


def test_a_schedule_free_run_tests_its_average_with_batch_statistics_of_it():
    run = Run("cifar10", "resnet-8", 8, iterations(6), 0.05, solver="schedule-free-sgd", ghost_batch_size=4, width=0.25,
              test_every=iterations(3), test_images=20)  # fmt: skip
    problem = problem_of("cifar10", 40, 20)
    resumed_everywhere(run, problem)
    *_, last = train(run, 0, problem)
    program, state = step.program_of(run), last.state
    network = jax.jit(partial(networks.apply, program.graphdef), static_argnames="train")
    params = jax.tree.map(lambda y, z: (y - 0.1 * z) / 0.9, state.params, state.opt_state.z)
    rest = step.init(program, jax.random.key(0)).rest
    for at in range(0, 40, 8):
        images = problem.preprocess(problem.train_images[at : at + 8])
        rest = network(params, rest, images, train=True)[1]
    test = problem.preprocess(problem.test_images)
    logits = network(params, rest, test, train=False)[0]
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, problem.test_labels).mean()
    assert last.row and last.row["test_loss"] == pytest.approx(float(loss), rel=1e-4)


def test_the_sharpness_is_the_largest_eigenvalue_of_the_hessian(monkeypatch):
    """Of a network so narrow that the whole Hessian can be had."""
    monkeypatch.setattr(step, "PROBE", 128)
    run = Run("mnist", "lenet", 20, iterations(30), 0.02, test_every=iterations(30), test_images=10, width=0.008,
              metrics=("sharpness",))  # fmt: skip
    few = problem_of("mnist", 50, 10)
    *_, last = train(run, 0, few)
    program, (flat, restore) = step.program_of(run), jax.flatten_util.ravel_pytree(last.state.params)
    images, labels = few.preprocess(few.train_images), few.train_labels

    def loss(vector):
        logits, _ = networks.apply(program.graphdef, restore(vector), last.state.rest, images, train=True)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return (2 * each.sum() + each[:20].sum()) / 120  # 6 batches of 20, round the end

    row = jax.jit(lambda vector: jax.jvp(jax.grad(loss), (flat,), (vector,))[1])
    values = np.linalg.eigvalsh([row(one) for one in np.eye(flat.size, dtype=np.float32)])
    assert last.row and last.row["sharpness"] == pytest.approx(values[np.abs(values).argmax()], rel=0.02)


@pytest.mark.parametrize("changes", [{"solver": "schedule-free-sgd"}, {"metrics": ("sharpness",)}])
def test_tests_that_need_training_images_are_refused_where_these_are_streamed(run, mnist, changes):
    streamed = feed.Streamed(Arrays(np.zeros(1), np.zeros(1)), Arrays(np.zeros(1), np.zeros(1)), mnist)
    with pytest.raises(UserError, match="does not lie in memory"):
        next(iter(train(run.replace(**changes), 0, streamed)))


@pytest.mark.parametrize("momentum", [0.0, CyclicalMomentum(0.95, 0.85)])
def test_a_schedule_free_solver_needs_a_constant_momentum(run, mnist, momentum):
    with pytest.raises(UserError, match="schedule-free-sgd needs a constant one above 0"):
        next(iter(train(run.replace(solver="schedule-free-sgd", momentum=momentum), 0, mnist)))


def test_a_solver_and_a_metric_of_a_users_own(run, mnist):
    @solver("sign")
    def sign(learning_rate, momentum, weight_decay, **_):
        return optax.sign_sgd(learning_rate)

    @metric("top3", unit="fraction", label="Top 3", short="Top 3", guess=lambda classes: 3 / classes)
    def top3(logits, labels):
        return (jax.lax.top_k(logits, 3)[1] == labels[:, None]).any(axis=1)

    try:
        rows = rows_of(train(run.replace(solver="sign", lr=1e-3, metrics=("top3",)), 0, mnist))
    finally:
        del SOLVERS["sign"], METRICS["top3"]
    assert [list(row) for row in rows] == [[*COLUMNS, "top3"]] * 3
    assert all(row["test_accuracy"] <= row["top3"] <= 1 for row in rows)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
