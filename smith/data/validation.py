"""The classes of ImageNet's validation images where these lie in one folder, as they come.

Two files say them: the development kit's ground truth (a number for each image, in the order of their names, and
`meta.mat` says whose number it is), and `LOC_val_solution.csv` of the edition at Kaggle.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from smith.errors import UserError

KIT = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
KAGGLE = "LOC_val_solution.csv"


def classes_of(images: Sequence[Path], folder: Path) -> list[str]:
    """Returns the class of each image, such as "n01440764".

    Args:
      images: in the order of their names.
      folder: ImageNet's; the files may also lie in its `val`, in a development kit's folder beside it, or above it.

    Raises UserError: there is no such file, or it does not fit to the images.
    """
    kits = [path for near in (folder, folder.parent) for path in sorted(near.glob("ILSVRC2012_devkit*/data"))]
    for place in (folder / "val", folder, *kits, *folder.absolute().parents[:3]):
        if all((place / name).is_file() for name in KIT):
            return _of_kit(images, place)
        if (place / KAGGLE).is_file():
            return _of_kaggle(images, place / KAGGLE)
    files = f"{KAGGLE}, or {KIT[0]} with {KIT[1]}"
    raise UserError(f"{folder / 'val'} has images and no folders: put {files}, into {folder}")


def _of_kit(images: Sequence[Path], place: Path) -> list[str]:
    from scipy.io import loadmat

    truth, meta = (place / name for name in KIT)
    try:
        numbers = [int(line) for line in truth.read_text().split()]
        synsets = loadmat(meta, squeeze_me=True, variable_names=["synsets"])["synsets"]
        names = dict(zip(map(int, synsets["ILSVRC2012_ID"]), map(str, synsets["WNID"]), strict=True))
        found = [names[number] for number in numbers]
    except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise UserError(
            f"{truth} and {meta.name} can not be read ({error}): take them from the development kit"
        ) from error
    if len(found) != len(images):
        raise UserError(f"{truth} has {len(found):,} lines for {len(images):,} images: both have to be complete")
    return found


def _of_kaggle(images: Sequence[Path], path: Path) -> list[str]:
    try:
        rows = [*csv.reader(path.read_text().splitlines())]
    except (ValueError, csv.Error, OSError) as error:
        raise UserError(f"{path} can not be read ({error}): take it from Kaggle's archive") from error
    classes = {row[0]: row[1].split()[0] for row in rows if len(row) == 2 and row[1].strip()}
    if unknown := [image.name for image in images if image.stem not in classes]:
        raise UserError(f"{path} has no class for {len(unknown):,} of {len(images):,} images, such as {unknown[0]}")
    return [classes[image.stem] for image in images]
