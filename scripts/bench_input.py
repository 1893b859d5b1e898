"""Speed of reading ImageNet while training, beside torchvision's loader, on the same files and all cores.

Run:     python scripts/bench_input.py FOLDER [--images 4096] [--batch 128]
Cost:    two minutes on two CPU cores
Expect:  a table: images/s of shards of pixels, of shards of JPEG files, and of ImageFolder with PyTorch's DataLoader

FOLDER is in ImageNet's layout, such as tinyimagenet40. Some of its training images are made 256 x 256 pixels and
written anew as JPEG files, so that stand-ins cost about as much to decode as what they stand for. Ours are batches on
the device, as `smith.train.feed` gives them to a step, which cuts and mirrors them there. PyTorch's come from a process
for each core, are cut to 230 x 230 and mirrored. Files are in the page cache. The sides take turns, as in bench.py.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
from PIL import Image

from scripts.bench import Parser, Side, machine, repeated
from smith.data import folders, shards
from smith.errors import UserError
from smith.train import feed

SIDE, CROP, QUALITY = 256, 230, 95
TURNS, TURN_SECONDS = 5, 4.0
SETTLING = 8  # batches: more than any side reads ahead


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints. Exits with 2 and one line on bad input."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=4096, help="how many to read (default: 4096)")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch (default: 128)")
    try:
        options = parser.parse_args(arguments)
        if not 0 < options.batch <= options.images:
            raise UserError("--batch is 1 at least, and --images not less")
        with tempfile.TemporaryDirectory() as place:
            rates = measure(options.folder, Path(place), options.images, options.batch)
    except UserError as error:
        print(f"bench_input: {error}", file=sys.stderr)
        sys.exit(2)
    print(machine())
    for name, rate in rates.items():
        print(f"{name:36}{rate:8,.0f} images/s")


def measure(source: Path, place: Path, images: int, batch: int) -> dict[str, float]:
    """Returns images/s of each side. place: an empty folder, for files. Raises UserError if the source is not good."""
    write_images(source, place / "files", images)
    sides = {name: ours(place, quality, batch) for name, quality in (("pixels", None), (f"JPEG {QUALITY}", QUALITY))}
    try:
        sides[f"torchvision, {os.cpu_count()} processes"] = torchvision(place / "files" / "train", batch)
    except ModuleNotFoundError:
        print("torchvision is not installed", file=sys.stderr)
    turns = [[turn(side) for side in sides.values()] for _ in range(TURNS)]
    return {name: batch * statistics.median(rates) for name, rates in zip(sides, zip(*turns, strict=True), strict=True)}


def turn(side: Side) -> float:
    """Returns how many batches a side reads in a second, after those that it read while another had its turn."""
    side(SETTLING)
    began, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < TURN_SECONDS:
        side(1)
        count += 1
    return count / seconds


def write_images(source: Path, target: Path, count: int) -> None:
    """Writes so many training images, and one of each class to test on, as JPEG files of 256 x 256 pixels."""
    for split, name in folders.NAMES.items():
        listing = folders.listed(source, split)
        firsts = {int(label): k for k, label in reversed([*enumerate(listing.labels)])}.values()
        step = max(1, len(listing.names) // count)
        chosen = sorted({*firsts, *(range(0, len(listing.names), step) if split == "train" else ())})
        for k in chosen:
            path = target / name / listing.names[k].partition("/")[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(source / listing.names[k]) as image:
                image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, "JPEG", quality=QUALITY)


def ours(place: Path, quality: int | None, batch: int) -> Side:
    """Returns what reads batches from shards: of pixels, or of JPEG files of this quality."""
    folder = place / f"shards-{quality}"
    shards.prepare(place / "files", folder, SIDE, lambda *_: None, quality)
    train, test = (shards.read(folder, split, SIDE) for split in folders.NAMES)
    batches = feed.batches(feed.put("imagenet", train, test), jax.random.key(0), batch)
    iteration = iter(range(10**9))
    return repeated(lambda: batches(next(iteration))[0].train_images.block_until_ready())


def torchvision(folder: Path, batch: int) -> Side:
    """Returns what reads batches with torchvision. Raises ModuleNotFoundError if it is not there."""
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    cut = [transforms.RandomCrop(CROP), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    files = ImageFolder(str(folder), transforms.Compose(cut))
    endless = torch.utils.data.RandomSampler(files, replacement=True, num_samples=10**9)  # no pause after an epoch
    loader = torch.utils.data.DataLoader(
        files, batch, sampler=endless, num_workers=os.cpu_count() or 1, multiprocessing_context="spawn"
    )
    batches = iter(loader)
    return repeated(lambda: next(batches))


if __name__ == "__main__":
    main()
