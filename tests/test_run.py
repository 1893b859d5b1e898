"""Runs: to JSON and back, their keys, and the mistakes in them."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import python

from smith.errors import UserError
from smith.metrics import METRICS, metric
from smith.policies import (
    FastaiMomentum,
    FastaiOneCycle,
    OptaxOneCycle,
    PyTorchMomentum,
    PyTorchOneCycle,
    WarmupStableDecay,
)
from smith.run import Length, Run, Snapshot, epochs, iterations
from smith.schedules import (
    SCHEDULES,
    Constant,
    CyclicalMomentum,
    Exponential,
    Inverse,
    Join,
    Multistep,
    OneCycle,
    RangeTest,
    Scaled,
    Schedule,
    Triangular,
)

RUN = Run(
    data="cifar10",
    network="shallow3",
    batch_size=512,
    length=epochs(95),
    lr=OneCycle(0.08, 0.8, epochs(41)),
    momentum=CyclicalMomentum(0.95, 0.85, epochs(41)),
    weight_decay=1e-4,
)
KEY = "cifar10-shallow3-b512-lr1cycle0.08-0.8-mcm0.95-0.85-wd0.0001-209cadb7e6"
JSON = (
    '{"batch_size":512,"data":"cifar10","length":{"epochs":95},'
    '"lr":{"base":0.08,"peak":0.8,"step_size":{"epochs":41},"type":"OneCycle"},'
    '"momentum":{"high":0.95,"low":0.85,"step_size":{"epochs":41},"type":"CyclicalMomentum"},'
    '"network":"shallow3","type":"Run","weight_decay":0.0001}'
)

SCHEDULE_EXAMPLES = [
    Constant(0.1),
    RangeTest(0.001, 0.01, iterations(2_000)),
    Triangular(0.1, 3, epochs(2.5)),
    OneCycle(0.1, 1, 0.45),
    CyclicalMomentum(0.95, 0.85),
    CyclicalMomentum(0.95, 0.85, iterations(100), rising=True),
    Multistep(0.1, 0.316, (0.5, iterations(3_000), epochs(50))),
    Exponential(0.1, 0.94, iterations(200)),
    Inverse(0.01, epochs(10), power=0.5),
    Scaled(RangeTest(0.1, 1), 0.5),
    Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0.0, 0.5))), at=(0.5,)),
    Join((Constant(0.1), Join((Constant(0.2), Constant(0.3)), at=(0.1,))), at=(iterations(10),)),
    PyTorchOneCycle(0.8, True, 0.4, 10.0, 100.0, "linear"),
    PyTorchMomentum(0.9, 0.8, True, 0.4, "linear"),
    FastaiOneCycle(0.8, 0.3, 10.0, 1e4),
    FastaiMomentum(),
    OptaxOneCycle(0.8, 0.45, 0.9, 10.0, 100.0),
    WarmupStableDecay(0.8, 0.95, "linear"),
]
IMAGENET = {"data": "imagenet", "network": "imagenet-resnet-50", "crop": 224}
CHILD = RUN.replace(start=Snapshot(RUN, at=epochs(20)), weight_decay=3e-4)


def one_line(error) -> str:
    """Returns the message of a caught UserError, which has to be one line."""
    message = str(error.value)
    assert message and "\n" not in message
    return message


# --- JSON and keys ---


def test_a_run_with_any_schedule_comes_back_from_json():
    assert {type(schedule).__name__ for schedule in SCHEDULE_EXAMPLES} <= set(SCHEDULES)
    for schedule in SCHEDULE_EXAMPLES:
        for field in ("lr", "momentum", "weight_decay"):
            run = RUN.replace(**{field: schedule})
            back = Run.from_json(run.to_json())
            assert back == run and hash(back) == hash(run)
            assert back.key == run.key and back.to_json() == run.to_json()


@dataclass(frozen=True)
class Sawtooth(Schedule):
    """A schedule of a user's own."""

    peak: float
    teeth: int = 4

    def formula(self, total, per_epoch):
        return lambda t: self.peak * (t * self.teeth / total % 1)


def test_a_schedule_of_ones_own_comes_back_from_json():
    run = RUN.replace(lr=Sawtooth(0.1, teeth=3))
    assert Run.from_json(run.to_json()) == run and "-lrsawtooth-" in run.key
    with pytest.raises(UserError, match="unknown schedule 'Sawteeth': did you mean 'Sawtooth'"):
        Run.from_json(run.to_json().replace("Sawtooth", "Sawteeth"))


def test_a_run_names_further_metrics():
    metric("made_up_error", unit="u", label="l", short="s", guess=lambda classes: 1.0)(lambda logits, labels: labels)
    run = RUN.replace(metrics=("made_up_error",))
    assert Run.from_json(run.to_json()) == run != RUN and METRICS["made_up_error"].better == "lower"


@pytest.mark.parametrize(
    "run",
    [
        CHILD,
        CHILD.replace(start=Snapshot(CHILD, at=epochs(40))),
        RUN.replace(solver="sgd", test_every=epochs(1), test_images=1_000),
        Run("mnist", "lenet", 64, iterations(10), lr=0.01),
        Run("mnist", "lenet", 64, iterations(10), lr=0.01, order="stored"),
        RUN.replace(network="densenet-40", ghost_batch_size=64, mirror=True, test_images=7_400),
        RUN.replace(network="wide-8", width=0.5, init="xavier"),
    ],
)
def test_a_run_with_any_field_comes_back_from_json(run):
    assert Run.from_json(run.to_json()) == run


@given(st.floats(1e-12, 1e6), st.integers(1, 50_000), st.floats(1, 1e6))
def test_no_digit_is_lost_in_json(value, batch_size, length):
    run = Run("cifar10", "shallow3", batch_size, iterations(length), lr=value, momentum=value / 1e6, weight_decay=value)
    assert Run.from_json(run.to_json()) == run


def test_the_key_and_the_json_of_a_run_are_what_they_were():
    """A key that changes means that everything is trained again."""
    assert RUN.key == KEY and RUN.to_json() == JSON


def test_a_key_is_a_file_name():
    class Odd(Schedule, slug="a/b [c]:\n*"):
        def formula(self, total, per_epoch):
            return lambda t: 0 * t

    long = Join(tuple(map(Constant, range(40))), at=tuple(iterations(n) for n in range(1, 40)))
    for schedule in (*SCHEDULE_EXAMPLES, Odd(), long):
        key = RUN.replace(lr=schedule, momentum=schedule).key
        assert not set(key) & set(' /\\:*?"<>|\n') and len(key) < 200


def test_every_field_is_in_the_key():
    ghosts = RUN.replace(network="resnet-56", ghost_batch_size=128)
    plain = {"data": "cifar100", "batch_size": 513, "length": epochs(96), "momentum": 0.9, "weight_decay": 1e-5}
    plain |= {"solver": "sgd", "test_every": iterations(100), "test_images": 100, "width": 0.5, "init": "msra"}
    plain |= {"mirror": True, "network": "resnet-56", "memory": 0.1}
    plain |= {"lr": OneCycle(0.08, 0.8, epochs(42)), "train_images": 1_000, "classes": 2, "image_side": 16}
    starts = [(RUN, epochs(1)), (RUN, epochs(2)), (RUN.replace(weight_decay=0), epochs(2))]
    runs = [RUN, ghosts, *(RUN.replace(**{name: value}) for name, value in plain.items())]
    runs += [RUN.replace(start=Snapshot(*start)) for start in starts]
    assert len({run.key for run in runs}) == len(runs) == 2 + len(plain) + len(starts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RUN, RUN.replace(solver="nesterov", test_every=iterations(200), test_images=None, start=None)),
        (RUN.replace(lr=RangeTest(0.1, 1)), RUN.replace(lr=RangeTest(0.1, 1, 1.0))),
        (
            RUN.replace(lr=0.05, momentum=1, weight_decay=0),
            RUN.replace(lr=Constant(0.05), momentum=Constant(1.0), weight_decay=Constant(0.0)),
        ),
        (RUN.replace(length=iterations(9_277)), RUN.replace(length=iterations(9_277.0))),
        (RUN.replace(lr=RangeTest(0, 1)), RUN.replace(lr=RangeTest(0.0, 1.0))),
        (RUN.replace(lr=OneCycle(0.1, 1, epochs(41))), RUN.replace(lr=OneCycle(0.1, 1.0, epochs(41.0)))),
    ],
)
def test_what_is_written_in_two_ways_is_one_run_with_one_key(one, other):
    assert one == other and one.key == other.key
    assert RUN.replace(lr=0.05).lr == Constant(0.05) and "momentum" not in RUN.replace(momentum=0.9).to_json()


# --- what a run says about itself ---


def test_lengths_of_a_run():
    assert RUN.iterations_per_epoch == 97.65625
    assert RUN.iterations == 9_277
    assert RUN.count(epochs(41)) == 4_003
    assert RUN.first_iteration == 0
    assert CHILD.first_iteration == 1_953 and "-from1953-" in CHILD.key
    assert [str(schedule) for schedule in RUN.schedules()] == ["1cycle0.08-0.8", "cm0.95-0.85", "0.0001"]


def test_describing_naming_and_scaling_a_run_imports_nothing_slow():
    code = f"""
import sys
from smith import Figure, Panel, Run, dataset, metric, network, sweep
from smith.scales import SCALES
run = Run.from_json({CHILD.to_json()!r})
assert run.key and SCALES["mini"].apply(run).key and Panel("a", {{"": run}}).title
slow = {{"filelock", "jax", "flax", "optax", "matplotlib", "pyarrow", "tensorflow_datasets"}} & set(sys.modules)
assert not slow, slow
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


# --- mistakes ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "cifar_10"}, ["dataset", "cifar_10", "'cifar10'"]),
        ({"network": "shalow3"}, ["network", "'shallow3'"]),
        ({"network": "resnet-57"}, ["resnet-57", "8, 14, 20", "resnet-56"]),
        ({"network": "resnet-56-rely"}, ["'resnet-56-relu'"]),
        ({"network": "resnet-56", "ghost_batch_size": 100}, ["ghost batch size 100", "512"]),
        ({"network": "resnet-56", "ghost_batch_size": 0}, ["ghost batch size 0"]),
        ({"network": "resnet-56", "ghost_batch_size": 12.8}, ["ghost batch size 12.8"]),
        ({"ghost_batch_size": 128}, ["shallow3", "no BatchNorm"]),
        ({"width": 0}, ["width 0"]),
        ({"width": math.inf}, ["width inf"]),
        ({"width": 1e6}, ["width 1000000.0", "at most 100"]),
        ({"length": iterations(1e12)}, ["at most 16,777,216 iterations"]),
        ({"length": epochs(1e300)}, ["at most 16,777,216 iterations"]),
        ({"network": "resnet-60000002"}, ["unknown network"]),
        ({"lr": "0.1"}, ["lr '0.1': give a number or a schedule"]),
        ({"init": "he"}, ["init", "he"]),
        ({"precision": "float16"}, ["precision", "float16", "bfloat16"]),
        ({"length": iterations(97)}, ["97 iterations of 512 images", "less than one epoch", "epochs"]),
        ({"batch_size": 0}, ["batch size 0"]),
        ({"batch_size": 10**6}, ["batch size 1000000", "50000"]),
        ({"batch_size": 1.5}, ["batch size 1.5"]),
        ({"length": 95}, ["length 95", "epochs(95)"]),
        ({"test_every": 1}, ["test_every 1", "iterations(1)"]),
        ({"start": Snapshot(RUN, 0.5)}, ["start 0.5", "epochs(0.5)"]),  # pyright: ignore
        ({"test_images": 0}, ["0 test images"]),
        ({"classes": 11}, ["11 classes: cifar10 has 10"]),
        ({"classes": 1}, ["1 classes"]),
        ({"train_images": 60_000}, ["60000 training images: give a multiple of the 10 classes, at most 50000"]),
        ({"train_images": 101}, ["101 training images"]),
        ({"train_images": 20}, ["batch size 512: give a whole number from 1 to the 20 training images"]),
        ({"image_side": 5}, ["image side 5: give a divisor of cifar10's 32 pixels"]),
        ({"image_side": 4}, ["shallow3 does not take images of 4 x 4 x 3"]),
        ({"memory": 0}, ["memory 0: give a number above 0"]),
        ({"order": "sorted"}, ["order", "sorted", "'stored'"]),
        ({**IMAGENET, "order": "stored"}, ["imagenet", "in the order of its classes", "leave it out"]),
        ({"metrics": ("test_loss",)}, ["leave it out"]),
        ({"metrics": ("nothing_like_it",)}, ["unknown metric"]),
        ({"network": "lenet"}, ["lenet does not take", "32"]),
        ({"data": "mnist"}, ["shallow3 does not take", "28"]),
        ({"lr": OneCycle(0.1, 1, epochs(96))}, ["96 epochs"]),
        ({"momentum": CyclicalMomentum(0.95, 0.85, iterations(9_278))}, ["9278"]),
        ({"weight_decay": Join((Constant(0), Constant(1)), at=(1.0,))}, ["join"]),
        ({"start": Snapshot(RUN, epochs(95))}, ["snapshot", "9277"]),
        ({"start": Snapshot(CHILD, epochs(10))}, ["snapshot", "inside a run"]),
        ({"start": Snapshot(RUN, iterations(20_000))}, ["snapshot", "20000"]),
        ({"start": Snapshot(RUN.replace(length=epochs(50)), epochs(60))}, ["snapshot", "4882"]),
        ({"start": Snapshot(RUN.replace(width=2), epochs(1))}, ["the snapshot's width is 2", "must be the same"]),
        ({"start": RUN}, ["start", "give a Snapshot of a Run"]),
        ({"train_images": "500"}, ["train images '500': give a whole number"]),
        ({"test_images": math.nan}, ["test images nan: give a whole number"]),
        ({"classes": 0}, ["0 classes"]),
        ({"give_up": "3"}, ["give_up '3': give a number"]),
        ({"mirror": "no"}, ["mirror 'no': give True or False"]),
        ({"metrics": 5}, ["metrics 5: give a tuple of names"]),
        ({"data": 5}, ["data 5: give a name"]),
        ({"lr": 1e39}, ["value 1e+39"]),
    ],
    ids=str,
)
def test_a_run_that_cannot_be_is_refused_in_one_line(change, words):
    with pytest.raises(UserError) as error:
        RUN.replace(**change)
    message = one_line(error)
    assert all(word in message for word in words), message


def test_whole_numbers_and_numpys_are_the_same_runs():
    plain = RUN.replace(batch_size=64, train_images=500, width=0.5, lr=0.25, give_up=3, metrics=("sharpness",))
    other = {"batch_size": np.int64(64), "train_images": 500.0, "width": np.float32(0.5), "lr": np.float32(0.25)}
    for more in ({"give_up": np.float32(3), "metrics": "sharpness"}, {"give_up": 3.0, "metrics": ["sharpness"]}):
        run = RUN.replace(**other, **more)
        assert (run, run.key) == (plain, plain.key) and isinstance(run.train_images, int)


def test_lengths_are_positive_and_of_what_there_is():
    for value, unit in ((0, "epochs"), (-1, "epochs"), (math.inf, "epochs"), (10**400, "epochs"), (3, "weeks")):
        with pytest.raises(UserError):
            Length(value, unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        '{"type": "Run"}',
        '{"type": []}',
        '{"type": "Constant", "value": 1}',
        '{"iterations": 1, "epochs": 2}',
        JSON.replace('"epochs":95', '"epochs":1e999'),
        JSON.replace('"epochs":95', '"hours":95'),
        JSON.replace('"data"', '"date"'),
        JSON.replace("512", '"512"'),
        JSON.replace("0.0001", '"much"'),
        JSON.replace("}", ""),
        JSON.replace(",", ",\n").replace("OneCycle", "TwoCycle"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(text):
    with pytest.raises(UserError) as error:
        Run.from_json(text)
    one_line(error)


WORDS = st.sampled_from(["type", "Run", "Snapshot", "iterations", "epochs", "data", "cifar10", *SCHEDULES])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS, st.text(max_size=5))
TREES = st.recursive(
    SCALARS, lambda t: st.one_of(st.lists(t, max_size=3), st.dictionaries(WORDS, t, max_size=4)), max_leaves=8
)


@settings(max_examples=200)
@given(st.sampled_from(["", *json.loads(JSON)]), TREES)
def test_any_json_is_a_run_or_refused(field, tree):
    text = json.dumps({**json.loads(JSON), field: tree} if field else tree)
    try:
        assert isinstance(Run.from_json(text), Run)
    except UserError as error:
        assert "\n" not in str(error)
