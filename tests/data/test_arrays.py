"""Parts of a dataset: fewer classes, images and pixels, always the same ones."""

import numpy as np
import pytest

from smith.data import Arrays, Selection, select
from smith.data.arrays import derive, shrink
from smith.errors import UserError
from smith.run import Run, iterations


@pytest.fixture
def split() -> Arrays:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 200).astype(np.int32)
    return Arrays(random.integers(0, 256, (200, 4, 4, 3), dtype=np.uint8), labels)


def test_images_are_as_many_of_each_class_the_first_ones_in_their_order(split):
    found = derive(split, classes=None, images=25, side=None)
    assert np.bincount(found.labels).tolist() == [5] * 5
    for label in range(5):
        first = np.flatnonzero(split.labels == label)[:5]
        assert (found.images[found.labels == label] == split.images[first]).all()
    places = [np.flatnonzero((split.images == image).all((1, 2, 3)))[0] for image in found.images]
    assert places == sorted(places)


def test_classes_are_the_first_ones_and_nothing_asked_for_changes_nothing(split):
    for classes, kept in ((2, split.labels < 2), (None, split.labels < 5)):
        found = derive(split, classes=classes, images=None, side=None)
        assert (found.labels == split.labels[kept]).all() and (found.images == split.images[kept]).all()


def test_a_pixel_is_the_rounded_mean_of_a_square():
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    # means of 0, 1, 4, 5 and so on: 2.5, 4.5, 10.5, 12.5; halves are rounded to even numbers
    assert shrink(image, 2).ravel().tolist() == [2, 4, 10, 12]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"images": 12}, "12 images are not as many of each of 5 classes"),
        ({"images": 500}, "has fewer than 100 images"),
        ({"side": 3}, "can not be shrunk to 3 x 3"),
    ],
)
def test_what_can_not_be_had_is_one_line(split, wanted, words):
    with pytest.raises(UserError, match=words):
        derive(split, **{"classes": None, "images": None, "side": None} | wanted)


BASE = Run("cifar10", "shallow3", 64, iterations(10), lr=0.001)


def test_a_run_says_which_part_it_sees(data_dir):
    run = BASE.replace(classes=4, train_images=400, image_side=16)
    assert (run.iterations_per_epoch, run.class_count, run.image_shape) == (400 / 64, 4, (16, 16, 3))
    assert run.selection == Selection("cifar10", 4, 400, 16) and Run.from_json(run.to_json()) == run
    train, test = (select(run.selection, split, data_dir) for split in ("train", "test"))
    assert train.images.shape == (400, 16, 16, 3) and np.bincount(train.labels).tolist() == [100] * 4
    assert test.images.shape[1:] == (16, 16, 3) and test.labels.max() == 3
