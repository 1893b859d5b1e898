"""The runs that the experiments start from: a network with its data, its batch and the author's usual settings.

An experiment changes what it is about: `SHALLOW3.replace(momentum=0.95)`, `resnet56(1024).replace(length=epochs(120))`.
The networks with BatchNorm are functions of the batch size, because their ghost batches follow from it.
"""

from smith import CyclicalMomentum, Exponential, Multistep, OneCycle, Run, Triangular, epochs, iterations
from smith.lengths import Length, Time

DROPS = (1 / 2, 3 / 4, 7 / 8, 15 / 16)  # of a run; there the author's solver files multiply the rate by 0.316

SHALLOW3 = Run("cifar10", "shallow3", batch_size=512, length=epochs(25), lr=0.005)
LENET = Run("mnist", "lenet", batch_size=512, length=epochs(85), lr=0.01, weight_decay=5e-4, solver="sgd")


def ghosts(batch_size: int, gpus: int = 4) -> int:
    """Returns over how many images BatchNorm normalises: a GPU's share, or the next number below to divide the batch.

    1030, the mean of the paper's four batch sizes 1024 to 1036, has ghost batches of 206.
    """
    return next(share for share in range(batch_size // gpus, 0, -1) if batch_size % share == 0)


def deep(network: str, batch_size: int, data: str = "cifar10") -> Run:
    """Returns a run of a deep network: on 4 GPUs, with images mirrored at random."""
    return Run(
        data,
        network,
        batch_size,
        length=epochs(95),
        lr=0.1,
        weight_decay=1e-4,
        ghost_batch_size=ghosts(batch_size),
        mirror=True,
    )


def resnet56(batch_size: int, data: str = "cifar10") -> Run:
    """Returns a run of resnet-56 without ReLU after the sums, as in all figures but 5."""
    return deep("resnet-56", batch_size, data)


def resnet56_relu(batch_size: int) -> Run:
    """Returns the super-convergence run of figure 5: plain momentum, 8 GPUs, tested twice as often."""
    return deep("resnet-56-relu", batch_size).replace(
        length=iterations(10_000),
        lr=Triangular(0.1, 3.0, step_size=iterations(5_000)),
        ghost_batch_size=ghosts(batch_size, gpus=8),
        solver="sgd",
        test_every=iterations(100),
    )


def wide32(batch_size: int) -> Run:
    """Returns a run of wide-32."""
    return deep("wide-32", batch_size)


def densenet40(batch_size: int) -> Run:
    """Returns a run of densenet-40."""
    return deep("densenet-40", batch_size)


def imagenet(network: str, batch_size: int) -> Run:
    """Returns a run on ImageNet: the standard policy (figure 3b), random crops of 230 pixels, mirrored at random."""
    return Run(
        "imagenet",
        network,
        batch_size,
        length=iterations(100_000),
        lr=Exponential(0.1, factor=0.94, every=iterations(20_000)),
        weight_decay=1e-4,
        ghost_batch_size=ghosts(batch_size),
        mirror=True,
        crop=230,
        test_every=iterations(500),
    )


RESNET50 = imagenet("imagenet-resnet-50", 128)
INCEPTION = imagenet("inception-resnet-v2", 112)


def steps(lr: float, at: tuple[float, ...] = DROPS) -> Multistep:
    """Returns the author's usual policy: `lr`, times 0.316 at each of these fractions of the run."""
    return Multistep(lr, factor=0.316, at=at)


def cyclical(first: float, second: float, step_size: Time = 1.0) -> CyclicalMomentum:
    """Returns a momentum that goes from the first value to the second over the step size, and back."""
    return CyclicalMomentum(max(first, second), min(first, second), step_size, rising=first < second)


def one_cycle(run: Run, low: float, peak: float, step_size: Length, momentum: tuple[float, float] | None = None) -> Run:
    """Returns a run with a 1cycle policy, and with a momentum that goes from one value to another meanwhile."""
    changes = {"momentum": cyclical(*momentum, step_size)} if momentum else {}
    return run.replace(lr=OneCycle(low, peak, step_size=step_size), **changes)
