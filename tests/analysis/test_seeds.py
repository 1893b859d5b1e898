"""Seeds: what a run counts as after it diverged, and the curve over seeds."""

import numpy as np
import pytest
from made_up import NAN, result

from smith.analysis.seeds import curve, guess, mean_of_padded, padded
from smith.run import Run, Snapshot, iterations
from smith.schedules import RangeTest, Scaled

RUN = Run("cifar10", "shallow3", 100, iterations(1_000), lr=RangeTest(0, 0.01), test_every=iterations(200))
X = np.arange(200, 1_001, 200)


def test_guessing():
    chance = {"test_loss": np.log(10), "train_loss": np.log(10), "test_accuracy": 0.1, "test_error": 0.9, "loss_gap": 0}
    assert {column: guess(RUN, column) for column in chance} == pytest.approx(chance)
    assert guess(RUN.replace(data="cifar100", network="resnet-8"), "test_accuracy") == 0.01


def test_a_run_that_is_done_is_as_it_is():
    x, y = padded(result(RUN, [5, 4, 3, 2, 1], X), "test_loss")
    assert (x.tolist(), y.tolist()) == (X.tolist(), [5, 4, 3, 2, 1])


def test_a_run_that_diverged_counts_as_guessing_to_its_planned_end():
    found = result(RUN, [2, 1, NAN], X[:3])
    x, y = padded(found, "test_loss")
    assert x.tolist() == X.tolist()
    assert y == pytest.approx([2, 1, *3 * [np.log(10)]])
    assert padded(found, "test_accuracy")[1] == pytest.approx([0.5, 0.5, 0.1, 0.1, 0.1])  # not the last test's 0.5
    assert padded(found, "test_loss", "learning_rate")[0] == pytest.approx(X / 1e5)
    x, y = padded(result(RUN, [NAN], X[:1]), "test_loss")  # it died at its first test
    assert x.tolist() == X.tolist() and y == pytest.approx(5 * [np.log(10)])


@pytest.mark.parametrize("lr", [RangeTest(0.002, 0.01), Scaled(RangeTest(0.001, 0.005), 2)], ids=["plain", "scaled"])
def test_the_rate_of_a_run_that_died_at_its_first_test_goes_on_too(lr):
    rates = 0.002 + 0.008 * X / 1_000
    found = result(RUN.replace(lr=lr), [NAN], X[:1])
    found.columns["learning_rate"][:] = rates[:1]
    assert padded(found, "test_loss", "learning_rate")[0] == pytest.approx(rates)
    found.columns["momentum"][:] = 0.9
    assert padded(found, "test_loss", "momentum")[0] == pytest.approx(5 * [0.9])


def test_the_first_test_that_is_not_finite_is_where_it_died_or_else_the_last():
    later = result(RUN, [2, np.inf, 1, NAN], X[:4])
    assert padded(later, "test_loss")[1] == pytest.approx([2, *4 * [np.log(10)]])
    parameters = result(RUN, [2, NAN, NAN], X[:3])
    finite = type(parameters)(parameters.description, 0, "diverged", {**parameters.columns, "test_loss": np.ones(3)})
    assert padded(finite, "test_loss")[1] == pytest.approx([1, 1, *3 * [np.log(10)]])


def test_a_training_loss_that_a_snapshots_first_test_does_not_have_is_left_out():
    found = result(RUN, [NAN, 3, 2, 1], X[1:], column="train_loss")
    assert found.status == "done" and padded(found, "train_loss")[1].tolist() == [3, 2, 1]


def test_a_child_has_as_many_tests_wherever_its_parent_died():
    """A child whose parent died before the snapshot has the parent's rows."""
    child = RUN.replace(start=Snapshot(RUN, iterations(400)))
    for values, x in (([2, 1, 1, 1], X[1:]), ([2, NAN], X[:2]), ([NAN], X[:1]), ([2, 1, NAN], X[1:4])):
        assert padded(result(child, values, x), "test_loss")[0].tolist() == X[1:].tolist()
    for values, x in (([NAN, 1, 1, 1], X[1:]), ([2, NAN], X[:2]), ([NAN], X[1:2])):
        found = result(child, values, x, column="train_loss")
        found.columns["test_loss"][np.isnan(values) & (x != 400)] = NAN
        found.columns["test_loss"][-1] = NAN if found.status == "diverged" else 0.5
        assert padded(found, "train_loss")[0].tolist() == X[2:].tolist()


def test_the_mean_of_padded_goes_up_with_the_first_that_diverges():
    x, y = mean_of_padded([result(RUN, [1, 1, 1, 1, 1], X), result(RUN, [3, NAN], X[:2], seed=1)], "test_loss")
    assert x.tolist() == X.tolist() and y == pytest.approx([2, *4 * [(1 + np.log(10)) / 2]])


def test_a_drawn_mean_ends_before_the_first_divergence():
    joined = curve([result(RUN, [4, 3, NAN], X[:3]), result(RUN, [2, 1, 1, 1, 1], X, seed=5)], "iteration", "test_loss")
    assert (joined.x.tolist(), joined.mean.tolist()) == ([200, 400], [3, 2])
    assert {seed: line[1].tolist() for seed, line in joined.lines.items()} == {0: [4, 3], 5: [2, 1, 1, 1, 1]}
    assert joined.diverged == {0: 600}


def test_a_drawn_mean_of_runs_of_different_tests_is_where_all_were_tested():
    joined = curve([result(RUN, [4, 3, 2], [200, 400, 500]), result(RUN, [2, 1], [200, 400], 1)], "epoch", "test_loss")
    assert joined.mean.tolist() == [3, 2] and joined.diverged == {}


def test_a_seed_that_died_at_once_leaves_no_mean():
    joined = curve([result(RUN, [NAN], X[:1]), result(RUN, [1] * 5, X, seed=1)], "learning_rate", "test_loss")
    assert len(joined.x) == len(joined.mean) == 0 and joined.diverged == pytest.approx({0: 0.002})
