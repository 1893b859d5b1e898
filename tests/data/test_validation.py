"""ImageNet's validation images without folders, and the files that say their classes, small ones written here."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from smith.data import folders
from smith.errors import UserError

TRUTH = ["n02", "n01", "n02", "n03"]  # of val_1 to val_4


@pytest.fixture
def imagenet(tmp_path):
    """Three classes with a training image each, and four validation images as they come; grey tells the class."""
    root = tmp_path / "a" / "b" / "imagenet"
    for name in ("n01", "n02", "n03"):
        (root / "train" / name).mkdir(parents=True)
        Image.new("L", (8, 8), 10 * int(name[1:])).save(root / "train" / name / "1.JPEG", "PNG")
    (root / "val").mkdir()
    for number, name in enumerate(TRUTH, start=1):
        Image.new("L", (8, 8), 10 * int(name[1:])).save(root / "val" / f"val_{number}.JPEG", "PNG")
    return root


def write_kit(place, numbers):
    """Writes a development kit in which n01 is number 3, n02 number 1 and n03 number 2, among groups of classes."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in numbers))
    synsets = np.array(
        [(3.0, "n01"), (1.0, "n02"), (2.0, "n03"), (4.0, "n09")], dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")]
    )
    savemat(place / "meta.mat", {"synsets": synsets})


def write_kaggle(place, names):
    rows = [f"val_{k},{name} 1 2 3 4 {name} 5 6 7 8\n" for k, name in enumerate(names, start=1)]
    (place / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows[::-1]))


@pytest.mark.parametrize(
    "write",
    [
        lambda root: write_kit(root, [1, 3, 1, 2]),
        lambda root: write_kit(root.parent / "ILSVRC2012_devkit_t12" / "data", [1, 3, 1, 2]),
        lambda root: write_kaggle(root, TRUTH),
        lambda root: write_kaggle(root.parents[1], TRUTH),
    ],
    ids=["kit", "kit beside it", "kaggle", "kaggle above"],
)
def test_the_classes_come_from_the_file_that_says_them(imagenet, write):
    write(imagenet)
    test = folders.read(imagenet, "test", 8)
    assert test.labels.tolist() == [1, 0, 1, 2]
    np.testing.assert_array_equal(test.images[:, 0, 0, 0], 10 * (test.labels + 1))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (
            lambda root: None,
            "has images and no folders: put LOC_val_solution.csv, or ILSVRC2012_validation_ground_truth",
        ),
        (lambda root: write_kit(root, [1, 3, 1]), "3 lines for 4 images"),
        (lambda root: write_kit(root, [1, 3, 1, 7]), "can not be read .7.: take them from the development kit"),
        (lambda root: write_kaggle(root, TRUTH[:3]), "has no class for 1 of 4 images, such as val_4.JPEG"),
        (lambda root: write_kaggle(root, ["n02", "n01", "n02", "n02"]), "n03 in only one of train and val"),
        (lambda root: write_kaggle(root, ["n02", "n01", "n04", "n03"]), "n04 in only one of train and val"),
    ],
)
def test_files_that_do_not_fit_are_told_in_a_line(imagenet, write, words):
    write(imagenet)
    with pytest.raises(UserError, match=words) as told:
        folders.read(imagenet, "test", 8)
    assert "\n" not in str(told.value)
