"""Scales: what they cut, what they leave, and that every experiment can be run at each."""

import pytest

from smith import experiments
from smith.errors import UserError
from smith.run import Run, Snapshot, epochs, iterations
from smith.scales import SCALES, named
from smith.schedules import Constant, CyclicalMomentum, Join, Multistep, OneCycle, RangeTest

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
DEEP = RUN.replace(network="resnet-56", ghost_batch_size=128, mirror=True)
SHALLOW = {
    "resnet-56": "resnet-8",
    "resnet-56-relu": "resnet-8-relu",
    "wide-32": "wide-8",
    "densenet-40": "densenet-10",
}
RUNS = list({run: None for found in experiments.find(["all"]) for run in found.shows.runs()})
EVERY_SCALE = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


# --- every run of every experiment ---


@EVERY_SCALE
def test_every_run_scales(scale):
    assert {run.network for run in RUNS} == {"shallow3", "lenet", *SHALLOW}
    for run in RUNS:
        cut = scale.apply(run)
        assert cut.iterations <= run.iterations
        assert Run.from_json(cut.to_json()) == cut
        assert cut.network == (SHALLOW.get(run.network, run.network) if scale in (SMOKE, QUICK) else run.network)
        for name in ("data", "solver", "mirror", "init", "running_average", "moving_test", "metrics"):
            assert getattr(cut, name) == getattr(run, name)
        assert (cut.ghost_batch_size is None) == (run.ghost_batch_size is None)
        assert 1 <= -(-cut.iterations // cut.count(cut.test_every)) <= (scale.tests or 10**6)


def test_paper_leaves_every_run_as_it_is():
    assert [PAPER.apply(run) for run in RUNS] == RUNS


@EVERY_SCALE
def test_the_run_behind_a_snapshot_is_scaled_as_it_is_alone(scale):
    deep = DEEP.replace(start=Snapshot(DEEP, epochs(20)), weight_decay=1e-3)
    children = [run for run in [CHILD, deep, *RUNS] if run.start]
    assert [scale.apply(run).start.run for run in children] == [scale.apply(run.start.run) for run in children]


# --- what each scale does ---


def test_short_is_a_tenth_with_everything_in_proportion():
    cut = SHORT.apply(RUN)
    assert cut.length == iterations(927)
    assert cut.lr == OneCycle(0.08, 0.8, iterations(399))
    assert cut.momentum == CyclicalMomentum(0.95, 0.85, iterations(399))
    assert cut.weight_decay == Constant(1e-4)
    assert cut.batch_size == 512
    assert cut.test_images is None


@pytest.mark.parametrize("scale", [QUICK, SHORT], ids=lambda scale: scale.name)
def test_a_step_size_of_the_whole_run_stays_one(scale):
    for length in map(iterations, range(1_000, 20_000, 37)):
        cut = scale.apply(RUN.replace(length=length, lr=RangeTest(0, 1, length), momentum=0.9))
        assert cut.lr.step_size == cut.length


@pytest.mark.parametrize(
    ("network", "trained"),
    [
        ("shallow3", {100: 100, 4_000: 120, 10_000: 166, 16_000: 266, 20_000: 300, 10**6: 300}),
        *((name, {30: 30, 4_882: 40, 8_000: 40, 9_277: 46, 13_671: 68, 16_000: 80, 80_000: 80}) for name in SHALLOW),
    ],
)
def test_quick_trains_120_to_300_iterations_and_deep_networks_40_to_80(network, trained):
    run = RUN.replace(network=network, lr=0.1, momentum=0.9)
    cut = [QUICK.apply(run.replace(length=iterations(length))) for length in trained]
    assert [one.iterations for one in cut] == list(trained.values())
    assert {one.test_images for one in cut} == {1_000}


@pytest.mark.parametrize(
    ("network", "trained"),
    [
        ("shallow3", {128: 16, 256: 32, 512: 64, 548: 64, 2048: 64}),
        ("resnet-56", {128: 8, 1024: 64, 1030: 64}),
        ("densenet-40", {256: 16}),
        ("wide-32", {512: 32}),
        ("resnet-56-relu", {1000: 64}),
        ("lenet", {64: 256, 512: 256, 2048: 256}),
    ],
)
def test_quick_trains_on_a_part_of_the_nearest_power_of_two(network, trained):
    run = RUN.replace(network=network, data="mnist" if network == "lenet" else "cifar10")
    assert [QUICK.apply(run.replace(batch_size=size)).batch_size for size in trained] == list(trained.values())


@pytest.mark.parametrize(
    ("batch_size", "ghost", "smoke", "quick"),
    [  # of batches of 16 at smoke; of 1/16 of the batch at quick
        (128, 32, 4, 2),  # 4 ghost batches
        (256, 64, 4, 4),
        (512, 128, 4, 8),
        (1024, 256, 4, 16),
        (1000, 125, 2, 8),  # 8
        (1030, 206, 4, 16),  # 5, of which 4 divide 16 and 64
        (512, 512, 16, 32),  # 1
        (512, 1, 1, 1),  # more than there are images then
        (512, None, None, None),
    ],
)
def test_ghost_batches_keep_their_number_as_nearly_as_divides_the_batch(batch_size, ghost, smoke, quick):
    run = DEEP.replace(batch_size=batch_size, ghost_batch_size=ghost)
    assert SMOKE.apply(run).ghost_batch_size == smoke
    assert QUICK.apply(run).ghost_batch_size == quick
    assert SHORT.apply(run).ghost_batch_size == ghost


@pytest.mark.parametrize("network", ["shallow3", *SHALLOW])
def test_only_the_wide_network_is_narrower_at_quick(network):
    run = RUN.replace(network=network, width=0.25)
    widths = [scale.apply(run).width for scale in (SMOKE, QUICK, SHORT)]
    assert widths == [0.25, 0.125 if network == "wide-32" else 0.25, 0.25]


@pytest.mark.parametrize(("own", "smoke", "quick", "short"), [(None, 100, 1_000, None), (50, 50, 50, 50)])
def test_a_test_uses_the_smaller_of_the_runs_and_the_scales_images(own, smoke, quick, short):
    run = RUN.replace(test_images=own)
    assert [scale.apply(run).test_images for scale in (SMOKE, QUICK, SHORT, PAPER)] == [smoke, quick, short, own]
    assert QUICK.apply(run.replace(test_images=6_400)).test_images == 1_000


def test_values_and_fractions_stay():
    lr = Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0.0, 1 / 2, iterations(8_000)))), at=(0.5,))
    cut = SHORT.apply(RUN.replace(length=iterations(20_000), lr=lr, momentum=CyclicalMomentum(0.97, 0.7, 0.5)))
    assert cut.lr == Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0.0, 1 / 2, iterations(800)))), at=(0.5,))
    assert cut.momentum == CyclicalMomentum(0.97, 0.7, 0.5)


def test_tests_are_as_dense_as_the_protocols_until_there_are_too_many():
    assert SHORT.apply(RUN).test_every == iterations(24)  # a fortieth of 927, rounded up; a tenth of 200 would be 20
    assert SHORT.apply(RUN.replace(test_every=iterations(1_000))).test_every == iterations(99)  # 927 / 9,277 of it


def test_a_snapshot_is_taken_at_the_same_share_of_the_run():
    for scale, parent, at in ((SHORT, 400, 100), (QUICK, 120, 30), (SMOKE, 6, 1)):
        cut = scale.apply(CHILD)
        assert cut.start == Snapshot(scale.apply(PARENT), iterations(at))
        assert cut.start.run.iterations == parent and cut.iterations == parent
        assert cut.start.run.key == scale.apply(PARENT).key


def test_an_unknown_scale_suggests_the_nearest():
    assert named("quick") is QUICK
    with pytest.raises(UserError, match="unknown scale 'papper': did you mean 'paper'"):
        named("papper")
