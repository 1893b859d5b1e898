"""Recipes: how the runs of one curve differ."""

import pytest

from smith import replicates
from smith.errors import UserError
from smith.run import Run, Snapshot, epochs, iterations
from smith.schedules import OneCycle

DEEP = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=512,
    ghost_batch_size=128,
    mirror=True,
    length=epochs(95),
    lr=OneCycle(0.08, 0.8, step_size=epochs(41)),
)


def sizes(run: Run) -> list[tuple[int, int | None]]:
    four = [replicates.author(run, number) for number in range(4)]
    return [(one.batch_size, one.ghost_batch_size) for one in four]


SHALLOW = Run("cifar10", "shallow3", 548, iterations(10_000), lr=0.01)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (DEEP, [(512, 128), (516, 129), (520, 130), (524, 131)]),  # one image more on each of four GPUs
        (DEEP.replace(batch_size=1030, ghost_batch_size=206), [(1024, 256), (1028, 257), (1032, 258), (1036, 259)]),
        (DEEP.replace(batch_size=1000, ghost_batch_size=125), [(1000, 125), (1008, 126), (1016, 127), (1024, 128)]),
        (SHALLOW, [(548, None), (552, None), (556, None), (560, None)]),
    ],
    ids=["four GPUs", "1030 is the mean of the four", "eight GPUs", "without BatchNorm"],
)
def test_the_authors_runs_have_one_image_more_on_each_gpu(run, expected):
    assert sizes(run) == expected


def test_both_initialisations_the_stored_order_and_nothing_else_change():
    assert replicates.seeds(DEEP, 3) is DEEP
    four = [replicates.author(DEEP, number) for number in range(4)]
    assert [one.init for one in four] == ["xavier", None, "xavier", None]  # its own filler is MSRA
    for one in four:
        assert one.order == "stored"
        assert one.replace(init=None, batch_size=512, ghost_batch_size=128, order="shuffled") == DEEP


def test_a_filler_that_is_not_msra_is_left_alone():
    assert {replicates.author(SHALLOW, number).init for number in range(4)} == {None}
    lenet = Run("mnist", "lenet", 512, iterations(10), lr=0.1)
    assert [replicates.author(lenet, number).init for number in range(4)] == ["xavier", "msra", "xavier", "msra"]


def test_images_in_the_order_of_their_classes_are_shuffled():
    run = Run("imagenet", "imagenet-resnet-50", 128, iterations(10), lr=0.1, crop=224)
    assert replicates.author(run, 0).order == "shuffled"


def test_a_snapshot_comes_from_the_run_with_the_same_number():
    child = DEEP.replace(start=Snapshot(DEEP, at=epochs(20)), weight_decay=1e-3)
    for number in range(4):
        start = replicates.author(child, number).start
        assert start == Snapshot(replicates.author(DEEP, number), epochs(20))


def test_a_fifth_run_is_refused():
    with pytest.raises(UserError, match="has 4 runs: give --seeds 4 or less"):
        replicates.author(DEEP, 4)
