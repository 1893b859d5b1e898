"""Recipes: how the runs of one curve differ. Plain seeds by default, or the paper's way.

Each published curve is the mean of four runs that differ in the initialisation (xavier, MSRA) and in the batch size of
each GPU (BS, BS + 1, BS + 2, BS + 3), which is where batch sizes such as 1030, the mean of 1024 to 1036, come from.
His script (lnsmith54/hyperParam1, Cifar/x4.sh) changes the fillers of a network's file from MSRA to xavier in every
other run, and leaves other fillers alone: shallow3 is Gaussian in all four.
Assumed: xavier goes with BS, MSRA with BS + 1, and so on, as in one of his logs; the script and two later logs have
xavier with BS + 3 and BS + 1. LeNet, whose file is not published, alternates too. Each run has a seed of its own.
Other than there: a length in epochs is one of each run's own batches here, and of batches of BS in his script. So the
second to fourth run of LeNet are shorter than his by 0.8 to 2.3 %.

Caffe reads the images in the order of the files, the same in every epoch, and so do the author's runs here, but for
ImageNet's: its files here are in the order of the classes.
"""

from collections.abc import Callable

from smith.data import DATASETS
from smith.errors import UserError
from smith.run import Run, Snapshot

Recipe = Callable[[Run, int], Run]  # (run of the protocol, number from 0) -> run

AUTHORS_RUNS = 4
FILLERS = {"shallow3": (None, None), "lenet": ("xavier", "msra")}  # of the first run and of the second; None: its own


def seeds(run: Run, number: int) -> Run:
    """Returns the run itself: only the seed differs."""
    del number
    return run


def author(run: Run, number: int) -> Run:
    """Returns the run with this number, 0 to 3, of the paper's four. Raises UserError for another number."""
    if not 0 <= number < AUTHORS_RUNS:
        raise UserError(f"the author's recipe has {AUTHORS_RUNS} runs: give --seeds {AUTHORS_RUNS} or less")
    gpus = 8 if run.ghost_batch_size and run.batch_size // run.ghost_batch_size == 8 else 4
    mean = run.batch_size % gpus != 0  # the size given is that of the first run, or else the mean of the four
    first = (run.batch_size - gpus * (AUTHORS_RUNS - 1) // 2) // gpus if mean else run.batch_size // gpus
    share = first + number
    return run.replace(
        batch_size=gpus * share,
        ghost_batch_size=run.ghost_batch_size and share,
        init=FILLERS.get(run.network, ("xavier", None))[number % 2],
        order="shuffled" if DATASETS[run.data].streamed else "stored",
        start=run.start and Snapshot(author(run.start.run, number), run.start.at),
    )


RECIPES: dict[str, Recipe] = {"seeds": seeds, "author": author}
