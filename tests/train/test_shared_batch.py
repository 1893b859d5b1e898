"""A batch that several devices share, four made-up ones of a CPU: the same losses as on one, and the work divided."""

import re

import jax
import numpy as np
import pytest
from processes import EXPERIMENT
from small import SMALL_RUN, problem_of, slow

from smith.cli import main
from smith.data import Arrays
from smith.errors import UserError
from smith.run import Run, iterations
from smith.schedules import Constant
from smith.store import results
from smith.train import devices, feed, step
from smith.train.loop import Point, train

BASE = SMALL_RUN.replace(length=iterations(6), test_every=iterations(3), width=1 / 8, test_images=None)
RUNS = {
    "lenet": BASE,
    "dropout": BASE.replace(network="shallow3", data="cifar10", mirror=True),
    "a ghost batch a device": BASE.replace(network="resnet-8", data="cifar10", ghost_batch_size=4),
    "a ghost batch over two": BASE.replace(network="resnet-8", data="cifar10", ghost_batch_size=8),
    "the whole batch": BASE.replace(network="resnet-8", data="cifar10", solver="nesterov"),
    # Deeper networks on images so small make much of a little rounding: one iteration.
    "imagenet": BASE.replace(
        network="imagenet-resnet-26", data="cifar10", lr=Constant(1e-5), length=iterations(1), test_every=iterations(1)
    ),
}
FAST = ("dropout",)
NAMES = [*FAST, *slow(*(name for name in RUNS if name not in FAST))]
GATHERING = r"\b(all-gather|all-to-all|collective-permute)(-start)?\("


def rows_of(run: Run, count: int, begin: Point | None = None) -> list:
    with devices.shared(count):
        return [p.row for p in train(run, 0, problem_of(run.data, 200, 150), begin) if p.row]


def compiled(run: Run) -> str:
    """Returns the program of a step on four devices, as XLA's text."""
    with devices.shared(0):
        program, keys, problem = step.program_of(run), step.keys_of(0), problem_of(run.data, 200, 150)
        batch = feed.batches(problem, keys.order, run.batch_size)(0)
        hyper = np.zeros(3, np.float32)
        return (
            step.train_step.lower(program, step.init(program, keys.init), *batch, 0, hyper, keys.noise)
            .compile()
            .as_text()
        )


@pytest.mark.parametrize("name", NAMES)
def test_four_devices_measure_what_one_does(name):
    one, four = rows_of(RUNS[name], 1), rows_of(RUNS[name], 4)
    assert len(one) == min(2, RUNS[name].iterations)
    for alone, shared in zip(one, four, strict=True):
        assert shared == pytest.approx(alone, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("name", ["a ghost batch a device", *slow("dropout")])
def test_the_images_are_divided_and_stay_where_they_are(name):
    text = compiled(RUNS[name])
    assert "all-reduce" in text
    assert not re.findall(GATHERING, text)


def test_a_run_begun_on_one_device_goes_on_on_four():
    run = RUNS["lenet"]
    at = next(point for point in train(run, 0, problem_of("mnist", 200, 150)) if point.iteration == 4)
    at = at._replace(state=jax.device_get(at.state))
    assert rows_of(run, 4, at)[-1] == pytest.approx(rows_of(run, 1, at)[-1], rel=1e-5)


def test_streamed_batches_are_put_on_the_devices_that_need_them():
    images = np.random.default_rng(0).integers(0, 255, (64, 28, 28, 1), dtype=np.uint8)
    run, arrays = BASE.replace(test_every=iterations(6)), Arrays(images, np.arange(64, dtype=np.int32) % 10)

    class OnDisk:
        shape, mean = images.shape, images.mean(axis=0)

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            return images[rows]

    on_disk = Arrays(OnDisk(), arrays.labels)  # pyright: ignore[reportArgumentType]
    with devices.shared(0):
        streamed = feed.put("mnist", on_disk, on_disk)
        problem, orders, _ = feed.batches(streamed, step.keys_of(0).order, 16)(0)
        assert orders is None
        assert [shard.data.shape for shard in problem.train_images.addressable_shards] == [(4, 28, 28, 1)] * 4
        shared = [point.row for point in train(run, 0, streamed) if point.row]
    alone = [point.row for point in train(run, 0, feed.put("mnist", arrays, arrays)) if point.row]
    assert shared[-1] == pytest.approx(alone[-1], rel=1e-5)


def test_the_command_trains_on_all_devices_and_its_result_says_so(tmp_path, data_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(EXPERIMENT.format([BASE.replace(test_images=100).to_json()]))
    options = ["--scale", "paper", "--seeds", "1", "--data-dir", str(data_dir), "--no-draw"]
    with pytest.raises(SystemExit, match="2"):
        main(["run", "mine.py", *options, "--devices", "3"])
    assert not list(tmp_path.rglob("*.parquet"))
    main(["run", "mine.py", *options, "--devices", "all"])
    (path,) = tmp_path.rglob("*.parquet")
    assert results.read(path).facts["device_count"] == "4"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (3, "lenet-b16.*: a batch of 16 does not divide by 3 devices: --devices 2"),
        (5, "--devices 5: JAX has 4, cpu"),
    ],
)
def test_devices_that_do_not_fit_are_told(count, words):
    with pytest.raises(UserError, match=words), devices.shared(count):
        devices.check([SMALL_RUN])
