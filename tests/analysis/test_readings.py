"""Readings: what the rules find on made-up curves."""

import numpy as np
import pytest

from smith.analysis.readings import read

RATES = np.logspace(-4, 1, 60)
GUESS = np.log(10)


def made_up_curve(least: float = 0.1, failing: float = 2.0) -> np.ndarray:
    """Returns losses that fall to their least at a rate, and fail at another."""
    distance = np.log10(RATES / least)
    return np.where(RATES < failing, np.minimum(GUESS, 0.8 + 0.3 * distance**2), 5.0)


def test_the_readings_are_where_they_should_be():
    found = read(RATES, made_up_curve(), GUESS)
    assert found["minimum"] == pytest.approx(0.1, rel=0.25)
    assert found["minimum / 10"] == pytest.approx(found["minimum"] / 10)
    assert found["largest stable"] == pytest.approx(2, rel=0.25)
    assert 1e-3 < found["steepest"] < found["valley"] * 3 and found["valley"] < 0.1


@pytest.mark.parametrize("losses", [np.full(60, GUESS), np.full(60, 5.0)])
def test_a_curve_that_never_falls_has_no_reading(losses):
    assert all(np.isnan(value) for value in read(RATES, losses, GUESS).values())


def test_noise_does_not_stop_the_reading():
    random = np.random.default_rng(0)
    found = [read(RATES, made_up_curve() + 0.1 * random.normal(size=60), GUESS) for _ in range(20)]
    assert np.median([one["minimum"] for one in found]) == pytest.approx(0.1, rel=0.5)
