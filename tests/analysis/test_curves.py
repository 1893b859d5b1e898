"""Reading curves: made-up curves with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smith.analysis import curves

SHIFTS = st.floats(-10, 10)
SCALES = st.floats(1e-3, 1e3)
SEEDS = st.integers(0, 1_000)
X = np.arange(100.0)


def normal(count: int, seed: int = 0, level: float = 0.01) -> np.ndarray:
    return level * np.random.default_rng(seed).normal(size=count)


# --- noise ---


@pytest.mark.parametrize("trend", [0 * X, 0.01 * X, np.exp(-X / 30)], ids=["flat", "straight", "exponential"])
def test_noise_is_that_around_a_trend(trend: np.ndarray):
    found = [curves.noise(trend + normal(100, seed)) for seed in range(400)]
    assert np.mean(found) == pytest.approx(0.01, rel=0.03)


def test_noise_of_a_long_curve_is_within_a_few_percent():
    assert curves.noise(normal(20_000) + np.linspace(3, 1, 20_000)) == pytest.approx(0.01, rel=0.03)


def test_jumps_and_what_is_not_finite_hardly_change_the_noise():
    values = normal(1_000)
    jumps = values + 5.0 * (np.arange(1_000) > 300) - 3.0 * (np.arange(1_000) > 700)
    assert curves.noise(jumps) == pytest.approx(curves.noise(values), rel=0.02)
    assert curves.noise(np.append(values, [np.nan, np.inf])) == curves.noise(values)


def test_a_straight_line_has_no_noise():
    assert curves.noise(2 * np.arange(9.0)) == 0


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [1.0, np.nan, 2.0, np.inf]])
def test_noise_needs_three_finite_points(values: list[float]):
    with pytest.raises(ValueError):
        curves.noise(np.array(values))


@given(SEEDS, SCALES, SHIFTS)
def test_noise_scales_with_the_curve_and_does_not_depend_on_its_level(seed: int, scale: float, shift: float):
    values = normal(30, seed, 1.0)
    assert curves.noise(scale * values + shift) == pytest.approx(scale * curves.noise(values), rel=1e-6)


# --- rise ---


@given(SHIFTS, SHIFTS)
def test_the_rise_of_a_straight_line_is_that_from_end_to_end(slope: float, shift: float):
    x = np.array([1.0, 2.0, 4.0, 8.0])
    assert curves.rise(x, slope * x + shift) == pytest.approx(7 * slope, abs=1e-9)


def test_one_high_end_is_no_rise_of_its_full_size():
    assert 0 < curves.rise(X, np.append(np.zeros(99), 1.0)) < 0.1
    assert curves.rise(X, -X + normal(100)) == pytest.approx(-99, rel=0.01)


@pytest.mark.parametrize("count", [0, 1])
def test_a_rise_needs_two_points(count: int):
    with pytest.raises(ValueError):
        curves.rise(np.ones(count), np.ones(count))


# --- plateau ---


@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_begins_where_the_fall_ends(seed: int):
    found = curves.plateau(np.maximum(1 - X / 50, 0) + normal(100, seed))
    assert found is not None and abs(found - 50) <= 5


def test_a_curve_without_noise_has_the_plateau_it_has():
    assert curves.plateau(np.maximum(1 - X / 50, 0)) in (49, 50)


@pytest.mark.parametrize("level", [0.5, 0.1])
def test_a_flat_curve_is_a_plateau_from_its_start(level: float):
    assert curves.plateau(np.full(20, level)) == 0


@pytest.mark.parametrize("slope", [1e-1, 1e-3, 1e-6])
def test_a_steady_fall_has_no_plateau(slope: float):
    assert curves.plateau(1 - slope * X) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_noisy_fall_has_no_plateau(seed: int):
    """It falls by ten times its noise."""
    assert curves.plateau(1 - 1e-3 * X + normal(100, seed)) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_curve_that_falls_and_rises_as_much_is_no_plateau(seed: int):
    """The best line over all of it has no slope, but does not fit it."""
    found = curves.plateau(abs(X - 49.5) / 50 + normal(100, seed))
    assert found is None or found > 50


def test_a_plateau_has_at_least_so_many_points():
    values = np.append(np.linspace(3, 1, 30), np.full(8, 1.0)) + normal(38)
    found = curves.plateau(values, least=5)
    assert found is not None and found >= 28
    assert curves.plateau(values, least=20) is None


@given(SEEDS, st.floats(0.1, 10), SHIFTS)
def test_a_plateau_does_not_depend_on_unit_and_level(seed: int, scale: float, shift: float):
    values = np.maximum(1 - X[:40] / 20, 0) + normal(40, seed)
    assert curves.plateau(scale * values + shift) == curves.plateau(values)


# --- onset of overfitting ---


@pytest.mark.parametrize("seed", range(5))
def test_overfitting_begins_where_the_loss_is_least(seed: int):
    found = curves.onset_of_overfitting(abs(X - 60) / 50 + normal(100, seed))
    assert found is not None and abs(found - 60) <= 2


def test_a_loss_that_falls_or_is_flat_shows_no_overfitting():
    assert curves.onset_of_overfitting(1 - 0.01 * X) is None
    flat = [curves.onset_of_overfitting(normal(100, seed)) is not None for seed in range(200)]
    assert np.mean(flat) < 0.1
    assert curves.onset_of_overfitting(1 - 0.01 * X + normal(100)) is None


def test_one_high_test_is_no_overfitting():
    loss = np.exp(-X / 10) + normal(100)
    loss[50] += 1
    assert curves.onset_of_overfitting(loss) is None


def test_how_much_is_overfitting_is_the_callers_choice():
    loss = np.append(np.linspace(1, 0, 50), np.linspace(0, 0.05, 50)) + normal(100)
    assert curves.onset_of_overfitting(loss, times=2) is not None
    assert curves.onset_of_overfitting(loss, times=20) is None


@pytest.mark.parametrize(("count", "window"), [(4, 5), (0, 5), (2, 2)])
def test_overfitting_needs_enough_tests(count: int, window: int):
    with pytest.raises(ValueError):
        curves.onset_of_overfitting(np.arange(float(count)), window=window)


# --- rates ---

RATE = np.linspace(0.1, 1, 10)


def test_the_rate_of_the_least_loss():
    loss = np.array([2, 1, 0.5, 0.4, 0.6, 1, 2, -np.inf, np.inf, np.nan])
    assert curves.rate_of_minimum(RATE, loss) == pytest.approx(0.4)
    assert curves.rate_of_minimum(RATE[::-1], loss) == pytest.approx(0.7)


@pytest.mark.parametrize("loss", [[], [np.nan, np.inf]])
def test_no_finite_loss_has_no_least(loss: list[float]):
    with pytest.raises(ValueError):
        curves.rate_of_minimum(np.ones(len(loss)), np.array(loss))


def test_divergence_begins_with_the_first_of_the_last_failed_tests():
    loss = np.array([2.3, 1.5, 1, 0.7, 0.6, 0.7, 0.9, 1.5, 2.3, 2.3])  # the middle to 2.3 is 1.45
    assert curves.rate_of_divergence(RATE, loss, 2.3) == pytest.approx(0.8)


def test_a_run_that_recovers_has_not_diverged():
    loss = np.array([2.3, 1, 0.6, 2.3, 2.3, 2.3, 0.9, 0.8, 0.8, 0.8])
    assert curves.rate_of_divergence(RATE, loss, 2.3) is None
    again = np.array([2.3, 1, 0.6, 2.3, 0.7, 0.7, 0.9, 0.8, 2.3, 2.3])
    assert curves.rate_of_divergence(RATE, again, 2.3) == pytest.approx(0.9)


@pytest.mark.parametrize("last", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_divergence(last: float):
    loss = np.array([2.3, 1, 0.6, 0.6, last])
    assert curves.rate_of_divergence(RATE[:5], loss, 2.3) == pytest.approx(0.5)


def test_a_run_without_a_finite_loss_has_failed_from_its_first_test():
    assert curves.rate_of_divergence(RATE, np.full(10, np.nan), 2.3) == pytest.approx(0.1)


def test_a_run_that_is_worse_than_guessing_has_failed_from_its_first_test():
    assert curves.rate_of_divergence(RATE, np.full(10, 87.0), 2.3) == pytest.approx(0.1)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=10), st.floats(0.01, 100))
def test_rates_scale_with_the_axis(losses: list[float], scale: float):
    rate, loss = RATE[: len(losses)], np.array(losses)
    assert curves.rate_of_minimum(scale * rate, loss) == pytest.approx(scale * curves.rate_of_minimum(rate, loss))
    one, other = (curves.rate_of_divergence(x, loss, 2.3) for x in (rate, scale * rate))
    assert (one is None) == (other is None)
    assert one is None or other == pytest.approx(scale * one)


# --- separation and order ---


def test_separation_is_in_units_of_the_noise():
    found = [curves.separation([normal(200, 2 * seed), 0.1 + normal(200, 2 * seed + 1)]) for seed in range(50)]
    assert np.mean(found) == pytest.approx(0.1 / np.sqrt(2) / 0.01, rel=0.05)


def test_the_same_curves_are_hardly_apart_and_a_trend_in_common_does_not_matter():
    same = [normal(200, seed) for seed in range(4)]
    assert curves.separation(same) < 0.3
    falling = [values - 0.001 * np.arange(200) for values in same]
    assert curves.separation(falling) < 1


@given(SEEDS, SCALES, SHIFTS)
def test_separation_has_no_unit(seed: int, scale: float, shift: float):
    pair = [normal(20, seed, 1.0), normal(20, seed + 1, 1.0) + 3]
    moved = [scale * values + shift for values in pair]
    assert curves.separation(moved) == pytest.approx(curves.separation(pair), rel=1e-6)


def test_separation_needs_two_curves_of_three_points():
    with pytest.raises(ValueError):
        curves.separation([normal(9)])
    with pytest.raises(ValueError):
        curves.separation([normal(9), normal(2)])


def test_agreement_of_two_orders():
    assert curves.rank_agreement([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert curves.rank_agreement([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert curves.rank_agreement([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(4 / 6)
    assert curves.rank_agreement([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))  # tau-b


def test_ties_alone_agree_with_nothing():
    assert np.isnan(curves.rank_agreement([1, 1, 1], [1, 2, 3]))
    assert np.isnan(curves.rank_agreement([1, 2, 3], [1, 1, 1]))
