"""Reading curves: made-up curves with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smith.analysis import curves

RATE = np.linspace(0.1, 1, 10)


def test_the_slope_is_that_of_least_squares_and_needs_two_tests():
    values = np.random.default_rng(0).normal(size=(3, 10))
    assert curves.slope(RATE, values) == pytest.approx(np.polyfit(RATE, values.T, 1)[0])
    assert np.isnan(curves.slope(RATE[:1], np.ones((3, 1)))).all()


def test_means_of_tests_in_a_row():
    assert curves.running_mean(np.array([[1.0, 2, 3, 6], [0, 0, 0, 4]]), 2).tolist() == [[1.5, 2.5, 4.5], [0, 0, 2]]
    assert curves.running_mean(np.array([1.0, 3]), 5).tolist() == [2]


def test_since_when_all_has_failed():
    failed = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 1]], bool)
    assert curves.failed_since(failed).tolist() == [2, 0, 4, 3]


def test_the_rate_of_the_least_loss():
    loss = np.array([2, 1, 0.5, 0.4, 0.6, 1, 2, -np.inf, np.inf, np.nan])
    assert curves.rate_of_minimum(RATE, loss) == pytest.approx(0.4)
    for nothing in ([], [np.nan, np.inf]):
        with pytest.raises(ValueError):
            curves.rate_of_minimum(np.ones(len(nothing)), np.array(nothing))


@pytest.mark.parametrize(
    ("loss", "rate"),
    [
        ([2.3, 1.5, 1, 0.7, 0.6, 0.7, 0.9, 1.5, 2.3, 2.3], 0.8),  # the middle to 2.3 is 1.45
        ([2.3, 1, 0.6, 2.3, 2.3, 2.3, 0.9, 0.8, 0.8, 0.8], None),  # it recovers
        ([2.3, 1, 0.6, 2.3, 0.7, 0.7, 0.9, 0.8, 2.3, 2.3], 0.9),
        ([2.3, 1, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, np.nan], 1.0),
        ([np.nan] * 10, 0.1),
        ([87.0] * 10, 0.1),  # never better than guessing
    ],
)
def test_the_rate_from_which_on_all_tests_have_failed(loss: list[float], rate: float | None):
    assert curves.rate_of_divergence(RATE, np.array(loss), 2.3) == (rate and pytest.approx(rate))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=10), st.floats(0.01, 100))
def test_rates_scale_with_the_axis(losses: list[float], scale: float):
    rate, loss = RATE[: len(losses)], np.array(losses)
    assert curves.rate_of_minimum(scale * rate, loss) == pytest.approx(scale * curves.rate_of_minimum(rate, loss))
    one, other = (curves.rate_of_divergence(x, loss, 2.3) for x in (rate, scale * rate))
    assert (one is None) == (other is None)
    assert one is None or other == pytest.approx(scale * one)


def test_agreement_of_two_orders():
    assert curves.rank_agreement([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert curves.rank_agreement([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert curves.rank_agreement([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(4 / 6)
    assert curves.rank_agreement([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))  # tau-b
    assert np.isnan(curves.rank_agreement([1, 1, 1], [1, 2, 3])) and np.isnan(curves.rank_agreement([1], [1]))
