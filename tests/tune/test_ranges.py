"""Range tests of a small task."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CLASSES, task

from smith import epochs, iterations, tune
from smith.errors import UserError


def test_a_range_test_of_a_task_suggests_rates_at_which_it_trains(one, tmp_path):
    found = tune.range_test(one, "lr", 1e-4, 100, length=epochs(6), seeds=2)
    suggestion = found.suggestion
    assert suggestion and suggestion.base == pytest.approx(suggestion.peak / 10)
    assert suggestion.interval and suggestion.interval[0] < suggestion.peak < suggestion.interval[1]
    assert 3e-3 < suggestion.peak < 3
    (result,) = one.train({"": one.run(epochs(6), **tune.one_cycle(suggestion))})[""]
    assert result["test_accuracy"][-1] > 0.6
    found.plot(tmp_path / "lr.svg")
    assert (tmp_path / "lr.svg").stat().st_size > 10_000
    with pytest.raises(UserError, match=r"a plot is a \.png"):
        found.plot(tmp_path / "lr.txt")


def test_it_stops_where_training_has_failed_and_keeps_what_was_measured(one, tmp_path):
    found = tune.range_test(one, "lr", 1, 1e30, length=epochs(6), seeds=1)
    (result,) = found.results
    assert result.status == "diverged" and 1 <= len(result["iteration"]) < len(found.run.when_tested())
    assert len(found.lines()[0][0]) == len(found.run.when_tested())
    found.plot(tmp_path / "lr.svg")


def test_a_loss_far_above_guessing_ends_a_range_test_although_it_is_finite(one):
    found = tune.range_test(one, "lr", 1e-3, 1e4, length=epochs(6), seeds=1)
    (result,) = found.results
    assert np.isfinite(result["test_loss"]).all() and result["test_loss"][-1] > 4 * np.log(CLASSES)
    assert (result["test_loss"][:-1] <= 4 * np.log(CLASSES)).all()


@pytest.mark.parametrize(
    ("start", "stop", "length", "says"),
    [
        (1e-9, 1e-8, epochs(6), "never falls below guessing"),
        (1e-3, 1, iterations(5), "too few"),
        (1e-5, 1e-2, epochs(6), "could go further"),
    ],
)
def test_what_can_not_be_read_is_said_and_raises_nothing(start, stop, length, says, one):
    found = tune.range_test(one, "lr", start, stop, length=length, seeds=2)
    assert says in found.note
    assert bool(found.suggestion) == ("further" in says)


def test_a_seed_that_never_learns_is_left_out_and_said(one):
    found = tune.range_test(one, "lr", 1e-4, 10, length=epochs(6), seeds=2)
    columns = found.results[0].columns
    flat = np.full(len(columns["test_loss"]), found.chance)
    flat = dataclasses.replace(found.results[0], columns={**columns, "test_loss": flat})
    mixed = dataclasses.replace(found, results=(flat, found.results[1]))
    assert "1 of 2 seeds never fall below guessing's" in mixed.note
    assert mixed.suggestion.peak == pytest.approx(found.readings["minimum"][1])


def test_a_loss_that_may_be_negative_is_read_as_well(tmp_path):
    one = task(tmp_path, loss=lambda o, y: -jax.nn.softmax(o)[jnp.arange(len(y)), y])
    found = tune.range_test(one, "lr", np.float32(1e-3), 100, length=epochs(6), seeds=np.int64(1))
    assert found.results[0]["test_loss"].min() < -0.5 and 0.01 < found.suggestion.peak < 100


def test_momentum_and_weight_decay_have_range_tests_and_no_learning_rates_to_suggest(one):
    momentum = tune.range_test(one, "momentum", 0.5, 0.99, lr=0.05, length=epochs(3), seeds=1)
    assert not momentum.logarithmic and momentum.results[0]["momentum"][-1] == pytest.approx(0.99)
    decay = tune.range_test(one, "weight_decay", 1e-5, 1, lr=0.05, length=epochs(3), seeds=1)
    assert decay.logarithmic and decay.suggestion is None


def test_the_training_loss_can_be_read_instead(one):
    found = tune.range_test(one, "lr", 1e-4, 100, length=epochs(6), seeds=1, of="train_loss")
    assert found.suggestion and "train loss" in found.suggestion.how


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (("lr", 10, 1e-4), {}, "does not grow"),
        (("lr", 1, 1), {}, "does not grow"),
        (("lr", "low", 1), {}, "give two numbers"),
        (("lr", 1, float("inf")), {}, "give two numbers"),
        (("lr", 1e-4, 1), {"wd": 1e-4}, "unknown setting of a run 'wd'"),
        (("lr", 1e-4, 1), {"scale": "log"}, "unknown scale 'log'"),
        (("rate", 1e-4, 10), {}, "name lr"),
        (("momentum", 0.5, 1), {"lr": 0.1}, "between 0 and 1"),
        (("momentum", 0.5, 0.9), {}, "give lr="),
        (("lr", 0, 1), {"scale": "exponential"}, "start above 0"),
        (("lr", 1e-4, 10), {"seeds": 0}, "0 seeds"),
        (("lr", 1e-4, 10), {"of": "test_accuracy"}, "unknown loss 'test_accuracy'"),
    ],
)
def test_a_range_that_makes_no_sense_is_told(arguments, settings, says, one):
    with pytest.raises(UserError, match=says):
        tune.range_test(one, *arguments, **{"seeds": 1, **settings})
