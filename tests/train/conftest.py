"""A small run and its data, for the tests of training."""

import pytest
from small import problem_of

from smith.run import Run
from smith.train.step import Problem


@pytest.fixture(scope="session")
def mnist() -> Problem:
    return problem_of("mnist", 200, 150)


@pytest.fixture
def run(small_run) -> Run:
    """12 iterations of a narrow LeNet, tested at 4, 8 and 12."""
    return small_run.replace(width=1 / 8)
