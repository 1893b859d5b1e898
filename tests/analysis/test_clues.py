"""Clues on made-up curves."""

import numpy as np
import pytest

from smith.analysis.clues import clues

T = np.arange(1, 51) / 50
FALLING = 2 * np.exp(-3 * T)
NOISE = np.random.default_rng(0).normal(size=50)


def test_a_loss_that_falls_to_the_end_underfits():
    found = clues({"test_loss": FALLING * 1.02, "train_loss": FALLING})
    assert found.underfitting and found.plateau is None and found.overfitting is None
    assert found.gap == pytest.approx(0.02 * FALLING[-1])
    assert "underfits" in str(found)


def test_a_loss_that_falls_far_above_the_training_loss_does_not_count_as_underfitting():
    assert not clues({"test_loss": FALLING * 2, "train_loss": FALLING}).underfitting


@pytest.mark.parametrize("scale", [0, 0.01])
def test_a_loss_that_turns_while_the_training_loss_falls_overfits_from_there_on(scale):
    test = 1 + np.abs(T - 0.4) + scale * NOISE
    found = clues({"test_loss": test, "train_loss": FALLING})
    assert found.overfitting == pytest.approx(0.4, abs=0.06) and not found.underfitting
    assert "overfits" in str(found)


def test_a_loss_that_turns_with_the_training_loss_diverges_and_does_not_overfit():
    turning = 1 + np.abs(T - 0.4)
    assert clues({"test_loss": turning, "train_loss": turning}).overfitting is None


def test_a_flat_loss_has_a_plateau_from_where_it_is_flat():
    found = clues({"test_loss": np.maximum(1, 2 - 2 * T), "train_loss": np.maximum(0.9, 1.9 - 2 * T)})
    assert found.plateau == pytest.approx(0.5, abs=0.05)
    assert not found.underfitting and found.overfitting is None


@pytest.mark.parametrize("count", [5, 9, 10])
def test_a_loss_that_falls_to_the_end_is_flat_nowhere_however_few_tests_there_are(count):
    assert clues({"test_loss": np.linspace(3, 1, count)}).plateau is None


def test_noise_around_a_level_is_no_clue_but_a_plateau():
    for test, training in np.random.default_rng(0).normal(size=(20, 2, 50)) * 0.003:
        found = clues({"test_loss": 1 + test, "train_loss": 0.9 + training})
        assert found.overfitting is None and not found.underfitting and found.plateau is not None


def test_only_tests_that_can_be_read_count_and_five_are_needed():
    assert clues({"test_loss": np.where(T > 0.9, np.inf, FALLING)}).underfitting
    with pytest.raises(ValueError, match="4 tests can be read"):
        clues({"test_loss": np.r_[1, 1, 1, 1, np.nan, 0, -1]})
    with pytest.raises(ValueError, match="needs its test_loss"):
        clues({})
