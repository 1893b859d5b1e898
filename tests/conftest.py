"""Fixtures: small made-up datasets in the place where the program looks for its caches, and small runs on them.

Every process of a test run (scripts/test.sh starts one a core) computes on one thread, and all share one cache of
compiled programs, which stays for the next test run. XLA spends no time on making these fast, which is two fifths of
what a test costs; XLA_FLAGS=--xla_backend_optimization_level=3 tests programs as users have them.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.abspath(".pytest_cache/d/xla"))  # --cache-clear removes it
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ |= {"NPROC": "1", "OPENBLAS_NUM_THREADS": "1"} if "PYTEST_XDIST_WORKER" in os.environ else {}

import filelock
import hypothesis
import jax
import pytest
from processes import Place
from small import FAMILY, SMALL_RUN, made_up

from smith.data import DATASETS, SPLITS, cache, cache_file
from smith.networks import cpu
from smith.run import Run

cpu.LIBRARIES["xla_cpu_experimental_onednn_custom_call"] = "false"  # its programs can not be kept from test to test
cpu.LIBRARIES["xla_backend_optimization_level"] = "0"
cpu.prepare_process()
jax.config.update("jax_num_cpu_devices", 4)  # one computes, as elsewhere, where a test does not ask for more
hypothesis.settings.register_profile("default", deadline=None)  # the first example compiles
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what is marked slow, and everything in tests/slow, unless --slow is given."""
    if config.getoption("--slow"):
        return
    folder = Path(__file__).parent / "slow"
    for item in items:
        if "slow" in item.keywords or folder in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with caches of full size, so that the program takes them for the published datasets."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # one for all processes of the test run
    folder = base / "made-up-data"
    with filelock.FileLock(base / "made-up-data.lock"):
        for name in ("mnist", "cifar10", "cifar100"):
            for split in SPLITS:
                if not (file := cache_file(name, split, folder)).exists():
                    cache.write(file, *made_up(name, split, DATASETS[name].count(split)))  # in any order
        (folder / "smith-cache" / "made-up").touch()  # so the program takes them in place of the published ones
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and made-up data where the program looks for data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    return tmp_path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Calls a command, `smith` if no other, that ends with one line and a status. Returns the line.

    printed: whether it says something before that
    """
    from smith import cli

    def call(status: int, *words: object, main: Callable[[list[str]], None] = cli.main, printed: bool = False) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        out, line = capsys.readouterr()
        assert (stop.value.code, bool(out), line.count("\n")) == (status, printed, 1), out + line
        assert line.endswith("\n") and (line.startswith("smith: ") or main is not cli.main)
        return line

    return call


@pytest.fixture
def small_run() -> Run:
    return SMALL_RUN


@pytest.fixture
def place(tmp_path: Path, data_dir: Path) -> Iterator[Place]:
    """A place for real processes, which are ended with the test."""
    place = Place(tmp_path, data_dir)
    yield place
    for process in place.processes:
        process.end()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Place:
    """A place where a run and its child were trained and drawn in peace."""
    place = Place(tmp_path_factory.mktemp("undisturbed"), data_dir)
    place.finish(*FAMILY)
    return place
