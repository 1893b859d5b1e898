"""Scales: what they cut, what they leave, and that every experiment can be run at each."""

import dataclasses

import pytest

from smith import cli
from smith.errors import UserError
from smith.run import Run, Snapshot, epochs, iterations
from smith.scales import SCALES, check_seeds, named
from smith.schedules import Constant, CyclicalMomentum, Join, Multistep, OneCycle, RangeTest
from smith.training import test_iterations as iterations_tested

PAPER, SHORT, QUICK, SMOKE = (SCALES[name] for name in ("paper", "short", "quick", "smoke"))

RUN = Run(
    data="cifar10",
    network="shallow3",
    batch_size=512,
    length=epochs(95),
    lr=OneCycle(0.08, 0.8, epochs(41)),
    momentum=CyclicalMomentum(0.95, 0.85, epochs(41)),
    weight_decay=1e-4,
)
PARENT = RUN.replace(batch_size=2048, length=iterations(4_000), lr=RangeTest(0.001, 0.01), momentum=0.95)
CHILD = PARENT.replace(start=Snapshot(PARENT, iterations(1_000)), weight_decay=3e-3)
RUNS = {run: figure.name for figure in cli.experiments(["all"]) for run in figure.runs()}
EVERY_RUN = pytest.mark.parametrize("run", RUNS, ids=[f"{name}-{run.key}" for run, name in RUNS.items()])
EVERY_SCALE = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


def test_the_scales_are_these():
    assert set(SCALES) == {"smoke", "quick", "short", "paper"}
    assert all(name == scale.name for name, scale in SCALES.items())


# Every run of every experiment.


def test_there_are_runs_to_scale():
    assert len(RUNS) > 10


@EVERY_RUN
def test_paper_leaves_a_run_as_it_is(run):
    assert PAPER.apply(run) == run
    assert PAPER.apply(run).key == run.key


@EVERY_SCALE
@EVERY_RUN
def test_every_run_scales(run, scale):
    cut = scale.apply(run)
    assert cut.iterations <= run.iterations
    assert Run.from_json(cut.to_json()) == cut
    assert (cut.data, cut.network, cut.solver) == (run.data, run.network, run.solver)


@EVERY_SCALE
def test_the_run_behind_a_snapshot_is_scaled_as_it_is_alone(scale):
    children = [run for run in [CHILD, *RUNS] if run.start]
    assert [scale.apply(run).start.run for run in children] == [scale.apply(run.start.run) for run in children]


@EVERY_SCALE
def test_a_run_makes_no_more_tests_than_the_scale_allows(scale):
    tests = {run.key: len(iterations_tested(scale.apply(run))) for run in RUNS if not run.start}
    assert min(tests.values()) >= 1
    assert {key: n for key, n in tests.items() if scale.tests and n > scale.tests} == {}


# What each scale does.


def test_short_is_a_tenth_with_everything_in_proportion():
    cut = SHORT.apply(RUN)
    assert cut.length == iterations(927)
    assert cut.lr == OneCycle(0.08, 0.8, iterations(399))
    assert cut.momentum == CyclicalMomentum(0.95, 0.85, iterations(399))
    assert cut.weight_decay == Constant(1e-4)
    assert cut.batch_size == 512
    assert cut.test_images is None


@pytest.mark.parametrize("length", [1_000, 2_500, 9_277, 16_000, 20_000, 80_000, 210_000])
@pytest.mark.parametrize("share", [1, 0.9, 0.5, 0.25, 0.1])
def test_a_step_size_keeps_its_share_of_the_run(length, share):
    step_size = int(length * share)
    for scale in (QUICK, SHORT):
        cut = scale.apply(
            RUN.replace(length=iterations(length), lr=OneCycle(0.1, 1, iterations(step_size)), momentum=0.9)
        )
        assert cut.lr.step_size.value == pytest.approx(step_size * cut.iterations / length, abs=1)
        assert cut.lr.step_size.value <= cut.iterations


@pytest.mark.parametrize("scale", [QUICK, SHORT], ids=lambda scale: scale.name)
def test_a_step_size_of_the_whole_run_stays_one(scale):
    runs = [
        RUN.replace(length=iterations(length), lr=RangeTest(0, 1, iterations(length)), momentum=0.9)
        for length in range(1_000, 20_000, 37)
    ]
    cut = {run.iterations: scale.apply(run) for run in runs}
    assert {length: run.lr.step_size for length, run in cut.items() if run.lr.step_size != run.length} == {}


@pytest.mark.parametrize(
    ("length", "trained"),
    [(100, 100), (4_000, 200), (10_000, 200), (16_000, 320), (20_000, 400), (60_000, 400), (10**6, 400)],
)
def test_quick_trains_200_to_400_iterations_of_64_images(length, trained):
    cut = QUICK.apply(RUN.replace(length=iterations(length), lr=0.1, momentum=0.9))
    assert cut.iterations == trained
    assert cut.batch_size == 64
    assert cut.test_images == 1_000


def test_smoke_trains_a_few_iterations():
    cut = SMOKE.apply(RUN)
    assert cut.iterations == 6
    assert cut.batch_size == 16
    assert cut.test_images == 100


def test_values_and_fractions_stay():
    lr = Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0.0, 1 / 2, iterations(8_000)))), at=(0.5,))
    cut = SHORT.apply(RUN.replace(length=iterations(20_000), lr=lr, momentum=CyclicalMomentum(0.97, 0.7, 0.5)))
    assert cut.lr == Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0.0, 1 / 2, iterations(800)))), at=(0.5,))
    assert cut.momentum == CyclicalMomentum(0.97, 0.7, 0.5)


@pytest.mark.parametrize("scale", [SHORT, QUICK], ids=lambda scale: scale.name)
def test_the_learning_rate_is_the_same_at_the_same_share_of_the_run(scale):
    run = RUN.replace(length=iterations(10_000), lr=OneCycle(0.1, 1, iterations(4_500)), momentum=0.9)
    cut = scale.apply(run)
    whole = run.lr.build(run.iterations, run.iterations_per_epoch)
    part = cut.lr.build(cut.iterations, cut.iterations_per_epoch)
    for share in (0, 0.1, 0.3, 0.45, 0.6, 0.8, 1):
        assert float(part(share * cut.iterations)) == pytest.approx(float(whole(share * 10_000)), abs=1e-2)


def test_tests_are_as_dense_as_the_protocols_until_there_are_too_many():
    assert SHORT.apply(RUN).test_every == iterations(24)  # a fortieth of 927, rounded up; a tenth of 200 would be 20
    assert SHORT.apply(RUN.replace(test_every=iterations(1_000))).test_every == iterations(99)  # 927 / 9,277 of it


def test_a_snapshot_is_taken_at_the_same_share_of_the_run():
    for scale, parent, at in ((SHORT, 400, 100), (QUICK, 200, 50), (SMOKE, 6, 1)):
        cut = scale.apply(CHILD)
        assert cut.start == Snapshot(scale.apply(PARENT), iterations(at))
        assert cut.start.run.iterations == parent and cut.iterations == parent
        assert cut.start.run.key == scale.apply(PARENT).key


def test_scaling_twice_by_paper_and_short_is_scaling_once():
    assert SHORT.apply(PAPER.apply(RUN)) == PAPER.apply(SHORT.apply(RUN)) == SHORT.apply(RUN)


def test_scaling_does_not_change_the_run_that_is_scaled():
    before = dataclasses.replace(CHILD)
    for scale in SCALES.values():
        scale.apply(CHILD)
    assert CHILD == before


# Names and seeds.


def test_an_unknown_scale_suggests_the_nearest():
    assert named("quick") is QUICK
    with pytest.raises(UserError, match="unknown scale 'papper': did you mean 'paper'"):
        named("papper")


@pytest.mark.parametrize("seeds", [0, -1])
def test_fewer_than_one_seed_is_refused(seeds):
    assert check_seeds(1) == 1
    with pytest.raises(UserError, match=f"--seeds {seeds}"):
        check_seeds(seeds)
