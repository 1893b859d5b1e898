"""Scales: what they cut, what they leave, and that every experiment can be run at each."""

import re

import pytest

from smith import experiments
from smith.errors import UserError
from smith.run import Run, Snapshot, epochs, iterations
from smith.scales import MINIATURES, MOST_TESTS, SCALES, Miniature, miniature_of, named
from smith.schedules import Constant, CyclicalMomentum, Join, Multistep, OneCycle, RangeTest, Scaled

PAPER, MINI, SMOKE = (SCALES[name] for name in ("paper", "mini", "smoke"))

RUN = Run(
    data="cifar10",
    network="shallow3",
    batch_size=512,
    length=epochs(96),
    lr=OneCycle(0.08, 0.8, epochs(42)),
    momentum=CyclicalMomentum(0.95, 0.85, epochs(42)),
    weight_decay=1e-4,
)
PARENT = RUN.replace(batch_size=2048, length=iterations(4_000), lr=RangeTest(0.001, 0.01), momentum=0.95)
CHILD = PARENT.replace(start=Snapshot(PARENT, iterations(1_000)), weight_decay=3e-3)
DEEP = RUN.replace(network="resnet-56", ghost_batch_size=128, mirror=True)
THIRD = Miniature("resnet-8", 1 / 2, 2_500, epochs=1 / 3, side=16, batch=1 / 8)
SHALLOW = {
    "resnet-56": "resnet-8",
    "resnet-56-relu": "resnet-8-relu",
    "wide-32": "wide-8",
    "densenet-40": "densenet-10",
    "imagenet-resnet-50": "imagenet-resnet-26",
    "inception-resnet-v2": "inception-resnet-v2-32",
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
        shallow = SHALLOW.get(run.network, run.network)
        if scale is SMOKE:
            shallow = shallow.replace("-26", "-14")
        assert cut.network == (run.network if scale is PAPER else shallow)
        assert cut.data == (run.data if scale is PAPER or run.data != "imagenet" else "tinyimagenet40")
        assert cut.crop is None or cut.crop == (230 if scale is PAPER else 28)
        for name in ("solver", "mirror", "metrics"):
            assert getattr(cut, name) == getattr(run, name)
        assert cut.init == ("scaled" if scale.name == "mini" and run.network == "shallow3" else run.init)
        assert (cut.ghost_batch_size is None) == (run.ghost_batch_size is None)
        if scale is not PAPER:
            assert len(cut.when_tested()) <= {SMOKE: 2, MINI: MOST_TESTS}[scale] + bool(run.start)


def test_paper_leaves_every_run_as_it_is():
    assert [PAPER.apply(run) for run in RUNS] == RUNS


@EVERY_SCALE
def test_the_run_behind_a_snapshot_is_scaled_as_it_is_alone(scale):
    deep = DEEP.replace(start=Snapshot(DEEP, epochs(20)), weight_decay=1e-3)
    children = [run for run in [CHILD, deep, *RUNS] if run.start]
    assert [scale.apply(run).start.run for run in children] == [scale.apply(run.start.run) for run in children]


# --- in miniature ---


def test_every_network_and_dataset_of_the_experiments_has_a_miniature():
    assert {(run.network, run.data) for run in RUNS} == {*MINIATURES}


def test_what_tells_two_runs_of_one_miniature_apart_is_what_tells_the_papers_apart():
    cuts = {run: MINI.apply(run) for run in RUNS}
    for run, cut in cuts.items():
        small = miniature_of(run)
        whole = run.iterations / run.iterations_per_epoch
        assert cut.iterations / cut.iterations_per_epoch == pytest.approx(whole * small.epochs, rel=0.01)
        assert cut.weight_decay == run.weight_decay
        assert cut.batch_size / run.batch_size == pytest.approx(small.batch, rel=0.04)
        if run.ghost_batch_size:
            assert cut.batch_size // cut.ghost_batch_size == run.batch_size // run.ghost_batch_size
    for small in MINIATURES.values():
        same = [cut for run, cut in cuts.items() if miniature_of(run) is small]
        assert len({cut.memory for cut in same}) == 1
        assert len(set(same)) == len(same)


def test_a_miniature_scales_everything_with_a_time_in_proportion():
    cut = THIRD.apply(DEEP)
    assert (cut.network, cut.width, cut.batch_size, cut.ghost_batch_size) == ("resnet-8", 0.5, 64, 16)
    assert (cut.train_images, cut.test_images, cut.image_side) == (2_500, 2_000, 16)
    assert cut.iterations == 1_250  # 32 epochs of 2,500 / 64
    half = 42 * 1_250 // 96
    assert cut.lr == OneCycle(0.08, 0.8, iterations(half))
    assert cut.momentum == CyclicalMomentum(0.95, 0.85, iterations(half))
    assert cut.weight_decay == Constant(1e-4)
    assert cut.memory == pytest.approx(1_250 / 9_375)  # of the paper's iterations
    assert cut.test_every == iterations(32)  # a fortieth of the run


def test_a_factor_on_the_rates_changes_nothing_else():
    doubled = Miniature(**{**vars(THIRD), "rate": 2.0}).apply(DEEP)
    plain = THIRD.apply(DEEP)
    assert doubled.lr == Scaled(plain.lr, 2.0) and doubled.replace(lr=plain.lr) == plain


def test_a_batch_that_does_not_divide_by_its_ghosts_keeps_their_number():
    cut = THIRD.apply(DEEP.replace(batch_size=1030, ghost_batch_size=206))  # 5 of them
    assert (cut.batch_size, cut.ghost_batch_size) == (130, 26)


def test_a_miniature_draws_weights_its_own_way_unless_the_run_says_how():
    scaled = Miniature(**{**vars(THIRD), "init": "scaled"})
    assert [scaled.apply(DEEP.replace(init=init)).init for init in (None, "xavier")] == ["scaled", "xavier"]
    assert THIRD.apply(DEEP).init is None and "initial weights scaled" in scaled.what


def test_a_run_shorter_than_its_miniature_is_not_made_longer():
    assert THIRD.apply(RUN.replace(length=iterations(3), lr=0.1, momentum=0.9)).iterations <= 3


def test_a_network_without_a_miniature_is_named_with_those_that_have_one():
    words = "no miniature of resnet-20 on cifar10, only of shallow3 on cifar10.*: try --scale smoke or paper"
    with pytest.raises(UserError, match=words):
        MINI.apply(DEEP.replace(network="resnet-20"))


def test_figures_say_what_is_shrunk_once_for_each_network():
    said = MINI.describe([DEEP, DEEP.replace(batch_size=1024, ghost_batch_size=256), RUN])
    assert said.count(";") == 2 and "resnet-8 at 1/2 width, 16 x 16 pixels, 2,500 images" in said
    assert re.search(r"1/8 of the batch, 1/\d of the epochs", said)
    assert PAPER.describe([RUN]) == PAPER.what
    assert "2 times the learning rate" in Miniature(**{**vars(THIRD), "rate": 2.0}).what


# --- smoke ---


@pytest.mark.parametrize(
    ("batch_size", "ghost", "smoke"),
    [  # of batches of 16
        (128, 32, 4),  # 4 ghost batches
        (1024, 256, 4),
        (1000, 125, 2),  # 8
        (1030, 206, 4),  # 5, of which 4 divide 16
        (512, 512, 16),  # 1
        (512, 1, 1),  # more than there are images then
        (512, None, None),
    ],
)
def test_ghost_batches_keep_their_number_as_nearly_as_divides_the_batch(batch_size, ghost, smoke):
    assert SMOKE.apply(DEEP.replace(batch_size=batch_size, ghost_batch_size=ghost)).ghost_batch_size == smoke


def test_smoke_trains_six_iterations_of_sixteen_images():
    for run in (RUN, DEEP):
        cut = SMOKE.apply(run)
        assert (cut.iterations, cut.batch_size, cut.test_images, cut.test_every) == (6, 16, 100, iterations(3))
    assert SMOKE.apply(RUN.replace(test_images=50)).test_images == 50
    for network, shallow in {"densenet-40": "densenet-10", "inception-resnet-v2": "inception-resnet-v2-32"}.items():
        assert SMOKE.apply(DEEP.replace(network=network)).network == shallow


def test_values_and_fractions_stay():
    lr = Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0.0, 1 / 2, iterations(8_000)))), at=(0.5,))
    cut = MINI.apply(RUN.replace(length=iterations(20_000), lr=lr, momentum=CyclicalMomentum(0.97, 0.7, 0.5)))
    last = iterations(8_000 * cut.iterations // 20_000)
    plain = cut.lr.schedule if isinstance(cut.lr, Scaled) else cut.lr
    assert plain == Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0.0, 1 / 2, last))), at=(0.5,))
    assert cut.momentum == CyclicalMomentum(0.97, 0.7, 0.5)


def test_a_step_size_of_the_whole_run_stays_one():
    for length in map(iterations, range(1_000, 20_000, 371)):
        cut = THIRD.apply(RUN.replace(length=length, lr=RangeTest(0, 1, length), momentum=0.9))
        assert cut.lr.step_size == cut.length


@EVERY_SCALE
def test_a_snapshot_is_taken_at_the_same_share_of_the_run(scale):
    cut = scale.apply(CHILD)
    assert cut.start.run == scale.apply(PARENT) and cut.iterations == cut.start.run.iterations
    assert cut.start.at == iterations(cut.iterations // 4)


def test_an_unknown_scale_suggests_the_nearest():
    assert named("mini") is MINI
    with pytest.raises(UserError, match="unknown scale 'papper': did you mean 'paper'"):
        named("papper")
