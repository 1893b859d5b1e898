"""One small task for the tests of a file, so that what one test has trained is not trained again for the next."""

from pathlib import Path

import pytest
from tiny import task

from smith import Task


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return task(Path(tmp_path_factory.mktemp("task")) / "results")
