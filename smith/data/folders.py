"""Datasets as folders of images, in ImageNet's own layout: `train/<class>/*.JPEG` and `val/<class>/*.JPEG`.

The images of `val` may also lie there without folders (see `smith.data.validation`).
"""

import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smith.data import validation
from smith.data.arrays import Arrays
from smith.errors import UserError

NAMES = {"train": "train", "test": "val"}  # ImageNet's validation set is what everybody tests on
KINDS = (".jpeg", ".jpg", ".png")
Taken = tuple[Arrays, dict[str, str]]  # images with their labels; what is wrong with files that are none, by name


class Listing(NamedTuple):
    """A split as files: their paths in the folder, in order, and their labels (N,) int32."""

    folder: Path
    names: list[str]
    labels: np.ndarray

    def take(self, some: slice, side: int) -> Taken:
        """Returns some of the images, (N, side, side, 3), and what is wrong with files that are none, by name."""
        names = self.names[some]
        return taken([self.folder / name for name in names], self.labels[some], names, side)


def read(folder: Path, split: str, side: int) -> Arrays:
    """Returns a split: images (N, side, side, 3) uint8, in the order of their paths, and labels (N,) int32.

    Raises:
      UserError: as `listed` does, or files that are no images; the line names them.
    """
    listing = listed(folder, split)
    arrays, broken = listing.take(slice(None), side)
    if broken:
        raise UserError(f"{folder}: {broken_files(broken, len(listing.names))}")
    return arrays


def listed(folder: Path, split: str) -> Listing:
    """Returns the files of a split. A class is a folder; labels count the training set's folders by name.

    Raises:
      UserError: a folder is missing or empty, or a class of the test set that the training set has not or the other
        way round; as `validation.classes_of` does.
    """
    classes, place = _classes(folder / NAMES["train"]), folder / NAMES[split]
    flat = split == "test" and any(path.suffix.lower() in KINDS for path in place.glob("*"))
    if flat:
        paths = _images(place)
        named = validation.classes_of(paths, folder)
    else:
        by_class = {name: _images(place / name) for name in (classes if split == "train" else _classes(place))}
        paths = [path for of_one in by_class.values() for path in of_one]
        named = [name for name, of_one in by_class.items() for _ in of_one]
    if odd := sorted({*classes} ^ {*named}):
        raise UserError(f"{folder}: {_some(odd)} in only one of train and val: complete the classes")
    number = {name: label for label, name in enumerate(classes)}
    names = [str(path.relative_to(folder)) for path in paths]
    return Listing(folder, names, np.array([number[name] for name in named], np.int32))


def taken(files: Sequence[Path | bytes], labels: np.ndarray, names: Sequence[str], side: int) -> Taken:
    """Returns the images of files with their labels, and what is wrong with those that are none, by name."""
    images, broken = decoded(files, side)
    good = [k for k in range(len(files)) if k not in broken]
    return Arrays(images[good], labels[good]), {names[k]: why for k, why in broken.items()}


def decoded(files: Sequence[Path | bytes], side: int) -> tuple[np.ndarray, dict[int, str]]:
    """Returns images (N, side, side, 3) uint8, decoded on all cores, and what is wrong with those that are none.

    An image of another size is resized to the square, as the author's were, whatever its shape (bilinear, with
    antialiasing). Grey and CMYK ones become RGB.
    """
    from PIL import UnidentifiedImageError

    images, broken = np.zeros((len(files), side, side, 3), np.uint8), dict[int, str]()

    def decode(number: int) -> None:
        try:
            images[number] = _decoded(files[number], side)
        except UnidentifiedImageError:
            broken[number] = "no image"
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for bytes that it can not read
            broken[number] = str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode, range(len(files))))
    return images, dict(sorted(broken.items()))


def encoded(images: np.ndarray, quality: int) -> list[bytes]:
    """Returns images (N, side, side, 3) uint8 as JPEG files, encoded on all cores."""
    from PIL import Image

    def encode(image: np.ndarray) -> bytes:
        Image.fromarray(image).save(stream := io.BytesIO(), "JPEG", quality=quality)
        return stream.getvalue()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(encode, images))


def broken_files(broken: Mapping[str, str], count: int) -> str:
    """Says which of `count` files can not be read."""
    named = [f"{name} ({why})" for name, why in broken.items()]
    return f"{len(broken)} of {count} files can not be read: {_some(named)}"


def _decoded(file: Path | bytes, side: int) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        rgb = image.convert("RGB")
    return np.asarray(rgb if rgb.size == (side, side) else rgb.resize((side, side), Image.Resampling.BILINEAR))


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not there: a folder for each class is needed in it")
    if not (names := sorted(path.name for path in folder.iterdir() if path.is_dir())):
        raise UserError(f"{folder} has no folders: one for each class is needed, with its images")
    return names


def _images(folder: Path) -> list[Path]:
    if not (found := sorted(path for path in folder.rglob("*") if path.suffix.lower() in KINDS)):
        raise UserError(f"{folder} has no images ({', '.join(KINDS)})")
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
