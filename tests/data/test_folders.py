"""ImageNet's layout: folders of images, a few hundred of which are written here."""

import numpy as np
import pytest
from PIL import Image

from smith.data import folders
from smith.errors import UserError


@pytest.fixture
def imagenet(tmp_path):
    """Two classes of training and validation images, of many kinds and sizes; their colour tells the class."""
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for label, name in enumerate(("n01", "n02")):
            place = tmp_path / split / name / ("images" if split == "train" else "")
            place.mkdir(parents=True)
            for number in range(count):
                size = (12, 10) if number % 2 else (8, 8)
                pixels = random.integers(100 * label, 100 * label + 90, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{name}_{number}.JPEG", "PNG")
    return tmp_path


def test_a_split_has_the_images_by_class_and_name_and_the_labels_of_the_folders(imagenet):
    train, test = (folders.read(imagenet, split, 8) for split in ("train", "test"))
    assert train.images.shape == (12, 8, 8, 3) and test.images.shape == (4, 8, 8, 3)
    assert train.labels.tolist() == [0] * 6 + [1] * 6 and train.labels.dtype == np.int32
    np.testing.assert_array_equal(test.images.mean((1, 2, 3)) > 95, test.labels)
    first = np.asarray(Image.open(imagenet / "train" / "n01" / "images" / "n01_0.JPEG"))
    np.testing.assert_array_equal(train.images[0], first)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_images_become_rgb(imagenet, mode):
    Image.new(mode, (8, 8), 0 if mode == "L" else (0, 0, 0, 255)).save(imagenet / "val" / "n01" / "n01_0.JPEG", "JPEG")
    assert folders.read(imagenet, "test", 8).images[0].max() < 10


def test_files_that_are_cut_off_or_no_images_are_counted_and_named(imagenet):
    whole = (imagenet / "val" / "n02" / "n02_0.JPEG").read_bytes()
    (imagenet / "val" / "n02" / "n02_0.JPEG").write_bytes(whole[: len(whole) // 2])
    (imagenet / "val" / "n02" / "n02_1.JPEG").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"2 of 4 files can not be read: val/n02/n02_0.JPEG .*n02_1.JPEG") as told:
        folders.read(imagenet, "test", 8)
    assert "\n" not in str(told.value)


def test_what_is_not_as_it_should_be_is_told(imagenet, tmp_path):
    for path in (imagenet / "val" / "n02").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="n02 has no images"):
        folders.read(imagenet, "test", 8)
    (imagenet / "val" / "n02").rmdir()
    with pytest.raises(UserError, match="n02 in only one of train and val"):
        folders.read(imagenet, "test", 8)
    with pytest.raises(UserError, match="nothing.train is not there"):
        folders.read(tmp_path / "nothing", "train", 8)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="has no folders"):
        folders.read(tmp_path / "empty", "train", 8)
